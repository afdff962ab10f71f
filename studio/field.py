"""The measured numbers and where they stand: a Grid of sample points, and Fields of values over (key, beta, alpha).

A Field is evaluated at any coordinate of its sweep; at a key it returns what was measured there, to the bit. Between
keys it is interpolated on the scale that suits its numbers: monotonically, which never leaves the two measurements
around but lets every point stop at each key, or by a cubic spline, whose speed is continuous.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import model_validator
from scipy.interpolate import CubicSpline, PchipInterpolator, PPoly

from studio.config.records import Record

Scale = Literal["linear", "log", "signed-log"]
Interpolation = Literal["cubic", "monotone"]
_TINY = np.finfo(np.float64).tiny
FLOOR = 1e-3
"""An end of a spectrum is found relative to its own size, or to this share of the larger end if that is more."""


class Grid(Record):
    """The sample points (alpha, beta) of a slice, the same along both directions, in units of delta and eta.

    points: along each side; odd, so that the minimiser is a node.
    """

    range: tuple[float, float] = (-1.0, 1.0)
    points: int = 51

    @model_validator(mode="after")
    def _has_an_inside(self):
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
    def axis(self) -> np.ndarray:
        """Coordinates along one side [points], float64; the middle one is exactly 0."""
        half = np.linspace(0.0, self.range[1], self.points // 2 + 1)
        return np.concatenate([-half[:0:-1], half])

    @property
    def size(self) -> int:
        return self.points**2

    @property
    def spacing(self) -> float:
        """Between two points along a side."""
        return (self.range[1] - self.range[0]) / (self.points - 1)

    @property
    def centre(self) -> tuple[int, int]:
        """Index (beta, alpha) of the minimiser."""
        return self.points // 2, self.points // 2


def to_scale(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Values on the scale they are interpolated on."""
    if scale == "log":
        return np.log(np.maximum(values, _TINY))
    return np.arcsinh(values) if scale == "signed-log" else values


def from_scale(values: np.ndarray, scale: Scale) -> np.ndarray:
    """The inverse of `forward`."""
    if scale == "log":
        return np.exp(values)
    return np.sinh(values) if scale == "signed-log" else values


