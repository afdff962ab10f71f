"""A film so small that the tests can make it often, and the ways to run studio: as a user does, or in this process."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest

from studio.cli import commands
from studio.execution import local
from studio.execution.devices import VARIABLE
from studio.storage.shelf import Shelf

TINY = """\
title: Tiny
run:
  recipe:
    model: {kind: mlp, depth: 1, width: 8}
    data: digits
    epochs: 2
    checkpoint: {every: 0.5}
    optimizer: {kind: sgd, lr: 0.1}
directions: {kind: random, seed: 1}
sweep: {kind: epochs, at: [0, 1, 2]}
grid: {range: [-1, 1], points: 9}
loss: {subset: 32, mode: eval}
convexity: {points: 3, at: [0, 2], tol: 1e-1}
look: {base: ember, mesh: 65}
film: {size: 64x36, fps: 8}
shots:
  - shot: descent
    duration: 1.5s
    along: {0s: 0, 1.5s: 2}
    camera: {moves: [{orbit: 40deg, over: 1.5s, ease: in-out}]}
    to_next: {dissolve: 0.5s}
  - shot: curvature
    duration: 1s
    along: {0s: 2}
    colour: {field: convexity, map: lajolla}
  - shot: closing
    duration: 1s
    along: {0s: 2}
    camera: {moves: [{hold: 1s}]}
titles: {title: Tiny}
deliver:
  - {kind: movie, preset: h264-web}
  - {kind: sequence}
"""
"""24 frames in two segments: the first two shots are frames 0 to 16, the last one is 16 to 24."""


NOTHING: Mapping[str, str] = MappingProxyType({})
GUARD = 600
"""Seconds after which a command counts as hanging."""


class Result(NamedTuple):
    """How a command ended: its exit status, and what it wrote."""

    status: int
    out: str
    err: str


class Film(NamedTuple):
    """A finished film: the scene, its shelf, and the folder of what was handed over."""

    scene: Path
    shelf: Shelf
    out: Path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "studio.cli", *map(str, arguments)]


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch):
    for name in ("STUDIO_SHELF", "STUDIO_FFMPEG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A tiny scene in a folder of its own; nothing of it is made yet."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Film:
    """The film of the tiny scene, made once by `studio film`, with two workers. Never change it: copy it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("STUDIO_")}
    done = subprocess.run(
        command("film", "tiny.yaml", "--workers", 2),
        cwd=folder,
        env=env,
        text=True,
        capture_output=True,
        check=False,
        timeout=GUARD,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out/tiny/tiny.mp4\nout/tiny/tiny-frames\n"
    return Film(folder / "tiny.yaml", Shelf(folder / ".studio"), folder / "out" / "tiny")


@pytest.fixture
def copy(finished, tiny) -> Film:
    """The finished film once more, shelf and all, to be changed at will."""
    shutil.copytree(finished.shelf.root, tiny.parent / ".studio")
    shutil.copytree(finished.out, tiny.parent / "out" / "tiny")
    return Film(tiny, Shelf(tiny.parent / ".studio"), tiny.parent / "out" / "tiny")


@pytest.fixture
def measured(finished, tiny) -> Film:
    """The tiny scene trained and measured, and nothing of its film drawn."""
    for room in ("runs", "slices"):
        shutil.copytree(finished.shelf.root / room, tiny.parent / ".studio" / room)
    return Film(tiny, Shelf(tiny.parent / ".studio"), tiny.parent / "out" / "tiny")


@pytest.fixture
def start(tmp_path) -> Callable[..., subprocess.Popen]:
    """Starts a command in a process, and a session, of its own; killed at the end if it still runs."""
    started = []

    def start(*arguments: object, env: Mapping[str, str] = NOTHING) -> subprocess.Popen:
        process = subprocess.Popen(
            command(*arguments),
            cwd=tmp_path,
            env=os.environ | env,
            text=True,
            start_new_session=True,
            # a shell starts what runs in the background, such as these tests perhaps, deaf to Ctrl-C
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(tmp_path) -> Callable[..., Result]:
    """Runs a command in a process of its own, as a user does."""

    def run(*arguments: object, env: Mapping[str, str] = NOTHING, python: tuple[str, ...] = (), **options) -> Result:
        line = command(*arguments)
        done = subprocess.run(
            [line[0], *python, *line[1:]],
            cwd=tmp_path,
            env=os.environ | env,
            text=True,
            capture_output=True,
            check=False,
            timeout=GUARD,
            **options,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(autouse=True)
def device_of_the_session(monkeypatch) -> None:
    """The device that a command of one test chooses is not that of the next."""
    monkeypatch.setenv(VARIABLE, os.environ.get(VARIABLE, ""))


@pytest.fixture
def in_process(monkeypatch) -> None:
    """Runs tasks in this process, one after the other: a worker would import every library again."""

    class InThisProcess(Executor):
        def __init__(self, workers, gpus=()):
            pass

        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)
            return future

    monkeypatch.setattr(local, "LocalExecutor", InThisProcess)


@pytest.fixture
def cwd(tmp_path) -> Path:
    """The folder that `invoke` runs commands in."""
    return tmp_path


@pytest.fixture
def invoke(in_process, cwd, monkeypatch, capsys) -> Callable[..., Result]:
    """Runs a command in this process, and its tasks too."""

    def invoke(*arguments: object) -> Result:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["studio", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            commands.main()
        return Result(ended.value.code, *capsys.readouterr())

    return invoke


@pytest.fixture(scope="session")
def pictures() -> Callable[[Path], np.ndarray]:
    """The decoded frames of a movie, or of a folder of pictures [frames, height, width, 3]."""

    def pictures(path: Path) -> np.ndarray:
        import av
        import imageio.v3 as iio

        if path.is_dir():
            return np.stack([iio.imread(picture) for picture in sorted(path.glob("*.png"))])
        with av.open(str(path)) as movie:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in movie.decode(video=0)])

    return pictures
