"""A whole surface from few measured points, for a quick look: where two interpolants differ, a point is measured next.

Both are sums of radial functions around the measured points, on log loss: s(x) = sum over i of c_i phi(|x - x_i|), and
a plane; phi is r^3, or r^2 log r, the thin plate. Where they agree the points tell all that a smooth surface has; where
they differ one more is worth its cost. What was not measured is r^3's guess: the picture says "preview".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.interpolate import NearestNDInterpolator, RBFInterpolator
from scipy.spatial import KDTree

from studio.field import Grid, Scale, from_scale, to_scale

MOST = 350
"""Points that are measured at most."""
ENOUGH = 0.0025
"""No more are measured once every point of a batch was foretold to this share of the surface's range."""
FIRST, BATCH, CANDIDATES = 7, 32, 101
"""Points a side of the lattice that is measured first; points between two fits; nodes a side that they are out of."""

Interpolant = Callable[[np.ndarray], np.ndarray]


def most(grid: Grid) -> int:
    """How many points of the grid are measured at most."""
    return min(grid.size, MOST)


def preview(measure: Callable[[np.ndarray, np.ndarray], np.ndarray], grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """(values [points, points] by beta and alpha, where they were measured, bool of the same shape).

    measure: (alphas [m], betas [m]) -> values [m]. Measured values are kept bit by bit; all others are between the
    least and the greatest of them, or inf or NaN where the nearest measured one is. A grid of no more than `MOST`
    points is measured whole. Same values, same bytes.
    """
    n, values = grid.points, np.full(grid.size, np.nan)
    unit = grid.axis / grid.axis[-1]
    places = np.stack(np.meshgrid(unit, unit, indexing="ij"), axis=-1).reshape(-1, 2)  # (beta, alpha)
    known = _lattice(n, n if grid.size <= MOST else FIRST)
    candidates = _lattice(n, min(n, CANDIDATES))

    def measured(chosen: np.ndarray) -> np.ndarray:
        row, column = np.divmod(chosen, n)
        return measure(grid.axis[column], grid.axis[row])

    values[known] = measured(known)
    while (room := most(grid) - len(known)) > 0:
        scale = _scale(values[known])
        scaled = to_scale(values[known], scale)
        free = np.setdiff1d(candidates, known)
        foretold, doubt, reach = _doubted(places[known], scaled, places[free])
        batch = _apart(doubt, places[free], reach, min(room, BATCH))
        if not len(batch):
            break
        values[free[batch]] = measured(free[batch])
        known = np.concatenate([known, free[batch]])
        missed = np.abs(to_scale(values[free[batch]], scale) - foretold[batch])
        if (missed <= ENOUGH * np.ptp(scaled[np.isfinite(scaled)])).all():
            break
    mask = np.zeros(grid.size, bool)
    mask[known] = True
    values[~mask] = _between(places[known], values[known], places[~mask])
    return values.reshape(n, n), mask.reshape(n, n)


def _lattice(n: int, side: int) -> np.ndarray:
    """Numbers of `side` by `side` nodes, spread evenly over a grid of n by n, its corners among them."""
    along = np.unique(np.linspace(0, n - 1, side).round().astype(int))
    return (along[:, None] * n + along).reshape(-1)


def _scale(values: np.ndarray) -> Scale:
    """Losses are interpolated by their logarithm; numbers of a criterion that may be zero or less, as they are."""
    return "log" if (values[np.isfinite(values)] > 0).all() else "linear"


def _doubted(points: np.ndarray, scaled: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(what is foretold [m], how far the interpolants differ [m], the way to the nearest point [m]) at places [m, 2].

    Deep among points that are not finite nothing is to be learnt: the difference there is 0.
    """
    foretold, other = (f(at) for f in _interpolants(points, scaled))
    reach, nearest = KDTree(points).query(at, k=3)
    return foretold, np.abs(foretold - other) * np.isfinite(scaled)[nearest].any(1), reach[:, 0]


def _interpolants(points: np.ndarray, scaled: np.ndarray) -> tuple[Interpolant, Interpolant]:
    """r^3 and the thin plate through the finite values; twice the nearest value, if they span no plane."""
    finite = np.isfinite(scaled)
    points, scaled = points[finite], scaled[finite]
    if not len(points):
        return 2 * (lambda at: np.full(len(at), np.nan),)
    if np.linalg.matrix_rank(points - points[0]) < 2:
        return 2 * (NearestNDInterpolator(points, scaled),)
    return tuple(RBFInterpolator(points, scaled, kernel=kernel) for kernel in ("cubic", "thin_plate_spline"))


def _apart(doubt: np.ndarray, places: np.ndarray, reach: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` of the places, the most doubtful first; each settles the doubt around it, as far as its reach."""
    chosen = []
    while len(chosen) < count and doubt.max(initial=0.0) > 0:
        chosen.append(int(doubt.argmax()))
        away = np.square(places - places[chosen[-1]]).sum(1)
        doubt = doubt * -np.expm1(-away / (2 * reach[chosen[-1]] ** 2))
    return np.array(chosen, int)


def _between(points: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values at places [m, 2] that were not measured."""
    nearest = values[KDTree(points).query(at)[1]]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return nearest
    scale = _scale(values)
    smooth, _ = _interpolants(points, to_scale(values, scale))
    with np.errstate(over="ignore"):
        found = np.clip(from_scale(smooth(at), scale), finite.min(), finite.max())
    return np.where(np.isfinite(nearest), found, nearest)
