"""Numbers on contour lines, as on a map: one where an index contour meets a ray, turned along its line.

The rays are fixed to the surface, so that a label moves with its line while camera and heights change. A label fades
out before it vanishes: behind a ridge, on flat ground where its line has no definite place, in front of a neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from studio.field import Array, from_scale
from studio.film.frame import View
from studio.film.look import Look
from studio.film.marks import Text
from studio.film.overlays import Page
from studio.film.pose import Pose, project
from studio.film.surface import height_at

RAYS = (35.0, 150.0, 265.0)  # degrees from the direction of alpha
SIZE = 0.019  # size of the figures, as a share of the picture's height, unless all small text is larger


def labels(view: View, look: Look, page: Page, opacity: float = 1.0) -> list[Text]:
    """The labels of a view's surface.

    page: no label touches its edges or its captions. opacity: of all labels.
    """
    lines = look.contours
    if not (lines and lines.labels and lines.step and opacity):
        return []
    height, pose = view.height.astype(np.float64), view.pose
    filled = np.nan_to_num(height)
    size = max(SIZE, page.small_size)
    texts: list[Text] = []
    for value, point in _crossings(height, view, look.fade.start, lines.step * lines.index):
        around = height_at(filled, point[:2] + 0.02 * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)]))
        gradient = np.array([around[0] - around[1], around[2] - around[3]]) / 0.04  # along x and y
        along = np.array([-gradient[1], gradient[0], 0.0]) / max(np.hypot(*gradient), 1e-9)
        (x, y), (x2, y2) = project(np.stack([point, point + 1e-3 * along]), pose, page.aspect)
        angle = (math.degrees(math.atan2(y - y2, x2 - x)) + 90) % 180 - 90  # never upside down
        visible = _smoothstep((90 - abs(angle)) / 12)  # the figures turn over where a line is upright
        visible *= _smoothstep((np.hypot(*gradient) - 0.08) / 0.12)
        visible *= _smoothstep(min(x, page.aspect - x, y, page.live_y - y) / (2 * size) - 1)
        visible *= _smoothstep(clearance(filled, point, pose) / 0.01)
        for other in texts:
            # a label about to vanish makes room gradually, or the next one would appear at once
            near = 1 - _smoothstep((math.hypot(other.x - x, other.y - y) / size - 2.0) / 1.5)
            visible *= 1 - near * min(1.0, 8 * other.opacity)
        if visible > 0:
            ink, paper = lines.colour, look.background.top
            place = float(x), float(y), size, visible
            texts.append(Text(f"{value:.6g}", *place, "Regular", "middle", ink, angle, paper))
    return [replace(text, opacity=text.opacity * opacity) for text in texts if text.opacity > 0.05]


def _crossings(height: Array, view: View, reach: float, step: float) -> Iterator[tuple[float, Array]]:
    """(value, point [3]) where the contours of every `step` meet the rays, outwards, each line once a ray."""
    radii, scale = np.linspace(0.06, reach, 400), view.appearance.height_scale
    for angle in np.radians(RAYS):
        x, y = (
            half * radii * along for half, along in zip(view.sides, (math.cos(angle), math.sin(angle)), strict=True)
        )
        z = height_at(height, np.stack([x, y], axis=1))
        levels = from_scale(scale.low + z / scale.exaggeration * (scale.high - scale.low), scale.scale) / step
        measured = levels[np.isfinite(levels)]
        for level in range(math.ceil(measured.min()), math.floor(measured.max()) + 1) if measured.size else ():
            # a comparison with a hole is false on both of its sides, and so is a crossing into one
            crosses = (levels[1:] >= level) & (levels[:-1] < level) | (levels[1:] < level) & (levels[:-1] >= level)
            if crosses.any():
                i = int(np.argmax(crosses))
                u = (level - levels[i]) / (levels[i + 1] - levels[i])
                yield level * step, np.array([axis[i] + u * (axis[i + 1] - axis[i]) for axis in (x, y, z)])


def clearance(height: Array, point: Array, pose: Pose) -> float:
    """The least height of the line of sight to a point above the surface, scene units; negative behind a ridge."""
    offsets = np.geomspace(0.03, 1.0, 60)[:, None] * (np.array(pose.position) - point)
    inside = (np.abs(point[:2] + offsets[:, :2]) <= 1).all(axis=1)
    points = point + offsets[inside]
    return float(np.min(points[:, 2] - height_at(height, points[:, :2]), initial=1.0))


def _smoothstep(share: float) -> float:
    """3 u^2 - 2 u^3 of a share cut to [0, 1]."""
    u = min(1.0, max(0.0, float(share)))
    return u * u * (3 - 2 * u)
