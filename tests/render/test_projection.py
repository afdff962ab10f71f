from dataclasses import replace

import numpy as np
import pytest

from studio.config.units import Size
from studio.film.frame import View
from studio.film.light import Lamp, Light
from studio.film.lines import Plinth
from studio.film.look import Look
from studio.film.pose import Orbit, project
from studio.film.resolve import resolve_appearance
from studio.render.plinth import REACH
from studio.render.projection import clip_range, lens_offset, projection

LAMP = Lamp(azimuth=0.0, elevation=30.0)
LOOK = Look(light=Light(key=LAMP, rim=LAMP))
PICTURE = Size(320, 180)
FLAT = np.zeros((5, 5), np.float32)
POSE = Orbit(40.0, 35.0, 2.0, 30.0).pose((0.1, 0.0, 0.1))
VIEW = View(FLAT, FLAT, POSE, resolve_appearance(LOOK, 40.0))


def on_screen(view: View, points: np.ndarray) -> np.ndarray:
    """Places in the picture [n, 2], in shares of its height from the top left, by the projection matrix."""
    right, up, ahead = view.pose.axes
    aside = lens_offset(view)
    eye = np.array(view.pose.position) + aside[0] * right + aside[1] * up
    off = points - eye
    local = np.stack([off @ right, off @ up, -(off @ ahead), np.ones(len(off))], axis=1)
    x, y, _, w = projection(view, PICTURE, 2, 0.1, 10.0) @ local.T
    return np.stack([(x / w + 1) / 2 * 16 / 9, (1 - y / w) / 2], axis=1)


POINTS = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))


def test_a_pinhole_projects_as_the_pose_does():
    assert on_screen(VIEW, POINTS) == pytest.approx(project(POINTS, POSE, 16 / 9))


def test_a_jitter_shifts_the_picture_by_its_share_of_a_sample():
    moved = on_screen(replace(VIEW, jitter=(0.5, -0.25)), POINTS) - on_screen(VIEW, POINTS)
    # samples go one way, so the picture goes the other; there are two along a pixel
    assert moved * PICTURE.height == pytest.approx(np.broadcast_to([-0.25, 0.125], moved.shape))


def test_from_any_place_on_the_lens_the_focus_is_in_the_same_place():
    view = replace(VIEW, pose=replace(POSE, lens_radius=0.1, focus=1.7))
    right, up, ahead = POSE.axes
    focus = np.array(POSE.position) + 1.7 * ahead + np.array([[0.1], [-0.3]]) * right + 0.2 * up
    for lens in ((1.0, 0.0), (-0.3, 0.8)):
        assert on_screen(replace(view, lens_point=lens), focus) == pytest.approx(on_screen(view, focus))


def test_near_and_far_enclose_the_scene():
    angles, low, high = np.linspace(0, 2 * np.pi, 60), -0.1, 0.6
    plinth = replace(VIEW, appearance=resolve_appearance(LOOK.model_copy(update={"plinth": Plinth(depth=0.2)}), 40.0))
    for view, radius in ((VIEW, 1.0), (plinth, REACH)):
        near, far = clip_range(view, PICTURE, low, high)
        rim = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        places = np.concatenate([np.column_stack([rim, np.full(60, z)]) for z in (low, high)])
        off = places - np.array(view.pose.position)
        inside = (np.abs(on_screen(view, places) - [8 / 9, 0.5]) < [8 / 9, 0.5]).all(axis=1) & (off @ POSE.axes[2] > 0)
        depth = (off @ POSE.axes[2])[inside]
        assert near > 0 and depth.min() > near and depth.max() < far


def test_an_eye_inside_the_scene_has_a_near_plane_close_before_it():
    near, far = clip_range(replace(VIEW, pose=Orbit(0.0, 10.0, 0.3, 30.0).pose((0.0, 0.0, 0.3))), PICTURE, 0.0, 0.6)
    assert near == 0.004 and far < 2
