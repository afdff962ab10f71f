"""A whole surface from few measured points, for a quick look: the next points are where two interpolants differ.

Both are sums of radial functions around the measured points, on log loss: s(x) = sum over i of c_i phi(|x - x_i|), and
a plane; phi is r^3, or r^2 log r, the thin plate. Where they agree, a smooth surface is known; where they differ, one
more point is worth its cost. Every other value is the r^3 interpolant's: the picture says "preview".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.interpolate import NearestNDInterpolator, RBFInterpolator
from scipy.spatial import KDTree

from studio.field import Grid, Scale, from_scale, to_scale

MAX_POINTS = 350
"""Points that are measured at most."""
TOLERANCE = 0.0025
"""Measuring stops when every point of a batch is predicted to within this share of the surface's range."""
FIRST_SIDE, BATCH_SIZE, CANDIDATE_SIDE = 7, 32, 101
"""Points a side of the lattice measured first; points between two fits; nodes a side that are candidates."""

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Interpolant = Callable[[Array], Array]
"""Places [m, 2] -> values [m]."""


def max_points(grid: Grid) -> int:
    """The most points of the grid that a preview measures."""
    return min(grid.size, MAX_POINTS)


def preview(measure: Callable[[Array, Array], Array], grid: Grid) -> tuple[Array, Mask]:
    """(values [B, A] by beta and alpha, mask of the same shape: true where measured).

    measure: (alphas [m], betas [m]) -> values [m]. Measured values are unchanged to the bit; all others are between the
    smallest and the largest of them, or inf or NaN where the nearest measured value is. A grid of no more than
    `MAX_POINTS` points is measured whole. Same values, same bytes.
    """
    values, (alpha, beta), (wide, high) = np.full(grid.size, np.nan), grid.centre, grid.half_sides
    units = (grid.beta - beta) / high, (grid.alpha - alpha) / wide
    places = np.stack(np.meshgrid(*units, indexing="ij"), axis=-1).reshape(-1, 2)  # (beta, alpha)
    known = _lattice(grid.shape, max(grid.shape) if grid.size <= MAX_POINTS else FIRST_SIDE)
    candidates = _lattice(grid.shape, CANDIDATE_SIDE)

    def measure_nodes(nodes: Indices) -> Array:
        row, column = np.divmod(nodes, grid.shape[1])
        return measure(grid.alpha[column], grid.beta[row])

    values[known] = measure_nodes(known)
    while (budget := max_points(grid) - len(known)) > 0:
        scale = _scale(values[known])
        scaled = to_scale(values[known], scale)
        unknown = np.setdiff1d(candidates, known)
        predicted, differences, distances = _compare_interpolants(places[known], scaled, places[unknown])
        batch = _choose_batch(differences, places[unknown], distances, min(budget, BATCH_SIZE))
        if not len(batch):
            break
        nodes = unknown[batch]
        values[nodes] = measure_nodes(nodes)
        known = np.concatenate([known, nodes])
        error = np.abs(to_scale(values[nodes], scale) - predicted[batch])
        if (error <= TOLERANCE * np.ptp(scaled[np.isfinite(scaled)])).all():
            break
    mask = np.zeros(grid.size, bool)
    mask[known] = True
    values[~mask] = _interpolate(places[known], values[known], places[~mask])
    return values.reshape(grid.shape), mask.reshape(grid.shape)


def _lattice(shape: tuple[int, int], side: int) -> Indices:
    """Indices of up to `side` by `side` nodes, spread evenly over a grid [B, A], its corners included."""
    rows, columns = (np.unique(np.linspace(0, n - 1, min(n, side)).round().astype(np.int64)) for n in shape)
    return np.asarray((rows[:, None] * shape[1] + columns).reshape(-1))


def _scale(values: Array) -> Scale:
    """Logarithmic for losses; linear for those that may be zero or less."""
    return "log" if (values[np.isfinite(values)] > 0).all() else "linear"


def _compare_interpolants(points: Array, scaled: Array, at: Array) -> tuple[Array, Array, Array]:
    """(predicted values [m], differences of the interpolants [m], distances to the nearest point [m]) at places [m, 2].

    The difference is 0 deep among points that are not finite, where another measurement adds nothing.
    """
    cubic, thin_plate = (interpolant(at) for interpolant in _interpolants(points, scaled))
    distances, nearest = KDTree(points).query(at, k=3)
    return cubic, np.abs(cubic - thin_plate) * np.isfinite(scaled)[nearest].any(1), np.asarray(distances)[:, 0]


def _interpolants(points: Array, scaled: Array) -> tuple[Interpolant, Interpolant]:
    """r^3 and the thin plate through the finite values; twice the nearest value, if they span no plane."""
    finite = np.isfinite(scaled)
    points, scaled = points[finite], scaled[finite]
    if not len(points):
        return 2 * (lambda at: np.full(len(at), np.nan),)
    if np.linalg.matrix_rank(points - points[0]) < 2:
        return 2 * (NearestNDInterpolator(points, scaled),)
    return RBFInterpolator(points, scaled, kernel="cubic"), RBFInterpolator(points, scaled, kernel="thin_plate_spline")


def _choose_batch(differences: Array, places: Array, distances: Array, count: int) -> Indices:
    """Indices of up to `count` places, the largest difference first.

    Each choice lowers the differences around it, by a Gaussian as wide as its distance to the nearest measured point.
    """
    batch: list[int] = []
    while len(batch) < count and differences.max(initial=0.0) > 0:
        batch.append(int(differences.argmax()))
        squared_distances = np.square(places - places[batch[-1]]).sum(1)
        differences = differences * -np.expm1(-squared_distances / (2 * distances[batch[-1]] ** 2))
    return np.array(batch, np.int64)


def _interpolate(points: Array, values: Array, at: Array) -> Array:
    """Values at places [m, 2] that were not measured."""
    nearest = values[KDTree(points).query(at)[1]]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return nearest
    scale = _scale(values)
    smooth, _ = _interpolants(points, to_scale(values, scale))
    with np.errstate(over="ignore"):
        interpolated = np.clip(from_scale(smooth(at), scale), finite.min(), finite.max())
    return np.where(np.isfinite(nearest), interpolated, nearest)
