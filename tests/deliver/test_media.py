"""Inspection of movies: what a file holds, and which damage is noticed."""

import itertools

import numpy as np
import pytest

from studio.config.units import Size
from studio.deliver.media import _spans, probe
from studio.errors import MachineError


@pytest.mark.parametrize("place", np.linspace(0, 1, 9, endpoint=False))
def test_a_file_damaged_anywhere_is_probed_or_is_no_whole_movie(tmp_path, place, make_movie, drifting_frames, damage):
    path, _, _ = make_movie(tmp_path, "hevc-10", drifting_frames(0, 4))
    damage(path, place)
    try:
        codec = probe(path).codec
    except MachineError as error:
        codec = str(error)
    assert codec == "hevc" or "is no whole movie" in codec


def test_of_a_long_film_the_first_and_the_last_frames_are_decoded_and_some_between():
    assert _spans(480, Size(1920, 1080)) == [(0, 480)]
    spans = _spans(5000, Size(1920, 1080))
    assert spans[0][0] == 0 and spans[-1][1] == 5000 and sum(stop - start for start, stop in spans) == 480
    assert all(span[1] < later[0] for span, later in itertools.pairwise(spans))
    assert _spans(10_000, Size(30000, 20000))[-1] == (9999, 10_000)  # never none


def test_a_probe_says_that_a_film_is_silent(tmp_path, make_movie, drifting_frames):
    assert make_movie(tmp_path, "h264-web", drifting_frames(0, 2))[2].sound == "none"


def test_a_file_that_is_no_movie_cannot_be_probed(tmp_path):
    (tmp_path / "text.mp4").write_text("not a movie")
    with pytest.raises(MachineError, match="no whole movie"):
        probe(tmp_path / "text.mp4")
