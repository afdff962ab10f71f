"""The drawn surface: heights and colours at every vertex of the mesh, refined from the measured nodes.

The surface passes through every measured node and never dips below the lowest of the nodes around it. Loss is refined
as log-loss, eigenvalues on a signed-log scale; the look's own scales apply afterwards. Where a finer grid was measured
around the centre, the surface follows that grid, and blends into the coarser one in a band before its edge.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator, make_interp_spline
from scipy.ndimage import distance_transform_edt, map_coordinates, minimum_filter, uniform_filter1d

from studio.field import DETAIL, Array, Grid, Instant, Surfaces, from_scale, to_scale
from studio.film.colour import lookup_table
from studio.film.fields import DERIVED, SCALES, ColourMapping, derive, measured_fields
from studio.film.look import Look
from studio.film.ranges import Ranges, on_colour_scale

UNKNOWN = np.array([0.05, 0.05, 0.05], np.float32)  # linear grey of what was not measured or did not converge


def heights(instant: Instant, look: Look, ranges: Ranges) -> Array:
    """Drawn height [mesh, mesh] in scene units, float32, from 0 to the exaggeration; NaN in holes."""
    refined = _refine_field(instant, look.height.field, look.mesh, ranges.cap, look.height.smoothing)
    low, high = ranges.height
    scaled = np.clip(look.height.to_scale(np.minimum(refined, ranges.cap)), low, high)  # a loss of 0 has no logarithm
    return (look.height.exaggeration * (scaled - low) / (high - low)).astype(np.float32)


def colours(instant: Instant, look: Look, mapping: ColourMapping, ranges: Ranges) -> Array:
    """Linear RGB [mesh, mesh, 3], float32, of a colour mapping; `UNKNOWN` where nothing is known."""
    is_height = mapping.field == look.height.field
    cap, smoothing = (ranges.cap, look.height.smoothing) if is_height else (np.inf, 1.0)
    refined = _refine_field(instant, mapping.field, look.mesh, cap, smoothing)
    low, high = ranges.colour_ends(mapping)
    share = (on_colour_scale(refined, mapping, look.height) - low) / (high - low)
    known = np.isfinite(share)
    table = lookup_table(mapping.map)
    coloured = table[(np.clip(np.where(known, share, 0), 0, 1) * (len(table) - 1) + 0.5).astype(np.intp)]
    return coloured if known.all() else np.where(known[..., None], coloured, UNKNOWN)


def values(instant: Instant, look: Look, field: str) -> Array:
    """A field at every vertex [mesh, mesh], in its own units and without a cap; NaN where nothing is known."""
    return _refine_field(instant, field, look.mesh, np.inf, look.height.smoothing)


def caveats(surfaces: Surfaces) -> list[str]:
    """Lines for the picture's notes that say what is drawn differently from what was measured; none if nothing is."""
    lines = []
    for name, test, text in _CAVEATS:
        measured = surfaces.fields[name].values if name in surfaces.fields else np.empty(0)
        if count := int(test(measured).sum()):
            lines.append(text.format(f"{count} of {measured.size} points"))
    if surfaces.trajectory:
        share = surfaces.trajectory.share_in_plane
        lines.append(f"trajectory: {share:.0%} of its length lies in the plane, the rest is not seen")
    return lines


# part of the drawn picture, so that another word here is another frame
_CAVEATS = (
    ("loss", np.isinf, "the loss is infinite at {}, drawn as high as the highest"),
    ("loss", np.isnan, "the loss is not a number at {}, drawn as holes"),
    ("lambda_min", np.isnan, "the curvature is unknown at {}, drawn grey"),
    ("measured", np.logical_not, "preview: {} are interpolated, not measured"),
)


def drawn_trajectory(instant: Instant, look: Look) -> Array | None:
    """The trajectory that led to an instant [n, 2] in scene units, smooth through its checkpoints; None if not drawn.

    Only its last part that stays on the drawn surface; it ends at the minimiser.
    """
    trajectory = instant.trajectory
    if look.trajectory is None or trajectory is None or len(trajectory) < 2 or not np.isfinite(trajectory).all():
        return None
    places = trajectory / instant.grids[measured_fields(look.height.field)[0]].range[1]
    smooth = PchipInterpolator(np.arange(len(places)), places)(np.linspace(0, len(places) - 1, 24 * len(places)))
    outside = np.flatnonzero(~(np.hypot(*smooth.T) <= look.fade.start))
    return np.asarray(smooth[outside[-1] + 1 :] if outside.size else smooth)


def height_at(height: Array, places: Array) -> Array:
    """Heights [n] of a surface [N, N] at places [n, 2] of the drawn square, linear between vertices; in its type."""
    at = (places[:, ::-1].T + 1) / 2 * (len(height) - 1)
    return np.asarray(map_coordinates(height, at, order=1, mode="nearest"))


