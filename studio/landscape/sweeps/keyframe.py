"""Keyframes, into which a sweep unrolls, ordered by their coordinates; and what all sweeps have in common.

runs, directions, grid  ->  keyframes: coordinate, centre, directions, grid, marker
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from studio.config.records import Record
from studio.errors import SceneError
from studio.field import Axis, Grid
from studio.landscape.centres import AtCheckpoint, Centre
from studio.landscape.directions import Directions
from studio.training.derived import AnyRun
from studio.training.recipe import Window
from studio.training.runs import Run, SurfacesRun

MOST_KEYFRAMES, MOST_STEPS = 1000, 400
"""Keyframes of a sweep, each of which is measured for minutes, and steps of one between two ends."""
MOST_TRAININGS = 100
"""Trainings that a sweep needs."""
Runs = tuple[AnyRun | SurfacesRun, ...]
"""The scene's run, then those that its sweep needs."""
T = TypeVar("T")
CheckpointName = float | Literal["last"]
NO_CHECKPOINT = "the run has no checkpoint"


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


def _parse_coordinates(value: Any) -> Any:
    """`all`, or coordinates in ascending order, each once; windows among them stay for their own record to parse."""
    if value == "all":
        return "all"
    try:
        if isinstance(value, str):
            raise ValueError(value)
        entries = [entry if isinstance(entry, dict | Window) else round(float(entry), 3) for entry in value]
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not understood; write all, or a list like [0, 2, 6]") from None
    if not entries:
        raise ValueError("an empty list; write all, or a list like [0, 2, 6]")
    return tuple(sorted(set(entries))) if all(isinstance(entry, float) for entry in entries) else tuple(entries)


Coordinates = Annotated[
    Literal["all"] | Annotated[tuple[Window | float, ...], Field(min_length=1)], BeforeValidator(_parse_coordinates)
]
"""`all`, or coordinates of a sweep, rounded to thousandths, and windows of them."""


def select(at: Coordinates, available: Sequence[float], axis: Axis, has: str) -> tuple[float, ...]:
    """The coordinates that `at` names, ascending: of a window the nearest inside to each of its instants.

    Raises SceneError as `require` does, and for a window in which there are none.
    """
    if at == "all":
        return tuple(available)
    known, chosen = set(available), set[float]()
    for entry in at:
        if isinstance(entry, float):
            chosen.add(entry if entry in known else require(entry, available, axis, has))
            continue
        inside = [coordinate for coordinate in available if entry.from_ <= coordinate <= entry.to]
        if not inside:
            raise SceneError(f"{axis.name} {entry.from_:g} to {entry.to:g}: {has} there")
        middles = [1000 * (a + b) / 2 for a, b in pairwise(inside)]  # beyond one, the next coordinate is nearer
        chosen |= {inside[bisect(middles, instant)] for instant in entry.thousandths}
    return tuple(sorted(chosen))


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


def subsample(items: Sequence[T], most: int) -> tuple[T, ...]:
    """At most `most` of the items, evenly by rank, the first and the last among them."""
    if len(items) <= most:
        return tuple(items)
    return tuple(items[round(i * (len(items) - 1) / (most - 1))] for i in range(most))


def at_checkpoint(checkpoint: CheckpointName, run: AnyRun | SurfacesRun, number: int = 0) -> AtCheckpoint:
    """A checkpoint of a run; `last` is its last one. Raises SceneError if the run has none there."""
    existing = run.instants()
    if checkpoint == "last":
        return AtCheckpoint(existing[-1], number)
    return AtCheckpoint(require(checkpoint, existing, run.axis, NO_CHECKPOINT), number)


class BaseSweep(Record):
    """What every sweep has; a kind may say otherwise. own_axis: of its coordinates, if they are not the run's."""

    own_axis: ClassVar[Axis | None] = None

    def axis(self, runs: Runs) -> Axis:
        """The axis of the coordinates."""
        return self.own_axis or runs[0].axis

    def needs(self, run: Run) -> tuple[AnyRun, ...]:
        """Runs beside the scene's `run` that are trained before the sweep unrolls."""
        return ()

    def scored(self, runs: Runs, keyframes: Sequence[Keyframe]) -> Mapping[float, AtCheckpoint]:
        """Checkpoints by the coordinates at which their metrics are those of the network shown; {} if there are none.

        They are those of the markers, if each stands at a checkpoint.
        """
        markers = {keyframe.coordinate: keyframe.marker for keyframe in keyframes}
        at = {coordinate: marker for coordinate, marker in markers.items() if isinstance(marker, AtCheckpoint)}
        return at if len(at) == len(markers) else {}


class AlongRun(BaseSweep):
    """A sweep along the run's own checkpoints. at: `all`, or a list of them and of windows."""

    at: Coordinates = "all"

    def reduced(self, runs: Runs, most: int) -> Self:
        """The same sweep with at most `most` keyframes, from the same first to the same last one, for a draft."""
        return self.model_copy(update={"at": subsample(self._chosen(runs), most)})

    def scored(self, runs: Runs, keyframes: Sequence[Keyframe]) -> Mapping[float, AtCheckpoint]:
        """Every checkpoint of the run, also those between the keyframes."""
        return {checkpoint: AtCheckpoint(checkpoint) for checkpoint in runs[0].instants()}

    def _chosen(self, runs: Runs) -> tuple[float, ...]:
        chosen = select(self.at, runs[0].instants(), runs[0].axis, NO_CHECKPOINT)
        if len(chosen) > MOST_KEYFRAMES:
            raise SceneError(f"{len(chosen)} keyframes; expected at most {MOST_KEYFRAMES}: list some under `at`")
        return chosen


LISTED = Field(min_length=1, max_length=MOST_TRAININGS), AfterValidator(lambda values: tuple(sorted(set(values))))
"""Annotations of the coordinates of a `Listed` sweep."""


class Listed(BaseSweep):
    """A sweep over a list, each entry of which may need a training. at: the coordinates; they are put in order."""

    at: Annotated[tuple[float, ...], *LISTED]

    def reduced(self, runs: Runs, most: int) -> Self:
        """The same sweep with at most `most` keyframes, from the same first to the same last one, for a draft."""
        return self.model_copy(update={"at": subsample(self.at, most)})


class Stepped(BaseSweep):
    """A sweep in even steps. steps: from the first keyframe to the last."""

    steps: int = Field(20, ge=1, le=MOST_STEPS)

    def reduced(self, runs: Runs, most: int) -> Self:
        """The same sweep with at most `most` keyframes, from the same first to the same last one, for a draft."""
        return self.model_copy(update={"steps": min(self.steps, most - 1)})
