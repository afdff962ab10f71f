"""Light that does not depend on the eye, baked per vertex: sky occlusion and the key lamp's soft shadow.

Both are sweeps over the height field in numpy. The result depends on heights and lamp alone, so it is the same in every
tile, frame order and process.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

DIRECTIONS = 16
REACH = 0.26
"""How far occlusion looks, in scene units."""
_ABYSS = -1e9
"""How high it is beyond the edge: nothing rises from there."""
_RAYS = 12
"""Into which a soft lamp is cut, one above the other."""
_EDGE = 2.0
"""How wide the edge of each one's shadow is on level ground, in vertices."""
_BLUR = 0.009
"""How far the light is softened at last, scene units: less, and crests would show the vertices as beads."""
_STEEPEST = 100.0
"""Tangent of a lamp's elevation: one that stands higher throws no shadow that is seen."""


def occlusion(height: np.ndarray, spacing: float) -> np.ndarray:
    """Share of the sky each vertex sees [N, N] in 0..1, from its horizon in 16 directions.

    height [N, N] and spacing in the same unit.
    """
    steps = np.unique(np.round(np.geomspace(1.0, REACH / spacing, 9))).astype(int).tolist()
    # with room around it, as one long row: to look ahead is to look so many numbers on
    side, room = len(height), steps[-1] + 1
    land = np.pad(height, ((room, room), (0, room)), constant_values=_ABYSS)
    width, land = land.shape[1], land.ravel()
    first, last = room * width, land.size - room * width
    here = land[first:last]
    seen, rise, upward = (np.zeros_like(here) for _ in range(3))
    backward = np.zeros_like(land)
    for number in range(DIRECTIONS // 2):
        turn = 2 * math.pi * (number + 0.5) / DIRECTIONS
        upward.fill(0)
        backward.fill(0)
        for step in steps:
            dx, dy = round(math.cos(turn) * step), round(math.sin(turn) * step)
            if dx or dy:
                there = slice(first + dy * width + dx, last + dy * width + dx)
                np.subtract(land[there], here, out=rise)
                rise *= 1 / (math.hypot(dx, dy) * spacing)
                np.maximum(upward, rise, out=upward)
                np.minimum(backward[there], rise, out=backward[there])  # what rises one way falls the other way
        for slope in (upward, backward[first:last]):
            np.multiply(slope, slope, out=rise)
            rise += 1
            np.sqrt(rise, out=rise)
            slope /= rise
        seen -= upward
        seen += backward[first:last]
    return gaussian_filter(seen.reshape(-1, width)[:, :side] / DIRECTIONS + 1, 0.8)


def sunlight(
    height: np.ndarray, spacing: float, azimuth: float, elevation: float, softness: float = 0.10
) -> np.ndarray:
    """Share of a soft lamp each vertex sees [N, N] in 0..1, float32.

    azimuth, elevation: of the lamp, radians. softness: tangent over which the light goes from hidden to free.
    """
    # on a lattice turned to the lamp, its first row nearest to it, a shadow is the highest ray met so far: no peak is
    # stepped over, however far away
    c, s, middle = math.cos(azimuth), math.sin(azimuth), (len(height) - 1) / 2
    turn = np.array([[-s, c], [-c, -s]])
    turned = _turned(height.astype(np.float32), turn, middle)
    along = (spacing * np.arange(len(height), dtype=np.float32))[:, None]
    rise = min(math.tan(elevation), _STEEPEST)
    edge = np.float32(1 / (_EDGE * spacing * max(rise, 0.2)))
    lit, ray, highest = np.zeros_like(turned), np.empty_like(turned), np.empty_like(turned)
    for slope in rise + softness * np.linspace(-1, 1, 2 * _RAYS + 1)[1::2]:
        np.add(turned, np.float32(slope) * along, out=ray)
        np.maximum.accumulate(ray, axis=0, out=highest)
        ray -= highest  # how far below the shadow's edge, negative
        ray *= edge
        lit += np.maximum(ray, -1, out=ray)
    soft = gaussian_filter(_turned(1 + lit / _RAYS, turn.T, middle), max(0.8, _BLUR / spacing))
    return np.clip(soft, 0, 1)


def _turned(values: np.ndarray, turn: np.ndarray, middle: float) -> np.ndarray:
    """Values [N, N] on a lattice turned about the middle, linear between the points; beyond the edge as at it."""
    centre = np.array([middle, middle])
    return affine_transform(values, turn, centre - turn @ centre, order=1, mode="nearest")