def negative_share(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Share of negative curvature between the ends of a spectrum, 0 (convex) to 1 (concave); NaN where flat or unknown.

    max(0, -low) / max(|low|, |high|)
    """
    largest = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(largest > 0, np.maximum(0.0, -low) / largest, np.nan)


def hidden(lambda_min: np.ndarray, lambda_max: np.ndarray, kappa_min: np.ndarray, kappa_max: np.ndarray) -> np.ndarray:
    """1 where the loss is convex in its plane but not in the space, kappa_min > 0 > lambda_min, else 0; NaN: unknown.

    An end within `FLOOR` of the larger one beside it counts as zero: with any tolerance its sign may be chance.
    """
    ends = (kappa_min, kappa_max), (lambda_min, lambda_max)
    plane, space = (FLOOR * np.maximum(np.abs(low), np.abs(high)) for low, high in ends)
    with np.errstate(invalid="ignore"):
        found = (kappa_min > plane) & (lambda_min < -space)
    return np.where(np.isfinite(plane + space), found, np.nan)


@dataclass(frozen=True)
class Field:
    """One measured quantity over (key, beta, alpha) [K, points, points]; inf and NaN stay as measured.

    scale: on which it is interpolated in time; `signed-log` is arcsinh, for eigenvalues. interpolation: `monotone`
    (PCHIP) stays between the two measurements around; `cubic` (a C2 spline) may leave them a little, but never falls
    below the least value of all.
    """

    coordinates: tuple[float, ...]
    grid: Grid
    values: np.ndarray = field(repr=False, hash=False)
    scale: Scale = "linear"
    interpolation: Interpolation = "monotone"

    def at(self, coordinate: float) -> np.ndarray:
        """The values [points, points] at a coordinate, constant outside the keys.

        A point that is not finite at either key around is NaN there, or inf if it is inf at the nearer one.
        """
        keys = self.coordinates
        if coordinate <= keys[0] or len(keys) == 1:
            return self.values[0]
        if coordinate >= keys[-1]:
            return self.values[-1]
        after = int(np.searchsorted(keys, coordinate, side="left"))
        if keys[after] == coordinate:
            return self.values[after]
        inside = np.maximum(from_scale(self._between(coordinate), self.scale), self._least)
        nearer = after if keys[after] - coordinate < coordinate - keys[after - 1] else after - 1
        broken = ~np.isfinite(self.values[after]) | ~np.isfinite(self.values[after - 1])
        unfit = np.where(np.isinf(self.values[nearer]), self.values[nearer], np.nan)
        return np.where(broken, unfit, inside)

    def _between(self, coordinate: float) -> np.ndarray:
        """The interpolated values on their scale; a point that is not finite at some key is always monotone."""
        if self.interpolation == "monotone" or len(self.coordinates) < 3:
            return self._monotone(coordinate)
        smooth = self._cubic(coordinate)
        steady = self._steady
        return smooth if steady.all() else np.where(steady, smooth, self._monotone(coordinate))

    @cached_property
    def _steady(self) -> np.ndarray:
        """The points that are finite at every key."""
        return np.isfinite(self.values).all(axis=0)

    @cached_property
    def _least(self) -> float:
        return float(self.finite.min()) if self.finite.size else -np.inf

    @cached_property
    def _monotone(self) -> PPoly:
        return PchipInterpolator(self.coordinates, self._scaled, axis=0)

    @cached_property
    def _cubic(self) -> PPoly:
        return CubicSpline(self.coordinates, self._scaled, axis=0, bc_type="natural")

    @property
    def _scaled(self) -> np.ndarray:
        """The values on their scale; what is not finite is filled from the keys beside it, for the splines only."""
        values = np.asarray(self.values, dtype=np.float64)
        return _filled(to_scale(np.where(np.isfinite(values), values, np.nan), self.scale))

    @property
    def finite(self) -> np.ndarray:
        """All finite values, flat."""
        return self.values[np.isfinite(self.values)]


def _filled(values: np.ndarray) -> np.ndarray:
    """NaN replaced by the nearest earlier (else later) key, only so that slopes elsewhere stay defined."""
    values = values.copy()
    for k in range(1, len(values)):
        values[k] = np.where(np.isnan(values[k]), values[k - 1], values[k])
    for k in range(len(values) - 2, -1, -1):
        values[k] = np.where(np.isnan(values[k]), values[k + 1], values[k])
    return np.nan_to_num(values)


@dataclass(frozen=True)
class Trajectory:
    """Where the run's checkpoints lie in the plane of each key: (alpha, beta) places [K, K, 2], by key and checkpoint.

    kept: the share of the distances between them that lies in the planes.
    """

    coordinates: tuple[float, ...]
    places: np.ndarray = field(repr=False, hash=False)
    kept: float

    @property
    def share_in_plane(self):
        return self.kept

    def at(self, coordinate: float) -> np.ndarray:
        """The way so far [n, 2], from the first checkpoint to the centre, as the plane at a coordinate shows it.

        Straight between the planes of two keys.
        """
        keys = np.array(self.coordinates)
        where = float(np.interp(coordinate, keys, np.arange(len(keys))))
        k = min(int(where), len(keys) - 2) if len(keys) > 1 else 0
        shown = self.places[k] + (where - k) * (self.places[min(k + 1, len(keys) - 1)] - self.places[k])
        return np.concatenate([shown[keys < coordinate], np.zeros((1, 2))])


DETAIL = "@detail"
"""What is added to a field's name for its finer grid around the centre."""


@dataclass(frozen=True)
class Instant:
    """All fields and metrics at one coordinate of the sweep, and the way [n, 2] that led there, if it is known.

    detail: how far the finer grids, whose fields are named with `DETAIL`, count here: 0 where none was measured.
    """

    coordinate: float
    grids: Mapping[str, Grid]
    values: Mapping[str, np.ndarray]
    metrics: Mapping[str, float]
    trajectory: np.ndarray | None = None
    detail: float = 0.0


@dataclass(frozen=True)
class Surfaces:
    """The measured fields of a film, by name, with the run's metrics beside them: {name: [K]} at `epochs` [K].

    A name with `DETAIL` behind it is a field on a finer grid around the centre, at some of the keys. pinned: the only
    coordinate that is ever shown, for a still.
    """

    fields: Mapping[str, Field]
    epochs: tuple[float, ...] = ()
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    trajectory: Trajectory | None = None
    pinned: float | None = None

    def at(self, coordinate: float) -> Instant:
        """Every field and metric at one coordinate, or where they are pinned. Metrics are interpolated linearly."""
        coordinate = coordinate if self.pinned is None else self.pinned
        return Instant(
            coordinate,
            {name: f.grid for name, f in self.fields.items()},
            {name: f.at(coordinate) for name, f in self.fields.items()},
            {name: float(np.interp(coordinate, self.epochs, values)) for name, values in self.metrics.items()},
            self.trajectory.at(coordinate) if self.trajectory else None,
            self._detail(coordinate),
        )

    def _detail(self, coordinate: float) -> float:
        """1 between the first and the last key of the finer grid; it comes and goes over one interval of the coarse."""
        fine = self.fields.get("loss" + DETAIL)
        if fine is None:
            return 0.0
        keys, first, last = np.array(self.fields["loss"].coordinates), fine.coordinates[0], fine.coordinates[-1]
        before, after = keys[keys < first].max(initial=-np.inf), keys[keys > last].min(initial=np.inf)
        share = min(_passed(coordinate, before, first), _passed(coordinate, after, last))
        return share * share * (3 - 2 * share)


def _passed(coordinate: float, start: float, end: float) -> float:
    """The share of the way from start to end that lies behind a coordinate, 0 to 1; 1 if the start is infinite."""
    if not np.isfinite(start):
        return 1.0
    return float(np.clip((coordinate - start) / (end - start), 0.0, 1.0))
