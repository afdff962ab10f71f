"""Numbers that a scene claims: records of what is measured for them, so that none is typed.

scene, number, repetition  ->  the scene that is measured for it
values by repetition and keyframe  ->  the number and its spread
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self, get_args

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from studio.config.records import Record
from studio.config.units import Name
from studio.errors import SceneError
from studio.field import SHORT_FORMAT, Array, Grid
from studio.film.lines import TrajectoryLine
from studio.film.look import Look
from studio.landscape.convexity import Convexity, Spectrum
from studio.landscape.directions import Directions, Random
from studio.landscape.loss import Loss
from studio.landscape.sweeps.probes import Networks, Paths
from studio.landscape.sweeps.sweep import Sweep
from studio.training.runs import SurfacesRun

if TYPE_CHECKING:
    from studio.scene.landscape import Landscape

OfNetwork = Literal["loss", "accuracy", "lambda_min", "lambda_max", "trace"]
OfCheckpoint = Literal["gap", "train_loss", "test_loss", "train_accuracy", "test_accuracy"]
OfPlane = Literal["relief", "change", "sharpness"]
OfCurvature = Literal["hidden_share", "rank_correlation", "interlacing_share"]
OfModel = Literal["taylor_radius"]
OfPath = Literal["barrier", "share_in_plane"]
Measure = OfNetwork | OfCheckpoint | OfPlane | OfCurvature | OfModel | OfPath
OF_NETWORK, OF_CHECKPOINT, OF_CURVATURE = get_args(OfNetwork), get_args(OfCheckpoint), get_args(OfCurvature)
AT_CENTRE = ("lambda_min", "lambda_max", "trace", "sharpness")
"""Measures that need the curvature at the middle alone."""
MOST_REPETITIONS = 100
"""Of a number, each of which is measured."""
SLOPE_ERROR = 0.1
"""How far the exponent of a relief's growth may be from 2, as a share, where a bowl counts as quadratic."""
RESAMPLES = 2000
"""Of the bootstrap of a rank correlation."""


class Interval(NamedTuple):
    """A number with the ends of its spread."""

    value: float
    low: float
    high: float


def _check_format(text: str) -> str:
    if not SHORT_FORMAT.fullmatch(text):
        raise ValueError(f"'{text}' formats no number; write it like .3g or .0%")
    format(0.5, text)
    return text


