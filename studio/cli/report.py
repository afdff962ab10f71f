"""Texts that the commands print: plain, one fact a line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from studio.deliver.deliverable import Deliverable
from studio.field import MIN_EIGENVALUE_SCALE, Axis, Grid, Surfaces
from studio.film.frame_source import FrameSource
from studio.film.surface import caveats
from studio.film.survey import ShotSurvey, survey
from studio.scene.captions import assumed_film
from studio.scene.scene import Scene
from studio.training.runs import SurfacesRun

ASSUMED_MESH = 61
"""Vertices along a side that show the shape of an assumed crater, in a tenth of a measured one's time."""

CLOSE = 0.05
"""How far, relative to itself, a number over a subset may be from that over all images."""


def summary(scene: Scene, name: str, source: FrameSource | None = None) -> str:
    """The lines of `studio check`: what a scene measures, shows and delivers. name: of its files.

    source: the film, if it is measured.
    """
    film, cut = scene.film, scene.cut
    frames = f"{cut.length} frames of {film.size} at {float(film.fps):g} fps"
    lines = [f"{scene.title}: {float(cut.length / film.fps):.1f} s, {frames}"]
    lines += [line for landscape in scene.names for line in _measured(scene.only(landscape), landscape)]
    surveys = survey(source) if source else _assumed_surveys(scene)
    turns = {surveyed.shot: round(surveyed.turn.value) for surveyed in surveys}
    for start, shot in zip(cut.starts, scene.shots, strict=True):
        moves = len(shot.camera.moves)
        at, plural = float(start / film.fps), "s" * (moves != 1)
        camera = f"the script {shot.camera.script}" if shot.camera.script else f"{moves} move{plural}"
        if moves and turns[shot.shot]:
            camera += f", turns by up to {turns[shot.shot]} degrees a second"
        lines.append(f"shot {shot.shot}: from {at:.2f} s, {float(shot.duration.seconds(film.fps)):.4g}s, {camera}")
    lines += [f"deliver: {_file(deliverable, name)}" for deliverable in scene.deliver]
    found = (f"warning: {line}" for shot in surveys for line in shot.warnings())
    return "\n".join([*lines, *(found if source else _assumed_warnings(surveys))])


def _file(deliverable: Deliverable, name: str) -> str:
    """The name of a deliverable's file, or of those of all shots."""
    if (handles := deliverable.handles).amount:
        return f"{deliverable.file_name(f'{name}-SHOT-handles')} for every SHOT, with {handles} more at both ends"
    return deliverable.file_name(name)


def _measured(scene: Scene, landscape: str) -> Iterator[str]:
    """The lines on what one landscape measures. landscape: its name, if it has one."""
    keyframes, prefix = scene.keyframes(), f"{landscape}: " if landscape else ""
    span = f"{scene.axis.name} {keyframes[0].coordinate:g} to {keyframes[-1].coordinate:g}"
    file = f" of {scene.run.file}" if isinstance(scene.run, SurfacesRun) else ""
    points = f"{_by(scene.grid)} points each, {loss_values(scene)} loss values{file}"
    yield f"{prefix}surfaces: {len(keyframes)} keyframes, {span}, {points}"
    if detail := scene.detail:
        count, grid = len(scene.detail_keyframes()), detail.grid
        values = f"{_by(grid)} points each within {grid.reach}, {count * grid.size} loss values"
        yield f"{prefix}detail: {count} keyframes, {values}"
    if convexity := scene.convexity:
        count, n = len(scene.convexity_keyframes()), convexity.points
        yield f"{prefix}convexity: {count} keyframes, {n}x{n} points each, {count * n * n} pairs of extreme eigenvalues"


def loss_values(scene: Scene) -> int:
    """Loss values on the grids of a scene's keyframes, a plane that several of them share counted once."""
    planes = {(keyframe.centre, keyframe.directions, keyframe.grid) for keyframe in scene.keyframes()}
    return sum(grid.size for _, _, grid in planes)


def assumed_warnings(scene: Scene) -> Iterator[str]:
    """Warnings about the shots, on an assumed landscape, since none is measured."""
    return _assumed_warnings(_assumed_surveys(scene))


