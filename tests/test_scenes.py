"""The films of `scenes/`: each is whole, sharp, and framed whatever course its training takes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.config.records import FrozenDict, Record
from studio.field import DETAIL, Field, Grid, Surfaces
from studio.film.frame import View
from studio.film.frame_source import COARSE_MESH, FrameSource
from studio.film.labels import clearance
from studio.film.look import Look
from studio.film.pose import project
from studio.film.surface import height_at, marker_height
from studio.film.survey import camera_height, survey
from studio.landscape.convexity import Convexity
from studio.landscape.loss import Loss
from studio.landscape.sweeps.between import Curve
from studio.landscape.sweeps.changes import Hyperparameter
from studio.landscape.sweeps.keyframe import Listed, Stepped, subsample
from studio.pipeline.numbers import measure_numbers, with_claim
from studio.pipeline.project import Project
from studio.scene.captions import assumed_film, captions
from studio.scene.draft import to_draft
from studio.scene.numbers import Number
from studio.scene.scene import Scene
from studio.training.models import Gan, Mlp, Transformer
from studio.training.recipe import Recipe

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


def shows_edge(view: View, look: Look, aspect: float) -> bool:
    """Whether the whole edge of the surface, at the middle of its fade, is in the picture."""
    angles = np.linspace(0, 2 * np.pi, 181)[:-1]
    edge = (look.fade.start + look.fade.end) / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x, y = project(np.column_stack([edge, height_at(np.nan_to_num(view.height), edge)]), view.pose, aspect).T
    return bool(((x >= 0) & (x <= aspect) & (y >= 0) & (y <= 1)).all())


def shows_minimiser(view: View, look: Look) -> bool:
    """Whether the surface does not hide the minimiser."""
    top = np.array([0.0, 0.0, marker_height(view.height, (0.0, 0.0)) + look.marker.radius])
    return clearance(np.nan_to_num(view.height).astype(np.float64), top, view.pose) > 0


@pytest.mark.parametrize("land", ["avx2", "default", "compatible"])
def test_the_first_film_is_framed_on_whatever_land_a_processor_trains(land):
    film = first_light(land).with_mesh(COARSE_MESH)
    look, aspect = film.look, film.size.width / film.size.height
    for shot in film.cut.shots:
        numbers = np.linspace(0, shot.duration.frames(film.cut.fps) - 1, 9).round().astype(int).tolist()
        views = [film.shot_view(shot, number) for number in numbers]
        assert all(camera_height(np.nan_to_num(view.height), view.pose) > 0.1 for view in views), shot.shot
        if shot.shot in ("opening", "descent", "convexity", "last light"):
            assert all(shows_edge(view, look, aspect) for view in views), shot.shot
        if shot.shot in ("crater", "last light"):
            assert all(shows_minimiser(view, look) for view in (views if shot.shot == "crater" else views[-1:]))


def test_the_lands_are_three_and_their_open_sides_differ():
    lands = np.load(LANDS)
    sides = {name: first_light(name).open_sides[""] for name in lands.files}
    assert len(sides) == 3 and len(set(sides.values())) > 1


def shrink(value: Any) -> Any:
    """A scene, or any part of one, that trains and measures in seconds; coordinates stay."""
    if isinstance(value, Record):
        names = type(value).model_fields
        value = value.model_copy(update={name: shrink(getattr(value, name)) for name in names})
    elif isinstance(value, dict):
        return type(value)((key, shrink(inner)) for key, inner in value.items())
    elif isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(shrink, value))
    match value:
        case Mlp():
            return value.model_copy(update={"depth": 2, "width": 6})
        case Transformer() | Gan():
            return value.model_copy(update={"depth": 1, "width": 8})
        case Recipe():
            return value.model_copy(update={"batch": max(180, value.batch)})  # fewer steps an epoch
        case Loss():
            return value.model_copy(update={"subset": 32})
        case Grid():
            return value.model_copy(update={"points": 5})
        case Convexity():
            return value.model_copy(update={"points": min(value.points, 3), "tol": 0.1})
        case Curve():
            return value.model_copy(update={"epochs": 1, "steps": 2})
        case Scene() if value.numbers:
            # a network that has hardly trained stands on a slope, which is quadratic nowhere
            kept = {name: number for name, number in value.numbers.items() if number.take != "quadratic-range"}
            titles = value.titles.model_copy(update={"claim": None}) if len(kept) < len(value.numbers) else value.titles
            return value.model_copy(update={"numbers": FrozenDict(kept), "titles": titles})
        case Number():
            return value.model_copy(update={"times": 2})
        case Stepped():
            return value.model_copy(update={"steps": min(value.steps, 6)})
        case Listed() if not isinstance(value.at[0], str):
            return value.model_copy(update={"at": subsample(value.at, 2)})
        case Hyperparameter():
            return value.model_copy(update={"values": value.values[-3:]})
    return value


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
@pytest.mark.usefixtures("in_process")
def test_what_a_scene_claims_is_measured_also_at_tiny_size(path, tmp_path):
    project = dataclasses.replace(Project.open(path, tmp_path / "shelf"), draft=False)
    scene = shrink(project.scene)
    assert scene.numbers, "a film says what it measured"
    numbers = measure_numbers(dataclasses.replace(project, scene=scene))
    assert numbers.keys() == scene.numbers.keys()
    for number in numbers.values():
        assert all(low <= value <= high for value, low, high in number.values.values())
        assert str(number) and "nan" not in str(number)
    if scene.titles.claim:
        assert "{" not in with_claim(scene, numbers).titles.claim
