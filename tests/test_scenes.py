"""The films of `scenes/`: each is whole, sharp, and framed whatever course its training takes."""

from pathlib import Path

import numpy as np
import pytest

from studio.field import DETAIL, Field, Surfaces
from studio.film.frame_source import FrameSource
from studio.film.survey import survey
from studio.scene.captions import assumed_film, captions
from studio.scene.draft import to_draft
from studio.scene.scene import Scene

SCENES = sorted((Path(__file__).parents[1] / "scenes").glob("*.yaml"))
LANDS = Path(__file__).parent / "film" / "data" / "first-light.npz"
"""The loss of the first film at its last epoch, 101 x 101 points, as three kinds of arithmetic trained it: torch's own
kernels for AVX2, without vector instructions, and with those of MKL held to what all processors have."""


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_no_shot_of_a_scene_is_soft_and_no_camera_is_under_the_land(path):
    scene = Scene.load(path)
    assert [line for shot in survey(assumed_film(scene), 25) for line in shot.warnings()] == []
    assert to_draft(scene).cut.length > 0


def test_the_first_film_is_among_the_scenes():
    assert "first-light.yaml" in {path.name for path in SCENES}


def first_light(land: str) -> FrameSource:
    """The first film on one measured surface."""
    scene = Scene.load(SCENES[[path.stem for path in SCENES].index("first-light")])
    loss = np.load(LANDS)[land].astype(np.float64)
    grid = scene.grid.model_copy(update={"points": len(loss)})
    assumed = assumed_film(scene).surfaces[""].fields
    fields = {name: field for name, field in assumed.items() if not name.endswith(DETAIL)}
    surfaces = Surfaces({**fields, "loss": Field((0.0, 40.0), grid, np.stack([loss, loss]), "log")})
    return FrameSource.of(scene.shots, {"": surfaces}, scene.look, scene.titles, scene.film, {"": captions(scene)})


@pytest.mark.parametrize("land", ["avx2", "default", "compatible"])
def test_the_first_film_is_framed_on_whatever_land_a_processor_trains(land):
    shots = {shot.shot: list(shot.frames.values()) for shot in survey(first_light(land))}
    assert all(frame.camera_height > 0.1 for frames in shots.values() for frame in frames)
    for name in ("opening", "descent", "convexity", "last light"):
        assert all(frame.edge_share == 1 for frame in shots[name]), name
    assert all(frame.minimiser_visible for frame in (*shots["crater"], shots["last light"][-1]))


def test_the_lands_are_three_and_their_open_sides_differ():
    lands = np.load(LANDS)
    sides = {name: first_light(name).open_sides[""] for name in lands.files}
    assert len(sides) == 3 and len(set(sides.values())) > 1
