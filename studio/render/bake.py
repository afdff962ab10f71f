"""Light that does not depend on the eye, baked per vertex: sky occlusion and the key lamp's soft shadow.

Both march over the height field in numpy. The result depends on heights and lamp alone, so it is the same in every
tile, frame order and process.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

DIRECTIONS = 16
REACH = 0.26
"""How far occlusion looks, in scene units."""


def occlusion(height: np.ndarray, spacing: float) -> np.ndarray:
    """Share of the sky each vertex sees [N, N] in 0..1, from its horizon in 16 directions.

    height [N, N] and spacing in the same unit.
    """
    seen = np.zeros_like(height)
    steps = np.unique(np.round(np.geomspace(1.0, REACH / spacing, 9))).astype(int)
    for turn in 2 * np.pi * (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS:
        slope = np.zeros_like(height)
        for step in steps:
            dx, dy = round(np.cos(turn) * step), round(np.sin(turn) * step)
            if dx or dy:
                ahead, here = _shifted(height, dx, dy)
                rise = (height[ahead] - height[here]) * (1 / (np.hypot(dx, dy) * spacing))
                np.maximum(slope[here], rise, out=slope[here])
        seen += 1 - slope / np.sqrt(1 + slope * slope)
    return gaussian_filter(seen / DIRECTIONS, 0.8)


def sunlight(
    height: np.ndarray, spacing: float, azimuth: float, elevation: float, softness: float = 0.10
) -> np.ndarray:
    """Share of a soft lamp each vertex sees [N, N] in 0..1.

    azimuth, elevation: of the lamp, radians. softness: tangent over which the light goes from hidden to free.
    """
    side = len(height)
    steps = np.geomspace(1.0, 0.6 * side, 56)
    margin = int(steps[-1]) + 2
    around = np.pad(height, margin, mode="edge")
    clearance = np.full_like(height, softness)
    for step in steps:
        # between the points, not at the nearest: a lamp that turns must not make the shadow crawl
        x, y = margin + np.cos(azimuth) * step, margin + np.sin(azimuth) * step
        column, row = int(x), int(y)
        u, v = np.float32(x - column), np.float32(y - row)
        rows = around[row : row + side + 1]
        across = (1 - u) * rows[:, column : column + side] + u * rows[:, column + 1 : column + side + 1]
        ahead = (1 - v) * across[:-1] + v * across[1:]
        np.minimum(clearance, np.tan(elevation) - (ahead - height) * (1 / (step * spacing)), out=clearance)
    return gaussian_filter(np.clip(clearance / softness * 0.5 + 0.5, 0, 1), 1.4)


def _shifted(field: np.ndarray, dx: int, dy: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Index of the points (dx, dy) ahead, and of the points they are ahead of, where both are inside."""
    rows, columns = field.shape
    ahead = slice(max(dy, 0), rows + min(dy, 0)), slice(max(dx, 0), columns + min(dx, 0))
    here = slice(max(-dy, 0), rows + min(-dy, 0)), slice(max(-dx, 0), columns + min(-dx, 0))
    return ahead, here
