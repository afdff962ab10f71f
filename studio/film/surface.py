"""From measured nodes to a fine sheet: heights and colours at every vertex of the drawn mesh.

The sheet passes through every measured node and never dips below the lowest of the nodes around it. Loss is refined as
log-loss, eigenvalues on a signed-log scale; the look's own scales are applied afterwards. Where a finer grid was
measured around the centre, the sheet follows that one, and passes over to the coarser in a band before its edge.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.interpolate import PchipInterpolator, make_interp_spline
from scipy.ndimage import distance_transform_edt, map_coordinates, minimum_filter, uniform_filter1d

from studio.field import DETAIL, Grid, Instant, Scale, Surfaces, from_scale, hidden, negative_share, to_scale
from studio.film.colour import diverging, table
from studio.film.fields import SIGNED, ColourMapping, HeightMapping
from studio.film.look import Look

SCALES: dict[str, Scale] = {"loss": "log", "accuracy": "linear", "entropy": "linear"} | dict.fromkeys(
    SIGNED, "signed-log"
)
"""On which scale a measured field is refined and blended; a metric of the user's is taken as it is."""
UNKNOWN = np.array([0.05, 0.05, 0.05], np.float32)
"""Linear grey of what was not measured or did not converge."""


@dataclass(frozen=True)
class Ranges:
    """What stays fixed over the whole film: the height scale's ends, and each paint's, on its own scale."""

    height: tuple[float, float]
    paints: tuple[tuple[ColourMapping, tuple[float, float]], ...]
    cap: float

    def of(self, paint: ColourMapping) -> tuple[float, float]:
        return dict(self.paints)[paint]


def ranges(surfaces: Surfaces, look: Look, paints: tuple[ColourMapping, ...]) -> Ranges:
    """Film-wide ranges over the measured values inside the drawn disc.

    Raises ValueError if a field was not measured, or not one of its values is finite.
    """
    drawn = _inside(surfaces, look.height.field, look.fade.end)
    if not drawn.size:
        raise ValueError(f"not one finite value of '{look.height.field}' was measured, so there is nothing to draw")
    cap = min(drawn.max(), look.height.cap or np.inf)
    height = _ends(look.height.of(np.minimum(drawn[drawn > 0] if look.height.scale == "log" else drawn, cap)))
    found = ((paint, _painted(surfaces, look, paint, cap)) for paint in dict.fromkeys(paints))
    return Ranges(height, tuple(found), float(cap))


def _painted(surfaces: Surfaces, look: Look, paint: ColourMapping, cap: float) -> tuple[float, float]:
    """Both ends of a paint, on its own scale."""
    values = _inside(surfaces, paint.field, look.fade.end)
    if paint.range is not None:
        return _ends(_scaled(np.array(paint.range), paint, look.height))
    if paint.field in _MADE:  # a share: its scale begins at 0, and a yes or no has both
        values = np.append(values, [0.0, 1.0] if paint.field == "hidden" else 0.0)
    if not values.size:
        raise ValueError(f"not one finite value of '{paint.field}' was measured, so there is nothing to colour by")
    if paint.field == look.height.field:
        values = np.minimum(values, cap)
    low, high = _ends(_scaled(values, paint, look.height))
    middle = 0.0 if paint.centre is None and paint.field in SIGNED and diverging(paint.map) else paint.centre
    if middle is None:
        return low, high
    centre = float(_scaled(np.array(middle), paint, look.height))
    reach = max(centre - low, high - centre)
    return centre - reach, centre + reach


def missing(field: str, measured: Container[str]) -> str | None:
    """What to add to a scene so that a field can be drawn, in words; None if all that it takes is measured."""
    if all(part in measured for part in parts(field)):
        return None
    if field == "accuracy":
        return "a preview measures no accuracy; take `sampling: exact` in the scene's loss"
    if source(field) == "convexity":
        return f"nothing measures the {field}; add `convexity: {{points: 11}}` to the scene"
    return f"nothing measures the {field}; add `fields: [{field}]` to the scene's loss"


def parts(field: str) -> tuple[str, ...]:
    """The measured fields that a drawn one is made of."""
    return _MADE[field][0] if field in _MADE else (field,)


def source(field: str) -> Literal["loss", "convexity"]:
    """Which of the scene's grids a drawn field stands on."""
    return "convexity" if field in (*SIGNED, *_MADE) else "loss"


def undrawn(surfaces: Surfaces) -> list[str]:
    """What cannot be drawn as it was measured, and what is drawn instead, in words; nothing if all is finite."""
    said = []
    for name, test, words in _UNDRAWN:
        values = surfaces.fields[name].values if name in surfaces.fields else np.empty(0)
        if count := int(test(values).sum()):
            said.append(words.format(f"{count} of {values.size} points"))
    if surfaces.trajectory:
        said.append(f"path: {surfaces.trajectory.kept:.0%} of the way lies in the plane, the rest is not seen")
    return said


