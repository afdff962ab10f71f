"""The quadratic model of the loss in the plane, and how far from the centre it holds.

q(p) = f0 + g'p + p'H p / 2,   p = (alpha, beta),   f0, g, H: exact loss, slopes and curvatures at the centre
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.field import Array, Grid

LARGEST_ERROR = 0.1  # up to which the model holds
ROUNDING = 1e-5  # least scale of an error, as a share of f0: f and f0 are float32 sums in another order


def taylor_error(loss: Array, grid: Grid, model: Sequence[float]) -> Array:
    """|f - q| / max(|f - f0|, |g'p| + p'|H|p / 2, `ROUNDING` |f0|) on a grid [B, A], 0 to 2; NaN if flat or unknown.

    |H| has the magnitudes of H's eigenvalues. The sizes of the model's terms count, since the change of the loss alone
    is 0 wherever the loss returns to f0. It is 0 at the centre, and 1 where the loss is infinite. model: f0, both of g,
    and three of H, by rows.
    """
    if not np.isfinite(model).all():
        return np.full(grid.shape, np.nan)
    centre, along, across, a, b, d = model
    kappas, axes = np.linalg.eigh([[a, b], [b, d]])
    places, change = np.stack(np.meshgrid(grid.alpha, grid.beta), -1), loss - centre
    slope, squares = places @ [along, across], (places @ axes) ** 2 / 2
    scale = np.maximum(np.abs(change), np.abs(slope) + squares @ np.abs(kappas))
    with np.errstate(invalid="ignore"):
        error = np.abs(change - slope - squares @ kappas) / np.maximum(scale, ROUNDING * abs(centre))
    return np.where(places.any(-1), np.where(np.isinf(change), 1.0, error), 0.0)


def taylor_radius(error: Array, grid: Grid) -> float:
    """Distance (alpha, beta) to the nearest point whose `taylor_error` is above `LARGEST_ERROR`; inf if none is."""
    distances = np.hypot(*np.meshgrid(grid.alpha, grid.beta))
    return float(distances[~(error <= LARGEST_ERROR)].min(initial=np.inf))
