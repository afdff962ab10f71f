"""Paths over the land: the way of a camera that follows or flies, along the run's trajectory or a curve.

heading(s): direction of travel    ground(s): a smooth line over the land, nowhere below it
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from studio.field import Array
from studio.film.pose import Orbit, Point
from studio.film.surface import height_at

POINTS = 401
"""Of a path, evenly along it."""
AHEAD = 0.35
"""How far ahead a flying camera looks, scene units; the path goes on so far, straight, at both ends."""
TURN, RISE, GAZE, LANE = 0.08, 0.15, 0.3, 0.05
"""Lengths, scene units, over which corners are rounded, heights, and the heights that a flying camera looks at; half of
the width over which the land counts."""


@dataclass(frozen=True, eq=False)
class Path:
    """A curve through places [n, 2] of the plane, scene units. Shares of it are from 0 to 1, by length."""

    places: Array
    length: float

    @classmethod
    def through(cls, places: Array, *, is_curve: bool) -> Path:
        """A smooth path through places [n, 2]; a curve of the user's keeps its points, a trajectory loses its corners.

        Raises ValueError if it has no length.
        """
        steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
        kept = np.concatenate([[True], np.diff(steps) > 1e-9])
        steps, places = steps[kept], places[kept]
        if len(places) < 2:
            raise ValueError("the path has no length")
        spline = CubicSpline if is_curve and len(places) > 2 else PchipInterpolator
        fine = spline(steps, places)(np.linspace(0, steps[-1], 8 * POINTS))
        even = _evenly(fine, POINTS)
        if not is_curve:
            even = _evenly(gaussian_filter1d(even, TURN / steps[-1] * POINTS, axis=0, mode="nearest"), POINTS)
        ends = (even[1] - even[0], even[-1] - even[-2])
        before, after = (end / np.linalg.norm(end) for end in ends)
        length = float(np.linalg.norm(np.diff(even, axis=0), axis=1).sum())
        way = np.linspace(0, AHEAD, max(2, round(AHEAD / length * POINTS)))[1:, None]
        return cls(np.concatenate([even[0] - way[::-1] * before, even, even[-1] + way * after]), length)

    def _at(self, values: Array, share: float) -> float:
        """A smooth line through values at all places [m], at a share; beyond the last places as there."""
        outside = (len(values) - POINTS) // 2
        index = min(max(0.0, outside + share * (POINTS - 1)), len(values) - 1.0)
        return float(CubicSpline(np.arange(len(values)), values)(index))

    def place(self, share: float) -> tuple[float, float]:
        """(x, y) in scene units."""
        return self._at(self.places[:, 0], share), self._at(self.places[:, 1], share)

    @cached_property
    def _headings(self) -> Array:
        x, y = np.gradient(self.places, axis=0).T
        return np.asarray(np.degrees(np.unwrap(np.arctan2(y, x))))

    def heading(self, share: float) -> float:
        """The direction of travel, degrees from alpha, without jumps."""
        return self._at(self._headings, share)

    def ground(self, height: Array, rounded: float = RISE) -> Array:
        """Heights of a smooth line over a surface [N, N], at all places [m]: nowhere below the land within `LANE`.

        rounded: length over which heights are rounded, scene units.
        """
        sideways = LANE * np.stack([-np.sin(np.radians(self._headings)), np.cos(np.radians(self._headings))], axis=1)
        filled = np.nan_to_num(height)
        land = np.max([height_at(filled, self.places + lane * sideways) for lane in (-1, -0.5, 0, 0.5, 1)], axis=0)
        reach = max(1, round(rounded / self.length * POINTS))
        highest = maximum_filter1d(land.astype(np.float64), 2 * reach + 1, mode="nearest")
        return np.asarray(gaussian_filter1d(highest, reach / 2, mode="nearest", truncate=2.0))

    def follow(self, orbit: Orbit, height: Array) -> tuple[Orbit, Point]:
        """The orbit around the point of the path at `orbit.path`, its azimuth from the heading; and that point."""
        x, y = self.place(orbit.path)
        turned = replace(orbit, azimuth=orbit.azimuth + self.heading(orbit.path))
        return turned, (x, y, self._at(self.ground(height), orbit.path))

    def fly(self, orbit: Orbit, height: Array, altitude: float) -> tuple[Orbit, Point]:
        """The orbit of a camera on the path, `altitude` over the ground, around the point ahead that it looks at."""
        ahead = orbit.path + AHEAD / self.length
        eye = np.array([*self.place(orbit.path), self._at(self.ground(height), orbit.path) + altitude])
        aim = np.array([*self.place(ahead), self._at(self.ground(height, GAZE), ahead) + altitude / 2])
        x, y, z = eye - aim
        azimuth = self.heading(orbit.path) + 180  # without jumps; the rest of the way by the nearest turn
        azimuth += math.remainder(math.degrees(math.atan2(y, x)) - azimuth, 360)
        distance = float(np.linalg.norm(eye - aim))
        elevation = math.degrees(math.asin(z / distance))
        return replace(orbit, azimuth=azimuth, elevation=elevation, distance=distance), tuple(aim.tolist())


def _evenly(places: Array, count: int) -> Array:
    """So many places evenly along a polyline [n, 2]."""
    steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
    at = np.linspace(0, steps[-1], count)
    return np.stack([np.interp(at, steps, places[:, k]) for k in range(2)], axis=1)
