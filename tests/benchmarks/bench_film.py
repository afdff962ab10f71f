"""How sharp the first film's shots are, and how evenly its surface moves.

`film.cell_px.*`: pixels of a measured cell at 1080 lines, over all frames the worst median and the worst 95th
percentile. `film.pulse`: the largest over the smallest speed of the surface in 24 frames, median over windows, at 12
frames a keyframe, on the film's run and keyframes measured on 61 x 61 points; `film.pulse.monotone` by PCHIP.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from studio.execution.devices import usable_cores
from studio.film.fields import measured_fields
from studio.film.frame_source import FrameSource
from studio.film.survey import survey
from studio.pipeline.measure import measure
from studio.pipeline.project import Project
from studio.scene.captions import assumed_film, captions
from studio.scene.scene import Scene
from studio.storage.shelf import Shelf

SCENE = Path(__file__).parents[2] / "scenes/first-light.yaml"
POINTS = 61


def figures() -> dict[str, float]:
    """Figures by name."""
    scene = Scene.load(SCENE)
    every = max(shot.duration.frames(scene.film.fps) for shot in scene.shots)
    frames = [frame for shot in survey(assumed_film(scene), every) for frame in shot.frames.values()]
    cells = {
        "film.cell_px.median": max(frame.cell_median for frame in frames),
        "film.cell_px.p95": max(frame.cell_p95 for frame in frames),
    }
    return cells | {
        f"film.pulse{'.monotone' if interpolation == 'monotone' else ''}": speed_ratio(source)
        for interpolation, source in _sources(scene)
    }


def speed_ratio(source: FrameSource, per_keyframe: int = 12, window: int = 24) -> float:
    """How unevenly the surface moves: 1 is an even flow; much more if the surface rests at every keyframe.

    The median, over windows of `window` frames, of the largest speed over the smallest. Speed is the root mean square
    over the measured points of the change of height on its scale from frame to frame, at `per_keyframe` frames from
    keyframe to keyframe.
    """
    field, mapping = measured_fields(source.look.height.field)[0], source.look.height
    keyframes = source.surfaces[""].fields[field].coordinates
    frames = np.arange(per_keyframe * (len(keyframes) - 1) + 1) / per_keyframe
    before, speeds = None, []
    for coordinate in np.interp(frames, range(len(keyframes)), keyframes):
        now = mapping.to_scale(
            np.minimum(source.surfaces[""].at(coordinate).layers[field][0].values, source.ranges.cap)
        )
        if before is not None:
            speeds.append(np.sqrt(np.nanmean((now - before) ** 2)))
        before = now
    windows = np.lib.stride_tricks.sliding_window_view(speeds, window)
    return float(np.median(windows.max(axis=1) / windows.min(axis=1)))


def _sources(scene: Scene):
    """The film on its measured surfaces, by how these are interpolated."""
    small = scene.grid.model_copy(update={"points": POINTS})
    changed = scene.model_copy(update={"grid": small, "detail": None, "convexity": None, "shots": scene.shots[:1]})
    with tempfile.TemporaryDirectory() as folder:
        surfaces = measure(Project(changed, SCENE, Shelf(Path(folder)), usable_cores())).surfaces()
    for interpolation in ("cubic", "monotone"):
        loss = replace(surfaces.fields["loss"], interpolation=interpolation)
        shown = replace(surfaces, fields={"loss": loss})
        yield (
            interpolation,
            FrameSource.of(
                changed.shots, {"": shown}, changed.look, changed.titles, changed.film, {"": captions(changed)}
            ),
        )
