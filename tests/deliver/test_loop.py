"""A film that is shown in a loop must not jump."""

from fractions import Fraction

import numpy as np
import pytest

from studio.config.units import Size
from studio.deliver.loop import difference, loop_gap
from studio.deliver.movie import Movie
from studio.errors import SceneError

SIZE, FPS = Size(96, 64), Fraction(24)


def orbit(angle: float, grain: int | None = None) -> np.ndarray:
    """A light on its way around the picture, angle in turns."""
    y, x = np.mgrid[0 : SIZE.height, 0 : SIZE.width]
    at = 48 + 24 * np.cos(2 * np.pi * angle), 32 + 16 * np.sin(2 * np.pi * angle)
    picture = 200 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 200) + 20
    if grain is not None:
        picture = picture + np.random.default_rng(grain).normal(0, 3, picture.shape)
    return np.repeat(picture[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


def end_frames(turns: float, frames: int, **options) -> list[np.ndarray]:
    """First, second, second to last and last frame of so many turns in so many frames."""
    return [orbit(turns * n / frames, **options) for n in (0, 1, frames - 2, frames - 1)]


def test_a_whole_turn_closes():
    assert loop_gap(*end_frames(1, 48)) is None


def test_three_quarters_of_a_turn_do_not_close_and_the_words_say_what_to_do():
    assert "`along`" in loop_gap(*end_frames(0.75, 48))


def test_a_turn_that_misses_its_end_by_three_steps_does_not_close():
    assert loop_gap(*end_frames(45 / 48, 48)) is not None


def test_a_film_of_one_frame_loops(tmp_path):
    movie = Movie(loop=True)
    movie.write_segment([orbit(0)], tmp_path / "segment.mp4", SIZE, FPS)
    movie.join([tmp_path / "segment.mp4"], tmp_path / "film.mp4", frames=1, size=SIZE, fps=FPS, provenance={})


def test_a_film_that_comes_to_rest_where_it_began_closes():
    rest = orbit(0)
    assert loop_gap(rest, rest, rest, rest) is None


def test_a_cut_between_two_held_pictures_does_not_close():
    assert loop_gap(orbit(0), orbit(0), orbit(0.02), orbit(0.02)) is not None


def test_grain_does_not_open_a_closed_film_nor_close_an_open_one():
    closed = [orbit(n / 48, grain=n) for n in (0, 1, 46, 47)]
    held = [orbit(a, grain=n) for n, a in enumerate((0, 0, 0.02, 0.02))]
    assert loop_gap(*closed) is None and loop_gap(*held) is not None


def test_the_difference_of_two_flat_pictures_is_that_of_their_codes():
    a, b = (np.full((9, 13, 3), code, np.uint8) for code in (20, 27))
    assert difference(a, b) == pytest.approx(7)


@pytest.mark.parametrize("preset", ["h264-web", "gif"])
@pytest.mark.parametrize("turns", [1, 0.6])
def test_a_movie_that_shall_loop_is_kept_only_if_it_does(tmp_path, preset, turns):
    movie, segments = Movie(preset=preset, loop=True), []
    for start, stop in ((0, 1), (1, 17), (17, 18)):  # segments of a single frame, as a cut may leave them
        segments.append(tmp_path / f"{start}{movie.segment_suffix}")
        movie.write_segment([orbit(turns * n / 18) for n in range(start, stop)], segments[-1], SIZE, FPS, start)
    path = tmp_path / movie.file_name("film")
    if turns == 1:
        movie.join(segments, path, frames=18, size=SIZE, fps=FPS, provenance={})
    else:
        with pytest.raises(SceneError, match="does not loop"):
            movie.join(segments, path, frames=18, size=SIZE, fps=FPS, provenance={})
    assert path.exists() == (turns == 1)