def open_side(height: Array, reach: float) -> float:
    """The azimuth, degrees from alpha, on which the surface [N, N] around its middle rises least.

    reach: how far out to look, as a share of half the side. The rise on a ray is its steepest slope from the middle,
    averaged over 40 degrees of rays.
    """
    filled, middle = np.nan_to_num(height).astype(np.float64), len(height) // 2
    angles, radii = np.radians(np.arange(0, 360, 2)), np.linspace(0.05, reach, 96)
    rows, columns = (middle * (1 + np.multiply.outer(f(angles), radii)) for f in (np.sin, np.cos))
    rise = ((map_coordinates(filled, [rows, columns], order=1) - filled[middle, middle]) / radii).max(axis=1)
    return float(2 * np.argmin(uniform_filter1d(rise, 21, mode="wrap")))


# --- refinement ------------------------------------------------------------------------------------------------------


def _refine_field(instant: Instant, field: str, side: int, cap: float, smoothing: float) -> Array:
    """A drawable field [side, side] from its measured nodes, each cut to the cap."""
    if field in DERIVED:
        cap = np.inf  # it is in the units of the field, not of the measured ones
    return derive(field, [_refine_measured(instant, name, side, cap, smoothing) for name in measured_fields(field)])


def _refine_measured(instant: Instant, name: str, side: int, cap: float, smoothing: float) -> Array:
    """A measured field [side, side] from its nodes, and from those of its finer grid where there is one."""
    scale = SCALES.get(name, "linear")
    refined = refine(to_scale(np.minimum(instant.values[name], cap), scale), side, smoothing)
    if (nodes := instant.values.get(name + DETAIL)) is not None and instant.detail > 0:
        share = detail_share(instant.grids[name + DETAIL], instant.grids[name])
        axis = np.linspace(-1, 1, side)
        covered = np.flatnonzero(np.abs(axis) <= share)
        near = slice(covered[0], covered[-1] + 1)
        fine = refine(to_scale(np.minimum(nodes, cap), scale), tuple(axis[near] / share), smoothing)
        weight = instant.detail * detail_weight(axis[near] / share)
        # a hole in the finer grid is none where that grid has no weight
        refined[near, near] += np.where(weight > 0, weight * (fine - refined[near, near]), 0.0)
    return from_scale(refined, scale)


def detail_share(fine: Grid, coarse: Grid) -> float:
    """The side of a finer grid as a share of the coarser one's."""
    return fine.range[1] / coarse.range[1]


def detail_weight(axis: Array) -> Array:
    """The finer grid's weight [n, n] at places -1 to 1 along its sides: 1 inside, 0 from its edge on.

    1 - smoothstep of (x^4 + y^4)^(1/4) from 0.8 to 1: a square with round corners, so that no straight seam shows.
    """
    radius = np.add.outer(axis**4, axis**4) ** 0.25
    share = np.clip((1 - radius) / 0.2, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def refine(nodes: Array, side: int | tuple[float, ...], smoothing: float = 1.0) -> Array:
    """A surface through nodes [n, n], evaluated at [side, side] points from edge to edge.

    side: the number of points, or their places along each side, -1 to 1. smoothing: 0 is bilinear, 1 a bicubic spline.
    No value is below the lowest of the nodes around it; cells that touch a node which is not finite are NaN.
    """
    known = np.isfinite(nodes)
    points = tuple(np.linspace(-1, 1, side)) if isinstance(side, int) else side
    if not known.any():
        return np.full((len(points), len(points)), np.nan)
    filled = fill_holes(nodes, known)
    cubic, linear = _spline(len(nodes), points, min(3, len(nodes) - 1)), _spline(len(nodes), points, 1)
    floor = linear @ minimum_filter(filled, 3, mode="nearest") @ linear.T
    refined = np.maximum(cubic @ filled @ cubic.T, floor)
    if smoothing < 1:
        straight = linear @ filled @ linear.T
        refined = straight + smoothing * (refined - straight)  # both agree at a node, so that it stays to the bit
    if known.all():
        return np.asarray(refined)
    return np.where(linear @ (~known).astype(float) @ linear.T > 1e-9, np.nan, refined)


def fill_holes(values: Array, known: Array) -> Array:
    """The values, unknown ones replaced by the nearest known; at least one must be known."""
    if known.all():
        return values
    return np.asarray(values[tuple(distance_transform_edt(~known, return_distances=False, return_indices=True))])


@lru_cache(maxsize=16)
def _spline(nodes: int, points: tuple[float, ...], degree: int) -> Array:
    """Matrix [points, nodes] from node values to spline values at places -1 to 1; exact where a place is a node."""
    matrix = make_interp_spline(np.linspace(0, 1, nodes), np.eye(nodes), k=degree)((np.array(points) + 1) / 2)
    on_node = np.isclose(matrix, 1.0, atol=1e-12) & (np.count_nonzero(np.abs(matrix) > 1e-12, axis=1) == 1)[:, None]
    return np.where(on_node.any(axis=1)[:, None], on_node.astype(float), matrix)
