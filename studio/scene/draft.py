"""A draft: the same film, quick to make and small."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeVar

from studio.config.records import Record
from studio.config.units import Size, Time
from studio.film.quality import QUALITIES as WORDS
from studio.scene.scene import Scene

KEYS, POINTS, SAMPLES = 8, 21, 48
"""What is measured, at most: keys, points along a side of the grid, samples of the loss."""
CONVEXITY_KEYS, CONVEXITY_POINTS = 2, 3
MESH, HEIGHT, RATE = 241, 360, 12
"""What is drawn, at most: vertices along a side, lines of the picture, and about so many frames a second."""

T = TypeVar("T")


def drafted(scene: Scene) -> Scene:
    """The same film, quick: fewer keys, coarser grids, fewer samples, a small picture at half the rate or less."""
    film, loss, keys = scene.film, scene.loss, _thinned(scene.keys(), KEYS)
    slower = {
        "size": _smaller(film.size, HEIGHT),
        "fps": film.fps / max(1, round(film.fps / RATE)),
        "quality": WORDS["final"],
        "shutter": 0.0,
    }
    changes: dict[str, Any] = {
        "sweep": scene.sweep.model_copy(update={"at": keys}),
        "detail": None,
        "grid": scene.grid.model_copy(update={"points": min(scene.grid.points, POINTS)}),
        "loss": loss.model_copy(update={"subset": _fewer(loss.subset, SAMPLES)}),
        "look": scene.look.model_copy(update={"mesh": min(scene.look.mesh, MESH)}),
        "film": film.model_copy(update=slower),
        **{name: _in_seconds(getattr(scene, name), film.fps) for name in ("shots", "deliver", "titles")},
    }
    if curved := scene.convexity:
        few = _thinned(scene.convexity_keys(), CONVEXITY_KEYS)
        coarser = {
            "points": min(curved.points, CONVEXITY_POINTS),
            "at": tuple(sorted({min(keys, key=lambda key: (abs(key - one), key)) for one in few})),
            "subset": None if curved.subset is None else _fewer(curved.subset, SAMPLES),
        }
        changes["convexity"] = curved.model_copy(update=coarser)
    return scene.model_copy(update=changes)


def _thinned(keys: tuple[float, ...], count: int) -> tuple[float, ...]:
    """At most `count` of the keys, evenly by rank, the first and the last among them."""
    if len(keys) <= count:
        return keys
    return tuple(keys[round(i * (len(keys) - 1) / (count - 1))] for i in range(count))


def _fewer(subset: int | str, most: int) -> int:
    return min(subset, most) if isinstance(subset, int) else most


def _smaller(size: Size, height: int) -> Size:
    """The same shape, at most `height` lines, even sides."""
    if size.height <= height:
        return size
    return Size(2 * round(size.width * height / size.height / 2), height)


def _in_seconds(value: T, fps: Fraction) -> T:
    """A record, or anything in one, with all times in seconds, so that it means the same at another frame rate."""

    def converted(inner: Any) -> Any:
        return _in_seconds(inner, fps)

    if isinstance(value, Time):
        return Time(value.seconds(fps))
    if isinstance(value, Record):
        return value.model_copy(update={name: converted(getattr(value, name)) for name in type(value).model_fields})
    if isinstance(value, dict):
        return type(value)((converted(key), converted(inner)) for key, inner in value.items())
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(converted(inner) for inner in value)
    return value
