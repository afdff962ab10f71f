"""Captured views: the shot made of them has them, at their times, and so has its YAML."""

import math
from fractions import Fraction

import pytest
from pydantic import ValidationError

from studio.config.units import Time
from studio.film.timeline import Shot
from studio.film.viewfinder import ViewKey, choreography, with_keys

FPS = Fraction(24)


def view(at: float, turn: float, focus=(0.1, -0.2, 0.3), **more) -> ViewKey:
    x, y, z = focus
    position = (x + 2 * math.cos(turn), y + 2 * math.sin(turn), z + 1)
    return ViewKey(at=at, coordinate=3 * at, position=position, focal_point=focus, view_angle=40, **more)


def shot(*keys: ViewKey) -> Shot:
    bare = Shot.model_validate({"shot": "one", "duration": Time(5), "along": {"0s": 0}})
    return with_keys(bare, keys)


def test_a_shot_passes_every_captured_view_at_its_time():
    keys = view(0, 0), view(1.5, 1, (0.4, 0.2, 0.1)), view(4, 2.5)
    made = shot(*keys)
    assert list(made.mistakes_at(FPS)) == [] and made.duration == Time(4)
    for key in keys:
        [(focus, weight)] = made.targets(key.at, FPS).items()
        pose = made.orbit(key.at, FPS).pose(focus)
        assert weight == 1 and pose.view_angle == pytest.approx(40, abs=1e-3)
        assert pose.position == pytest.approx(key.position, abs=3e-4)
        assert pose.focal_point == pytest.approx(key.focal_point, abs=1e-4)
    assert made.coordinate(1.5, FPS) == 4.5


def test_the_camera_turns_the_short_way_and_arrives_as_the_key_says():
    texts = choreography([view(0, 3.0), view(1, -3.0, ease="in-out")])
    [move] = texts["camera"]["moves"]
    [key] = move["keys"]
    assert float(key["azimuth"].removesuffix("deg")) == pytest.approx(math.degrees(2 * math.pi - 3), abs=1e-3)
    assert key["ease"] == "in-out" and "look_at" not in key  # the shot's own stays


def test_one_view_is_a_shot_that_stands_still_for_as_long_as_before():
    made = shot(view(0, 1))
    assert made.duration == Time(5) and made.camera.moves == ()


def test_keys_without_order_or_sense_are_refused():
    with pytest.raises(ValueError, match="no view is captured yet"):
        choreography([])
    for times in ((1, 2), (0, 2, 2), (0, 3, 2)):
        with pytest.raises(ValueError, match="must rise"):
            choreography([view(at, 0) for at in times])
    with pytest.raises(ValidationError, match="did you mean 'in-out'"):
        view(0, 0, ease="in-outt")
    with pytest.raises(ValidationError):  # no distance from what it looks at
        shot(ViewKey(at=0, coordinate=0, position=(0, 0, 0), focal_point=(0, 0, 0), view_angle=40))
