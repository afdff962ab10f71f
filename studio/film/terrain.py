"""From measured nodes to a fine sheet: heights and colours at every vertex of the drawn mesh.

The sheet passes through every measured node and never dips below the lowest of the nodes around it. Loss is refined as
log-loss, eigenvalues on a signed-log scale; the look's own scales are applied afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.ndimage import distance_transform_edt, minimum_filter

from ..field import Instant, Scale, Surfaces, backward, forward
from .look import Height, Look, Paint, table

SCALES: dict[str, Scale] = {"loss": "log", "accuracy": "linear", "lambda_min": "signed-log", "lambda_max": "signed-log"}
UNKNOWN = np.array([0.05, 0.05, 0.05], np.float32)
"""Linear grey of what was not measured or did not converge."""


@dataclass(frozen=True)
class Ranges:
    """What stays fixed over the whole film: the height scale's ends, and each paint's, on its own scale."""

    height: tuple[float, float]
    paints: tuple[tuple[Paint, tuple[float, float]], ...]
    cap: float

    def of(self, paint: Paint) -> tuple[float, float]:
        return dict(self.paints)[paint]


def ranges(surfaces: Surfaces, look: Look, paints: tuple[Paint, ...]) -> Ranges:
    """Film-wide ranges over the measured values inside the drawn disc. Raises ValueError if none of them is finite."""
    drawn = _drawn(surfaces, look.height.field, look.fade.end)
    cap = min(drawn.max(), look.height.cap or np.inf)
    height = _ends(look.height.of(np.minimum(drawn[drawn > 0] if look.height.scale == "log" else drawn, cap)))
    found = []
    for paint in dict.fromkeys(paints):
        if paint.range is not None:
            found.append((paint, _ends(_scaled(np.array(paint.range), paint, look.height))))
        elif paint.field == "convexity":
            both = [_drawn(surfaces, name, look.fade.end, broken=True) for name in ("lambda_min", "lambda_max")]
            share = convexity(*both)
            found.append((paint, _ends(_scaled(np.append(share[np.isfinite(share)], 0.0), paint, look.height))))
        else:
            own = _drawn(surfaces, paint.field, look.fade.end)
            found.append(
                (
                    paint,
                    _ends(
                        _scaled(np.minimum(own, cap) if paint.field == look.height.field else own, paint, look.height)
                    ),
                )
            )
    return Ranges(height, tuple(found), float(cap))


def undrawn(surfaces: Surfaces) -> list[str]:
    """What cannot be drawn as it was measured, and what is drawn instead, in words; nothing if all is finite."""
    said = []
    for name, test, words in _UNDRAWN:
        values = surfaces.fields[name].values if name in surfaces.fields else np.empty(0)
        if count := int(test(values).sum()):
            said.append(words.format(f"{count} of {values.size} points"))
    return said


_UNDRAWN = (
    ("loss", np.isinf, "the loss is infinite at {}, drawn as high as the highest"),
    ("loss", np.isnan, "the loss is not a number at {}, drawn as holes"),
    ("lambda_min", np.isnan, "the curvature is unknown at {}, drawn grey"),
)


def _drawn(surfaces: Surfaces, name: str, radius: float, *, broken: bool = False) -> np.ndarray:
    """Measured values of a field inside the drawn disc, over all keys, flat; finite ones only unless `broken`."""
    field = surfaces.fields[name]
    axis = field.grid.axis / field.grid.range[1]
    inside = axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2
    values = np.asarray(field.values, np.float64)[:, inside].ravel()
    kept = values if broken else values[np.isfinite(values)]
    if not kept.size or not np.isfinite(kept).any():
        raise ValueError(f"not one finite value of '{name}' was measured, so there is nothing to draw")
    return kept


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def _scaled(values: np.ndarray, paint: Paint, height: Height) -> np.ndarray:
    """Field values on the scale a paint spreads its colours over."""
    if paint.scale == "height":
        return height.of(values) if paint.field == height.field else values
    return Height(scale=paint.scale).of(values)


def convexity(lambda_min: np.ndarray, lambda_max: np.ndarray) -> np.ndarray:
    """Share of negative curvature, max(0, -lambda_min) / max(|lambda_min|, |lambda_max|), in 0..1; NaN where flat."""
    largest = np.maximum(np.abs(lambda_min), np.abs(lambda_max))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(largest > 0, np.maximum(0.0, -lambda_min) / largest, np.nan)


def heights(instant: Instant, look: Look, ranges: Ranges) -> np.ndarray:
    """Drawn height [mesh, mesh] in scene units, float32, from 0 to the exaggeration; NaN where there is a hole."""
    values = np.minimum(_refined(instant, look.height.field, look.mesh, ranges.cap), ranges.cap)
    low, high = ranges.height
    scaled = np.clip(look.height.of(values), low, high)  # a loss of exactly 0 has no logarithm
    return (look.height.exaggeration * (scaled - low) / (high - low)).astype(np.float32)


def colours(instant: Instant, look: Look, paint: Paint, ranges: Ranges) -> np.ndarray:
    """Linear RGB [mesh, mesh, 3], float32, of a paint at one instant; grey where nothing is known."""
    if paint.field == "convexity":
        values = convexity(*(_refined(instant, name, look.mesh, np.inf) for name in ("lambda_min", "lambda_max")))
    else:
        values = _refined(instant, paint.field, look.mesh, ranges.cap if paint.field == look.height.field else np.inf)
    low, high = ranges.of(paint)
    share = (_scaled(values, paint, look.height) - low) / (high - low)
    known = np.isfinite(share)
    stops = table(paint.map)
    painted = stops[(np.clip(np.where(known, share, 0), 0, 1) * (len(stops) - 1) + 0.5).astype(np.intp)]
    return painted if known.all() else np.where(known[..., None], painted, UNKNOWN)


def _refined(instant: Instant, name: str, side: int, cap: float) -> np.ndarray:
    scale = SCALES[name]
    return backward(refine(forward(np.minimum(instant.values[name], cap), scale), side), scale)


def refine(nodes: np.ndarray, side: int) -> np.ndarray:
    """A bicubic spline through nodes [n, n], at [side, side] points from edge to edge.

    It never dips below the lowest of the nodes around; cells that touch a node which is not finite are NaN.
    """
    known = np.isfinite(nodes)
    if not known.any():
        return np.full((side, side), np.nan)
    whole = filled(nodes, known)
    cubic, line = _spline(len(nodes), side, min(3, len(nodes) - 1)), _spline(len(nodes), side, 1)
    fine = np.maximum(cubic @ whole @ cubic.T, line @ minimum_filter(whole, 3, mode="nearest") @ line.T)
    if known.all():
        return fine
    return np.where(line @ (~known).astype(float) @ line.T > 1e-9, np.nan, fine)


def filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The values, with those that are not known replaced by the nearest that are; some must be."""
    if known.all():
        return values
    return values[tuple(distance_transform_edt(~known, return_distances=False, return_indices=True))]


@lru_cache(maxsize=16)
def _spline(nodes: int, side: int, degree: int) -> np.ndarray:
    """Matrix [side, nodes] that takes node values to spline values."""
    fine = make_interp_spline(np.linspace(0, 1, nodes), np.eye(nodes), k=degree)(np.linspace(0, 1, side))
    on_node = np.isclose(fine, 1.0, atol=1e-12) & (np.count_nonzero(np.abs(fine) > 1e-12, axis=1) == 1)[:, None]
    return np.where(on_node.any(axis=1)[:, None], on_node.astype(float), fine)
