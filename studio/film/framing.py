"""Framing: the distance from which a camera sees a subject at a chosen size, for `frame: fit` and `frame: 80%`.

a point p around the focal point fits at distance d where |p right| <= share aspect tan(angle / 2) (d + p ahead)
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from studio.field import Array
from studio.film.pose import Orbit
from studio.film.surface import window_radius

NEAREST = 0.05
"""Distance, scene units, of the smallest subject."""


def distance_to_fit(points: Array, orbit: Orbit, aspect: float, share: float) -> float:
    """Distance at which points [n, 3] around the focal point fill a share of the picture's width or height at most.

    orbit: its angles and lens. aspect: the picture's width over its height.
    """
    pose = replace(orbit, distance=1.0, yaw=0.0, pitch=0.0, roll=0.0).pose((0.0, 0.0, 0.0))
    right, up, ahead = ((points - np.array(orbit.pan)) @ pose.axes.T).T
    half = share * math.tan(math.radians(pose.view_angle / 2))
    needed = np.maximum(np.abs(right) / (half * aspect), np.abs(up) / half) - ahead
    return max(NEAREST, float(needed.max()))


def land_points(height: Array, sides: tuple[float, float], reach: float) -> Array:
    """The drawn vertices of a surface [N, N] as points [n, 3], scene units; reach: share of the window's half sides."""
    axis = np.linspace(-1, 1, len(height))
    places = np.stack(np.meshgrid(axis, axis), axis=-1)
    drawn = (window_radius(places, sides) <= reach) & np.isfinite(height)
    return np.column_stack([places[drawn], height[drawn]])