class Number(Record):
    """A number that the picture or the table of claims shows, always as measured, with its spread.

    measure: at every keyframe, of its network: `loss`, `accuracy`, `lambda_min`, `lambda_max`, `trace` of the Hessian;
    of its checkpoint: `gap` (test loss minus training loss) or a metric; of its plane: `relief` (largest minus smallest
    loss), `change` (largest difference from the first keyframe's surface, as a share of that one's relief), `sharpness`
    (largest curvature in the plane, at the middle), `hidden_share`, `rank_correlation` and `interlacing_share` (as
    `compute` prints them), `taylor_radius`; of the way between two networks: `barrier` (highest loss on the straight
    line minus the mean at its ends); of a trajectory: `share_in_plane`.
    take: of the values along the sweep the `first`, `last`, `smallest`, `largest`, `median`, `each`; the `rise` of the
    largest over the mean of first and last; the `ratio` of the last to the first; the rank `correlation` with those
    of `against`; or the `quadratic-range`, the half side of the plane up to which a zoom's relief grows as its square.
    against: what a correlation is with. show: the landscape, of several. sweep, directions, grid, loss, convexity: in
    place of the landscape's. vary, times: the spread is that of so many random subsets, or directions, of seeds one
    after the other; of a `median` from the 5th to the 95th percentile, also over the keyframes; of a `correlation` the
    95 % interval of its bootstrap over the keyframes. format: as in Python. published: what the literature says, for
    the table.
    """

    measure: Measure
    take: Literal[
        "first", "last", "smallest", "largest", "median", "each", "rise", "ratio", "correlation", "quadratic-range"
    ] = "last"
    against: Measure | None = None
    show: Name | None = None
    sweep: Sweep | None = None
    directions: Directions | None = None
    grid: Grid | None = None
    loss: Loss | None = None
    convexity: Convexity | None = None
    vary: Literal["subset", "directions"] = "subset"
    times: int = Field(5, ge=1, le=MOST_REPETITIONS)
    format: Annotated[str, AfterValidator(_check_format)] = ".3g"
    published: str | None = None

    @model_validator(mode="after")
    def _compares_two(self) -> Self:
        if (self.take == "correlation") != (self.against is not None):
            raise ValueError("a correlation is with another measure: write both `take: correlation` and `against`")
        if self.take == "quadratic-range" and self.measure != "relief":
            raise ValueError("a quadratic-range is of the relief; write `measure: relief`")
        return self

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured at the keyframes."""
        return (self.measure, *([self.against] if self.against else []))

    def changes(self, landscape: Landscape, measure: str, repetition: int) -> dict[str, Any]:
        """The keys in which a scene with this landscape differs from the one that is measured for one of `measures`.

        Raises SceneError if there is no network, or no seed of the directions that are to be varied.
        """
        if isinstance(landscape.run, SurfacesRun):
            raise SceneError("a number is measured on a network, and run.kind: surfaces has none")
        given = ("sweep", "directions", "grid", "loss", "convexity")
        own: dict[str, Any] = {key: value for key in given if (value := getattr(self, key)) is not None}
        landscape = landscape.model_copy(update=own)
        return {**own, "detail": None} | self._seeds(landscape, repetition) | self._places(landscape, measure)

    def _seeds(self, landscape: Landscape, repetition: int) -> dict[str, Any]:
        record = landscape.loss if self.vary == "subset" else landscape.directions
        if self.times > 1 and not isinstance(record, Loss | Random):
            raise SceneError(f"directions: {record.kind} has no seed to vary; write `vary: subset`, or `times: 1`")
        seed = getattr(record, "seed", 0) + repetition
        return {"loss" if self.vary == "subset" else "directions": record.model_copy(update={"seed": seed})}

    def _places(self, landscape: Landscape, measure: str) -> dict[str, Any]:
        """The sweep, the curvature and the trajectory that a measure is taken from."""
        line = TrajectoryLine() if measure == "share_in_plane" else None
        # nothing is drawn, so a drawn field need not be measured
        look = Look.model_validate({"base": "ember"}).model_copy(update={"trajectory": line})
        shown = {"look": look, "shots": (), "deliver": ()}
        changes: dict[str, Any] = {**shown, "convexity": None}
        if measure in (*OF_NETWORK, *OF_CHECKPOINT, "barrier"):
            take = self.take if self.take in ("first", "last") else "all"
            changes["sweep"] = (Paths if measure == "barrier" else Networks)(of=landscape.sweep, take=take)
        if measure in ("sharpness", "share_in_plane", *OF_CURVATURE):
            changes["grid"] = landscape.grid.middle  # the loss itself is not asked
        convexity = landscape.convexity or Convexity()
        if measure in AT_CENTRE:
            spectrum = (convexity.spectrum or Spectrum()) if measure == "trace" else None
            changes["convexity"] = convexity.model_copy(update={"points": 1, "at": "all", "spectrum": spectrum})
        elif measure in (*OF_CURVATURE, "taylor_radius"):
            changes["convexity"] = convexity.model_copy(update={"spectrum": None})
        return changes

    def of(self, values: Array, against: Array | None = None, *, reaches: Sequence[float]) -> tuple[Interval, ...]:
        """The number, or with `take: each` that of each keyframe, with its spread.

        values, against: [repetitions, keyframes]. reaches: half sides of the planes.
        """
        if against is not None:
            return (_correlation(np.median(values, 0), np.median(against, 0)),)
        if self.take == "median":
            return (Interval(*(float(np.percentile(values, q)) for q in (50, 5, 95))),)
        if self.take == "each":
            return tuple(map(_spread, values.T))
        return (_spread([self._take(row, np.asarray(reaches)) for row in values]),)

    def _take(self, values: Array, reaches: Array) -> float:
        match self.take:
            case "first":
                return float(values[0])
            case "smallest":
                return float(values.min())
            case "largest":
                return float(values.max())
            case "rise":
                return float(values.max() - (values[0] + values[-1]) / 2)
            case "ratio":
                return float(values[-1] / values[0])
            case "quadratic-range":
                return _quadratic_range(values, reaches)
        return float(values[-1])

    def text(self, number: Interval) -> str:
        """The number as the picture shows it, its spread in brackets unless it has none."""
        value, low, high = (format(part, self.format) for part in number)
        return value if low == value == high else f"{value} ({low} to {high})"


def _spread(values: Sequence[float]) -> Interval:
    return Interval(float(np.median(values)), float(min(values)), float(max(values)))


def _correlation(values: Array, against: Array) -> Interval:
    """Spearman's rank correlation with the 95 % interval of its bootstrap."""
    from studio.landscape.curvature.plane import rank_correlation

    resamples = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    resampled = [rank_correlation(values[rows], against[rows]) for rows in resamples]
    low, high = np.nanpercentile(resampled, [2.5, 97.5])  # a resample of one run alone has no correlation
    return Interval(rank_correlation(values, against), float(low), float(high))


def _quadratic_range(relief: Array, reaches: Array) -> float:
    """The largest reach up to which ln relief over ln reach has slope 2, from the smallest that has it; NaN if none."""
    order = np.argsort(reaches)
    reaches, relief = reaches[order], relief[order]
    slopes = np.diff(np.log(relief)) / np.diff(np.log(reaches))
    is_quadratic = np.abs(slopes - 2) <= 2 * SLOPE_ERROR
    if not is_quadratic.any():
        return float("nan")
    first = int(is_quadratic.argmax())
    length = int(np.append(~is_quadratic[first:], True).argmax())
    return float(reaches[first + length])
