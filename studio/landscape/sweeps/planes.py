"""Sweeps around one network: other grids and other planes through it."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from studio.config.units import Angle, Positive
from studio.errors import SceneError
from studio.field import Axis, Grid
from studio.landscape.directions import Directions, Random
from studio.landscape.sweeps.keyframe import MOST_STEPS, CheckpointName, Keyframe, Runs, Stepped, at_checkpoint


class Zoom(Stepped):
    """The grid's range shrinks towards the centre by a constant factor from keyframe to keyframe.

    The coordinate counts how often the range was halved, so that a steady walk along it is a steady zoom: 3 shows an
    eighth of the first range, and -1 twice as much.
    to: the last range as a multiple of the grid's; above 1 the range grows. steps: from the first to the last. centre:
    the checkpoint.
    """

    own_axis: ClassVar[Axis] = Axis(name="zoom", unit="\u00d7", format=".3g", base=2.0)

    kind: Literal["zoom"] = "zoom"
    to: Positive = 0.01
    steps: int = Field(12, ge=1, le=MOST_STEPS)
    centre: CheckpointName = "last"

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes whose grids have the same number of points. Raises SceneError if the run lacks the checkpoint."""
        centre = at_checkpoint(self.centre, runs[0])
        factors = [self.to ** (step / self.steps) for step in range(self.steps + 1)]
        keyframes = (
            Keyframe(round(0.0 - float(np.log2(factor)), 3), centre, directions, grid.scaled(factor), centre)
            for factor in factors
        )
        return tuple(sorted(keyframes, key=lambda keyframe: keyframe.coordinate))

    @model_validator(mode="after")
    def _changes(self) -> Self:
        if self.to == 1:
            raise ValueError("to: 1 is no zoom; write a smaller number to zoom in, or a larger one to zoom out")
        return self


class Rotation(Stepped):
    """The plane turns: delta becomes cos(angle) delta + sin(angle) of a third random direction, normalised anew.

    through: how far, in degrees, which are the coordinates. steps: from the first to the last angle.
    seeds: planes of these seeds one after the other instead; the coordinate counts them from 0. centre: the checkpoint.
    """

    kind: Literal["rotation"] = "rotation"
    through: Angle = 180.0
    steps: int = Field(24, ge=1, le=MOST_STEPS)
    seeds: tuple[int, ...] | None = Field(None, min_length=2, max_length=MOST_STEPS)
    centre: CheckpointName = "last"

    def axis(self, runs: Runs) -> Axis:
        """The axis of the coordinates."""
        return Axis(name="angle", unit=" deg", format=".0f") if self.seeds is None else Axis(name="plane", format=".0f")

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes at one centre. Raises SceneError for directions that are not random, or a missing checkpoint."""
        if not isinstance(directions, Random):
            raise SceneError("a rotation turns random directions; write `directions: random`, or another sweep")
        centre = at_checkpoint(self.centre, runs[0])
        angles = sorted(round(self.through * step / self.steps, 3) for step in range(self.steps + 1))
        turned: list[tuple[float, dict[str, float]]] = [(angle, {"angle": angle % 360.0}) for angle in angles]
        if self.seeds is not None:
            turned = [(float(k), {"seed": seed}) for k, seed in enumerate(self.seeds)]
        return tuple(
            Keyframe(coordinate, centre, directions.model_copy(update=change), grid, centre)
            for coordinate, change in turned
        )
