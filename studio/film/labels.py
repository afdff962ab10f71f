"""Numbers on contour lines, as on a map: where an index contour meets one of a few rays, turned along the line.

The rays are fixed to the land, so that a label rides on its line while the camera and the heights move, and every label
fades before it would vanish: behind a ridge, on flat ground where its line has no place, or in front of a neighbour.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.ndimage import map_coordinates

from studio.film.camera import Pose
from studio.film.fields import HeightMapping
from studio.film.look import Look
from studio.film.overlays import Page, Text, unscaled

RAYS = (35.0, 150.0, 265.0)
"""Degrees from the direction of alpha."""
SIZE = 0.019
"""Of the figures, as a share of the picture's height, unless all small type is larger."""


def labels(
    height: np.ndarray, look: Look, ends: tuple[float, float], pose: Pose, page: Page, opacity: float = 1.0
) -> list[Text]:
    """The labels of a sheet [N, N] in scene units, whose heights 0 and `exaggeration` stand for `ends`.

    page: no label touches its edge or its captions.
    """
    if not (look.contours and look.contours.labels and opacity):
        return []
    land = np.nan_to_num(height)
    size, found = max(SIZE, page.small), []
    for value, point in _crossings(height, look, ends):
        level, gradient = f"{value:.6g}", _gradient(land, point[:2])
        along = np.array([-gradient[1], gradient[0], 0.0]) / max(np.hypot(*gradient), 1e-9)
        (x, y), (x2, y2) = seen(np.stack([point, point + 1e-3 * along]), pose, page.aspect)
        angle = (math.degrees(math.atan2(y - y2, x2 - x)) + 90) % 180 - 90  # never upside down
        clear = _soft((90 - abs(angle)) / 12)  # a line that stands upright is where the figures turn over
        clear *= _soft((np.hypot(*gradient) - 0.08) / 0.12)
        clear *= _soft(min(x, page.aspect - x, y, page.live - y) / (2 * size) - 1)
        clear *= _soft(clearance(land, point, pose) / 0.01)
        for other in found:
            # one that is about to vanish gives its place away bit by bit, or the next would leap out
            near = 1 - _soft((math.hypot(other.x - x, other.y - y) / size - 2.0) / 1.5)
            clear *= 1 - near * min(1.0, 8 * other.opacity)
        if clear > 0:
            ink, paper = look.contours.colour, look.background.top
            found.append(Text(level, float(x), float(y), size, clear, "Regular", "middle", ink, angle, paper))
    return [replace(text, opacity=text.opacity * opacity) for text in found if text.opacity > 0.05]


def seen(points: np.ndarray, pose: Pose, aspect: float) -> np.ndarray:
    """Where points [n, 3] are in the picture [n, 2], in shares of its height from the top left."""
    eye, focus, up = (np.array(part) for part in (pose.position, pose.focal_point, pose.view_up))
    ahead = (focus - eye) / np.linalg.norm(focus - eye)
    right = np.cross(ahead, up) / np.linalg.norm(np.cross(ahead, up))
    away = points - eye
    scale = 0.5 / math.tan(math.radians(pose.view_angle / 2)) / np.maximum(away @ ahead, 1e-6)
    return np.stack([aspect / 2 + scale * (away @ right), 0.5 - scale * (away @ np.cross(right, ahead))], axis=1)


def _crossings(height: np.ndarray, look: Look, ends: tuple[float, float]):
    """(value, point [3]) where the index contours meet the rays, from the middle outwards, each line once a ray."""
    lines = look.contours
    out = np.linspace(0.06, look.fade.start, 400)
    step = lines.step * lines.index
    for turn in np.radians(RAYS):
        x, y = out * math.cos(turn), out * math.sin(turn)
        z = on_land(height, x, y)
        levels = value_at(z, look.height, ends) / step
        measured = levels[np.isfinite(levels)]
        for level in range(math.ceil(measured.min()), math.floor(measured.max()) + 1) if measured.size else ():
            # a comparison with a hole is false on both of its sides, and so is a crossing into one
            meets = (levels[1:] >= level) & (levels[:-1] < level) | (levels[1:] < level) & (levels[:-1] >= level)
            if meets.any():
                i = int(np.argmax(meets))
                u = (level - levels[i]) / (levels[i + 1] - levels[i])
                yield level * step, np.array([part[i] + u * (part[i + 1] - part[i]) for part in (x, y, z)])


def value_at(z: np.ndarray, height: HeightMapping, ends: tuple[float, float]) -> np.ndarray:
    """Values of the height's field at drawn heights, in its own units."""
    low, high = ends
    return unscaled(low + np.asarray(z, np.float64) / height.exaggeration * (high - low), height.scale)


def on_land(height: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Heights at places of the square, linear between the mesh's vertices."""
    half = (len(height) - 1) / 2
    return map_coordinates(height, [(y + 1) * half, (x + 1) * half], order=1, mode="nearest", output=np.float64)


def _gradient(land: np.ndarray, place: np.ndarray, reach: float = 0.02) -> np.ndarray:
    x, y = place
    z = on_land(land, np.array([x + reach, x - reach, x, x]), np.array([y, y, y + reach, y - reach]))
    return np.array([z[0] - z[1], z[2] - z[3]]) / (2 * reach)


def clearance(land: np.ndarray, point: np.ndarray, pose: Pose) -> float:
    """How far the line of sight to a point stays above the land, at least; negative behind a ridge."""
    toward = np.array(pose.position) - point
    steps = np.geomspace(0.03, 1.0, 60)[:, None] * toward
    inside = (np.abs(point[:2] + steps[:, :2]) <= 1).all(axis=1)
    steps = steps[inside]
    x, y, z = (point + steps).T
    return float(np.min(z - on_land(land, x, y), initial=1.0))


def _soft(share: float) -> float:
    """0 below 0, 1 above 1, smooth between."""
    u = min(1.0, max(0.0, float(share)))
    return u * u * (3 - 2 * u)
