"""What the commands print: plain text, one fact a line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from studio.field import Surfaces
from studio.film.frame_source import FrameSource
from studio.film.surface import caveats as undrawn
from studio.film.survey import survey
from studio.scene.scene import Scene


def summary(scene: Scene, name: str) -> str:
    """What a scene would make. name: what its files are called."""
    keys, more = scene.keys(), scene.convexity_keys()
    film, cut, points = scene.film, scene.cut, scene.grid.points
    lines = [
        f"{scene.title}: {float(cut.length / film.fps):.1f} s, "
        f"{cut.length} frames of {film.size} at {float(film.fps):g} fps",
        f"surfaces: {len(keys)} keys, epochs {keys[0]:g} to {keys[-1]:g}, {points}x{points} points each, "
        f"{len(keys) * scene.grid.size} loss values",
    ]
    if fine := scene.detail_keys():
        n = scene.detail.points
        lines.append(
            f"detail: {len(fine)} keys, {n}x{n} points each within {scene.detail.range[1]:g} of the centre, "
            f"{len(fine) * n * n} loss values"
        )
    if more:
        n = scene.convexity.points
        lines.append(
            f"convexity: {len(more)} keys, {n}x{n} points each, {len(more) * n * n} pairs of extreme eigenvalues"
        )
    for start, shot in zip(cut.starts, scene.shots, strict=True):
        moves = _count(shot.camera.moves, "move")
        lines.append(f"shot {shot.shot}: from {float(start / film.fps):.2f} s, {shot.duration}, {moves}")
    lines += [f"deliver: {deliverable.file(name)}" for deliverable in scene.deliver]
    return "\n".join([*lines, *outlook(scene)])


def outlook(scene: Scene) -> Iterator[str]:
    """Warnings about the shots, on a land that is assumed since none is measured."""
    return (f"warning: {line} (on an assumed crater)" for line in warnings(scene.assumed()))


def warnings(reel: FrameSource) -> Iterator[str]:
    """What a viewer of a film would notice in its shots, each with the cure."""
    return (line for shot in survey(reel) for line in shot.warnings())


def measured(surfaces: Surfaces) -> str:
    """What was measured, with what is not finite said plainly."""
    lines = []
    for name, field in surfaces.fields.items():
        ends = f"{field.finite.min():.4g} to {field.finite.max():.4g}" if field.finite.size else "none finite"
        lines.append(f"{name}: {len(field.coordinates)} keys, {field.grid.points}x{field.grid.points}, {ends}")
    return "\n".join([*lines, *undrawn(surfaces)])


def curvature(found: Mapping[float, Mapping[str, Any]]) -> Iterator[str]:
    """A line a key on what the Hessian says of the picture."""
    for epoch, said in found.items():
        words = [f"curvature at epoch {epoch:g}: the centre is {_A.get(said['centre'], said['centre'])}"]
        words.append(f"convex in the picture but not in the space at {100 * said['hidden_share']:.0f} % of points")
        words.append(f"rank correlation of plane and space {said['rank_correlation']:.2f}")
        if said["interlacing_share"] < 1:
            out = 1 - said["interlacing_share"]
            words.append(f"the plane's curvatures lie outside the space's at {out:.1%} of points")
        if "trace" in said:
            words.append(f"trace {said['trace']:.4g} +- {said['trace_error']:.2g}")
        yield "; ".join(words)


_A = {"minimum": "a minimum", "saddle": "a saddle", "maximum": "a maximum"}


def subset_errors(rows: Iterable[tuple[float, float, float, float]]) -> Iterator[str]:
    """A line a point, and the largest relative difference."""
    largest = 0.0
    for alpha, beta, part, whole in rows:
        error = abs(part - whole) / abs(whole) if whole else math.inf
        largest = max(largest, error)
        yield f"alpha {alpha:6.2f}  beta {beta:6.2f}  subset {part:12.6g}  all {whole:12.6g}  {error:7.2%}"
    yield f"the subset's loss is within {largest:.2%} of that of all training images at these points"


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def table(rows: Iterable[tuple[str, str, str]]) -> str:
    return "\n".join(f"{stage:10s} {state:8s} {details}" for stage, state, details in rows)


def bytes_(count: int) -> str:
    """A size as people write it: 1.4 GiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