_UNDRAWN = (
    ("loss", np.isinf, "the loss is infinite at {}, drawn as high as the highest"),
    ("loss", np.isnan, "the loss is not a number at {}, drawn as holes"),
    ("lambda_min", np.isnan, "the curvature is unknown at {}, drawn grey"),
    ("measured", np.logical_not, "preview: {} are interpolated, not measured"),
)


def _inside(surfaces: Surfaces, name: str, radius: float) -> np.ndarray:
    """The finite values of a field inside the drawn disc, over all keys, flat. Raises ValueError if it is missing."""
    if what := missing(name, surfaces.fields):
        raise ValueError(what)
    reach = radius * surfaces.fields[parts(name)[0]].grid.range[1]
    found = [_nodes_inside(surfaces, name, parts(name), reach)]
    if name + DETAIL in surfaces.fields:
        found.append(_nodes_inside(surfaces, name, (name + DETAIL,), reach))
    return np.concatenate(found)


def _nodes_inside(surfaces: Surfaces, name: str, measured: Sequence[str], reach: float) -> np.ndarray:
    """The finite values of a field, made of measured ones, at nodes no farther from the centre than `reach`, flat."""
    values = _made(name, [np.asarray(surfaces.fields[part].values, np.float64) for part in measured])
    axis = surfaces.fields[measured[0]].grid.axis
    inside = values[:, axis[:, None] ** 2 + axis[None, :] ** 2 <= reach**2].ravel()
    return inside[np.isfinite(inside)]


def _made(name: str, values: Sequence[np.ndarray]) -> np.ndarray:
    """A drawn field from the measured ones it is made of."""
    return _MADE[name][1](*values) if name in _MADE else values[0]


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def _scaled(values: np.ndarray, paint: ColourMapping, height: HeightMapping) -> np.ndarray:
    """Field values on the scale a paint spreads its colours over."""
    if paint.scale == "height":
        return height.of(values) if paint.field == height.field else values
    return HeightMapping(scale=paint.scale).of(values)


_MADE: dict[str, tuple[tuple[str, ...], Callable[..., np.ndarray]]] = {
    "convexity": (("lambda_min", "lambda_max"), negative_share),
    "plane-convexity": (("kappa_min", "kappa_max"), negative_share),
    "hidden": (("lambda_min", "lambda_max", "kappa_min", "kappa_max"), hidden),
}
"""Fields that are not measured but made of measured ones, after these were blended in time and refined in space."""


def heights(instant: Instant, look: Look, ranges: Ranges) -> np.ndarray:
    """Drawn height [mesh, mesh] in scene units, float32, from 0 to the exaggeration; NaN where there is a hole."""
    fine = _fine(instant, look.height.field, look.mesh, ranges.cap, look.height.smoothing)
    values = np.minimum(fine, ranges.cap)
    low, high = ranges.height
    scaled = np.clip(look.height.of(values), low, high)  # a loss of exactly 0 has no logarithm
    return (look.height.exaggeration * (scaled - low) / (high - low)).astype(np.float32)


def colours(instant: Instant, look: Look, paint: ColourMapping, ranges: Ranges) -> np.ndarray:
    """Linear RGB [mesh, mesh, 3], float32, of a paint at one instant; grey where nothing is known."""
    cap, smoothing = (ranges.cap, look.height.smoothing) if paint.field == look.height.field else (np.inf, 1.0)
    values = _fine(instant, paint.field, look.mesh, cap, smoothing)
    low, high = ranges.of(paint)
    share = (_scaled(values, paint, look.height) - low) / (high - low)
    known = np.isfinite(share)
    stops = table(paint.map)
    painted = stops[(np.clip(np.where(known, share, 0), 0, 1) * (len(stops) - 1) + 0.5).astype(np.intp)]
    return painted if known.all() else np.where(known[..., None], painted, UNKNOWN)


def values(instant: Instant, look: Look, field: str) -> np.ndarray:
    """A field as it was measured, at every vertex [mesh, mesh], in its own units; NaN where nothing is known."""
    return _fine(instant, field, look.mesh, np.inf, look.height.smoothing)


def _fine(instant: Instant, name: str, side: int, cap: float, smoothing: float) -> np.ndarray:
    """A drawn field [side, side] from its measured nodes; no node counts for more than the cap."""
    if name in _MADE:
        cap = np.inf  # it is in the units of the field, not of its parts
    return _made(name, [_refined(instant, part, side, cap, smoothing) for part in parts(name)])


