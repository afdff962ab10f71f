"""Sweeps: what changes from keyframe to keyframe. A sweep unrolls into keyframes, ordered by their coordinates.

    runs, directions, grid  ->  keyframes: coordinate, centre, directions, grid, marker

A new sweep is a record with `axis` and `unroll`, in the union at the foot; `needs` names trainings beside the scene's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from studio.config.records import BY_KIND, Record
from studio.config.units import Angle, Positive
from studio.errors import SceneError
from studio.field import Axis, Grid
from studio.landscape.centres import AtCheckpoint, Between, Centre
from studio.landscape.directions import Directions, Random
from studio.training.runs import NetworkRun, RecipeRun, Run, SurfacesRun

MOST_KEYFRAMES, MOST_STEPS = 1000, 100
"""Keyframes of a sweep, each of which is measured for minutes, and steps of one between two ends."""
Runs = tuple[Run, ...]
"""The scene's run, then those that its sweep needs."""


@dataclass(frozen=True)
class Keyframe:
    """One measured instant of a sweep: the plane through `centre` along the directions, on a grid.

    coordinate: where it stands on the sweep's axis; its digest leaves out this and the marker, so that a plane which
    is held fixed is measured once. marker: where the network is, projected onto the plane; None if nowhere.
    """

    coordinate: float
    centre: Centre
    directions: Directions
    grid: Grid
    marker: Centre | None


def _parse_coordinates(value: str | Iterable[float | str]) -> str | tuple[float, ...]:
    """`all`, or coordinates in ascending order, each once."""
    if value == "all":
        return "all"
    try:
        if isinstance(value, str):
            raise ValueError(value)
        coordinates = tuple(sorted({round(float(coordinate), 3) for coordinate in value}))
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not understood; write all, or a list like [0, 2, 6]") from None
    if not coordinates:
        raise ValueError("an empty list; write all, or a list like [0, 2, 6]")
    return coordinates


Coordinates = Annotated[
    Literal["all"] | tuple[float, ...],
    BeforeValidator(_parse_coordinates),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]}),
]
"""`all`, or coordinates of a sweep, ascending and rounded to thousandths."""


def select(at: Coordinates, available: Sequence[float], axis: Axis, has: str) -> tuple[float, ...]:
    """The coordinates that `at` names, ascending. Raises SceneError as `require` does."""
    known = set(available)
    return tuple(available) if at == "all" else tuple(a if a in known else require(a, available, axis, has) for a in at)


def require(coordinate: float, available: Sequence[float], axis: Axis, has: str) -> float:
    """The coordinate itself. Raises SceneError, naming the nearest that exist, if it is not available.

    has: what there is not, such as "the run has no checkpoint".
    """
    if coordinate in available:
        return coordinate
    nearest = sorted(sorted(available, key=lambda other: abs(other - coordinate))[:2])
    raise SceneError(
        f"{axis.name} {coordinate:g}: {has} there; the nearest it has: "
        f"{', '.join(f'{other:g}' for other in nearest) or 'none'}"
    )


def subsample(coordinates: Sequence[float], most: int) -> tuple[float, ...]:
    """At most `most` of the coordinates, evenly by rank, the first and the last among them."""
    if len(coordinates) <= most:
        return tuple(coordinates)
    return tuple(coordinates[round(i * (len(coordinates) - 1) / (most - 1))] for i in range(most))


def at_checkpoint(checkpoint: float | Literal["last"], run: Run, number: int = 0) -> AtCheckpoint:
    """A checkpoint of a run; `last` is its last one. Raises SceneError if the run has none there."""
    existing = run.instants()
    if checkpoint == "last":
        return AtCheckpoint(existing[-1], number)
    return AtCheckpoint(require(checkpoint, existing, run.axis, _NO_CHECKPOINT), number)


_NO_CHECKPOINT = "the run has no checkpoint"
CheckpointName = float | Literal["last"]


