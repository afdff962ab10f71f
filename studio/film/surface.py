"""The drawn surface: heights and colours at every vertex of the mesh, refined from the measured nodes.

The surface passes through every measured node and never dips below the lowest of the nodes around it. Loss is refined
as log-loss, eigenvalues on a signed-log scale; the look's own scales apply afterwards. Where a finer grid was measured,
the surface follows that grid, and blends into the coarser one in a band before its edge. The drawn square spans -1 to 1
in scene units; of an oblong window it holds a part, and beyond that everything is NaN.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator, make_interp_spline
from scipy.ndimage import distance_transform_edt, map_coordinates, minimum_filter, uniform_filter1d

from studio.field import Array, Grid, Instant, Layer, Surfaces, from_scale, to_scale
from studio.film.appearance import Nodes
from studio.film.colour import lookup_table
from studio.film.fields import DERIVED, SIGNED, ColourMapping, derive, measured_fields
from studio.film.look import Look
from studio.film.ranges import Ranges, on_colour_scale

Places = tuple[float, ...]
UNKNOWN = np.array([0.05, 0.05, 0.05], np.float32)  # linear grey of what was not measured or did not converge


def heights(instant: Instant, look: Look, ranges: Ranges) -> Array:
    """Drawn height [mesh, mesh] in scene units, float32, from 0 to the exaggeration; NaN in holes.

    Where the range follows the keyframes, a point between two of them may lie beyond it, by half of it at most.
    """
    return to_height(
        _refine_field(instant, look.height.field, look.mesh, ranges.cap, look.height.smoothing), look, ranges
    )


def to_height(values: Array, look: Look, ranges: Ranges) -> Array:
    """Drawn heights of values of the height's field, scene units, float32; NaN stays NaN."""
    low, high = ranges.height
    beyond = abs(high - low) / 2 if look.height.range == "keyframe" else 0.0  # cut at the range, it would have plateaus
    scaled = look.height.to_scale(np.minimum(values, ranges.cap))
    scaled = np.clip(scaled, min(low, high) - beyond, max(low, high) + beyond)  # a loss of 0 has no logarithm
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
    lines, distances = [], surfaces.markers.distances if surfaces.markers else None
    if surfaces.skew >= MIN_SKEW:
        lines.append(f"directions: they meet at {90 - surfaces.skew:.0f} degrees, drawn at a right angle")
    if distances is not None and (farthest := float(np.nanmax(distances))) >= MIN_OFF_PLANE:
        lines.append(f"marker: the plane's nearest point to the network, which is up to {farthest:.2g} |delta| away")
    for name, test, text in _CAVEATS:
        measured = surfaces.fields[name].values if name in surfaces.fields else ()
        if count := sum(int(test(values).sum()) for values in measured):
            lines.append(text.format(f"{count} of {sum(values.size for values in measured)} points"))
    for name, each in surfaces.fields.items():
        unknown, size = (sum(map(count, each.values)) for count in (lambda v: np.sum(~np.isfinite(v)), np.size))
        if unknown and name not in ("loss", "taylor", *SIGNED):
            lines.append(f"{name}: not finite at {unknown} of {size} points, drawn grey or as holes")
    for name, baseline in BASELINES.items():
        if name in surfaces.metrics and not surfaces.metrics[name][-1] > 0:
            lines.append(f"untrained: at its last checkpoint the network is no better than {baseline}")
    if surfaces.trajectory and (share := surfaces.trajectory.share_in_plane) < WHOLE:
        lines.append(f"trajectory: {share:.0%} of its length lies in the plane, the rest is not seen")
    return lines


BASELINES = {
    "bigram_margin": "a table of pairs of characters, on held-out text",
    "energy_margin": "what a two-sample test of the energy distance tells from held-out samples, at 5 %",
}
"""What a network must be better than, by the metric that says by how much it is."""
WHOLE = 0.995
"""Share of a trajectory in the plane that counts as all of it."""
MIN_SKEW, MIN_OFF_PLANE = 1.0, 0.005
"""The least that a note speaks of: degrees from a right angle, and lengths of delta."""
# part of the drawn picture, so that another word here is another frame
_CAVEATS = (
    ("loss", np.isinf, "the loss is infinite at {}, drawn as high as the highest"),
    ("loss", np.isnan, "the loss is not a number at {}, drawn as holes"),
    ("lambda_min", np.isnan, "the curvature is unknown at {}, drawn grey"),
    ("measured", np.logical_not, "preview: {} are interpolated, not measured"),
)