def _refined(instant: Instant, part: str, side: int, cap: float, smoothing: float) -> np.ndarray:
    """A measured field [side, side] from its nodes, and from those of its finer grid where there is one."""
    scale = SCALES.get(part, "linear")
    sheet = refine(to_scale(np.minimum(instant.values[part], cap), scale), side, smoothing)
    if (nodes := instant.values.get(part + DETAIL)) is not None and instant.detail > 0:
        share = reach(instant.grids[part + DETAIL], instant.grids[part])
        axis = np.linspace(-1, 1, side)
        covered = np.flatnonzero(np.abs(axis) <= share)
        near = slice(covered[0], covered[-1] + 1)
        fine = refine(to_scale(np.minimum(nodes, cap), scale), tuple(axis[near] / share), smoothing)
        weight = instant.detail * inner(axis[near] / share)
        # a hole in the finer grid is none where that does not count
        sheet[near, near] += np.where(weight > 0, weight * (fine - sheet[near, near]), 0.0)
    return from_scale(sheet, scale)


def reach(fine: Grid, coarse: Grid) -> float:
    """How far a finer grid goes, as a share of the coarser one's side."""
    return fine.range[1] / coarse.range[1]


def inner(axis: np.ndarray) -> np.ndarray:
    """How far the finer grid counts [n, n], over places -1 to 1 of its sides: 1 inside, 0 from its edge on.

    A square with round corners, so that no straight seam is seen: 1 - smoothstep of (x^4 + y^4)^(1/4) from 0.8 to 1.
    """
    out = np.add.outer(axis**4, axis**4) ** 0.25
    share = np.clip((1 - out) / 0.2, 0, 1)
    return share * share * (3 - 2 * share)


def refine(nodes: np.ndarray, side: int | tuple[float, ...], smoothing: float = 1.0) -> np.ndarray:
    """A sheet through nodes [n, n], at [side, side] points from edge to edge: from straight pieces to a bicubic spline.

    side: or the places of the points along each side, -1 to 1. smoothing: from the one, 0, to the other, 1. The sheet
    never dips below the lowest of the nodes around; cells that touch a node which is not finite are NaN.
    """
    known = np.isfinite(nodes)
    points = tuple(np.linspace(-1, 1, side)) if isinstance(side, int) else side
    if not known.any():
        return np.full((len(points), len(points)), np.nan)
    whole = filled(nodes, known)
    cubic, line = _spline(len(nodes), points, min(3, len(nodes) - 1)), _spline(len(nodes), points, 1)
    fine = np.maximum(cubic @ whole @ cubic.T, line @ minimum_filter(whole, 3, mode="nearest") @ line.T)
    if smoothing < 1:
        straight = line @ whole @ line.T
        fine = straight + smoothing * (fine - straight)  # of the same number at a node, so that it stays to the bit
    if known.all():
        return fine
    return np.where(line @ (~known).astype(float) @ line.T > 1e-9, np.nan, fine)


def open_side(height: np.ndarray, reach: float) -> float:
    """The azimuth, degrees from alpha, on which the land [N, N] around the middle rises least as seen from there.

    reach: how far is looked, as a share of the half side. The rise is the steepest way up on a ray, averaged over 40
    degrees of rays.
    """
    land, middle = np.nan_to_num(height).astype(np.float64), len(height) // 2
    turn, out = np.radians(np.arange(0, 360, 2)), np.linspace(0.05, reach, 96)
    rows, columns = (middle * (1 + np.multiply.outer(f(turn), out)) for f in (np.sin, np.cos))
    rise = ((map_coordinates(land, [rows, columns], order=1) - land[middle, middle]) / out).max(axis=1)
    return float(2 * np.argmin(uniform_filter1d(rise, 21, mode="wrap")))


def drawn_trajectory(instant: Instant, look: Look) -> np.ndarray | None:
    """The way that led to an instant [n, 2] in scene units, smooth through its checkpoints; None if it is not drawn.

    Its last stretch that lies on the land, and ends at the minimiser.
    """
    if (
        look.trajectory is None
        or instant.trajectory is None
        or len(instant.trajectory) < 2
        or not np.isfinite(instant.trajectory).all()
    ):
        return None
    places = instant.trajectory / instant.grids[parts(look.height.field)[0]].range[1]
    fine = PchipInterpolator(np.arange(len(places)), places)(np.linspace(0, len(places) - 1, 24 * len(places)))
    off = np.flatnonzero(~(np.hypot(*fine.T) <= look.fade.start))
    return fine[off[-1] + 1 :] if off.size else fine


def filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The values, with those that are not known replaced by the nearest that are; some must be."""
    if known.all():
        return values
    return values[tuple(distance_transform_edt(~known, return_distances=False, return_indices=True))]


@lru_cache(maxsize=16)
def _spline(nodes: int, points: tuple[float, ...], degree: int) -> np.ndarray:
    """Matrix [points, nodes] that takes node values to spline values at some places, -1 to 1."""
    fine = make_interp_spline(np.linspace(0, 1, nodes), np.eye(nodes), k=degree)((np.array(points) + 1) / 2)
    on_node = np.isclose(fine, 1.0, atol=1e-12) & (np.count_nonzero(np.abs(fine) > 1e-12, axis=1) == 1)[:, None]
    return np.where(on_node.any(axis=1)[:, None], on_node.astype(float), fine)