class _Sweep(Record):
    """What every sweep has; a kind may say otherwise."""

    def needs(self, run: Run) -> Runs:
        """Runs beside the scene's `run` that are trained before the sweep unrolls."""
        return ()

    def scored(self, runs: Runs, keyframes: Sequence[Keyframe]) -> Mapping[float, AtCheckpoint]:
        """Checkpoints by the coordinates at which their metrics are those of the network shown; {} if there are none.

        They are those of the markers, if each stands at a checkpoint of one run.
        """
        markers = {keyframe.coordinate: keyframe.marker for keyframe in keyframes}
        at = {coordinate: marker for coordinate, marker in markers.items() if isinstance(marker, AtCheckpoint)}
        return at if len(at) == len(markers) and len({marker.run for marker in at.values()}) == 1 else {}


class _AlongRun(_Sweep):
    """A sweep along the run's own checkpoints. at: `all`, or a list of them."""

    at: Coordinates = "all"

    def axis(self, runs: Runs) -> Axis:
        """The axis of the coordinates: the run's."""
        return runs[0].axis

    def reduced(self, runs: Runs, most: int) -> Self:
        """The same sweep with at most `most` keyframes, from the same first to the same last one, for a draft."""
        return self.model_copy(update={"at": subsample(self._chosen(runs), most)})

    def scored(self, runs: Runs, keyframes: Sequence[Keyframe]) -> Mapping[float, AtCheckpoint]:
        """Every checkpoint of the run, also those between the keyframes."""
        return {checkpoint: AtCheckpoint(checkpoint) for checkpoint in runs[0].instants()}

    def _chosen(self, runs: Runs) -> tuple[float, ...]:
        chosen = select(self.at, runs[0].instants(), runs[0].axis, _NO_CHECKPOINT)
        if len(chosen) > MOST_KEYFRAMES:
            raise SceneError(f"{len(chosen)} keyframes; expected at most {MOST_KEYFRAMES}: list some under `at`")
        return chosen


class _Stepped(_Sweep):
    """A sweep in even steps. steps: from the first keyframe to the last."""

    steps: int = Field(20, ge=1, le=MOST_STEPS)

    def reduced(self, runs: Runs, most: int) -> Self:
        """The same sweep with at most `most` keyframes, from the same first to the same last one, for a draft."""
        return self.model_copy(update={"steps": min(self.steps, most - 1)})


class Epochs(_AlongRun):
    """The run's own checkpoints: one slice at each, or at those listed. The coordinate is the epoch.

    For surfaces that the user brings these are the file's own coordinates, whatever they count.
    at: `all`, or a list of epochs.
    """

    former: ClassVar[Mapping[str, str]] = {"keys": "at"}

    kind: Literal["epochs"] = "epochs"

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """A keyframe at each checkpoint, and the network at its centre. Raises SceneError if the run lacks one."""
        centres = map(AtCheckpoint, self._chosen(runs))
        return tuple(Keyframe(centre.checkpoint, centre, directions, grid, centre) for centre in centres)


