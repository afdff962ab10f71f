"""Sheets of paper against the sizes that printers publish, and a bleed that moves nothing inside of it."""

import itertools

import numpy as np
import pytest

from studio.config.units import Size
from studio.deliver.paper import SHEETS, add_bleed, mm_to_pixels, sheet_pixels
from studio.film.frame import Frame, View
from studio.film.light import Lamp, Light
from studio.film.look import Look
from studio.film.marks import Bar, Text
from studio.film.pose import Orbit, project
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading


@pytest.mark.parametrize(
    ("word", "dpi", "size"),
    [
        ("A0", 300, (14043, 9933)),
        ("A4", 300, (3508, 2480)),
        ("A4-portrait", 300, (2480, 3508)),
        ("A6", 72, (420, 298)),
        ("B2", 300, (8350, 5906)),
        ("letter", 300, (3300, 2550)),
        ("tabloid-portrait", 150, (1650, 2550)),
    ],
)
def test_a_sheet_has_the_pixels_that_printers_publish(word, dpi, size):
    assert sheet_pixels(word, dpi) == size


def test_every_iso_sheet_is_half_of_the_one_before_it():
    for name in "AB":
        sides = [SHEETS[f"{name}{number}"] for number in range(7)]
        for (long, short), (long_after, short_after) in itertools.pairwise(sides):
            assert (long_after, short_after) == (short, long // 2)
            assert long / short == pytest.approx(2**0.5, abs=0.008)  # half a millimetre in the 105 of A6


@pytest.mark.parametrize("word", ["A7", "a4", "A4-landscape", "foolscap"])
def test_another_sheet_is_a_mistake_that_names_one(word):
    with pytest.raises(ValueError, match=f"no paper '{word}'; .*A"):
        sheet_pixels(word, 300)


def test_three_millimetres_are_35_pixels_at_300_to_the_inch():
    assert mm_to_pixels(3, 300) == 35  # 35.43


# --- bleed -----------------------------------------------------------------------------------------------------------

SIZE, BLEED = Size(600, 400), 25
WIDE = Size(650, 450)
POSE = Orbit(-60, 35, 2.0, 30.0).pose((0.1, -0.2, 0.1))
FLAT = np.zeros((5, 5), np.float32)
LOOK = Look(light=Light(key=Lamp(azimuth=70.0, elevation=30.0), rim=Lamp(azimuth=200.0, elevation=15.0)))
OVERLAYS = (Text("epoch 3", 0.06, 0.9, 0.03, 1.0), Bar(np.ones((4, 3)), 1.1, 0.8, 0.24, 0.01, 0.9))
FRAME = Frame(
    7,
    (View(FLAT, FLAT, POSE, resolve_appearance(LOOK, -60.0)),),
    OVERLAYS,
    resolve_grading(LOOK.grade),
    resolve_background(LOOK.background),
)


def test_what_is_trimmed_from_a_bleed_is_the_picture_without_it():
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (50, 3))
    [view] = add_bleed(FRAME, SIZE, BLEED).views
    before = project(points, POSE, SIZE.width / SIZE.height) * SIZE.height
    after = project(points, view.pose, WIDE.width / WIDE.height) * WIDE.height
    assert np.allclose(after - BLEED, before, atol=1e-9)  # pixels
    assert np.ptp(before, axis=0).min() > 100  # they are spread over the picture


def test_the_titles_keep_their_place_and_their_size_in_a_bleed():
    text, bar = add_bleed(FRAME, SIZE, BLEED).overlays
    for old, new in zip(OVERLAYS, (text, bar), strict=True):
        assert new.x * WIDE.height - BLEED == pytest.approx(old.x * SIZE.height)
        assert new.y * WIDE.height - BLEED == pytest.approx(old.y * SIZE.height)
    assert text.size * WIDE.height == pytest.approx(OVERLAYS[0].size * SIZE.height)
    assert (bar.width * 450, bar.height * 450) == pytest.approx((OVERLAYS[1].width * 400, OVERLAYS[1].height * 400))


def test_without_a_bleed_nothing_changes():
    assert add_bleed(FRAME, SIZE, 0).views[0].pose.view_angle == pytest.approx(POSE.view_angle, rel=1e-14)
    assert add_bleed(FRAME, SIZE, 0).overlays == OVERLAYS
