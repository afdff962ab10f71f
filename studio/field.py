"""The measured numbers and where they stand: a Grid of sample points, and Fields of values over (key, beta, alpha).

A Field is evaluated at any coordinate of its sweep. Between keys it is interpolated monotonically, on the scale that
suits its numbers, so that no instant of a film shows a value outside the two measurements around it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import model_validator
from scipy.interpolate import PchipInterpolator

from .spec import Record

Scale = Literal["linear", "log", "signed-log"]
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
    def centre(self) -> tuple[int, int]:
        """Index (beta, alpha) of the minimiser."""
        return self.points // 2, self.points // 2


def forward(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Values on the scale they are interpolated on."""
    if scale == "log":
        return np.log(np.maximum(values, _TINY))
    return np.arcsinh(values) if scale == "signed-log" else values


def backward(values: np.ndarray, scale: Scale) -> np.ndarray:
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

    scale: on which it is interpolated in time; `signed-log` is arcsinh, for eigenvalues.
    """

    coordinates: tuple[float, ...]
    grid: Grid
    values: np.ndarray = field(repr=False, hash=False)
    scale: Scale = "linear"

    def at(self, coordinate: float) -> np.ndarray:
        """The values [points, points] at a coordinate, PCHIP between keys and constant outside them.

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
        inside = backward(self._in_time(coordinate), self.scale)
        nearer = after if keys[after] - coordinate < coordinate - keys[after - 1] else after - 1
        broken = ~np.isfinite(self.values[after]) | ~np.isfinite(self.values[after - 1])
        unfit = np.where(np.isinf(self.values[nearer]), self.values[nearer], np.nan)
        return np.where(broken, unfit, inside)

    @cached_property
    def _in_time(self) -> PchipInterpolator:
        values = np.asarray(self.values, dtype=np.float64)
        finite = np.where(np.isfinite(values), values, np.nan)
        return PchipInterpolator(self.coordinates, _filled(forward(finite, self.scale)), axis=0)

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
class Way:
    """Where the run's checkpoints lie in the plane of each key: (alpha, beta) places [K, K, 2], by key and checkpoint.

    kept: the share of the distances between them that lies in the planes.
    """

    coordinates: tuple[float, ...]
    places: np.ndarray = field(repr=False, hash=False)
    kept: float

    def at(self, coordinate: float) -> np.ndarray:
        """The way so far [n, 2], from the first checkpoint to the centre, as the plane at a coordinate shows it.

        Straight between the planes of two keys.
        """
        keys = np.array(self.coordinates)
        where = float(np.interp(coordinate, keys, np.arange(len(keys))))
        k = min(int(where), len(keys) - 2) if len(keys) > 1 else 0
        shown = self.places[k] + (where - k) * (self.places[min(k + 1, len(keys) - 1)] - self.places[k])
        return np.concatenate([shown[keys < coordinate], np.zeros((1, 2))])


@dataclass(frozen=True)
class Instant:
    """All fields and metrics at one coordinate of the sweep, and the way [n, 2] that led there, if it is known."""

    coordinate: float
    grids: Mapping[str, Grid]
    values: Mapping[str, np.ndarray]
    metrics: Mapping[str, float]
    way: np.ndarray | None = None


@dataclass(frozen=True)
class Surfaces:
    """The measured fields of a film, by name, with the run's metrics beside them: {name: [K]} at `epochs` [K]."""

    fields: Mapping[str, Field]
    epochs: tuple[float, ...] = ()
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    way: Way | None = None

    def at(self, coordinate: float) -> Instant:
        """Every field and metric at one coordinate. Metrics are interpolated linearly."""
        return Instant(
            coordinate,
            {name: f.grid for name, f in self.fields.items()},
            {name: f.at(coordinate) for name, f in self.fields.items()},
            {name: float(np.interp(coordinate, self.epochs, values)) for name, values in self.metrics.items()},
            self.way.at(coordinate) if self.way else None,
        )
