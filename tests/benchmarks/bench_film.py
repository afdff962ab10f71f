"""How sharp the first film's shots are, and how evenly its land flows.

`film.cell_px.*`: pixels of a measured cell at 1080 lines, over all frames the worst median and the worst 95th
percentile. `film.pulse`: the largest over the smallest speed of the sheet within 24 frames, median over windows, at 12
frames a keyframe, on the film's run and keyframes measured on 61 x 61 points; `film.pulse.monotone` by PCHIP.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from studio.execution.workers import default_count

from studio.field import Surfaces
from studio.film.frame import FrameSource
from studio.film.survey import speed_ratio, survey
from studio.pipeline.project import Project
from studio.scene.scene import Scene
from studio.storage.shelf import Shelf

SCENE = Path(__file__).parents[2] / "scenes/first-light.yaml"
POINTS = 61


def figures() -> dict[str, float]:
    """Figures by name."""
    film = Scene.load(SCENE)
    every = max(shot.duration.frames(film.film.fps) for shot in film.shots)
    seen = [frame for shot in survey(film.assumed(), every) for frame in shot.frames.values()]
    found = {"film.cell_px.median": max(s.cell_median for s in seen), "film.cell_px.p95": max(s.cell_p95 for s in seen)}
    return found | {
        f"film.pulse{'.monotone' if how == 'monotone' else ''}": speed_ratio(reel) for how, reel in _reels(film)
    }


def _reels(film: Scene):
    """The film on its measured surfaces, by how these are interpolated."""
    small = film.grid.model_copy(update={"points": POINTS})
    changed = film.model_copy(update={"grid": small, "detail": None, "convexity": None, "shots": film.shots[:1]})
    with tempfile.TemporaryDirectory() as folder:
        surfaces = Project(changed, Shelf(Path(folder)), SCENE, default_count()).compute()
    for how in ("cubic", "monotone"):
        loss = replace(surfaces.fields["loss"], interpolation=how)
        shown = Surfaces({"loss": loss}, surfaces.epochs, surfaces.metrics)
        yield how, FrameSource.of(changed.shots, shown, changed.look, changed.titles, changed.film, changed.notes())
