"""Morphometry, as of maps: four numbers that say what a land looks like, from its heights over a grid.

All are taken over the ellipse that touches the grid's sides, in which the land is drawn; what is not finite is left
out. A flat land has ruggedness and asymmetry 0; a number of which nothing is known is NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial.legendre import legvander2d

from studio.field import Array, Grid

DEGREE = 4
"""Of the smooth land that ruggedness is measured from."""
ROUNDING = 1e-6
"""Share of the loss around a point, to which losses are known: what curves down by less is rounding."""


class Morphometry(NamedTuple):
    """relief: in the units of the height. ruggedness, asymmetry: shares of it. negative: a share of the points."""

    relief: float
    ruggedness: float
    asymmetry: float
    negative: float


def morphometry(height: Array, loss: Array, grid: Grid) -> Morphometry:
    """The four numbers of heights and losses [B, A] on a grid.

    relief: from the 5th to the 95th percentile of the height. ruggedness: the rms of what the best polynomial of degree
    4 leaves of the height, over the relief. asymmetry: the rms of h(p) - h(-p), each p against its mirror image in the
    middle, over the relief. negative: the share of inner points at which the loss curves downwards in some direction of
    the plane, by central differences: a 2 x 2 Hessian, whose signs are the same whatever delta's and eta's lengths and
    angle (Sylvester).
    """
    (alpha, beta), (half, across) = grid.centre, grid.half_sides
    x, y = np.meshgrid((grid.alpha - alpha) / half, (grid.beta - beta) / across)
    inside = x**2 + y**2 <= 1 + 1e-9
    known = inside & np.isfinite(height)
    if not known.any():
        return Morphometry(*[float("nan")] * 4)
    low, high = np.percentile(height[known], [5, 95])
    relief, h = float(high - low), np.where(known, height, np.nan)
    return Morphometry(
        relief,
        _share(_residual(x[known], y[known], height[known]), relief),
        _share(h - h[::-1, ::-1], relief),
        _negative(np.where(inside, loss, np.nan)),
    )


def _share(differences: Array, relief: float) -> float:
    """The rms of the finite differences over the relief."""
    finite = differences[np.isfinite(differences)]
    if not finite.size:
        return float("nan")
    return float(np.sqrt(np.mean(finite**2))) / relief if relief > 0 else 0.0


def _residual(x: Array, y: Array, height: Array) -> Array:
    """What the best polynomial leaves of heights at places in [-1, 1]."""
    degrees = np.add.outer(range(DEGREE + 1), range(DEGREE + 1)).ravel()
    basis = legvander2d(x, y, [DEGREE, DEGREE])[:, degrees <= DEGREE]
    return np.asarray(height - basis @ np.linalg.lstsq(basis, height, rcond=None)[0])


def _negative(f: Array) -> float:
    """The share of points with neighbours all around whose smaller curvature is negative; in steps of the grid."""
    with np.errstate(invalid="ignore"):  # inf - inf is not known
        a = f[1:-1, 2:] - 2 * f[1:-1, 1:-1] + f[1:-1, :-2]
        d = f[2:, 1:-1] - 2 * f[1:-1, 1:-1] + f[:-2, 1:-1]
        b = (f[2:, 2:] - f[2:, :-2] - f[:-2, 2:] + f[:-2, :-2]) / 4
        smaller = (a + d) / 2 - np.hypot((a - d) / 2, b)
    rounding = ROUNDING * np.abs(sliding_window_view(f, (3, 3))).max((2, 3))
    known = np.isfinite(smaller)
    return float((smaller < -rounding)[known].mean()) if known.any() else float("nan")
