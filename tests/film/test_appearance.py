"""Plain numbers only: nothing of a frame is a configuration record."""

import math
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from studio.config.records import Record
from studio.film.appearance import HeightScale, Lamp, Panel, direction
from studio.film.frame import Frame, View
from studio.film.gallery import gallery
from studio.film.overlays import Text
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading


def leaves(value: object):
    """Everything that a value holds, at any depth."""
    yield value
    inner = [getattr(value, field.name) for field in fields(value)] if is_dataclass(value) else value
    if isinstance(inner, (tuple, list)):
        for part in inner:
            yield from leaves(part)


@pytest.mark.parametrize("name", gallery())
def test_a_frame_holds_no_record_in_any_look(name):
    from studio.film.camera import Orbit

    look, flat = gallery()[name], np.zeros((3, 3), np.float32)
    view = View(flat, flat, Orbit(0.0, 30.0, 2.0, 30.0).pose((0.0, 0.0, 0.0)), resolve_appearance(look, 10.0, points=9))
    texts = (Text("a", 0.1, 0.1, 0.1, 1.0),)
    frame = Frame(0, (view,), texts, resolve_grading(look.grade), resolve_background(look.background))
    parts = list(leaves(frame))
    assert len(parts) > 80 and not any(isinstance(part, Record) for part in parts)


@pytest.mark.parametrize("azimuth", [0.0, 0.7, 3.0])
@pytest.mark.parametrize("elevation", [-0.4, 0.0, 1.2])
def test_a_direction_is_a_unit_vector_at_its_angles(azimuth, elevation):
    x, y, z = direction(azimuth, elevation)
    assert math.hypot(x, y, z) == pytest.approx(1.0)
    assert math.atan2(y, x) == pytest.approx(azimuth) and math.asin(z) == pytest.approx(elevation)


def test_a_lamp_and_a_panel_at_the_same_angles_have_the_same_direction():
    white = (1.0, 1.0, 1.0)
    lamp, panel = Lamp(0.4, 0.2, white, white, 0.1), Panel(0.4, 0.2, (0.3, 0.1), white)
    assert lamp.direction == panel.direction == direction(0.4, 0.2)
    assert np.dot(panel.right, panel.direction) == pytest.approx(0.0) and panel.right[2] == 0


def test_a_height_scale_rises_from_low_to_high_over_the_exaggeration():
    scale = HeightScale("log", low=-1.0, high=3.0, exaggeration=0.5)
    assert scale.low + scale.slope * scale.exaggeration == scale.high
