"""A draft: the same film, small and quick to make."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from studio.config.records import FrozenDict, Record
from studio.config.units import Size, Time
from studio.field import Grid
from studio.film.format import QUALITIES
from studio.landscape.sweeps.keyframe import subsample
from studio.scene.landscape import Landscape
from studio.scene.scene import Scene

KEYFRAMES, POINTS, SAMPLES = 8, 21, 48
"""Maxima of the loss: keyframes, points along a side of the grid, samples."""
CONVEXITY_KEYFRAMES, CONVEXITY_POINTS = 2, 3
"""Maxima of the convexity: keyframes, points along a side of the grid."""
MESH, HEIGHT, RATE = 241, 360, 12
"""Maxima of the picture: vertices along a side, lines, and roughly frames per second."""


def to_draft(scene: Scene) -> Scene:
    """The same film with fewer keyframes, coarser grids, fewer samples, and small pictures at half the rate or less."""
    film, (width, height) = scene.film, scene.film.size
    small = {
        "size": film.size if height <= HEIGHT else Size(2 * round(width * HEIGHT / height / 2), HEIGHT),  # even sides
        "fps": film.fps / max(1, round(film.fps / RATE)),
        "quality": QUALITIES["final"],
        "shutter": 0.0,
    }
    changes: dict[str, Any] = {
        **_coarse_landscape(scene),
        "landscapes": FrozenDict(
            (name, landscape.model_copy(update=_coarse_landscape(landscape)))
            for name, landscape in scene.landscapes.items()
        ),
        "look": scene.look.model_copy(update={"mesh": min(scene.look.mesh, MESH)}),
        "film": film.model_copy(update=small),
        **{name: _in_seconds(getattr(scene, name), film.fps) for name in ("shots", "deliver", "titles")},
    }
    return scene.model_copy(update=changes)


def _coarse_landscape(landscape: Landscape) -> dict[str, Any]:
    """The keys of a landscape that a draft changes."""
    grid, loss = landscape.grid, landscape.loss
    sweep = landscape.sweep.reduced(landscape.runs, KEYFRAMES)
    if not landscape.networks:
        return {"sweep": sweep}
    changes: dict[str, Any] = {
        "sweep": sweep,
        "detail": None,
        "grid": grid.model_copy(update={"points": min(grid.counts[0], POINTS)})
        if grid.size == 1
        else Grid(range=grid.range, points=tuple(min(n, POINTS) for n in grid.counts)),
        "loss": loss.model_copy(update={"subset": _limit_subset(loss.subset)}),
    }
    if convexity := landscape.convexity:
        few = [k.coordinate for k in changes["sweep"].unroll(landscape.runs, landscape.directions, grid)]
        chosen = subsample([k.coordinate for k in landscape.convexity_keyframes()], CONVEXITY_KEYFRAMES)
        nearest = {min(few, key=lambda other: (abs(other - at), other)) for at in chosen}
        points, subset = min(convexity.points, CONVEXITY_POINTS), convexity.subset and _limit_subset(convexity.subset)
        coarse = {"points": points, "at": tuple(sorted(nearest)), "subset": subset}
        changes["convexity"] = convexity.model_copy(update=coarse)
    return changes


def _limit_subset(subset: int | str) -> int:
    return min(subset, SAMPLES) if isinstance(subset, int) else SAMPLES


def _in_seconds(value: Any, fps: Fraction) -> Any:
    """A record, or anything in one, with all times in seconds, so that it means the same at another frame rate."""
    match value:
        case Time():
            return replace(value, amount=value.seconds(fps), unit="s")
        case Record():
            names = type(value).model_fields
            return value.model_copy(update={name: _in_seconds(getattr(value, name), fps) for name in names})
        case dict():
            return type(value)((_in_seconds(key, fps), _in_seconds(inner, fps)) for key, inner in value.items())
        case tuple() if not hasattr(value, "_fields"):
            return tuple(_in_seconds(inner, fps) for inner in value)
    return value
