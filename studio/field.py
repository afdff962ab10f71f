"""Grids of sample points, and measured Fields over (keyframe, beta, alpha) that are functions of the coordinate.

A Field can be evaluated at any coordinate of its sweep. At a keyframe it returns the measured values, to the bit.
Between keyframes it interpolates on a scale that suits the quantity: `monotone` stays between the two neighbouring
measurements, but every point comes to rest at each keyframe; `cubic` has continuous speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import model_validator
from scipy.interpolate import CubicSpline, PchipInterpolator

from studio.config.records import Record

Array = npt.NDArray[Any]
Scale = Literal["linear", "log", "signed-log"]
Interpolation = Literal["cubic", "monotone"]
_TINY = np.finfo(np.float64).tiny
MIN_EIGENVALUE_SCALE = 1e-3
"""Smallest scale of an extreme eigenvalue, as a share of the larger one: tolerances are relative to no less."""


class Grid(Record):
    """The sample points (alpha, beta) of a slice, the same along both directions, in units of delta and eta.

    range: smallest and largest coordinate, centred on 0. points: samples along each side; odd, so that the minimiser
    is a node.
    """

    range: tuple[float, float] = (-1.0, 1.0)
    points: int = 51

    @model_validator(mode="after")
    def _check(self) -> Grid:
        low, high = self.range
        if not low < high:
            raise ValueError(f"range [{low:g}, {high:g}] is empty or reversed; write the smaller end first")
        if self.points < 3 or self.points % 2 == 0:
            raise ValueError(
                f"{self.points} points: expected an odd number of at least 3, so that the minimiser is a node"
            )
        if abs(low + high) > 1e-9 * (high - low):
            raise ValueError(f"range [{low:g}, {high:g}] is not centred on 0, where the minimiser stands")
        return self

    @property
    def axis(self) -> Array:
        """Coordinates along one side [points], float64; the middle one is exactly 0."""
        half = np.linspace(0.0, self.range[1], self.points // 2 + 1)
        return np.concatenate([-half[:0:-1], half])

    @property
    def sides(self):
        return (self.range, self.range)

    def scaled(self, factor: float) -> Grid:
        """The same points over a range that is `factor` times as wide around (0, 0)."""
        return self.model_copy(update={"range": tuple(factor * end for end in self.range)})

    @property
    def size(self) -> int:
        """Number of points."""
        return self.points**2

    @property
    def spacing(self) -> float:
        """Distance between neighbouring points along a side."""
        return (self.range[1] - self.range[0]) / (self.points - 1)


def to_scale(values: Array, scale: Scale) -> Array:
    """Values on the scale of interpolation: ln x for `log`, asinh x for `signed-log`.

    >>> to_scale(np.array([1.0, 100.0]), "log").round(3).tolist()
    [0.0, 4.605]
    """
    if scale == "log":
        return np.asarray(np.log(np.maximum(values, _TINY)))
    return np.asarray(np.arcsinh(values)) if scale == "signed-log" else values


def from_scale(values: Array, scale: Scale) -> Array:
    """The inverse of `to_scale`."""
    if scale == "log":
        return np.asarray(np.exp(values))
    return np.asarray(np.sinh(values)) if scale == "signed-log" else values


def negative_share(low: Array, high: Array) -> Array:
    """max(0, -low) / max(|low|, |high|) for the ends of a spectrum: 0 is convex, 1 is concave; NaN if flat or unknown.

    >>> negative_share(np.array([-1.0, 1.0, 0.0]), np.array([4.0, 4.0, 0.0])).tolist()
    [0.25, 0.0, nan]
    """
    largest = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(largest > 0, np.maximum(0.0, -low) / largest, np.nan)


def hidden_curvature(lambda_min: Array, lambda_max: Array, kappa_min: Array, kappa_max: Array) -> Array:
    """1 where the loss is convex in its plane but not in the space, kappa_min > 0 > lambda_min, else 0; NaN: unknown.

    An eigenvalue below `MIN_EIGENVALUE_SCALE` times the larger end of its spectrum counts as 0: within the tolerance of
    the measurement, its sign may be chance.
    """
    ends = (kappa_min, kappa_max), (lambda_min, lambda_max)
    plane, space = (MIN_EIGENVALUE_SCALE * np.maximum(np.abs(low), np.abs(high)) for low, high in ends)
    with np.errstate(invalid="ignore"):
        concave_elsewhere = (kappa_min > plane) & (lambda_min < -space)
    return np.where(np.isfinite(plane + space), concave_elsewhere, np.nan)


@dataclass(frozen=True)
class Field:
    """One measured quantity over (keyframe, beta, alpha) [K, points, points]; inf and NaN stay as measured.

    scale: scale of the interpolation in time; `signed-log` is arcsinh, for eigenvalues. interpolation: `monotone`
    (PCHIP) stays between the two neighbouring measurements; `cubic` (a C2 spline) may overshoot them a little, but
    never falls below the smallest value of all.
    """

    coordinates: tuple[float, ...]
    grid: Grid
    values: Array = field(repr=False, hash=False)
    scale: Scale = "linear"
    interpolation: Interpolation = "monotone"

    def at(self, coordinate: float) -> Array:
        """The values [points, points] at a coordinate; constant before the first keyframe and after the last.

        A point that is not finite at a neighbouring keyframe is NaN, or inf if it is inf at the nearer one.
        """
        coordinates = self.coordinates
        after = min(int(np.searchsorted(coordinates, coordinate, side="left")), len(coordinates) - 1)
        if after == 0 or coordinates[after] <= coordinate:
            return np.asarray(self.values[after])
        between = np.maximum(from_scale(self._interpolate(coordinate), self.scale), self._smallest)
        nearer = after if coordinates[after] - coordinate < coordinate - coordinates[after - 1] else after - 1
        broken = ~np.isfinite(self.values[after]) | ~np.isfinite(self.values[after - 1])
        replacement = np.where(np.isinf(self.values[nearer]), self.values[nearer], np.nan)
        return np.where(broken, replacement, between)

    def _interpolate(self, coordinate: float) -> Array:
        """Values on their scale; a point that is not finite at some keyframe is always interpolated monotonically."""
        if self.interpolation == "monotone" or len(self.coordinates) < 3:
            return np.asarray(self._monotone(coordinate))
        smooth = np.asarray(self._cubic(coordinate))
        always_finite = self._always_finite
        return smooth if always_finite.all() else np.where(always_finite, smooth, self._monotone(coordinate))

    @cached_property
    def _always_finite(self) -> npt.NDArray[np.bool_]:
        """Mask [points, points] of the points that are finite at every keyframe."""
        return np.asarray(np.isfinite(self.values).all(axis=0))

    @cached_property
    def _smallest(self) -> float:
        return float(self.finite.min()) if self.finite.size else -np.inf

    @cached_property
    def _monotone(self) -> PchipInterpolator:
        return PchipInterpolator(self.coordinates, self._values_on_scale, axis=0)

    @cached_property
    def _cubic(self) -> CubicSpline:
        return CubicSpline(self.coordinates, self._values_on_scale, axis=0, bc_type="natural")

    @property
    def _values_on_scale(self) -> Array:
        """Values [K, points, points] on their scale, for the splines; gaps are filled from neighbouring keyframes."""
        values = np.asarray(self.values, dtype=np.float64)
        return _fill_gaps(to_scale(np.where(np.isfinite(values), values, np.nan), self.scale))

    @property
    def finite(self) -> Array:
        """All finite values, flat."""
        return np.asarray(self.values[np.isfinite(self.values)])


def _fill_gaps(values: Array) -> Array:
    """NaN replaced by the nearest earlier (else later) keyframe, only so that slopes elsewhere stay defined."""
    values = values.copy()
    for k in range(1, len(values)):
        values[k] = np.where(np.isnan(values[k]), values[k - 1], values[k])
    for k in range(len(values) - 2, -1, -1):
        values[k] = np.where(np.isnan(values[k]), values[k + 1], values[k])
    return np.nan_to_num(values)


@dataclass(frozen=True)
class Trajectory:
    """The run's checkpoints in the plane of each keyframe: (alpha, beta) [K, K, 2], by keyframe and checkpoint.

    share_in_plane: share of the distances between checkpoints that lies in the planes.
    """

    coordinates: tuple[float, ...]
    places: Array = field(repr=False, hash=False)
    share_in_plane: float

    def at(self, coordinate: float) -> Array:
        """The trajectory [n, 2] from the first checkpoint to the centre, in the plane at a coordinate.

        Linear between the planes of two keyframes.
        """
        coordinates = np.array(self.coordinates)
        position = float(np.interp(coordinate, coordinates, np.arange(len(coordinates))))
        k = min(int(position), len(coordinates) - 2) if len(coordinates) > 1 else 0
        following = self.places[min(k + 1, len(coordinates) - 1)]
        places = self.places[k] + (position - k) * (following - self.places[k])
        return np.concatenate([places[coordinates < coordinate], np.zeros((1, 2))])


@dataclass(frozen=True)
class Markers:
    """Where the network is in the plane at each keyframe: (alpha, beta) [K, 2]; NaN for nowhere. Linear in between."""

    coordinates: tuple[float, ...]
    places: Array = field(repr=False, hash=False)


@dataclass(frozen=True)
class Axis:
    """What the coordinates of a sweep are. unit: follows the number. format: of the number, as in Python.

    base: if any, the number is this to the power of the coordinate.
    """

    name: str = "epoch"
    unit: str = ""
    format: str = ".1f"
    base: float | None = None

    def label(self, coordinate: float) -> str:
        """A coordinate as the picture names it."""
        number = coordinate if self.base is None else self.base**coordinate
        return f"{self.name} {number:{self.format}}{self.unit}"


DETAIL = "@detail"
"""Suffix of a field's name that names the same field on the finer grid around the centre."""


