import os
import signal
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from studio.pipeline.project import Project
from studio.pipeline.status import status
from studio.storage.shelf import Shelf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a command in /proc")

PATIENCE = 600.0
"""Seconds after which a test that waits for a process gives up: no machine is so slow. Nothing is measured by it."""


def running(mark: str) -> list[str]:
    """Command lines of the processes, of any ancestry, that were started with an environment that holds the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:  # gone, or not ours to read
            pass
    return found


def until(happens, process=None) -> bool:
    """Waits for something to happen; False if the process ends, or patience does, before."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        if (process is not None and process.poll() is not None) or time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def ended(mark: str) -> bool:
    return until(lambda: not running(mark))


STAGES = {
    "training": r"/runs/\w+/epoch-0001.000.safetensors",
    "the rows of the loss": r"/slices/\w+.zarr/loss/c/3/0",
    "the rows of the convexity": r"/slices/\w+.zarr/lambda_max/c/1/0",
    "drawing and encoding": r"/segments/\w+.mp4",
}
"""Each stage, and a product of it, neither the first nor the last, after which the shelf holds a part of the stage."""

HOOK = """
import os, re, signal, sys

NAME, HELD = re.compile(os.environ["STUDIO_TEST_AT"]), os.environ["STUDIO_TEST_HELD"]

def watch(event, arguments):
    # of all that python does, this is seen before it is done: a whole file is about to get its name
    if event == "os.rename" and NAME.search(str(arguments[1])):
        open(HELD, "w").close()
        while True:
            signal.pause()

sys.addaudithook(watch)
"""


@pytest.fixture
def held(start, tmp_path):
    """Starts a film that stops for ever before a product gets its name; returns it and its processes' mark."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    numbers = count()

    def held(product: str, *arguments):
        there = tmp_path / f"held-{next(numbers)}"
        path = os.pathsep.join([str(tmp_path / "hook"), *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {"STUDIO_TEST_AT": product, "STUDIO_TEST_HELD": str(there), "PYTHONPATH": path}
        process = start("film", *arguments, env=env)
        assert until(there.exists, process), f"{product} never came: {process.communicate()}"
        return process, f"STUDIO_TEST_HELD={there}"

    return held


def killed_during(stage: str, scene: Path, held) -> None:
    """Kills the film of a scene in the middle of a stage; whatever it had started ends with it."""
    process, mark = held(STAGES[stage], scene.name, "--workers", 1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert ended(mark), f"killed during {stage}, left running: {running(mark)}"


def contents(root: Path) -> dict[str, bytes]:
    """What was computed, byte for byte: slices and weights by their place on the shelf."""
    files = [*root.glob("slices/**/*"), *root.glob("runs/**/epoch-*")]
    whole = [path for path in files if path.is_file() and not half_written(path, root)]
    return {str(path.relative_to(root)): path.read_bytes() for path in whole}


def half_written(path: Path, root: Path) -> bool:
    return path.suffix == ".partial" or any(part.startswith(".") for part in path.relative_to(root).parts)


def same_film(out: Path, finished, pictures) -> bool:
    return all(
        np.array_equal(pictures(out / name), pictures(finished.out / name)) for name in ("tiny.mp4", "tiny-frames")
    )


PARTS = (
    ["2 of 5 checkpoints", "0 of 3 slices", "0 of 2 slices"],
    ["5 of 5 checkpoints", "0 of 3 slices", "0 of 2 slices"],
    ["5 of 5 checkpoints", "3 of 3 slices", "0 of 2 slices"],
    ["5 of 5 checkpoints", "3 of 3 slices", "2 of 2 slices"],
)
"""What is whole after each kill."""


def states(scene: Path) -> list[str]:
    project = Project.open(scene)
    return [row[2] for row in status(project, project.out)][:3]


def test_a_film_killed_in_every_stage_is_the_film_that_was_never_killed(tiny, held, say, finished, pictures):
    for stage, before in zip(STAGES, PARTS, strict=True):
        killed_during(stage, tiny, held)
        assert not (tiny.parent / "out").exists()
        assert states(tiny) == before
    assert say("film", "tiny.yaml").status == 0
    assert same_film(tiny.parent / "out" / "tiny", finished, pictures)
    # the other film was made by two workers: their number leaves no trace, nor does the order of the rows
    assert contents(tiny.parent / ".studio") == contents(finished.shelf.root)
    segments = {path.name: path.read_bytes() for path in (finished.shelf.root / "segments").glob("*.mp4")}
    assert len(segments) == 2
    assert segments == {
        path.name: path.read_bytes() for path in (tiny.parent / ".studio" / "segments").glob("[!.]*.mp4")
    }
    # what the killed ones left half written is no part of anything, and clean takes it away
    shelf = Shelf(tiny.parent / ".studio")
    shelf.remove(shelf.unused())
    assert not [path for path in shelf.root.rglob("*") if half_written(path, shelf.root)]
    assert contents(shelf.root) == contents(finished.shelf.root)


def test_ctrl_c_stops_everything_at_once_with_one_line(measured, held):
    process, mark = held(STAGES["drawing and encoding"], "tiny.yaml", "--workers", 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    said = [line for line in err.splitlines() if not line.startswith("draw")]  # but for the progress
    assert said == ["stopped; what was finished is kept, and the same command goes on from there"]
    assert ended(mark)


def test_two_processes_on_one_shelf_make_the_same_film_and_neither_fails(tiny, start, finished, pictures):
    both = [start("film", "tiny.yaml", "--workers", 1, "--out", f"out-{name}") for name in "ab"]
    said = [process.communicate(timeout=PATIENCE) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all(same_film(tiny.parent / f"out-{name}", finished, pictures) for name in "ab")
    assert contents(tiny.parent / ".studio") == contents(finished.shelf.root)
    assert Shelf(tiny.parent / ".studio").unused() == []
