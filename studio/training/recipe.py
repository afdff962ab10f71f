"""A run in records: what is trained, on what, how, and when a checkpoint is kept."""

from __future__ import annotations

import math

from pydantic import Field, field_validator

from studio.config.records import Record
from studio.config.units import Folder
from studio.training.data import DataSet, Digits
from studio.training.models import Model, Resnet
from studio.training.optimizers import Optimizer, Sgd


class Every(Record):
    """A checkpoint every so many epochs: a whole number of them, or a whole part of one (0.5, 0.25, 0.1 ...)."""

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
        """{step: epoch} of what is kept: epoch 0, every so many, and the last.

        steps: in one epoch; an instant between two steps is kept at the later. An epoch is named to a thousandth.
        """
        if self.every >= 1:
            return {epoch * steps: float(epoch) for epoch in (*range(0, epochs, int(self.every)), epochs)}
        parts = round(1 / self.every)
        return {-(-k * steps // parts): round(k / parts, 3) for k in range(epochs * parts + 1)}


class Recipe(Record):
    """All that decides a training run; the same recipe on the same machine gives the same bytes.

    seed: draws the initial weights and the order of the images.
    """

    model: Model = Resnet()
    data: DataSet = Digits()
    epochs: int = Field(20, ge=1, le=9999)
    checkpoint: Every = Every()
    optimizer: Optimizer = Sgd()
    batch: int = Field(64, ge=2)
    seed: int = Field(0, ge=0, lt=2**63)

    @property
    def instants(self) -> tuple[float, ...]:
        """The epochs at which a checkpoint is kept, ascending from 0."""
        return tuple(self.checkpoint.instants(self.epochs, steps=1000).values())


class Run(Record):
    """A training run: trained here by the recipe, or the user's own.

    checkpoints: a folder of weights the user trained; then nothing is trained, and the recipe only says which model
    and data they belong to.
    """

    recipe: Recipe
    checkpoints: Folder | None = None
