"""The recipe of a training run as records: model, data, optimizer, and when to save checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from studio.config.records import Record
from studio.training.data import DataSet, Digits
from studio.training.models import Mlp, Model, Resnet
from studio.training.optimizers import Optimizer, Sgd

Patterns = Annotated[tuple[str, ...], Field(min_length=1)]
"""Of names of weights, as `fnmatch` has them."""
MOVE_ALL = ("*",)
"""The patterns that all names match."""
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
        if every < 0.001:
            raise ValueError(f"a checkpoint every {every:g} epochs: expected at least 0.001")
        nearest, slack = (round(every), 0.0) if every >= 1 else (1 / round(1 / every), 0.01 * every)
        if abs(every - nearest) > slack:
            way_out = f"the nearest that does not is {round(nearest, 3):g}"
            raise ValueError(f"a checkpoint every {every:g} epochs misses whole epochs; {way_out}")
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


class Window(Record):
    """A part of an axis, such as that of the epochs, with instants in it, rounded to thousandths.

    every: the step between two instants. log: or how many there are, evenly by logarithm. from, to: its ends.
    """

    every: float | None = Field(None, ge=0.001)
    log: int | None = Field(None, ge=2, le=MOST_CHECKPOINTS)
    from_: float = Field(0.0, alias="from", ge=-1e9, le=1e9)
    to: float = Field(ge=-1e9, le=1e9)

    @model_validator(mode="after")
    def _has_instants(self) -> Self:
        if (self.every is None) == (self.log is None):
            raise ValueError("a window has either `every: 0.5` or `log: 12`, the number of instants")
        if not self.from_ < self.to or (self.log and self.from_ < 0.001):
            least = ", and a logarithm starts from 0.001" if self.log else ""
            raise ValueError(f"from {self.from_:g} to {self.to:g} is no window; write the smaller end first{least}")
        if self.every and (self.to - self.from_) / self.every > MOST_CHECKPOINTS:
            raise ValueError(f"more than {MOST_CHECKPOINTS} instants; write a larger step")
        return self

    @property
    def thousandths(self) -> list[int]:
        """The instants, ascending, in thousandths."""
        first, last = round(1000 * self.from_), round(1000 * self.to)
        if self.log:
            return [round(first * (last / first) ** (i / (self.log - 1))) for i in range(self.log)]
        return list(range(first, last + 1, round(1000 * (self.every or 1))))


class Fork(Record):
    """A twin of the run, which parts from it while both train.

    at: the epoch from which the order of the samples and all noise differ. seed: what they follow then.
    """

    at: float = Field(ge=0)
    seed: int = Field(1, ge=0, lt=2**63)


class Recipe(Record):
    """Everything that determines a training run; the same recipe on the same machine gives the same bytes.

    model: the network. data: what it learns. epochs: passes over the training samples. checkpoint: when the weights are
    saved beside the start and the end: at regular epochs, or in windows. optimizer: how they are updated. batch:
    samples per step. seed: of the initial weights and of the order of the samples. fork: another seed from some epoch
    on. train: patterns of the names of the weights that training moves, such as `layers.[0-7].*`; all others keep their
    first values.
    """

    model: Model = Resnet()
    data: DataSet = Digits()
    epochs: int = Field(20, ge=1, le=9999)
    checkpoint: Every | Annotated[tuple[Window, ...], Field(min_length=1, max_length=100)] = Every()
    optimizer: Optimizer = Sgd()
    batch: int = Field(64, ge=2)
    seed: int = Field(0, ge=0, lt=2**63)
    fork: Fork | None = None
    train: Patterns = MOVE_ALL

    def seed_at(self, epoch: float) -> int:
        """The seed of the order of the samples and of the noise at an epoch."""
        return self.seed if self.fork is None or epoch < self.fork.at else self.fork.seed

    @property
    def determinants(self) -> dict[str, Any]:
        """What the weights depend on beside the data, for a digest; keys of later versions only where they are used."""
        unused = {name for name in ("fork", "train") if getattr(self, name) == Recipe.model_fields[name].default}
        return self.model_dump(mode="json", exclude={"data", *unused})

    @model_validator(mode="after")
    def _saves_some(self) -> Self:
        if isinstance(self.checkpoint, Every):
            count = self.epochs / self.checkpoint.every
        elif (end := max(window.to for window in self.checkpoint)) <= self.epochs:
            count = len(self.instants)
        else:
            raise ValueError(f"a window of checkpoints ends at {end:g}, and the run at {self.epochs}")
        if count > MOST_CHECKPOINTS:
            way_out = f"expected at most {MOST_CHECKPOINTS}; write `checkpoint: {{every: 1}}`"
            raise ValueError(f"{count:.0f} checkpoints: {way_out}")
        return self

    @property
    def instants(self) -> tuple[float, ...]:
        """Epochs of the checkpoints, ascending from 0."""
        return _instants(self.checkpoint, self.epochs)

    def steps(self, batches: int) -> dict[int, float]:
        """{step: epoch} of the checkpoints, ascending, with so many steps per epoch."""
        return _steps(self.checkpoint, self.epochs, batches)

    def misfits(self, samples: int) -> Iterator[tuple[tuple[str, ...], str]]:
        """(path of keys, what is wrong) of what so many training samples cannot be trained by."""
        batches = math.ceil(samples / self.batch)
        if len(self.steps(batches)) < len(self.instants):
            steps = f"an epoch has {batches} steps of {self.batch} samples, so {1 / batches:.2g} is the least"
            if isinstance(self.checkpoint, Every):
                yield ("checkpoint", "every"), f"{self.checkpoint.every:g} is shorter than a step; {steps}"
            else:
                yield ("checkpoint",), f"two checkpoints fall on one step; {steps}"
        if samples % self.batch == 1 and isinstance(self.model, Mlp) and self.model.norm == "batch":
            yield ("batch",), "the last batch of an epoch has 1 sample, and norm: batch needs 2; take another size"


@lru_cache(maxsize=16)  # a scene is asked again and again
def _instants(checkpoint: Every | tuple[Window, ...], epochs: int) -> tuple[float, ...]:
    return tuple(_steps(checkpoint, epochs, batches=1000).values())


def _steps(checkpoint: Every | tuple[Window, ...], epochs: int, batches: int) -> dict[int, float]:
    if isinstance(checkpoint, Every):
        return checkpoint.instants(epochs, batches)
    inside = {t for window in checkpoint for t in window.thousandths if 0 <= t <= 1000 * epochs}
    return {-(-t * batches // 1000): t / 1000 for t in sorted(inside | {0, 1000 * epochs})}
