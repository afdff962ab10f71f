"""Sweeps over changed networks: pruned, rescaled, or trained with another hyperparameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, WithJsonSchema, field_validator, model_validator

from studio.config.messages import explain
from studio.config.records import nearest
from studio.config.units import Percent, Positive
from studio.errors import SceneError
from studio.field import Axis, Grid
from studio.landscape.centres import AtCheckpoint, Pruned, Rescaled
from studio.landscape.directions import Directions
from studio.landscape.sweeps.keyframe import (
    LISTED,
    MOST_STEPS,
    MOST_TRAININGS,
    BaseSweep,
    CheckpointName,
    Keyframe,
    Listed,
    Runs,
    Stepped,
    at_checkpoint,
    subsample,
)
from studio.training.derived import AnyRun, Per, PrunedRun
from studio.training.recipe import Recipe
from studio.training.runs import Run, recipe_run

Word = Annotated[str, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]})]
"""A text that an editor may take for a number, such as a layer's name."""


class Pruning(Listed):
    """The network with more and more of its smallest weights set to zero; the coordinate is the share, in percent.

    at: the shares. per: weights are ranked in the whole `network`, or in each `layer`. retrain: the epoch from which
    each pruned network is trained again, by the run's recipe; without it none is. weights: those of that epoch
    (`rewound`: from epoch 0, lottery tickets) or the last ones (`kept`). The directions stay zero where weights are.
    """

    own_axis: ClassVar[Axis] = Axis(name="sparsity", unit=" %", format=".3g")

    kind: Literal["pruning"] = "pruning"
    at: Annotated[tuple[Percent, ...], *LISTED] = (0.0, 50.0, 80.0, 90.0, 95.0, 98.0)
    per: Per = "network"
    retrain: float | None = Field(None, ge=0)
    weights: Literal["rewound", "kept"] = "rewound"

    @field_validator("at")
    @classmethod
    def _leaves_some(cls, at: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= share < 100 for share in at):
            raise ValueError("shares are from 0% to less than 100%, which would leave no network")
        return at

    def needs(self, run: Run) -> tuple[AnyRun, ...]:
        """Each pruned network trained again, if they are."""
        if self.retrain is None:
            return ()
        of = recipe_run(run, "trained again; take `retrain` out")
        common = {"recipe": of.recipe, "of": of, "per": self.per, "start": self.retrain, "weights": self.weights}
        return tuple(PrunedRun.model_validate({**common, "sparsity": share / 100}) for share in self.at if share)

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """A keyframe for every share. Raises SceneError if the run has no checkpoint to be trained again from."""
        last = at_checkpoint("last", runs[0])
        if self.retrain is not None and at_checkpoint(self.retrain, runs[0]) == last:
            raise SceneError(f"epoch {self.retrain:g} is the run's last: nothing is left to train; write less")
        keyframes, pruned = [], [share for share in self.at if share]
        for share in self.at:
            number = pruned.index(share) + 1 if share and self.retrain is not None else 0
            at = AtCheckpoint(last.checkpoint, number)
            centre = Pruned(at, share / 100, self.per) if share else at
            keyframes.append(Keyframe(share, centre, directions, grid, centre))
        return tuple(keyframes)

    def scored(self, runs: Runs, keyframes: Sequence[Keyframe]) -> Mapping[float, AtCheckpoint]:
        """Of networks that were trained again; nothing scores the others."""
        return {} if self.retrain is None else {k.coordinate: k.centre.checkpoints[0] for k in keyframes}


class Rescale(Stepped):
    """Two layers scaled against each other, which changes no output of a network of ReLUs (Dinh et al. 2017).

    The coordinate is the base-2 logarithm of the factor. That the loss stays the same is checked where it is measured.
    up: the layer whose weights and biases are multiplied, by name or pattern, such as `layers.1`. down: the one after
    it, whose weights are divided. to: the last factor. steps: from 1 to it. centre: the checkpoint.
    """

    own_axis: ClassVar[Axis] = Axis(name="scale", unit="\u00d7", format=".3g", base=2.0)

    kind: Literal["rescale"] = "rescale"
    up: Word
    down: Word
    to: Positive = 8.0
    steps: int = Field(12, ge=1, le=MOST_STEPS)
    centre: CheckpointName = "last"

    @model_validator(mode="after")
    def _changes(self) -> Self:
        if self.to == 1 or self.up == self.down:
            raise ValueError("nothing changes with `to: 1`, or if one layer is multiplied and divided")
        return self

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes at even steps of the factor's logarithm. Raises SceneError if the run lacks the checkpoint."""
        of, exponent = at_checkpoint(self.centre, runs[0]), float(np.log2(self.to))
        exponents = sorted(round(exponent * step / self.steps, 3) for step in range(self.steps + 1))
        centres = {e: Rescaled(of, self.up, self.down, 2.0**e) if e else of for e in exponents}
        return tuple(Keyframe(e, centre, directions, grid, centre) for e, centre in centres.items())


class Hyperparameter(BaseSweep):
    """The ends of several trainings, which differ in one key of the recipe.

    The coordinate is the value if all are numbers, else the place in the list.
    key: of the recipe, such as `optimizer.lr`, `batch` or `model.depth`. values: in the order of the film.
    """

    kind: Literal["hyperparameter"] = "hyperparameter"
    key: str
    values: Annotated[tuple[Word, ...], Field(min_length=2, max_length=MOST_TRAININGS)]

    def axis(self, runs: Runs) -> Axis:
        """The axis of the coordinates, named by the key."""
        return Axis(name=self.key.rpartition(".")[2], format=".3g")

    def needs(self, run: Run) -> tuple[AnyRun, ...]:
        """A training for each value."""
        origin = recipe_run(run, "trained with other values; write the recipe of the run")
        return tuple(origin.model_copy(update={"recipe": self._recipe(origin.recipe, value)}) for value in self.values)

    def reduced(self, runs: Runs, most: int) -> Self:
        """The same sweep with at most `most` keyframes, from the same first to the same last one, for a draft."""
        order: list[int] = np.argsort(self._coordinates, kind="stable").tolist()
        return self.model_copy(update={"values": tuple(self.values[i] for i in subsample(order, most))})

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """A keyframe for each training, at its last checkpoint."""
        ends = {at: at_checkpoint("last", runs[n], n) for n, at in enumerate(self._coordinates, 1)}
        return tuple(Keyframe(at, ends[at], directions, grid, ends[at]) for at in sorted(ends))

    @property
    def _coordinates(self) -> tuple[float, ...]:
        try:
            numbers = tuple(float(value) for value in self.values)
        except ValueError:
            return tuple(map(float, range(len(self.values))))
        if len(set(numbers)) < len(numbers):
            raise SceneError(f"values: {', '.join(self.values)}: one stands twice; keep it once")
        return numbers

    def _recipe(self, recipe: Recipe, value: str) -> Recipe:
        """The recipe with another value of the key. Raises SceneError for a key or a value that it does not have."""
        data: dict[str, Any] = recipe.model_dump()
        *path, last = self.key.split(".")
        part: Any = data
        for step in (*path, last):
            if not isinstance(part, dict) or step not in part:
                words = part if isinstance(part, dict) else ()
                raise SceneError(f"key: the recipe has no key '{self.key}'{nearest(step, words)}")
            part, inner = part[step], part
        inner[last] = value
        try:
            return Recipe.model_validate(data)
        except ValidationError as error:
            raise SceneError(f"values: {self.key}: {value}: {explain(error.errors()[0], None)}") from error
