"""The films of `scenes/`: each is whole, sharp, and framed whatever course its training takes."""

from pathlib import Path

import numpy as np
import pytest

from studio.field import DETAIL, Field, Surfaces
from studio.film.camera import project
from studio.film.frame import Frame
from studio.film.frame_source import COARSE_MESH, FrameSource
from studio.film.labels import clearance
from studio.film.look import Look
from studio.film.surface import height_at, marker_height
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


def shows_edge(frame: Frame, look: Look, aspect: float) -> bool:
    """Whether the whole edge of the surface, at the middle of its fade, is in the picture."""
    [view] = frame.views
    angles = np.linspace(0, 2 * np.pi, 181)[:-1]
    edge = (look.fade.start + look.fade.end) / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x, y = project(np.column_stack([edge, height_at(np.nan_to_num(view.height), edge)]), view.pose, aspect).T
    return bool(((x >= 0) & (x <= aspect) & (y >= 0) & (y <= 1)).all())


def shows_minimiser(frame: Frame, look: Look) -> bool:
    """Whether the surface does not hide the minimiser."""
    [view] = frame.views
    top = np.array([0.0, 0.0, marker_height(view.height, (0.0, 0.0)) + look.marker.radius])
    return clearance(np.nan_to_num(view.height).astype(np.float64), top, view.pose) > 0


@pytest.mark.parametrize("land", ["avx2", "default", "compatible"])
def test_the_first_film_is_framed_on_whatever_land_a_processor_trains(land):
    source = first_light(land).with_mesh(COARSE_MESH)
    surveys = survey(source)
    assert all(frame.camera_height > 0.1 for shot in surveys for frame in shot.frames.values())
    alone = dict(zip((shot.shot for shot in surveys), source.split_shots(), strict=True))
    for name, film in alone.items():
        count, aspect = film.cut.length, film.size.width / film.size.height
        frames = [film.frame(round(n)) for n in np.linspace(0, count - 1, 9)]
        if name in ("opening", "descent", "convexity", "last light"):
            assert all(shows_edge(frame, source.look, aspect) for frame in frames), name
        if name in ("crater", "last light"):
            assert all(shows_minimiser(frame, source.look) for frame in (frames if name == "crater" else frames[-1:]))


def test_the_lands_are_three_and_their_open_sides_differ():
    lands = np.load(LANDS)
    sides = {name: first_light(name).open_sides[""] for name in lands.files}
    assert len(sides) == 3 and len(set(sides.values())) > 1
