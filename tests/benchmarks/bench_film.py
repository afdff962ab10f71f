"""How sharp the first film's shots are, and how evenly its surface moves.

`film.cell_px.*`: pixels of a measured cell at 1080 lines, over all frames the worst median and the worst 95th
percentile. `film.pulse`: the largest over the smallest speed of the surface in 24 frames, median over windows, at 12
frames a keyframe, on the film's run and keyframes measured on 61 x 61 points; `film.pulse.monotone` by PCHIP.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from studio.execution.devices import usable_cores
from studio.film.frame_source import FrameSource
from studio.film.survey import speed_ratio, survey
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
            FrameSource.of(changed.shots, shown, changed.look, changed.titles, changed.film, captions(changed)),
        )
