"""Animated pictures: they loop for ever, last as long as the film, and carry its provenance."""

import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from studio.config.units import Size
from studio.deliver.media import Animation, probe_animation
from studio.deliver.movie import Movie
from studio.errors import MachineError

SIZE = Size(256, 128)
FPS = Fraction(24)


def patches() -> np.ndarray:
    """Eight flat colours."""
    colours = np.random.default_rng(0).integers(0, 256, (2, 4, 3), np.uint8)
    return np.repeat(np.repeat(colours, 64, axis=0), 64, axis=1)


@pytest.mark.parametrize("preset", ["gif", "webp"])
def test_an_animation_loops_for_ever_and_lasts_as_long_as_the_film(tmp_path, preset, make_movie, drifting_frames):
    path, _, animation = make_movie(tmp_path, preset, drifting_frames(0, 12), cuts=(5, 7))
    assert isinstance(animation, Animation) and animation == probe_animation(path)
    assert (animation.frames, animation.size, animation.codec, animation.loops) == (12, SIZE, preset, 0)
    assert animation.seconds == pytest.approx(0.5, abs=0.02)
    assert json.loads(animation.comment) == {"by": "\u00c9", "seed": 3}


@pytest.mark.parametrize("preset", ["gif", "webp"])
@pytest.mark.parametrize("count", [1, 5])
def test_a_film_that_stands_still_is_an_animation_too(tmp_path, preset, count, make_movie):
    path, _, animation = make_movie(tmp_path, preset, [patches()] * count, cuts=())
    assert animation.size == SIZE and json.loads(probe_animation(path).comment)["seed"] == 3


def test_a_palette_is_of_the_whole_film(tmp_path, make_movie):
    first, last = (np.full((SIZE.height, SIZE.width, 3), code, np.uint8) for code in ((250, 40, 10), (10, 60, 240)))
    path, _, _ = make_movie(tmp_path, "gif", [first] * 3 + [last] * 3, cuts=(3,))
    with Image.open(path) as image:
        seen = []
        for n in (0, image.n_frames - 1):
            image.seek(n)
            seen.append(image.convert("RGB").getpixel((40, 40)))
    assert seen == [(250, 40, 10), (10, 60, 240)]


def test_an_animation_cut_short_is_not_kept(tmp_path, drifting_frames, fit_frames):
    movie = Movie(preset="gif")
    movie.write_segment(fit_frames(drifting_frames(0, 4), movie.picture_spec), tmp_path / "segment.mkv", SIZE, FPS)
    with pytest.raises(MachineError, match=r"seconds is 0\.1"):
        movie.join([tmp_path / "segment.mkv"], tmp_path / "film.gif", frames=12, size=SIZE, fps=FPS, provenance={})
    assert not (tmp_path / "film.gif").exists()
