"""H.264 movies: what the file says, what the eye gets back, and what is left when something dies."""

import errno
import hashlib
import json
import os
import stat
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


def made(folder: Path, *cuts: int, fps: Fraction = FPS, provenance=None, name="film.mp4") -> tuple[Path, list[Path]]:
    """A movie of the frames 0 ... cuts[-1] in pieces that begin at the cuts."""
    pieces = []
    for start, stop in zip((0, *cuts), cuts, strict=False):
        pieces.append(folder / f"{name}-{start}.mp4")
        assert MOVIE.write_segment(frames(start, stop), pieces[-1], SIZE, fps, start) == stop - start
    MOVIE.join(pieces, folder / name, frames=cuts[-1], size=SIZE, fps=fps, provenance=provenance or {})
    return folder / name, pieces


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


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a shell script in ffmpeg's place."""

    def place(script: str) -> None:
        path = tmp_path / "fake-ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("STUDIO_FFMPEG", str(path))

    return place


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_movie_says_what_it_is(tmp_path):
    path, _ = made(tmp_path, 10, 24, provenance={"scene": "first light", "seed": 3})
    media = probe(path)
    assert (media.frames, media.fps, media.size) == (24, FPS, SIZE)
    assert (media.codec, media.pixel_format) == ("h264", "yuv420p")
    assert (media.primaries, media.transfer, media.matrix, media.range) == ("bt709", "bt709", "bt709", "tv")
    assert media.faststart and media.steady
    assert json.loads(media.comment) == {"scene": "first light", "seed": 3}


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25), Fraction(60000, 1001), Fraction(25, 2)])
def test_every_frame_stands_at_its_exact_time_across_the_pieces(tmp_path, fps):
    path, _ = made(tmp_path, 7, 14, 30, fps=fps)
    media = probe(path)
    assert media.fps == fps
    assert media.steady


def test_a_long_provenance_with_quotes_and_line_breaks_comes_back_unchanged(tmp_path):
    provenance = {"scene": "title: 'É = \"a\"; #1'\n" * 1500}
    path, _ = made(tmp_path, 2, provenance=provenance)
    assert json.loads(probe(path).comment) == provenance


def test_joined_pieces_decode_to_the_very_pictures_of_the_pieces(tmp_path):
    path, pieces = made(tmp_path, 9, 10, 31)  # one piece of a single frame
    assert decoded(path) == [picture for piece in pieces for picture in decoded(piece)]
    assert len(set(decoded(path))) == 31


def test_pieces_of_very_different_content_join_without_a_changed_picture(tmp_path):
    flat = [np.full((SIZE.height, SIZE.width, 3), 9, np.uint8)] * 12
    noise = [np.random.default_rng(n).integers(0, 256, (SIZE.height, SIZE.width, 3), np.uint8) for n in range(12)]
    pieces = [tmp_path / "flat.mp4", tmp_path / "noise.mp4"]
    for piece, pictures in zip(pieces, (flat, noise), strict=True):
        MOVIE.write_segment(pictures, piece, SIZE, FPS)
    MOVIE.join(pieces, tmp_path / "film.mp4", frames=24, size=SIZE, fps=FPS, provenance={})
    assert decoded(tmp_path / "film.mp4") == decoded(pieces[0]) + decoded(pieces[1])


def test_the_same_frames_give_the_same_bytes_even_under_load(tmp_path):
    quiet, _ = made(tmp_path, 10, 24, name="quiet.mp4")
    done = threading.Event()
    load = threading.Thread(target=lambda: [None for _ in iter(done.is_set, True)])
    load.start()
    try:
        loaded, _ = made(tmp_path, 10, 24, name="loaded.mp4")
    finally:
        done.set()
        load.join()
    assert quiet.read_bytes() == loaded.read_bytes()


