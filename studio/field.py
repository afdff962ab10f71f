"""Grids of sample points, and measured Fields over (keyframe, beta, alpha) that are functions of the coordinate.

A Field can be evaluated at any coordinate of its sweep: layers of values on grids, coarse to fine. At a keyframe they
are the measured values, to the bit. Between keyframes on one grid it interpolates on a scale that suits the quantity:
`monotone` stays between the two neighbouring measurements, but every point comes to rest at each keyframe; `cubic` has
continuous speed. Between keyframes on nested grids, as in a zoom, the finer one is a layer over the coarser one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Discriminator, Tag, field_validator
from scipy.interpolate import CubicSpline, PchipInterpolator

from studio.config.records import Record
from studio.config.units import Positive

Array = npt.NDArray[Any]
Scale = Literal["linear", "log", "sqrt", "signed-log"]
Interpolation = Literal["cubic", "monotone"]
_TINY = np.finfo(np.float64).tiny
_NEGATIVE = 1e-6  # share of the largest magnitude below which a negative value is rounding
MIN_EIGENVALUE_SCALE = 1e-3
"""Smallest scale of an extreme eigenvalue, as a share of the larger one: tolerances are relative to no less."""


MOST_POINTS = 2001
"""Points along a side of a grid: no mesh that is drawn has more vertices."""
Side = tuple[float, float]
"""The smallest and the largest coordinate of a grid, or of a part of the plane, along one direction."""


def _check_sides(value: Side | tuple[Side, Side]) -> Side | tuple[Side, Side]:
    alpha, beta = _each_side(value)
    for low, high in (alpha, beta):
        if not low < high:
            raise ValueError(f"[{low:g}, {high:g}] is empty or reversed; write the smaller end first")
    return alpha if alpha == beta else (alpha, beta)  # one way to write a grid, and so one digest


def _check_counts(value: int | tuple[int, int]) -> int | tuple[int, int]:
    alpha, beta = (value, value) if isinstance(value, int) else value
    if min(alpha, beta) < 3:
        raise ValueError(f"{min(alpha, beta)} points: expected at least 3 along each side")
    if max(alpha, beta) > MOST_POINTS:
        raise ValueError(f"{max(alpha, beta)} points: expected at most {MOST_POINTS} along each side")
    return alpha if alpha == beta else (alpha, beta)


def _each_side(value: Side | tuple[Side, Side]) -> tuple[Side, Side]:
    alpha, beta = value
    return (alpha, beta) if isinstance(alpha, tuple) and isinstance(beta, tuple) else (value, value)  # type: ignore[return-value]  # a union of tuples does not narrow


Sides = Annotated[
    Annotated[Side, Tag("both")] | Annotated[tuple[Side, Side], Tag("each")],
    Discriminator(lambda value: "each" if np.ndim(np.array(value, object)) > 1 else "both"),
    AfterValidator(_check_sides),
]
Counts = Annotated[
    Annotated[int, Tag("both")] | Annotated[tuple[int, int], Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, (list, tuple)) else "both"),
    AfterValidator(_check_counts),
]


class Grid(Record):
    """The sample points (alpha, beta) of a slice, in units of delta and eta.

    range: smallest and largest coordinate of both sides, or of each: [alpha, beta]. points: samples along both sides,
    or along each, at least 3; with an odd number over a range centred on 0 the minimiser is a node.
    """

    range: Sides = (-1.0, 1.0)
    points: Counts = 51

    @property
    def sides(self) -> tuple[Side, Side]:
        """Smallest and largest alpha, smallest and largest beta."""
        return _each_side(self.range)

    @property
    def counts(self) -> tuple[int, int]:
        """Number of points along alpha and along beta."""
        return (self.points, self.points) if isinstance(self.points, int) else self.points

    @property
    def alpha(self) -> Array:
        """Coordinates along delta [A], float64."""
        return _axis(*self.sides[0], self.counts[0])

    @property
    def beta(self) -> Array:
        """Coordinates along eta [B], float64."""
        return _axis(*self.sides[1], self.counts[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Shape [B, A] of values on the grid: rows by beta, columns by alpha."""
        return self.counts[1], self.counts[0]

    def scaled(self, factor: float) -> Grid:
        """The same points over a range that is `factor` times as wide around (0, 0)."""
        alpha, beta = ((factor * low, factor * high) for low, high in self.sides)
        return Grid(range=(alpha, beta), points=self.points)

    @property
    def middle(self) -> Grid:
        """The one point in the middle of the same range, which no surface has."""
        return self.model_copy(update={"points": 1})

    @property
    def at_centre(self) -> Grid:
        """The one point (0, 0), where the slice's centre is, wherever the range lies."""
        return self.middle if self.centre == (0, 0) else Grid().middle

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.counts)

    @property
    def centre(self) -> tuple[float, float]:
        """The middle (alpha, beta); exactly 0 along a side that is centred on 0."""
        return _middle(*self.sides[0]), _middle(*self.sides[1])

    @property
    def half_sides(self) -> tuple[float, float]:
        """Half of the length along alpha and along beta."""
        (_, alpha), (_, beta) = self.sides
        return alpha - self.centre[0], beta - self.centre[1]

    @property
    def unit(self) -> float:
        """Length of a scene unit in the plane: the longer half side."""
        return max(self.half_sides)

    @property
    def scene_sides(self) -> tuple[float, float]:
        """Half of the sides in scene units; the longer one is 1. Rounded, so that they stay the same in a zoom."""
        return round(self.half_sides[0] / self.unit, 9), round(self.half_sides[1] / self.unit, 9)

    def to_scene(self, places: Array) -> Array:
        """Places (alpha, beta) [..., 2] of the plane in scene units, from the middle."""
        return np.asarray((places - np.array(self.centre)) / self.unit)

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance between neighbouring points along alpha and along beta."""
        (low, high), (first, last) = self.sides
        return (high - low) / max(1, self.counts[0] - 1), (last - first) / max(1, self.counts[1] - 1)

    @property
    def corners(self) -> tuple[list[float], list[float]]:
        """First, middle and last alpha, and beta: of the corners, the edges' middles and the middle."""
        alpha, beta = ([float(axis[i]) for i in (0, len(axis) // 2, -1)] for axis in (self.alpha, self.beta))
        return alpha, beta

    @classmethod
    def over(cls, alpha: Array, beta: Array) -> Grid:
        """The grid of these coordinates along each side."""
        return cls(
            range=tuple((float(axis[0]), float(axis[-1])) for axis in (alpha, beta)), points=(len(alpha), len(beta))
        )

    @property
    def reach(self) -> str:
        """The range as text: `\u00b11.9`, or of alpha and beta where they differ: `0 to 2 by \u00b11`."""
        alpha, beta = (
            f"\u00b1{high:g}" if _middle(low, high) == 0 else f"{low:g} to {high:g}" for low, high in self.sides
        )
        return alpha if alpha == beta else f"{alpha} by {beta}"

    def contains(self, other: Grid) -> bool:
        """Whether another grid lies inside this one; one over the same range does."""
        pairs = zip(self.centre, self.half_sides, other.centre, other.half_sides, strict=True)
        return all(abs(middle - other) + inner <= (1 + _SLACK) * half for middle, half, other, inner in pairs)


_SLACK = 1e-9  # share of a side within which two ends are the same, or a side is centred on 0


def _middle(low: float, high: float) -> float:
    return 0.0 if abs(low + high) <= _SLACK * (high - low) else (low + high) / 2


def _axis(low: float, high: float, points: int) -> Array:
    """Even coordinates [points] from end to end; symmetric to the bit if centred on 0; a node at 0 is exact."""
    if _middle(low, high) == 0.0:
        half = np.linspace(0.0 if points % 2 else high / (points - 1), high, (points + 1) // 2)
        return np.concatenate([-half[: 0 if points % 2 else None : -1], half])
    axis = np.linspace(low, high, points) if points > 1 else np.array([_middle(low, high)])
    return np.where(np.abs(axis) <= _SLACK * (high - low), 0.0, axis)


def zoom(start: Side, end: Side, share: float) -> Side:
    """The range a share 0 to 1 of the way between two: its length goes geometrically, about the point that both keep.

    >>> zoom((-1.0, 1.0), (-0.25, 0.25), 0.5)
    (-0.5, 0.5)
    """
    ratio = math.log((end[1] - end[0]) / (start[1] - start[0]))
    # of the way of the ends: (1 - s^share) / (1 - s), s the ratio of the lengths
    way = share if abs(ratio) < _SLACK else math.expm1(share * ratio) / math.expm1(ratio)
    return start[0] + way * (end[0] - start[0]), start[1] + way * (end[1] - start[1])


def to_scale(values: Array, scale: Scale) -> Array:
    """Values on a scale: ln x for `log`, asinh x for `signed-log`; what has no logarithm or root counts as the least.

    >>> to_scale(np.array([1.0, 100.0]), "log").round(3).tolist()
    [0.0, 4.605]
    """
    if scale in ("log", "sqrt"):
        values = np.maximum(values, _TINY if scale == "log" else 0.0)
    return np.asarray(_SCALES[scale][0](values))


def from_scale(values: Array, scale: Scale) -> Array:
    """The inverse of `to_scale`."""
    return np.asarray(_SCALES[scale][1](values))


_SCALES: dict[Scale, tuple[np.ufunc, np.ufunc]] = {
    "linear": (np.positive, np.positive),
    "log": (np.log, np.exp),
    "sqrt": (np.sqrt, np.square),
    "signed-log": (np.arcsinh, np.sinh),
}


def has_negatives(values: Array) -> bool:
    """Whether finite values fall below 0 by more than rounding, so that they have no logarithm and no root."""
    return bool(values.size and values.min() < -_NEGATIVE * np.abs(values).max())


def negative_share(low: Array, high: Array) -> Array:
    """max(0, -low) / max(|low|, |high|) for the ends of a spectrum: 0 is convex, 1 is concave; NaN if flat or unknown.

    >>> negative_share(np.array([-1.0, 1.0, 0.0]), np.array([4.0, 4.0, 0.0])).tolist()
    [0.25, 0.0, nan]
    """
    largest = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(largest > 0, np.maximum(0.0, -low) / largest, np.nan)


def definiteness(low: Array, high: Array) -> Array:
    """1 if no eigenvalue is below 0 (as in `hidden_curvature`), -1 if none is above, else 0; NaN if flat or unknown."""
    zero = MIN_EIGENVALUE_SCALE * np.maximum(np.abs(low), np.abs(high))
    signs = (high > zero) * 1.0 - (low < -zero)
    return np.where((zero > 0) & np.isfinite(zero), signs, np.nan)


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
class Layer:
    """Values [B, A] on a grid, over those of a coarser layer, if there is one.

    scale: of the interpolation. weight: of the layer, 0 to 1. seam: width of the band inside its edge in which it
    blends into the coarser layer, as a share of its half sides.
    """

    grid: Grid
    values: Array
    scale: Scale = "linear"
    weight: float = 1.0
    seam: float = 0.2


@dataclass(frozen=True)
class Field:
    """One measured quantity over (keyframe, beta, alpha); inf and NaN stay as measured.

    grid, values: one grid of all keyframes and [K, B, A]; or a grid and [B, A] of each, every grid inside or around
    the one before it. scale: of the interpolation in time and space; `signed-log` is arcsinh, for eigenvalues and in
    place of `log` where values are negative. interpolation: `monotone` (PCHIP) stays between the two neighbouring
    measurements; `cubic` (a C2 spline) may overshoot them a little, but never falls below the smallest value of all.
    """

    coordinates: tuple[float, ...]
    grid: Grid | tuple[Grid, ...]
    values: Array | tuple[Array, ...] = field(repr=False, hash=False)
    scale: Scale = "linear"
    interpolation: Interpolation = "monotone"

    def __post_init__(self) -> None:
        if not isinstance(self.grid, tuple):
            return
        if len(set(self.grid)) == 1:
            object.__setattr__(self, "grid", self.grid[0])
            object.__setattr__(self, "values", np.stack(tuple(self.values)))
            return
        for before, after in pairwise(self.grid):
            if not (before.contains(after) or after.contains(before)):
                raise ValueError(
                    f"the grid over {after.range} lies neither inside that over {before.range} nor around it"
                )

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The grid of each keyframe."""
        return self.grid if isinstance(self.grid, tuple) else (self.grid,) * len(self.coordinates)

    @cached_property
    def interpolation_scale(self) -> Scale:
        """The scale of the interpolation: `signed-log` for what would be `log` if none were negative."""
        return "signed-log" if self.scale == "log" and has_negatives(self.finite) else self.scale

    def window(self, coordinate: float) -> Grid:
        """A grid over the part of the plane that the field covers at a coordinate."""
        k, share = interval(self.coordinates, coordinate)
        grid = self.grids[k]
        if share and grid != self.grids[k + 1]:
            pairs = zip(grid.sides, self.grids[k + 1].sides, strict=True)
            grid = grid.model_copy(update={"range": tuple(zoom(start, end, share) for start, end in pairs)})
        return grid

    def layers(self, coordinate: float) -> tuple[Layer, ...]:
        """The values at a coordinate, coarse to fine; constant before the first keyframe and after the last.

        Between nested grids the finer one fades in, or out, over the whole interval, while its seam goes from inside
        its edge to the edge: where the window reaches the finer grid, that grid alone is seen.
        """
        if isinstance(self.grid, Grid):
            return (Layer(self.grid, self.at(coordinate), self.interpolation_scale),)
        k, share = interval(self.coordinates, coordinate)
        near = zip(self.grid[k : k + 2], self.values[k : k + 2], strict=True)
        coarse, *later = (Layer(grid, values, self.interpolation_scale) for grid, values in near)
        if not share:
            return (coarse,)
        [fine] = later
        if not coarse.grid.contains(fine.grid):
            coarse, fine, share = fine, coarse, 1 - share
        return coarse, replace(fine, weight=share * share * (3 - 2 * share), seam=0.2 * (1 - share))

    def at(self, coordinate: float) -> Array:
        """The values [B, A] of a field on one grid; constant before the first keyframe and after the last.

        A point that is not finite at a neighbouring keyframe is NaN, or inf if it is inf at the nearer one.
        """
        k, share = interval(self.coordinates, coordinate)
        if not share:
            return np.asarray(self.values[k])
        between = np.maximum(from_scale(self._interpolate(coordinate), self.interpolation_scale), self._smallest)
        before, after = self.values[k], self.values[k + 1]
        nearer = after if self.coordinates[k + 1] - coordinate < coordinate - self.coordinates[k] else before
        broken = ~np.isfinite(after) | ~np.isfinite(before)
        return np.where(broken, np.where(np.isinf(nearer), nearer, np.nan), between)

    def _interpolate(self, coordinate: float) -> Array:
        """Values on their scale; a point that is not finite at some keyframe is always interpolated monotonically."""
        if self.interpolation == "monotone" or len(self.coordinates) < 3:
            return np.asarray(self._monotone(coordinate))
        smooth = np.asarray(self._cubic(coordinate))
        always_finite = self._always_finite
        return smooth if always_finite.all() else np.where(always_finite, smooth, self._monotone(coordinate))

    @cached_property
    def _always_finite(self) -> npt.NDArray[np.bool_]:
        """Mask [B, A] of the points that are finite at every keyframe."""
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
        """Values [K, B, A] on their scale, for the splines; gaps are filled from neighbouring keyframes."""
        values = np.asarray(self.values, dtype=np.float64)
        return _fill_gaps(to_scale(np.where(np.isfinite(values), values, np.nan), self.interpolation_scale))

    @property
    def finite(self) -> Array:
        """All finite values, flat."""
        return np.concatenate([values[np.isfinite(values)] for values in self.values])


def interval(coordinates: tuple[float, ...], coordinate: float) -> tuple[int, float]:
    """(k, share of the way from keyframe k to k + 1) of a coordinate; share 0 at a keyframe and outside of them all."""
    k = int(np.searchsorted(coordinates, coordinate, side="right")) - 1
    if k < 0 or coordinates[k] == coordinate or k + 1 == len(coordinates):
        return max(k, 0), 0.0
    return k, (coordinate - coordinates[k]) / (coordinates[k + 1] - coordinates[k])


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

    def at(self, coordinate: float, marker: tuple[float, float] | None = (0.0, 0.0)) -> Array:
        """The trajectory [n, 2] from the first checkpoint to the marker, if there is one, in the plane at a coordinate.

        Linear between the planes of two keyframes.
        """
        passed = self.whole(coordinate)[np.array(self.coordinates) < coordinate]
        return np.concatenate([passed, np.reshape(marker or (), (-1, 2))])

    def whole(self, coordinate: float) -> Array:
        """All checkpoints [K, 2] in the plane at a coordinate."""
        position = float(np.interp(coordinate, self.coordinates, np.arange(len(self.coordinates))))
        k = min(int(position), len(self.coordinates) - 2) if len(self.coordinates) > 1 else 0
        following = self.places[min(k + 1, len(self.coordinates) - 1)]
        return np.asarray(self.places[k] + (position - k) * (following - self.places[k]))


@dataclass(frozen=True)
class Markers:
    """Where the network is in the plane at each keyframe: (alpha, beta) [K, 2]; NaN for nowhere. Linear in between.

    distances: of the network from the plane [K], in lengths of delta; the place is the nearest point. 0 if None.
    """

    coordinates: tuple[float, ...]
    places: Array = field(repr=False, hash=False)
    distances: Array | None = field(default=None, repr=False, hash=False)

    def at(self, coordinate: float) -> tuple[float, float] | None:
        """The place (alpha, beta) at a coordinate; None if it is unknown at a neighbouring keyframe."""
        k, share = interval(self.coordinates, coordinate)
        place = self.places[k] + share * (self.places[k + 1] - self.places[k]) if share else self.places[k]
        return (float(place[0]), float(place[1])) if np.isfinite(place).all() else None


SHORT_FORMAT = re.compile(r"(.?[<>=^])?[-+ ]?z?#?0?\d{0,2}[,_]?(\.\d{1,2})?[a-zA-Z%]?")
"""Python's formats of numbers, of less than a hundred letters."""


class Axis(Record):
    """What the coordinates of a sweep are.

    name: also of the number in a live line. unit: follows the number. format: of the number, as in Python.
    base: the number is base to the power of the coordinate.
    """

    name: str = "step"
    unit: str = ""
    format: str = ".1f"
    base: Positive | None = None

    @field_validator("format")
    @classmethod
    def _formats_numbers(cls, text: str) -> str:
        try:
            if not SHORT_FORMAT.fullmatch(text):
                raise ValueError(text)
            format(1.5, text)
        except ValueError:
            raise ValueError(f"'{text}' formats no number; write it like .1f") from None
        return text

    def label(self, coordinate: float) -> str:
        """A coordinate as the picture names it.

        >>> Axis(name="angle", unit=" deg", format=".0f").label(40.0), Axis(name="zoom", unit="x", base=2.0).label(3.0)
        ('angle 40 deg', 'zoom 8.0x')
        """
        with np.errstate(over="ignore"):
            number = coordinate if self.base is None else float(np.float64(self.base) ** coordinate)
        return f"{self.name} {number:{self.format}}{self.unit}"


DETAIL = "@detail"
"""Suffix of a field's name that names the same field on the finer grid around the centre."""


@dataclass(frozen=True)
class Instant:
    """All fields and metrics at one coordinate of the sweep, as the plane is seen there.

    layers: of each field, coarse to fine. window: a grid over the drawn part of the plane. marker: where the network
    is; None for nowhere. trajectory: up to the marker [n, 2], and whole_way: of all checkpoints [K, 2], if known.
    """

    coordinate: float
    layers: Mapping[str, tuple[Layer, ...]]
    metrics: Mapping[str, float]
    window: Grid
    marker: tuple[float, float] | None = (0.0, 0.0)
    trajectory: Array | None = None
    whole_way: Array | None = None


@dataclass(frozen=True)
class Surfaces:
    """The measured fields of a film, by name, and the run's metrics: {name: [C]}, C checkpoints.

    A name that ends in `DETAIL` is a field on a finer grid around the centre, at some of the keyframes.
    metric_coordinates: of the metrics [C]. held_at: the only coordinate that is shown, for a still. markers: None for
    the centre, at every coordinate. axis: of the coordinates. skew: degrees between delta and eta and a right angle.
    """

    fields: Mapping[str, Field]
    metric_coordinates: tuple[float, ...] = ()
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    trajectory: Trajectory | None = None
    held_at: float | None = None
    skew: float = 0.0
    markers: Markers | None = None
    axis: Axis = field(default_factory=Axis)

    def at(self, coordinate: float) -> Instant:
        """Every field and metric at a coordinate, or at `held_at`. Metrics are interpolated linearly."""
        coordinate = coordinate if self.held_at is None else self.held_at
        marker = self.marker(coordinate)
        return Instant(
            coordinate,
            {name: self._layers(name, coordinate) for name in self.fields if not name.endswith(DETAIL)},
            self._metrics(coordinate),
            self.window(coordinate),
            marker,
            self.trajectory.at(coordinate, marker) if self.trajectory else None,
            self.trajectory.whole(coordinate) if self.trajectory else None,
        )

    def _metrics(self, coordinate: float) -> dict[str, float]:
        """The metrics, and the network's distance from the plane, if it is known."""
        at = {
            name: float(np.interp(coordinate, self.metric_coordinates, values)) for name, values in self.metrics.items()
        }
        if self.markers and self.markers.distances is not None:
            at["distance"] = float(np.interp(coordinate, self.markers.coordinates, self.markers.distances))
        return at

    def marker(self, coordinate: float) -> tuple[float, float] | None:
        """Where the network is in the plane at a coordinate; None for nowhere."""
        return self.markers.at(coordinate) if self.markers else (0.0, 0.0)

    def window(self, coordinate: float) -> Grid:
        """A grid over the drawn part of the plane at a coordinate: what the loss covers, or else the first field."""
        shown = self.fields.get("loss") or next(iter(self.fields.values()), None)
        return shown.window(coordinate) if shown else Grid()

    def _layers(self, name: str, coordinate: float) -> tuple[Layer, ...]:
        """A field's layers at a coordinate, coarse to fine."""
        layers, fine = self.fields[name].layers(coordinate), self.fields.get(name + DETAIL)
        weight = self._detail_weight(coordinate) if fine else 0.0
        if not fine or not weight:
            return layers
        return *layers, *(replace(layer, weight=weight) for layer in fine.layers(coordinate))

    def _detail_weight(self, coordinate: float) -> float:
        """1 between the first and last keyframe of the finer grid, with a smooth step over one interval outside."""
        coarse, fine = (self.fields[name].coordinates for name in ("loss", "loss" + DETAIL))
        near = min(max(coordinate, fine[0]), fine[-1])
        if coordinate < near:
            start = max((k for k in coarse if k < near), default=near)
        else:
            start = min((k for k in coarse if k > near), default=near)
        share = 1.0 if start == near else min(max((coordinate - start) / (near - start), 0.0), 1.0)
        return share * share * (3 - 2 * share)
