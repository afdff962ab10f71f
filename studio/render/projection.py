"""Where things of a view lie: its projection, through a place on its lens and shifted by its jitter, and its marker."""

from __future__ import annotations

import math

import numpy as np

from studio.config.units import Size
from studio.field import Array
from studio.film.frame import View
from studio.film.surface import marker_height
from studio.render import plinth

_NEAREST = 0.004  # distance of the near plane at least, scene units


def lens_offset(view: View) -> Array:
    """The view's place on its lens [2], scene units to the right and up."""
    return np.asarray(view.pose.lens_radius * np.array(view.lens_point))


def marker_centre(view: View) -> Array:
    """The middle of the marker [3]; NaN where it would lie in a hole, or there is none."""
    height = marker_height(view.height, view.marker)
    return np.array([*(view.marker or (0, 0)), height + 0.9 * view.appearance.marker.radius])


def projection(view: View, picture: Size, samples: int, near: float, far: float) -> Array:
    """The projection matrix [4, 4] of a picture drawn with `samples` along each side of a pixel."""
    offset, half = lens_offset(view), math.tan(math.radians(view.pose.view_angle / 2))
    pixel = 2 * half / picture.height
    left, top = (
        pixel * (view.jitter[0] / samples - picture.width / 2) - offset[0] / view.pose.focus,
        pixel * (picture.height / 2 - view.jitter[1] / samples) - offset[1] / view.pose.focus,
    )
    right, bottom = left + pixel * picture.width, top - pixel * picture.height
    return np.array(
        [
            [2 / (right - left), 0, (right + left) / (right - left), 0],
            [0, 2 / (top - bottom), (top + bottom) / (top - bottom), 0],
            [0, 0, (near + far) / (near - far), 2 * near * far / (near - far)],
            [0, 0, -1, 0],
        ]
    )


def clip_range(view: View, picture: Size, low: float, high: float) -> tuple[float, float]:
    """Distances of the near and far plane, close around the scene so that the depth buffer is fine.

    low, high: of the surface.
    """
    eye, appearance = np.array(view.pose.position), view.appearance
    half = math.tan(math.radians(view.pose.view_angle / 2))
    corner = math.hypot(1, half, half * picture.width / picture.height)  # length of the ray through the corner
    high, reach = high + 2 * appearance.marker.radius, 1.0
    if appearance.plinth:
        low, reach = min(low, -appearance.plinth.depth), plinth.REACH
    outside = math.hypot(max(math.hypot(eye[0], eye[1]) - reach, 0), max(low - eye[2], eye[2] - high, 0))
    return max(_NEAREST, 0.9 * outside / corner), float(np.linalg.norm(eye)) + math.hypot(reach, low, high)
