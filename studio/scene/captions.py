"""Captions, the small text that says how the picture was measured; and the film on an assumed landscape."""

from __future__ import annotations

from dataclasses import replace

from studio.field import DETAIL
from studio.film.fields import measured_fields
from studio.film.frame_source import FrameSource
from studio.film.overlays import height_words
from studio.film.survey import assumed_surfaces, assumed_trajectory
from studio.landscape.sweeps.keyframe import Keyframe
from studio.scene.checks import drawn_fields
from studio.scene.scene import Portrait, Scene
from studio.training.runs import Run, SurfacesRun


def captions(scene: Scene, portrait: Portrait | None = None) -> dict[str, str]:
    """The small text of the picture, by the grid on which its colour was measured: `loss` or `convexity`.

    portrait: the keyframe and grid of a still, if it was measured for that still.
    """
    loss, run, keyframes = scene.loss, scene.run, scene.keyframes()
    points, reaches = _points(scene, portrait), dict.fromkeys(keyframes[i].grid.reach for i in (0, -1))
    if isinstance(run, SurfacesRun):
        words = [f"surfaces of {run.file.name}", points, f"range {scene.grid.reach}"]
    else:
        words = [
            f"{loss.mode} mode",
            *([loss.precision] if loss.precision != "float32" else []),
            f"loss of {loss.word}" if loss.word else f"{loss.subset} training {_samples(run)}",
            *([str(run.objective)] if run.objective.kind != "cross-entropy" else []),
            keyframes[0].directions.caption,
            f"range {' to '.join(reaches)}",
            f"preview of {points}" if loss.sampling == "preview" else points,
        ]
    text = " \u00b7 ".join([*words, f"height {height_words(scene.look.height)}"])
    by_grid = dict.fromkeys(("loss", "convexity") if isinstance(run, SurfacesRun) else ("loss",), text)
    if convexity := scene.convexity:
        n, count = convexity.points, len(scene.convexity_keyframes())
        places = f"convexity {n}\u00d7{n} points at" if n > 1 else "curvature at the middle of"
        over = "the word" if loss.word else f"{convexity.loss(loss).subset} {_samples(run)}"
        by_grid["convexity"] = f"{text}\n{places} {count} keyframes over {over}, interpolated between"
    return by_grid


def _samples(run: Run) -> str:
    """What a sample of a run's data is called."""
    kind = "" if isinstance(run, SurfacesRun) else run.recipe.data.kind
    return {"latents": "pairs", "text": "rows of characters"}.get(kind, "images")


def _points(scene: Scene, portrait: Portrait | None) -> str:
    if portrait:
        return f"{portrait.points}\u00d7{portrait.points} points at {scene.axis.label(portrait.coordinate)}"
    (n, m), keyframes = scene.grid.counts, scene.keyframes()
    is_one_plane = len(keyframes) > 1 and len({(k.centre, k.directions, k.grid) for k in keyframes}) == 1
    points = f"{n}\u00d7{m} points " + ("of one plane" if is_one_plane else f"at {len(keyframes)} keyframes")
    points += ", interpolated between" if len(keyframes) > 1 and not is_one_plane else ""
    if detail := scene.detail:
        n, m = detail.grid.counts
        points += f" and {n}\u00d7{m} within {detail.grid.reach} at {len(scene.detail_keyframes())}"
    return points


def assumed_film(scene: Scene) -> FrameSource:
    """The film on an assumed crater, for warnings about its shots before anything is measured."""
    fields = {part for _, field in drawn_fields(scene.look, scene.shots) for part in measured_fields(field)}
    surfaces, notes = {}, {}
    for name in scene.names:
        part = scene.only(name)
        grids = {"": {keyframe.coordinate: keyframe.grid for keyframe in _telling(part)}}
        if part.detail and (fine := part.detail_keyframes()):
            grids[DETAIL] = {keyframe.coordinate: part.detail.grid for keyframe in (fine[0], fine[-1])}
        surfaces[name], notes[name] = assumed_surfaces(fields, grids), captions(part)
        if scene.needs_trajectory:
            surfaces[name] = replace(surfaces[name], trajectory=assumed_trajectory(grids[""]))
    return FrameSource.of(scene.shots, surfaces, scene.look, scene.titles, scene.film, notes)


def _telling(part: Scene) -> tuple[Keyframe, ...]:
    """Keyframes that show where an assumed surface stands still: what counts is where the detail fades."""
    keyframes, detail = part.keyframes(), part.detail_keyframes()
    if len({k.grid for k in keyframes}) > 1:
        return keyframes
    places = {0, len(keyframes) - 1}
    places |= {keyframes.index(k) + step for k in (*detail[:1], *detail[-1:]) for step in (-1, 0, 1)}
    return tuple(k for i, k in enumerate(keyframes) if i in places)