class Trajectory(_AlongRun):
    """One plane that stands still, and the network moving past it: measured once. The coordinate is the epoch.

    The marker stands on the point of the plane that is nearest to the network.
    at: epochs at which the network is shown, `all` or a list. centre: the checkpoint that the plane goes through.
    """

    kind: Literal["trajectory"] = "trajectory"
    centre: CheckpointName = "last"

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes of one plane. Raises SceneError if the run lacks a checkpoint."""
        centre = at_checkpoint(self.centre, runs[0])
        return tuple(Keyframe(at, centre, directions, grid, AtCheckpoint(at)) for at in self._chosen(runs))


class Zoom(_Stepped):
    """The grid's range shrinks towards the centre by a constant factor from keyframe to keyframe.

    The coordinate counts how often the range was halved, so that a steady walk along it is a steady zoom: 3 shows an
    eighth of the first range, and -1 twice as much.
    to: the last range as a multiple of the grid's; above 1 the range grows. steps: from the first to the last.
    centre: the checkpoint.
    """

    kind: Literal["zoom"] = "zoom"
    to: Positive = 0.01
    steps: int = Field(12, ge=1, le=MOST_STEPS)
    centre: CheckpointName = "last"

    def axis(self, runs: Runs) -> Axis:
        """The axis of the coordinates, labelled by the magnification."""
        return Axis(name="zoom", unit="\u00d7", format=".3g", base=2.0)

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


class Rotation(_Stepped):
    """The plane turns: delta becomes cos(angle) delta + sin(angle) of a third random direction, normalised anew.

    through: how far, in degrees, which are the coordinates. steps: from the first to the last angle.
    seeds: planes of these seeds one after the other instead; the coordinate counts them from 0.
    centre: the checkpoint.
    """

    kind: Literal["rotation"] = "rotation"
    through: Angle = 180.0
    steps: int = Field(24, ge=1, le=MOST_STEPS)
    seeds: tuple[int, ...] | None = Field(None, min_length=2)
    centre: CheckpointName = "last"

    def axis(self, runs: Runs) -> Axis:
        """The axis of the coordinates."""
        return Axis(name="angle", unit=" deg", format=".0f") if self.seeds is None else Axis(name="plane", format=".0f")

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes at one centre. Raises SceneError for directions that are not random, or a missing checkpoint."""
        if not isinstance(directions, Random):
            raise SceneError("a rotation turns random directions; write `directions: random`, or another sweep")
        centre = at_checkpoint(self.centre, runs[0])
        if self.seeds is not None:
            turned: list[tuple[float, dict[str, float]]] = [
                (float(k), {"seed": seed}) for k, seed in enumerate(self.seeds)
            ]
        else:
            angles = (self.through * step / self.steps for step in range(self.steps + 1))
            turned = sorted((round(angle, 3), {"angle": round(angle, 3) % 360.0}) for angle in angles)
        return tuple(
            Keyframe(coordinate, centre, directions.model_copy(update=change), grid, centre)
            for coordinate, change in turned
        )


class Chord(_Stepped):
    """The straight line from the end of the run to the end of another; the coordinate goes from 0 to 1.

    Running statistics are mixed like the weights: `mode: recalibrated` computes them anew.
    to: the other run, of the same model. seed: or the same recipe, trained from this seed. steps: from end to end.
    """

    kind: Literal["chord"] = "chord"
    to: NetworkRun | None = None
    seed: int | None = Field(None, ge=0)
    steps: int = Field(20, ge=1, le=MOST_STEPS)

    def axis(self, runs: Runs) -> Axis:
        """The axis of the coordinates."""
        return Axis(name="t", format=".2f")

    def needs(self, run: Run) -> Runs:
        """The other run."""
        if self.to is not None:
            return (self.to,)
        if not isinstance(run, RecipeRun):
            raise SceneError("only a recipe can be trained from another seed; name the other run under `to`")
        return (run.model_copy(update={"recipe": run.recipe.model_copy(update={"seed": self.seed})}),)

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes at even shares. Raises SceneError if the two models differ."""
        if len({run.recipe.model for run in runs if not isinstance(run, SurfacesRun)}) > 1:
            raise SceneError("the two runs have different models, whose weights no line connects")
        ends = at_checkpoint("last", runs[0]), at_checkpoint("last", runs[1], 1)
        shares = (round(step / self.steps, 3) for step in range(1, self.steps))
        centres: dict[float, Centre] = {
            0.0: ends[0],
            **{share: Between(*ends, share) for share in shares},
            1.0: ends[1],
        }
        return tuple(Keyframe(share, centre, directions, grid, centre) for share, centre in centres.items())

    @model_validator(mode="after")
    def _names_one_run(self) -> Self:
        if (self.to is None) == (self.seed is None):
            raise ValueError("a chord leads to another run: write either `seed: 1`, or the run under `to`")
        return self


Sweep = Annotated[Epochs | Trajectory | Zoom | Rotation | Chord, *BY_KIND]