def _assumed_surveys(scene: Scene) -> list[ShotSurvey]:
    """Surveys of the shots on an assumed landscape; the user's scripts are not run."""
    return survey(assumed_film(scene).with_mesh(ASSUMED_MESH), assumed=True)


def _assumed_warnings(surveys: Iterable[ShotSurvey]) -> Iterator[str]:
    return (f"warning: {line} (on an assumed crater)" for shot in surveys for line in shot.warnings())


def warnings(source: FrameSource) -> Iterator[str]:
    """Faults that a viewer would notice in the shots of a film, each with the cure."""
    return (line for shot in survey(source) for line in shot.warnings())


def surfaces(measured: Surfaces) -> str:
    """The range of every measured field, and how many values are not finite."""
    lines = []
    for name, field in measured.fields.items():
        ends = f"{field.finite.min():.4g} to {field.finite.max():.4g}" if field.finite.size else "none finite"
        sizes = ", ".join(dict.fromkeys(map(_by, field.grids)))
        lines.append(f"{name}: {len(field.coordinates)} keyframes, {sizes}, {ends}")
    return "\n".join([*lines, *caveats(measured)])


def _by(grid: Grid) -> str:
    return "x".join(map(str, grid.counts))


def curvature(by_coordinate: Mapping[float, Mapping[str, Any]], axis: Axis) -> Iterator[str]:
    """A line per keyframe of facts from `Results.curvature`."""
    for coordinate, facts in by_coordinate.items():
        article = "a " * (facts["centre"] in ("minimum", "saddle", "maximum"))
        words = [f"curvature at {axis.label(coordinate)}: the centre is {article}{facts['centre']}"]
        words.append(f"convex in the picture but not in the space at {100 * facts['hidden_share']:.0f} % of points")
        words.append(f"rank correlation of plane and space {facts['rank_correlation']:.2f}")
        if facts["interlacing_share"] < 1:
            outside = 1 - facts["interlacing_share"]
            words.append(f"the plane's curvatures lie outside the space's at {outside:.1%} of points")
        if radius := facts.get("taylor_radius"):
            where = f"up to {radius:.2g} from the centre" if radius < math.inf else "on the whole grid"
            words.append(f"the quadratic model is within 10 % {where}")
        if "trace" in facts:
            words.append(f"trace {facts['trace']:.4g} +- {facts['trace_error']:.2g}")
        yield "; ".join(words)


def subset_errors(rows: Mapping[str, Sequence[tuple[float, float, float, float]]]) -> Iterator[str]:
    """A line per point of {quantity: (alpha, beta, over the subset, over all)}, and the largest relative difference.

    That of an eigenvalue is relative to `MIN_EIGENVALUE_SCALE` times the largest at its point, if that is more.
    """
    ends = [rows[name] for name in rows if name != "loss"]
    for name, points in rows.items():
        largest = 0.0
        for i, (alpha, beta, part, whole) in enumerate(points):
            others = (abs(end[i][3]) for end in ends if name != "loss")
            scale = max(abs(whole), MIN_EIGENVALUE_SCALE * max(others, default=0.0))
            error = abs(part - whole) / scale if scale else math.inf
            largest = max(largest, math.inf if math.isnan(error) else error)
            yield f"alpha {alpha:6.2f}  beta {beta:6.2f}  subset {part:12.6g}  all {whole:12.6g}  {error:7.2%}"
        verdict = "no more" if largest <= CLOSE else "more"
        at = f"of that of all training images at these points: {verdict} than {CLOSE:.0%}"
        yield f"the subset's {name} is within {largest:.2%} {at}"


def table(rows: Iterable[tuple[str, str, str]]) -> str:
    """Rows of (stage, state, details) in columns."""
    return "\n".join(f"{stage:10s} {state:8s} {details}" for stage, state, details in rows)


def format_bytes(count: int) -> str:
    """A size as people write it.

    >>> format_bytes(1536)
    '2 KiB'
    >>> format_bytes(3 * 2**29)
    '1.5 GiB'
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
