"""H.264 movies: what the file says, what the eye gets back, and what is left when something dies."""

import hashlib
import json
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from studio.config.units import Size
from studio.deliver import encoder
from studio.deliver.media import probe
from studio.deliver.movie import Movie
from studio.errors import MachineError

SIZE = Size(128, 72)
FPS = Fraction(24)
MOVIE = Movie()


def frames(start: int, stop: int, size: Size = SIZE):
    """A slope that drifts by two pixels a frame, with grain that is a function of the frame's number."""
    y, x = np.mgrid[0 : size.height, 0 : size.width]
    for n in range(start, stop):
        slope = 60 + 50 * np.sin((x + 2 * n) / 17) * np.cos(y / 23)
        grain = np.random.default_rng(n).normal(0, 3, slope.shape)
        picture = np.stack([slope, 0.7 * slope, 120 - 0.5 * slope], axis=-1) + grain[..., None]
        yield picture.clip(0, 255).astype(np.uint8)


def join_movie(
    folder: Path, *cuts: int, fps: Fraction = FPS, provenance=None, name="film.mp4"
) -> tuple[Path, list[Path]]:
    """A movie of the frames 0 ... cuts[-1] in segments that begin at the cuts."""
    segments = []
    for start, stop in zip((0, *cuts), cuts, strict=False):
        segments.append(folder / f"{name}-{start}.mp4")
        MOVIE.write_segment(frames(start, stop), segments[-1], SIZE, fps, start)
    MOVIE.join(segments, folder / name, frames=cuts[-1], size=SIZE, fps=fps, provenance=provenance or {})
    return folder / name, segments


def decoded(path: Path) -> list[str]:
    """A fingerprint of every decoded picture."""
    with av.open(str(path)) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


def yuv_to_rgb(y, u, v):
    """BT.709, limited range, by its definition: kr = 0.2126, kb = 0.0722."""
    y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = y + 2 * (1 - 0.2126) * v, y + 2 * (1 - 0.0722) * u
    return 255 * np.array([r, (y - 0.2126 * r - 0.0722 * b) / 0.7152, b])


