"""The pictures of docs/camera.md: every ease as a curve, every move as three frames on the land of scenes/flight.yaml.

`python docs/pictures.py` draws them into docs/pictures; it measures the land first, if that is still to be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from studio.config.units import Size, Time
from studio.film.camera import Camera
from studio.film.easing import EASES, Ease
from studio.film.format import QualityName
from studio.film.frame_source import FrameSource
from studio.film.timeline import Cut, Shot
from studio.pipeline.film import film_source
from studio.pipeline.project import Project
from studio.render.stage import Stage

FOLDER = Path(__file__).parent / "pictures"
NUMBERED = ("bezier(0.4, 0, 0.2, 1)", "steps(4)")
MOVES: Mapping[str, dict[str, Any]] = {
    "orbit": {"orbit": "80deg"},
    "dolly": {"dolly": 1.0},
    "push_in": {"push_in": "50%"},
    "pull_out": {"pull_out": "40%"},
    "dolly_zoom": {"dolly_zoom": 1.2},
    "crane": {"crane": 0.9},
    "pedestal": {"pedestal": 0.35},
    "truck": {"truck": 0.6},
    "pan": {"pan": "14deg"},
    "tilt": {"tilt": "10deg"},
    "roll": {"roll": "25deg"},
    "lens": {"lens": "40mm"},
    "rack_focus": {"rack_focus": 1.7},
    "shake": {"shake": "2.5deg"},
    "look_at": {"look_at": "highest"},
    "follow": {"follow": "60%"},
    "flythrough": {"flythrough": "48%"},
    "reveal": {"reveal": "flat"},
}
STARTS: Mapping[str, dict[str, Any]] = {
    "rack_focus": {"elevation": "22deg", "distance": 1.4, "aperture": "f/1.4", "focus": 0.8},
    "follow": {"azimuth": "180deg", "elevation": "30deg", "distance": 0.8},
}
CELL, SECONDS = Size(256, 144), 3


def draw_eases() -> None:
    """A curve for every ease, with the time to the right and the share of the way up."""
    names = (*EASES, *NUMBERED)
    with rc_context({"svg.hashsalt": "eases", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10, 1.5 * -(-len(names) // 8)), layout="constrained")
        for axes, name in zip(figure.subplots(-(-len(names) // 8), 8).flat, names, strict=False):
            u = np.linspace(0, 1, 201)
            axes.plot(u, [Ease(name)(float(at)) for at in u], color="#d4551f")
            axes.set_title(name, fontsize=7)
            axes.set(xlim=(0, 1), ylim=(-0.2, 1.2), xticks=[], yticks=[0, 1], yticklabels=[])
        for axes in figure.axes[len(names) :]:
            axes.remove()
        figure.savefig(FOLDER / "eases.svg", metadata={"Date": None})


def move_strip(source: FrameSource, stage: Stage, name: str) -> np.ndarray:
    """The first, the middle and the last frame of a shot with one move [h, 3 w, 3], uint8."""
    look_at = "lowest" if name == "look_at" else "land"
    start = {"azimuth": "200deg", "elevation": "35deg", "distance": 2.5, "lens": "40mm"} | STARTS.get(name, {})
    moves = [{**MOVES[name], "over": f"{SECONDS}s"}]
    camera = Camera.model_validate({"look_at": look_at, "start": start, "moves": moves})
    shot = Shot(shot=name, duration=Time(SECONDS), along={Time(0.0): 40.0}, camera=camera)
    quality: QualityName = "master" if name == "rack_focus" else "final"
    small = replace(source.without_titles(CELL, quality), cut=Cut((shot,), source.cut.fps)).with_mesh(601)
    pictures = [stage.draw(small.frame(number)) for number in np.linspace(0, small.cut.length - 1, 3).astype(int)]
    return np.concatenate(pictures, axis=1)


def main() -> None:
    """Draws all pictures."""
    FOLDER.mkdir(exist_ok=True)
    draw_eases()
    source = film_source(Project.open(Path(__file__).parents[1] / "scenes/flight.yaml"))
    with Stage(CELL, 601, 2) as stage:
        for name in MOVES:
            imageio.imwrite(FOLDER / f"{name}.jpg", move_strip(source, stage, name), quality=82)


if __name__ == "__main__":
    main()
