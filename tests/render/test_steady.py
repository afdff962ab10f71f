"""What stands still stands still, and what moves slowly does not crawl: frames of a film, drawn by the stage."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from studio.config.units import Size
from studio.field import Field, Grid, Surfaces
from studio.film.format import Format, Quality
from studio.film.frame import Frame
from studio.film.frame_source import FrameSource
from studio.film.look import Look
from studio.film.overlays import Titles
from studio.film.timeline import Shot
from studio.render.grade import picture
from studio.render.stage import Stage

SIZE, FPS = Size(160, 90), Fraction(24)
GRID = Grid(range=(-1, 1), points=21)
LOOK = Look.model_validate({"base": "ember", "mesh": 97})
STILL = LOOK.model_copy(update={"grade": LOOK.grade.model_copy(update={"grain": 0.0})})
FINAL, COARSE, EXACT = Quality(samples=2), Quality(samples=1), Quality(samples=4, subframes=8)


def surfaces() -> Surfaces:
    """Ridges, one behind the other, that sink from epoch 0 to epoch 1."""
    x, y = np.meshgrid(GRID.alpha, GRID.alpha)
    ridges = 1.5 + np.sin(9 * x) * np.cos(7 * y)
    return Surfaces({"loss": Field((0.0, 1.0), GRID, np.stack([ridges, 0.5 * ridges + 0.2]), "log")})


def source(look: Look, quality: Quality, camera: dict, along: dict) -> FrameSource:
    shot = Shot.model_validate({"shot": "one", "duration": "2s", "along": along, "camera": camera})
    form = Format(size=SIZE, fps=FPS, quality=quality)
    return FrameSource.of((shot,), {"": surfaces()}, look, Titles(), form, {"": {"loss": ""}})


LOW = {"start": {"azimuth": "20deg", "elevation": "18deg", "distance": 2.4, "lens": "32mm"}}
HOLD = {"0s": 0, "1s": 1, "2s": 1}


def held(look: Look) -> FrameSource:
    """A camera that stands, and a surface that does from the first second on."""
    return source(look, FINAL, LOW, HOLD)


def crawl(quality: Quality) -> float:
    """What changes from a frame to the next of what is wrong with them, in codes, rms, in a slow orbit.

    A quarter of a degree a frame, a sixth of a pixel in the middle. An error that stays where it is does not crawl.
    """
    moving = LOW | {"moves": [{"orbit": "12deg", "over": "2s", "ease": "linear"}]}
    drawn, exact = (source(STILL, samples, moving, {"0s": 0, "2s": 0}) for samples in (quality, EXACT))
    with Stage(SIZE, LOOK.mesh, quality.samples) as stage, Stage(SIZE, LOOK.mesh, EXACT.samples) as fine:
        errors = [codes(stage, drawn.frame(n)) - codes(fine, exact.frame(n)) for n in (20, 21, 22)]
    return float(np.sqrt(np.mean(np.square(np.diff(errors, axis=0)))))


def codes(stage: Stage, frame: Frame) -> np.ndarray:
    """The surface's codes of 255, as fine as they come."""
    bare = replace(frame, overlays=())
    return picture(stage.linear_frame(bare), bare, bits=16).to_array() / 257


CRAWLS = 3.5
"""Codes that may crawl: four samples a pixel crawl by 2.6 on ridges against the black, the hardest; one by 4.8."""


def test_a_held_shot_of_a_held_surface_is_the_same_frame_but_for_its_grain():
    film = held(LOOK)
    with Stage(SIZE, LOOK.mesh) as stage:
        linear_frames = {}
        for number in (30, 47, 10, 31):  # a frame of the moving surface in between
            linear_frames[number] = stage.linear_frame(film.frame(number))
    assert np.array_equal(linear_frames[30], linear_frames[47]) and np.array_equal(linear_frames[30], linear_frames[31])
    assert not np.array_equal(linear_frames[30], linear_frames[10])
    first, second = (picture(linear_frames[n], film.frame(n)).to_array().astype(int) for n in (30, 31))
    # two grains of 0.005 of 255 codes, each with a code of dither that is even, 1 / sqrt(12)
    assert (first - second).std() == pytest.approx(np.sqrt(2) * np.hypot(0.005 * 255, 1 / np.sqrt(12)), rel=0.05)


def test_without_grain_a_held_shot_is_the_same_bytes():
    film = held(STILL)
    with Stage(SIZE, LOOK.mesh) as stage:
        assert np.array_equal(stage.draw(film.frame(30)), stage.draw(film.frame(31)))
        assert not np.array_equal(stage.draw(film.frame(22)), stage.draw(film.frame(23)))


def test_edges_do_not_crawl_in_a_slow_orbit():
    assert crawl(FINAL) < CRAWLS


def test_edges_of_one_sample_a_pixel_are_seen_to_crawl():
    assert crawl(COARSE) > CRAWLS