@dataclass(frozen=True)
class Instant:
    """All fields and metrics at one coordinate of the sweep, and the trajectory [n, 2] up to it, if it is known.

    detail: weight of the finer grids (fields named with `DETAIL`), 0 to 1; 0 where none was measured.
    """

    coordinate: float
    grids: Mapping[str, Grid]
    values: Mapping[str, Array]
    metrics: Mapping[str, float]
    trajectory: Array | None = None
    detail: float = 0.0


@dataclass(frozen=True)
class Surfaces:
    """The measured fields of a film, by name, and the run's metrics: {name: [C]}, C checkpoints.

    A name that ends in `DETAIL` is a field on a finer grid around the centre, at some of the keyframes.
    metric_coordinates: of the metrics [C]. held_at: the only coordinate that is shown, for a still.
    """

    fields: Mapping[str, Field]
    metric_coordinates: tuple[float, ...] = ()
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    trajectory: Trajectory | None = None
    held_at: float | None = None
    axis: Axis = Axis()
    markers: Markers | None = None

    def at(self, coordinate: float) -> Instant:
        """Every field and metric at a coordinate, or at `held_at`. Metrics are interpolated linearly."""
        coordinate = coordinate if self.held_at is None else self.held_at
        return Instant(
            coordinate,
            {name: f.grid for name, f in self.fields.items()},
            {name: f.at(coordinate) for name, f in self.fields.items()},
            {name: float(np.interp(coordinate, self.metric_coordinates, m)) for name, m in self.metrics.items()},
            self.trajectory.at(coordinate) if self.trajectory else None,
            self._detail(coordinate),
        )

    def _detail(self, coordinate: float) -> float:
        """1 between the first and last keyframe of the finer grid, with a smooth step over one interval outside."""
        fine = self.fields.get("loss" + DETAIL)
        if fine is None:
            return 0.0
        coarse, first, last = np.array(self.fields["loss"].coordinates), fine.coordinates[0], fine.coordinates[-1]
        before, after = coarse[coarse < first].max(initial=-np.inf), coarse[coarse > last].min(initial=np.inf)
        share = min(_progress(coordinate, before, first), _progress(coordinate, after, last))
        return share * share * (3 - 2 * share)


def _progress(coordinate: float, start: float, end: float) -> float:
    """Position of a coordinate between start (0) and end (1), clipped; 1 if start is infinite."""
    if not np.isfinite(start):
        return 1.0
    return float(np.clip((coordinate - start) / (end - start), 0.0, 1.0))
