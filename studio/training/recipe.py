"""The recipe of a training run as records: model, data, optimizer, and when to save checkpoints."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Self

from pydantic import Field, field_validator, model_validator

from studio.config.records import Record
from studio.training.data import DataSet, Digits
from studio.training.models import Model, Resnet
from studio.training.optimizers import Optimizer, Sgd

MOST_CHECKPOINTS = 10_000
"""Files in a run's folder: one for each of the epochs, of which a run has 9999."""


class Every(Record):
    """A checkpoint at regular epochs.

    every: epochs between two checkpoints, a whole number or a whole part of one (0.5, 0.25, 0.1 ...).
    """

    every: float = 1.0

    @field_validator("every")
    @classmethod
    def _fits_epochs(cls, every: float) -> float:
        if not 0.001 <= every < math.inf:
            raise ValueError(f"a checkpoint every {every:g} epochs: expected at least 0.001")
        if every >= 1 and every != round(every):
            raise ValueError(
                f"a checkpoint every {every:g} epochs misses whole epochs; the nearest that does not is {round(every)}"
            )
        parts = round(1 / every)
        if every < 1 and abs(1 / every - parts) > 0.01 * parts:
            raise ValueError(
                f"a checkpoint every {every:g} epochs does not divide an epoch; the nearest that does is "
                f"{1 / parts:.3g}"
            )
        return every

    def instants(self, epochs: int, steps: int) -> dict[int, float]:
        """{step: epoch} of the checkpoints, ascending: epoch 0, every `every` epochs, and the last.

        steps: steps per epoch; an instant between two steps counts as the later one. Epochs are rounded to 0.001.

        >>> Every(every=0.5).instants(epochs=1, steps=5)
        {0: 0.0, 3: 0.5, 5: 1.0}
        """
        if self.every >= 1:
            return {epoch * steps: float(epoch) for epoch in (*range(0, epochs, int(self.every)), epochs)}
        parts = round(1 / self.every)
        return {-(-k * steps // parts): round(k / parts, 3) for k in range(epochs * parts + 1)}


class Recipe(Record):
    """Everything that determines a training run; the same recipe on the same machine gives the same bytes.

    model: the network. data: what it learns. epochs: passes over the training samples. checkpoint: when the weights are
    saved. optimizer: how they are updated. batch: samples per step. seed: of the initial weights and of the order of
    the samples.
    """

    model: Model = Resnet()
    data: DataSet = Digits()
    epochs: int = Field(20, ge=1, le=9999)
    checkpoint: Every = Every()
    optimizer: Optimizer = Sgd()
    batch: int = Field(64, ge=2)
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _saves_some(self) -> Self:
        if (count := self.epochs / self.checkpoint.every) > MOST_CHECKPOINTS:
            raise ValueError(
                f"{count:.0f} checkpoints: expected at most {MOST_CHECKPOINTS}; write `checkpoint: {{every: 1}}`"
            )
        return self

    @property
    def instants(self) -> tuple[float, ...]:
        """Epochs of the checkpoints, ascending from 0."""
        return _instants(self.checkpoint, self.epochs)


@lru_cache(maxsize=16)  # a scene is asked again and again
def _instants(checkpoint: Every, epochs: int) -> tuple[float, ...]:
    return tuple(checkpoint.instants(epochs, steps=1000).values())
