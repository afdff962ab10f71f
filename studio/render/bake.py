"""Light that does not depend on the eye, baked per vertex: sky occlusion and the key lamp's soft shadow.

Both march over the height field in numpy. The result depends on heights and lamp alone, so it is the same in every
tile, frame order and process.
"""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

DIRECTIONS = 16
REACH = 0.26
"""How far occlusion looks, in scene units."""
_ABYSS = -1e9
"""How high it is beyond the edge: nothing rises from there."""


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
    """Share of a soft lamp each vertex sees [N, N] in 0..1.

    azimuth, elevation: of the lamp, radians. softness: tangent over which the light goes from hidden to free.
    """
    side = len(height)
    steps = np.geomspace(1.0, 0.6 * side, 56).tolist()
    rise = math.tan(elevation)
    margin = int(steps[-1]) + 2
    around = np.pad(height, margin, mode="edge")
    after = np.diff(around, axis=1)
    across, ahead = np.empty((side + 1, side), height.dtype), np.empty_like(height)
    highest = np.full_like(height, -np.inf)  # the steepest way up towards the lamp
    for step in steps:
        # between the points, not at the nearest: a lamp that turns must not make the shadow crawl
        x, y = margin + math.cos(azimuth) * step, margin + math.sin(azimuth) * step
        column, row = int(x), int(y)
        here = slice(row, row + side + 1), slice(column, column + side)
        np.multiply(after[here], x - column, out=across)
        across += around[here]
        np.subtract(across[1:], across[:-1], out=ahead)
        ahead *= y - row
        ahead += across[:-1]
        ahead -= height
        ahead *= 1 / (step * spacing)
        np.maximum(highest, ahead, out=highest)
    clearance = rise - highest
    return gaussian_filter(np.clip(clearance / softness * 0.5 + 0.5, 0, 1), 1.4)