def planes(path: Path):
    """Y, U, V of the first picture, float."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        flat = frame.to_ndarray().astype(float)
    height, width = frame.height, frame.width
    y, rest = flat[:height], flat[height:].reshape(-1)
    return y, *rest.reshape(2, height // 2, width // 2)


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_movie_says_what_it_is(tmp_path):
    path, _ = join_movie(tmp_path, 10, 24, provenance={"scene": "first light", "seed": 3})
    media = probe(path)
    assert (media.frames, media.fps, media.size) == (24, FPS, SIZE)
    assert (media.codec, media.pixel_format) == ("h264", "yuv420p")
    assert (media.primaries, media.transfer, media.matrix, media.range) == ("bt709", "bt709", "bt709", "tv")
    assert media.faststart and media.constant_rate
    assert json.loads(media.comment) == {"scene": "first light", "seed": 3}


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25), Fraction(60000, 1001), Fraction(25, 2)])
def test_every_frame_stands_at_its_exact_time_across_the_segments(tmp_path, fps):
    path, _ = join_movie(tmp_path, 7, 14, 30, fps=fps)
    media = probe(path)
    assert media.fps == fps
    assert media.constant_rate


def test_a_long_provenance_with_quotes_and_line_breaks_comes_back_unchanged(tmp_path):
    provenance = {"scene": "title: 'É = \"a\"; #1'\n" * 1500}
    path, _ = join_movie(tmp_path, 2, provenance=provenance)
    assert json.loads(probe(path).comment) == provenance


def test_joined_segments_decode_to_the_very_pictures_of_the_segments(tmp_path):
    path, segments = join_movie(tmp_path, 9, 10, 31)  # one segment of a single frame
    assert decoded(path) == [picture for segment in segments for picture in decoded(segment)]
    assert len(set(decoded(path))) == 31


def test_segments_of_very_different_content_join_without_a_changed_picture(tmp_path):
    flat = [np.full((SIZE.height, SIZE.width, 3), 9, np.uint8)] * 12
    noise = [np.random.default_rng(n).integers(0, 256, (SIZE.height, SIZE.width, 3), np.uint8) for n in range(12)]
    segments = [tmp_path / "flat.mp4", tmp_path / "noise.mp4"]
    for segment, pictures in zip(segments, (flat, noise), strict=True):
        MOVIE.write_segment(pictures, segment, SIZE, FPS)
    MOVIE.join(segments, tmp_path / "film.mp4", frames=24, size=SIZE, fps=FPS, provenance={})
    assert decoded(tmp_path / "film.mp4") == decoded(segments[0]) + decoded(segments[1])


def test_the_same_frames_give_the_same_bytes_even_under_load(tmp_path):
    quiet, _ = join_movie(tmp_path, 10, 24, name="quiet.mp4")
    done = threading.Event()
    load = threading.Thread(target=lambda: [None for _ in iter(done.is_set, True)])
    load.start()
    try:
        loaded, _ = join_movie(tmp_path, 10, 24, name="loaded.mp4")
    finally:
        done.set()
        load.join()
    assert quiet.read_bytes() == loaded.read_bytes()


def test_segments_are_found_in_folders_with_quotes_and_spaces_in_their_name(tmp_path):
    folder = tmp_path / "the film maker's % folder é"
    path, _ = join_movie(folder, 2, 4)
    assert probe(path).frames == 4


# --- the picture -----------------------------------------------------------------------------------------------------

PATCHES = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
    (20, 14, 30),
    (255, 138, 43),
]


def test_colours_come_back_within_three_codes(tmp_path):
    # Y, U, V are rounded to 8 bits: half a step of V alone is 0.5 / 224 * 1.5748 * 255 = 0.9 codes of red, Y adds 0.6,
    # and crf 15 quantises flat patches to within a code of that. BT.601 would miss red by 25.
    picture = np.repeat(np.repeat(np.array(PATCHES, np.uint8).reshape(2, 4, 3), 32, axis=0), 32, axis=1)
    MOVIE.write_segment([picture], tmp_path / "patches.mp4", Size(128, 64), FPS)
    y, u, v = planes(tmp_path / "patches.mp4")
    for i, expected in enumerate(PATCHES):
        row, column = 32 * (i // 4) + 16, 32 * (i % 4) + 16
        actual = yuv_to_rgb(y[row, column], u[row // 2, column // 2], v[row // 2, column // 2])
        assert np.abs(actual - expected).max() <= 3, expected


def test_chroma_stands_on_the_left_pixel_of_each_pair(tmp_path):
    # U along a ramp of blue: sited left, sample i is the blue of pixel 2 i; sited between, of pixel 2 i + 0.5, that is
    # half a ramp step of 3 codes more: 0.66 codes of U at 224 / 255 * 0.5 a code. The mean of 20 tells them apart.
    ramp = np.zeros((64, 80, 3), np.uint8)
    ramp[..., 2] = 3 * np.arange(80)
    MOVIE.write_segment([ramp], tmp_path / "ramp.mp4", Size(80, 64), FPS)
    u = planes(tmp_path / "ramp.mp4")[1][8:24, 10:30].mean(axis=0)
    left = 128 + 224 / 255 * 0.5 * 3 * 2 * np.arange(10, 30)
    assert abs((u - left).mean()) < 0.33


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_an_odd_size_is_a_mistake_that_names_the_nearest_even_one():
    assert "1920x1082" in MOVIE.mistake_at(Size(1919, 1081))
    assert MOVIE.mistake_at(Size(1920, 1080)) is None


def test_a_size_beyond_h264_is_a_mistake_that_names_the_limit():
    assert "8192x4352" in MOVIE.mistake_at(Size(15360, 8640))
    assert MOVIE.mistake_at(Size(8192, 4352)) is None


def test_a_frame_of_another_shape_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="expected uint8"):
        MOVIE.write_segment(frames(0, 2, Size(72, 128)), tmp_path / "segment.mp4", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


# --- joining what is not whole ---------------------------------------------------------------------------------------


def test_a_movie_with_a_frame_too_few_is_not_kept(tmp_path):
    _, segments = join_movie(tmp_path, 4, 8)
    with pytest.raises(MachineError, match="frames is 8, not 9"):
        MOVIE.join(segments, tmp_path / "short.mp4", frames=9, size=SIZE, fps=FPS, provenance={})
    assert not [path for path in tmp_path.iterdir() if "short" in path.name]


def test_a_truncated_segment_is_not_joined(tmp_path):
    _, segments = join_movie(tmp_path, 4, 8)
    segments[1].write_bytes(segments[1].read_bytes()[:-400])
    with pytest.raises(MachineError):
        MOVIE.join(segments, tmp_path / "short.mp4", frames=8, size=SIZE, fps=FPS, provenance={})
    assert not [path for path in tmp_path.iterdir() if "short" in path.name]


def test_a_finished_movie_survives_a_join_that_fails(tmp_path):
    path, segments = join_movie(tmp_path, 4, 8)
    before = path.read_bytes()
    with pytest.raises(MachineError):
        MOVIE.join(segments[:1], path, frames=8, size=SIZE, fps=FPS, provenance={})
    assert path.read_bytes() == before


# --- the program -----------------------------------------------------------------------------------------------------


def test_the_identity_of_a_movie_names_its_ffmpeg():
    assert MOVIE.identity()["ffmpeg"] == encoder.version()


def test_the_records_load_no_heavy_library():
    heavy = "OpenImageIO av imageio imageio_ffmpeg ffmpeg PIL torch pyvista"
    code = f"import sys, studio.deliver.deliverable; print(*(set('{heavy}'.split()) & set(sys.modules)))"
    actual = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert actual.stdout.split() == []
