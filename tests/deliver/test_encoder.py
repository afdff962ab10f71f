"""The one place that runs ffmpeg: what is left when it, or whoever feeds it, dies."""

import errno
import os
import stat
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

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


def frames(start: int, stop: int):
    """Noise that is a function of the frame's number."""
    for n in range(start, stop):
        yield np.random.default_rng(n).integers(0, 256, (SIZE.height, SIZE.width, 3), np.uint8)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a shell script in ffmpeg's place."""

    def place(script: str) -> None:
        path = tmp_path / "fake-ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("STUDIO_FFMPEG", str(path))

    return place


def test_a_failing_ffmpeg_is_quoted(tmp_path, fake):
    fake("echo 'the dog ate the encoder' >&2; exit 3")
    with pytest.raises(MachineError, match="status 3: the dog ate the encoder"):
        MOVIE.write_segment(frames(0, 50), tmp_path / "segment.mp4", SIZE, FPS)
    assert [path.name for path in tmp_path.iterdir()] == ["fake-ffmpeg"]


def test_an_ffmpeg_that_stops_early_without_a_word_is_an_error(tmp_path, fake):
    fake("head -c 1000 >/dev/null; exit 0")
    with pytest.raises(MachineError, match="without a word"):
        MOVIE.write_segment(frames(0, 50), tmp_path / "segment.mp4", SIZE, FPS)


def test_an_ffmpeg_that_talks_a_lot_does_not_stall(tmp_path, fake):
    fake("cat >/dev/null; yes 'a long complaint' | head -n 50000 >&2; exit 1")
    with pytest.raises(MachineError, match="a long complaint"):
        MOVIE.write_segment(frames(0, 5), tmp_path / "segment.mp4", SIZE, FPS)


@pytest.mark.parametrize("lack", ["Unknown encoder 'libx264'", "No such filter: 'zscale'"])
def test_an_ffmpeg_without_the_encoder_or_a_filter_is_an_error_with_a_way_out(tmp_path, fake, lack):
    fake(f'echo "{lack}" >&2; exit 8')
    with pytest.raises(MachineError, match="STUDIO_FFMPEG"):
        MOVIE.write_segment(frames(0, 2), tmp_path / "segment.mp4", SIZE, FPS)


def test_an_ffmpeg_that_is_not_there_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_FFMPEG", "/no/such/program")
    with pytest.raises(MachineError, match="unset it"):
        MOVIE.write_segment(frames(0, 2), tmp_path / "segment.mp4", SIZE, FPS)


def test_an_ffmpeg_that_cannot_be_started_is_an_error(tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    monkeypatch.setenv("STUDIO_FFMPEG", str(broken))
    with pytest.raises(MachineError, match="cannot be started"):
        MOVIE.write_segment(frames(0, 2), tmp_path / "segment.mp4", SIZE, FPS)


def test_a_disk_that_fills_up_under_ffmpeg_is_an_error_that_names_the_file(tmp_path, fake):
    fake(f"echo 'av_interleaved_write_frame(): {os.strerror(errno.ENOSPC)}' >&2; exit 228")
    with pytest.raises(MachineError, match=r"segment\.mp4: the disk is full"):
        MOVIE.write_segment(frames(0, 2), tmp_path / "segment.mp4", SIZE, FPS)


def test_the_bundled_ffmpeg_has_the_encoder_and_a_version():
    assert "libx264" in encoder.encoders()
    assert encoder.version()[0] in "nN0123456789"


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
        MOVIE.write_segment(interrupted(), tmp_path / "segment.mp4", SIZE, FPS)
    assert [process.poll() for process in watched.processes] == [-9]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_ffmpeg_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    watched = _Watched(monkeypatch)

    def killed():
        yield from frames(0, 3)
        watched.processes[-1].kill()
        yield from frames(3, 200)

    with pytest.raises(MachineError, match=r"SIGKILL.*kept, so run again"):
        MOVIE.write_segment(killed(), tmp_path / "segment.mp4", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_at_the_terminal_does_not_reach_ffmpeg(tmp_path, monkeypatch):
    watched = _Watched(monkeypatch)
    sessions = []

    def looking():
        yield from frames(0, 1)
        sessions.append(os.getsid(watched.processes[-1].pid))

    MOVIE.write_segment(looking(), tmp_path / "segment.mp4", SIZE, FPS)
    assert sessions != [os.getsid(0)]


@pytest.mark.parametrize("script", ["sleep 600", "cat >/dev/null; sleep 600", "kill -STOP $$"])
def test_an_ffmpeg_that_hangs_is_ended_and_named_and_leaves_nothing(tmp_path, fake, monkeypatch, script):
    fake(script)
    monkeypatch.setattr(encoder, "PATIENCE", 2)
    with pytest.raises(MachineError, match="fake-ffmpeg did nothing for 2 s, so it was ended"):
        MOVIE.write_segment(frames(0, 50), tmp_path / "segment.mp4", SIZE, FPS)
    assert [path.name for path in tmp_path.iterdir()] == ["fake-ffmpeg"]


def test_an_ffmpeg_that_does_not_even_say_its_version_is_named(fake, monkeypatch):
    fake("sleep 600")
    monkeypatch.setattr(encoder, "PATIENCE", 1)
    with pytest.raises(MachineError, match="did nothing"):
        encoder.version()


def test_an_ffmpeg_that_is_only_slow_is_left_alone(tmp_path, fake, monkeypatch):
    fake(
        f"sleep_and_work() {{ for i in 1 2 3 4; do sleep 0.6; : $(head -c 9000000 /dev/zero | cksum); done; }}\n"
        f'sleep_and_work; exec "{_bundled()}" "$@"'
    )
    monkeypatch.setattr(encoder, "PATIENCE", 2)
    MOVIE.write_segment(frames(0, 5), tmp_path / "segment.mp4", SIZE, FPS)
    assert probe(tmp_path / "segment.mp4").frames == 5


def _bundled() -> str:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def test_an_ffmpeg_that_ends_well_and_writes_nothing_or_too_little_is_an_error(tmp_path, fake):
    MOVIE.write_segment(frames(0, 3), tmp_path / "three.mp4", SIZE, FPS)
    fake("cat >/dev/null")
    with pytest.raises(MachineError, match="fake-ffmpeg wrote nothing, and no error; name a working ffmpeg"):
        MOVIE.write_segment(frames(0, 5), tmp_path / "segment.mp4", SIZE, FPS)
    fake(f'cat >/dev/null; for last; do :; done; cp "{tmp_path}/three.mp4" "${{last#file:}}"')
    with pytest.raises(MachineError, match=r"segment\.mp4: .* wrote 3 of 5 frames, and no error"):
        MOVIE.write_segment(frames(0, 5), tmp_path / "segment.mp4", SIZE, FPS)
    assert not (tmp_path / "segment.mp4").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_hanging_ffmpeg_dies_with_its_parent(tmp_path, fake):
    fake(f"echo $$ > {tmp_path}/pid; exec sleep 600")
    code = (
        "import numpy as np; from fractions import Fraction; from pathlib import Path; import sys\n"
        "from studio.config.units import Size; from studio.deliver.movie import Movie\n"
        "black = [np.zeros((72, 128, 3), np.uint8)] * 50\n"
        "Movie().write_segment(black, Path(sys.argv[1]), Size(128, 72), Fraction(24))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "segment.mp4")])
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert parent.poll() is None
        time.sleep(0.01)
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    assert stat.exists()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while stat.exists() and stat.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not stat.exists() or stat.read_text().split()[2] == "Z"