def test_pieces_are_found_in_folders_with_quotes_and_spaces_in_their_name(tmp_path):
    folder = tmp_path / "the film maker's % folder é"
    path, _ = made(folder, 2, 4)
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
    for i, wanted in enumerate(PATCHES):
        row, column = 32 * (i // 4) + 16, 32 * (i % 4) + 16
        found = yuv_to_rgb(y[row, column], u[row // 2, column // 2], v[row // 2, column // 2])
        assert np.abs(found - wanted).max() <= 3, wanted


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
    assert "1920x1082" in MOVIE.mistake(Size(1919, 1081))
    assert MOVIE.mistake(Size(1920, 1080)) is None


def test_a_size_beyond_h264_is_a_mistake_that_names_the_limit():
    assert "8192x4352" in MOVIE.mistake(Size(15360, 8640))
    assert MOVIE.mistake(Size(8192, 4352)) is None


def test_a_frame_of_another_shape_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="expected uint8"):
        MOVIE.write_segment(frames(0, 2, Size(72, 128)), tmp_path / "piece.mp4", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


def test_a_piece_of_no_frames_is_refused(tmp_path):
    with pytest.raises((ValueError, MachineError)):
        MOVIE.write_segment([], tmp_path / "piece.mp4", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


# --- joining what is not whole ---------------------------------------------------------------------------------------


def test_a_movie_with_a_frame_too_few_is_not_kept(tmp_path):
    _, pieces = made(tmp_path, 4, 8)
    with pytest.raises(MachineError, match="frames is 8, not 9"):
        MOVIE.join(pieces, tmp_path / "short.mp4", frames=9, size=SIZE, fps=FPS, provenance={})
    assert not [path for path in tmp_path.iterdir() if "short" in path.name]


def test_a_truncated_piece_is_not_joined(tmp_path):
    _, pieces = made(tmp_path, 4, 8)
    pieces[1].write_bytes(pieces[1].read_bytes()[:-400])
    with pytest.raises(MachineError):
        MOVIE.join(pieces, tmp_path / "short.mp4", frames=8, size=SIZE, fps=FPS, provenance={})
    assert not [path for path in tmp_path.iterdir() if "short" in path.name]


def test_a_finished_movie_survives_a_join_that_fails(tmp_path):
    path, pieces = made(tmp_path, 4, 8)
    before = path.read_bytes()
    with pytest.raises(MachineError):
        MOVIE.join(pieces[:1], path, frames=8, size=SIZE, fps=FPS, provenance={})
    assert path.read_bytes() == before


def test_a_file_that_is_no_movie_cannot_be_probed(tmp_path):
    (tmp_path / "text.mp4").write_text("not a movie")
    with pytest.raises(MachineError, match="no whole movie"):
        probe(tmp_path / "text.mp4")


# --- when something dies ---------------------------------------------------------------------------------------------


class _Watched:
    """Remembers the processes that were started."""

    def __init__(self, monkeypatch):
        self.processes = []
        start = subprocess.Popen

        def remember(*arguments, **keywords):
            self.processes.append(start(*arguments, **keywords))
            self.keywords = keywords
            return self.processes[-1]

        monkeypatch.setattr(encoder.subprocess, "Popen", remember)


@pytest.mark.parametrize("blow", [KeyboardInterrupt, RuntimeError, BrokenPipeError])
def test_an_exception_while_drawing_kills_ffmpeg_and_leaves_nothing(tmp_path, monkeypatch, blow):
    encoder.version()
    watched = _Watched(monkeypatch)

    def interrupted():
        yield from frames(0, 3)
        raise blow

    with pytest.raises(blow):
        MOVIE.write_segment(interrupted(), tmp_path / "piece.mp4", SIZE, FPS)
    assert [process.poll() for process in watched.processes] == [-9]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_ffmpeg_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    watched = _Watched(monkeypatch)

    def killed():
        yield from frames(0, 3)
        watched.processes[-1].kill()
        yield from frames(3, 200)

    with pytest.raises(MachineError, match=r"SIGKILL.*kept, so run again"):
        MOVIE.write_segment(killed(), tmp_path / "piece.mp4", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_at_the_terminal_does_not_reach_ffmpeg(tmp_path, monkeypatch):
    watched = _Watched(monkeypatch)
    sessions = []

    def looking():
        yield from frames(0, 1)
        sessions.append(os.getsid(watched.processes[-1].pid))

    MOVIE.write_segment(looking(), tmp_path / "piece.mp4", SIZE, FPS)
    assert sessions != [os.getsid(0)]


def test_a_failing_ffmpeg_is_quoted(tmp_path, fake):
    fake("echo 'the dog ate the encoder' >&2; exit 3")
    with pytest.raises(MachineError, match="status 3: the dog ate the encoder"):
        MOVIE.write_segment(frames(0, 50), tmp_path / "piece.mp4", SIZE, FPS)
    assert [path.name for path in tmp_path.iterdir()] == ["fake-ffmpeg"]


def test_an_ffmpeg_that_stops_early_without_a_word_is_an_error(tmp_path, fake):
    fake("head -c 1000 >/dev/null; exit 0")
    with pytest.raises(MachineError, match="without a word"):
        MOVIE.write_segment(frames(0, 50), tmp_path / "piece.mp4", SIZE, FPS)


def test_an_ffmpeg_that_talks_a_lot_does_not_stall(tmp_path, fake):
    fake("cat >/dev/null; yes 'a long complaint' | head -n 50000 >&2; exit 1")
    with pytest.raises(MachineError, match="a long complaint"):
        MOVIE.write_segment(frames(0, 5), tmp_path / "piece.mp4", SIZE, FPS)


@pytest.mark.parametrize("lack", ["Unknown encoder 'libx264'", "No such filter: 'zscale'"])
def test_an_ffmpeg_without_the_encoder_or_a_filter_is_an_error_with_a_way_out(tmp_path, fake, lack):
    fake(f'echo "{lack}" >&2; exit 8')
    with pytest.raises(MachineError, match="STUDIO_FFMPEG"):
        MOVIE.write_segment(frames(0, 2), tmp_path / "piece.mp4", SIZE, FPS)


def test_an_ffmpeg_that_is_not_there_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_FFMPEG", "/no/such/program")
    with pytest.raises(MachineError, match="unset it"):
        MOVIE.write_segment(frames(0, 2), tmp_path / "piece.mp4", SIZE, FPS)


def test_an_ffmpeg_that_cannot_be_started_is_an_error(tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    monkeypatch.setenv("STUDIO_FFMPEG", str(broken))
    with pytest.raises(MachineError, match="cannot be started"):
        MOVIE.write_segment(frames(0, 2), tmp_path / "piece.mp4", SIZE, FPS)


def test_a_disk_that_fills_up_under_ffmpeg_is_an_error_that_names_the_file(tmp_path, fake):
    fake(f"echo 'av_interleaved_write_frame(): {os.strerror(errno.ENOSPC)}' >&2; exit 228")
    with pytest.raises(MachineError, match=r"piece\.mp4: the disk is full"):
        MOVIE.write_segment(frames(0, 2), tmp_path / "piece.mp4", SIZE, FPS)


# --- the program -----------------------------------------------------------------------------------------------------


def test_the_bundled_ffmpeg_has_the_encoder_and_a_version():
    assert "libx264" in encoder.encoders()
    assert encoder.version()[0] in "nN0123456789"


def test_the_identity_of_a_movie_names_its_ffmpeg():
    assert MOVIE.identity()["ffmpeg"] == encoder.version()


def test_the_records_load_no_heavy_library():
    heavy = "av imageio imageio_ffmpeg ffmpeg PIL torch pyvista"
    code = f"import sys, studio.deliver.deliverable; print(*(set('{heavy}'.split()) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