def drawn_trajectory(instant: Instant, look: Look) -> Array | None:
    """The trajectory that led to an instant [n, 2] in scene units, smooth through its checkpoints; None if not drawn.

    Only its last part that stays on the drawn surface; it ends at the marker.
    """
    trajectory = instant.trajectory
    if look.trajectory is None or trajectory is None or len(trajectory) < 2 or not np.isfinite(trajectory).all():
        return None
    places = instant.window.to_scene(trajectory)
    smooth = PchipInterpolator(np.arange(len(places)), places)(np.linspace(0, len(places) - 1, 24 * len(places)))
    outside = np.flatnonzero(~(window_radius(smooth, instant.window.scene_sides) <= look.fade.start))
    return np.asarray(smooth[outside[-1] + 1 :] if outside.size else smooth)


def drawn_marker(instant: Instant, look: Look) -> tuple[float, float] | None:
    """The marker's place (x, y) in scene units; None if there is none on the drawn surface."""
    if instant.marker is None:
        return None
    place = instant.window.to_scene(np.array(instant.marker))
    if window_radius(place, instant.window.scene_sides) > look.fade.end:
        return None
    return float(place[0]), float(place[1])


def drawn_nodes(instant: Instant, look: Look) -> Nodes:
    """The measured points of the look's height, on its coarsest grid."""
    grid, window = instant.layers[measured_fields(look.height.field)[0]][0].grid, instant.window
    columns, rows = grid.counts
    x, y = window.to_scene(np.array([grid.alpha[columns // 2], grid.beta[rows // 2]]))
    wide, high = (2 * (half / window.unit) for half in grid.half_sides)
    return Nodes((float(x), float(y)), (wide / (columns - 1), high / (rows - 1)))


def value_at(instant: Instant, name: str, place: tuple[float, float]) -> float:
    """A measured field's surface at a place (alpha, beta) of the plane; NaN in a hole."""
    x, y = instant.window.to_scene(np.array(place))
    at_place = np.array([x]), np.array([y])
    return float(_refine_layers(instant.layers[name], instant.window, at_place, np.inf, 1.0)[0, 0])


def window_radius(places: Array, sides: tuple[float, float]) -> Array:
    """Distances of places [..., 2] in scene units from the middle of a window, whose edge is an ellipse at 1.

    sides: half of the window's, in scene units.
    """
    return np.hypot(places[..., 0] / sides[0], places[..., 1] / sides[1])


def height_at(height: Array, places: Array) -> Array:
    """Heights [n] of a surface [N, N] at places [n, 2] of the drawn square, linear between vertices; in its type."""
    at = (places[:, ::-1].T + 1) / 2 * (len(height) - 1)
    return np.asarray(map_coordinates(height, at, order=1, mode="nearest"))


def marker_height(height: Array, place: tuple[float, float] | None) -> float:
    """The height of a surface [N, N] under the marker, at a place in scene units; NaN in a hole, and without a marker.

    Beside a hole it is the height of the nearest vertex.
    """
    if place is None:
        return np.nan
    column, row = np.round((np.array(place) + 1) / 2 * (len(height) - 1)).astype(int)
    between = height_at(height, np.array([place]))[0]
    return float(between if np.isfinite(between) else height[row, column])


def open_side(height: Array, reach: float, place: tuple[float, float] = (0.0, 0.0)) -> float:
    """The azimuth, degrees from alpha, on which the surface [N, N] around a place in scene units rises least.

    reach: how far out to look, scene units. The rise on a ray is its steepest slope from the place, averaged over 40
    degrees of rays.
    """
    filled, middle = np.nan_to_num(height).astype(np.float64), len(height) // 2
    angles, radii = np.radians(np.arange(0, 360, 2)), np.linspace(0.05, reach, 96)
    rows, columns = (
        middle * (1 + at + np.multiply.outer(f(angles), radii)) for f, at in ((np.sin, place[1]), (np.cos, place[0]))
    )
    start = height_at(filled, np.array([place]))[0]
    rise = ((map_coordinates(filled, [rows, columns], order=1, mode="nearest") - start) / radii).max(axis=1)
    return float(2 * np.argmin(uniform_filter1d(rise, 21, mode="wrap")))


# --- refinement ------------------------------------------------------------------------------------------------------


def _refine_field(instant: Instant, field: str, side: int, cap: float, smoothing: float) -> Array:
    """A drawable field [side, side] from its measured nodes, each cut to the cap; NaN outside an oblong window."""
    if field in DERIVED:
        cap = np.inf  # it is in the units of the field, not of the measured ones
    window, axis = instant.window, np.linspace(-1, 1, side)
    x, y = (np.clip(axis, -half, half) for half in window.scene_sides)
    layers = (instant.layers[name] for name in measured_fields(field))
    drawn = derive(field, [_refine_layers(stack, window, (x, y), cap, smoothing) for stack in layers])
    for half, outside in zip(window.scene_sides, (axis, axis[:, None]), strict=True):
        if half < 1:
            drawn = np.where(np.abs(outside) > mesh_half(half, side), np.nan, drawn)
    return drawn


def mesh_half(half: float, side: int) -> float:
    """Half of a window's side on a mesh of `side` vertices: two vertices more, so that the fade ends on the mesh."""
    return min(1.0, half + 4 / (side - 1))


def _refine_layers(
    layers: tuple[Layer, ...], window: Grid, places: tuple[Array, Array], cap: float, smoothing: float
) -> Array:
    """Values [y, x] of a field's layers over each other, at x and y in scene units; NaN where no grid reaches."""
    scales = [layer.scale for layer in layers]
    scale = "signed-log" if "signed-log" in scales else scales[0]
    refined = np.full([len(along) for along in places[::-1]], np.nan)
    for number, layer in enumerate(layers):
        columns, rows = (_grid_places(along, layer.grid, window, k) for k, along in enumerate(places))
        covered = [np.flatnonzero(np.abs(along) <= (1 if number else 1 + _SLACK)) for along in (rows, columns)]
        if not all(inside.size for inside in covered):
            continue
        near_rows, near_columns = (slice(inside[0], inside[-1] + 1) for inside in covered)
        rows, columns, part = rows[near_rows], columns[near_columns], refined[near_rows, near_columns]
        nodes = to_scale(np.minimum(layer.values, cap), scale)
        values = refine(nodes, (tuple(np.clip(rows, -1, 1)), tuple(np.clip(columns, -1, 1))), smoothing)
        if not number:
            part[:] = values
            continue
        weight = layer.weight * seam_weight(rows, columns, layer.seam)
        # a hole in the finer grid is none where that grid has no weight
        part += np.where(weight > 0, weight * (values - part), 0.0)
    return from_scale(refined, scale)


_SLACK = 1e-6  # of a grid's half side, by which a window of the same size may reach beyond its edge


def _grid_places(places: Array, grid: Grid, window: Grid, side: int) -> Array:
    """Places along side 0 or 1 of a window, scene units, from -1 to 1 between the edges of a grid."""
    half, offset = grid.half_sides[side], window.centre[side] - grid.centre[side]
    return places / (half / window.unit) + offset / half  # exactly the same places for the window's own grid


def seam_weight(rows: Array, columns: Array, seam: float) -> Array:
    """The weight [B, A] of a finer layer at places -1 to 1 along its sides: 1 inside, 0 from its edge on.

    1 - smoothstep of (x^4 + y^4)^(1/4) over the seam: a rectangle with round corners, so that no straight seam shows.
    """
    radius = np.add.outer(rows**4, columns**4) ** 0.25
    share = np.clip((1 - radius) / seam, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def refine(nodes: Array, side: int | tuple[Places, Places], smoothing: float = 1.0) -> Array:
    """A surface through nodes [B, A], evaluated at [side, side] points from edge to edge.

    side: the number of points, or their places along the rows and the columns, -1 to 1. smoothing: 0 is bilinear, 1 a
    bicubic spline. No value is below the lowest of the nodes around it; cells that touch a node which is not finite are
    NaN.
    """
    known = np.isfinite(nodes)
    places = (tuple(np.linspace(-1, 1, side)),) * 2 if isinstance(side, int) else side
    if not known.any():
        return np.full([len(along) for along in places], np.nan)

    def evaluate(values: Array, degree: int) -> Array:
        rows, columns = (_spline(n, at, min(degree, n - 1)) for n, at in zip(values.shape, places, strict=True))
        return np.asarray(rows @ values @ columns.T)

    filled = fill_holes(nodes, known)
    refined = np.maximum(evaluate(filled, 3), evaluate(minimum_filter(filled, 3, mode="nearest"), 1))
    if smoothing < 1:
        straight = evaluate(filled, 1)
        refined = straight + smoothing * (refined - straight)  # both agree at a node, so that it stays to the bit
    return refined if known.all() else np.where(evaluate((~known).astype(float), 1) > 1e-9, np.nan, refined)


def fill_holes(values: Array, known: Array) -> Array:
    """The values, unknown ones replaced by the nearest known; at least one must be known."""
    if known.all():
        return values
    return np.asarray(values[tuple(distance_transform_edt(~known, return_distances=False, return_indices=True))])


@lru_cache(maxsize=32)
def _spline(nodes: int, points: Places, degree: int) -> Array:
    """Matrix [points, nodes] from node values to spline values at places -1 to 1; exact where a place is a node."""
    matrix = make_interp_spline(np.linspace(0, 1, nodes), np.eye(nodes), k=degree)((np.array(points) + 1) / 2)
    on_node = np.isclose(matrix, 1.0, atol=1e-12) & (np.count_nonzero(np.abs(matrix) > 1e-12, axis=1) == 1)[:, None]
    return np.where(on_node.any(axis=1)[:, None], on_node.astype(float), matrix)
