import math

import numpy as np
import pytest

from studio.config.units import Size
from studio.film import labels as module
from studio.film.fields import HeightMapping
from studio.film.frame import View
from studio.film.labels import RAYS
from studio.film.light import Lamp, Light
from studio.film.lines import Contours
from studio.film.look import Look
from studio.film.overlays import Page, Titles
from studio.film.pose import Orbit, project
from studio.film.resolve import resolve_appearance

MESH = 201
AXIS = np.linspace(-1, 1, MESH)
X, Y = np.meshgrid(AXIS, AXIS)
R = np.hypot(X, Y)
LIGHT = Light(key=Lamp(azimuth=70.0, elevation=30.0), rim=Lamp(azimuth=200.0, elevation=15.0))
LOOK = Look(
    light=LIGHT,
    height=HeightMapping(scale="linear", exaggeration=0.5),
    contours=Contours(step=0.5, index=2, labels=True, colour="#123456"),
)
CONE = (0.5 * R).astype(np.float32)
"""Drawn for a loss of 5 times the radius."""
ENDS = (0.0, 5.0)
PAGE = Page.of(Size(1920, 1080), Titles(), ())


def labels(height, look, ends, pose, page, opacity=1.0, sides=(1.0, 1.0)):
    """The labels of a surface whose heights 0 and `exaggeration` stand for `ends`."""
    view = View(height, height, pose, resolve_appearance(look, 0.0, ends), sides=sides)
    return module.labels(view, look, page, opacity)


def pose(azimuth=40.0, elevation=60.0, distance=3.0):
    return Orbit(azimuth, elevation, distance, 30.0).pose((0.0, 0.0, 0.2))


def test_contours_have_no_labels_by_default():
    for lines in (None, Contours(), Contours(step=0.5, index=2)):
        assert labels(CONE, LOOK.model_copy(update={"contours": lines}), ENDS, pose(), PAGE) == []


def test_every_index_line_of_a_cone_is_labelled_on_each_ray_where_it_lies():
    texts = labels(CONE, LOOK, ENDS, pose(elevation=88.0), PAGE)
    assert {text.text for text in texts} <= {"1", "2", "3"} and len(texts) >= 6
    for text in texts:
        radius = float(text.text) / 5.0
        places = [(radius * math.cos(turn), radius * math.sin(turn), 0.5 * radius) for turn in np.radians(RAYS)]
        near = min(
            math.hypot(*(place - (text.x, text.y))) for place in project(np.array(places), pose(elevation=88.0), 16 / 9)
        )
        assert near < 1e-3  # a mesh of chords instead of circles


def test_a_label_follows_its_line_and_is_never_upside_down():
    for azimuth in range(0, 360, 15):
        for text in labels(CONE, LOOK, ENDS, pose(azimuth, 89.0), PAGE):
            assert -90 < text.angle <= 90
            across = math.atan2(0.5 - text.y, text.x - 16 / 9 / 2)  # seen from above, from the middle outwards
            assert math.sin(across) * math.sin(math.radians(text.angle)) + math.cos(across) * math.cos(
                math.radians(text.angle)
            ) == pytest.approx(0.0, abs=0.06)  # the camera is one degree off the zenith, and its lens wide


def test_a_label_shows_the_value_in_the_units_of_the_field():
    sqrt = LOOK.model_copy(update={"height": HeightMapping(scale="sqrt", exaggeration=0.5)})
    texts = labels(CONE, sqrt, (0.0, 2.0), pose(elevation=88.0), PAGE)  # the loss is 4 r^2 there
    for text in texts:
        radius = math.sqrt(float(text.text) / 4)
        places = np.array([(radius * math.cos(t), radius * math.sin(t), 0.5 * radius) for t in np.radians(RAYS)])
        assert (
            min(math.hypot(*(place - (text.x, text.y))) for place in project(places, pose(elevation=88.0), 16 / 9))
            < 1e-3
        )
    assert {text.text for text in texts} >= {"1", "2"}


def test_a_line_behind_a_ridge_has_no_label():
    wall = CONE + np.where(np.abs(AXIS[None] - 0.8) < 0.05, 0.6, 0.0).astype(np.float32)
    low = pose(azimuth=0.0, elevation=12.0)
    free, hidden = labels(CONE, LOOK, ENDS, low, PAGE), labels(wall, LOOK, ENDS, low, PAGE)
    # the ray at 35 degrees lies between the eye and the middle, behind the wall
    assert sum(text.opacity for text in hidden) < 0.5 * sum(text.opacity for text in free)


def test_a_hole_and_flat_ground_have_no_labels():
    assert labels(np.full_like(CONE, np.nan), LOOK, ENDS, pose(), PAGE) == []
    assert labels(np.full_like(CONE, 0.1), LOOK, ENDS, pose(), PAGE) == []


def test_labels_do_not_overlap():
    steep = LOOK.model_copy(update={"contours": Contours(step=0.05, index=1, labels=True)})
    texts = labels(CONE, steep, ENDS, pose(elevation=35.0), PAGE)
    places = np.array([(text.x, text.y) for text in texts if text.opacity > 0.1])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
    assert len(places) > 3 and apart.min() > 2 * texts[0].size


def test_labels_fade_in_and_out_as_the_camera_turns():
    def weights(azimuth: float) -> dict:
        texts = labels(CONE, LOOK, ENDS, pose(azimuth, 35.0), PAGE)
        return {(text.text, round(_ray(text, azimuth))): text.opacity for text in texts}

    def _ray(text, azimuth) -> int:
        places = np.array([(math.cos(t), math.sin(t), 0.5) for t in np.radians(RAYS)]) * float(text.text) / 5.0
        x, y = project(places, pose(azimuth, 35.0), 16 / 9).T
        return int(np.argmin(np.hypot(x - text.x, y - text.y)))

    before = weights(0.0)
    for step in range(1, 240):
        after = weights(step / 2)
        for label in {*before, *after}:
            assert abs(after.get(label, 0.0) - before.get(label, 0.0)) < 0.3, (label, step / 2)
        before = after


def test_in_a_dissolve_labels_have_the_opacity_of_their_view():
    full, half = (labels(CONE, LOOK, ENDS, pose(), PAGE, opacity) for opacity in (1.0, 0.5))
    assert [text.opacity / 2 for text in full] == [text.opacity for text in half]


def test_labels_of_an_oblong_window_lie_on_rays_to_its_edge():
    oblong = (0.5 * np.hypot(X, 2 * Y)).astype(np.float32)
    texts = labels(oblong, LOOK, ENDS, pose(elevation=88.0), PAGE, sides=(1.0, 0.5))
    assert len(texts) >= 5
    for text in texts:
        radius = float(text.text) / 5.0
        places = [(radius * math.cos(turn), radius * math.sin(turn) / 2, 0.5 * radius) for turn in np.radians(RAYS)]
        seen = project(np.array(places), pose(elevation=88.0), 16 / 9)
        assert min(math.hypot(*(place - (text.x, text.y))) for place in seen) < 2e-3  # a mesh of chords
