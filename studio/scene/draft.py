"""A draft: the same film, small and quick to make."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeVar

from studio.config.records import Record
from studio.config.units import Size, Time
from studio.film.quality import QUALITIES
from studio.scene.scene import Scene

KEYFRAMES, POINTS, SAMPLES = 8, 21, 48
"""What is measured, at most: keyframes, points along a side of the grid, samples of the loss."""
CONVEXITY_KEYFRAMES, CONVEXITY_POINTS = 2, 3
MESH, HEIGHT, RATE = 241, 360, 12
"""What is drawn, at most: vertices along a side, lines of the picture, and about so many frames a second."""

T = TypeVar("T")


def to_draft(scene: Scene) -> Scene:
    """The same film with fewer keyframes, coarser grids, fewer samples, and a small picture at half the rate or less."""
    film, loss, keyframes = scene.film, scene.loss, _subsample(scene.keyframes(), KEYFRAMES)
    small = {
        "size": _smaller(film.size, HEIGHT),
        "fps": film.fps / max(1, round(film.fps / RATE)),
        "quality": QUALITIES["final"],
        "shutter": 0.0,
    }
    changes: dict[str, Any] = {
        "sweep": scene.sweep.model_copy(update={"at": keyframes}),
        "detail": None,
        "grid": scene.grid.model_copy(update={"points": min(scene.grid.points, POINTS)}),
        "loss": loss.model_copy(update={"subset": _fewer(loss.subset, SAMPLES)}),
        "look": scene.look.model_copy(update={"mesh": min(scene.look.mesh, MESH)}),
        "film": film.model_copy(update=small),
        **{name: _in_seconds(getattr(scene, name), film.fps) for name in ("shots", "deliver", "titles")},
    }
    if convexity := scene.convexity:
        wanted = _subsample(scene.convexity_keyframes(), CONVEXITY_KEYFRAMES)
        coarse = {
            "points": min(convexity.points, CONVEXITY_POINTS),
            "at": tuple(sorted({_nearest(epoch, keyframes) for epoch in wanted})),
            "subset": None if convexity.subset is None else _fewer(convexity.subset, SAMPLES),
        }
        changes["convexity"] = convexity.model_copy(update=coarse)
    return scene.model_copy(update=changes)


def _subsample(keyframes: tuple[float, ...], count: int) -> tuple[float, ...]:
    """At most `count` of the keyframes, evenly by rank, the first and the last among them."""
    if len(keyframes) <= count:
        return keyframes
    return tuple(keyframes[round(i * (len(keyframes) - 1) / (count - 1))] for i in range(count))


def _nearest(epoch: float, keyframes: tuple[float, ...]) -> float:
    return min(keyframes, key=lambda keyframe: (abs(keyframe - epoch), keyframe))


def _fewer(subset: int | str, most: int) -> int:
    return min(subset, most) if isinstance(subset, int) else most


def _smaller(size: Size, height: int) -> Size:
    """The same shape with at most `height` lines and even sides."""
    if size.height <= height:
        return size
    return Size(2 * round(size.width * height / size.height / 2), height)


def _in_seconds(value: T, fps: Fraction) -> T:
    """A record, or anything in one, with all times in seconds, so that it means the same at another frame rate."""

    def convert(inner: Any) -> Any:
        return _in_seconds(inner, fps)

    result: Any = value
    if isinstance(value, Time):
        result = Time(value.seconds(fps))
    elif isinstance(value, Record):
        result = value.model_copy(update={name: convert(getattr(value, name)) for name in type(value).model_fields})
    elif isinstance(value, dict):
        result = type(value)((convert(key), convert(inner)) for key, inner in value.items())
    elif isinstance(value, tuple) and not hasattr(value, "_fields"):
        result = tuple(convert(inner) for inner in value)
    return result  # type: ignore[no-any-return]
