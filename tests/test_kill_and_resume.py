import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from studio.pipeline import Studio
from studio.store import Shelf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a command in /proc")

PATIENCE = 60.0  # seconds that a stage may take to begin on a busy machine


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


def marked(start, *arguments):
    """A started command, and the mark that all its processes bear."""
    mark = str(time.monotonic_ns())
    return start(*arguments, env={"STUDIO_TEST_MARK": mark}), f"STUDIO_TEST_MARK={mark}"


def until(happens, process=None) -> bool:
    """Waits for something to happen; False if the process ends, or patience does, before."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        if process is not None and process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def ended(mark: str) -> bool:
    return until(lambda: not running(mark))


def rows(shelf: Path, field: str) -> int:
    return sum(1 for _ in shelf.glob(f"slices/*.zarr/{field}/c/*/0"))


STAGES = {
    "training": lambda shelf: any(shelf.glob("runs/*/epoch-0000.500.json")),
    "the rows of the loss": lambda shelf: rows(shelf, "loss") >= 2,
    "the rows of the convexity": lambda shelf: rows(shelf, "lambda_max") >= 1,
    "drawing and encoding": lambda shelf: any(shelf.glob("pieces/.*")),
}
"""Each stage, and whether its first product is on the shelf."""


def unfinished(scene: Path, stage: str) -> bool:
    studio = Studio.open(scene)
    if stage == "drawing and encoding":
        return len([path for path in (studio.shelf.root / "pieces").glob("*") if not path.name.startswith(".")]) < 4
    states = {row[0]: row[1] for row in studio.status(studio.out)}
    return (
        states[{"training": "train", "the rows of the loss": "loss", "the rows of the convexity": "convexity"}[stage]]
        != "done"
    )


def killed_during(stage: str, scene: Path, start, tries: int = 4) -> bool:
    """Kills the film of a scene in a stage: whether it was not over yet. A kill that came late is tried again."""
    shelf = scene.parent / ".studio"
    before = scene.parent / "before"
    for _ in range(tries):
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(shelf, before) if shelf.exists() else before.mkdir()
        process, mark = marked(start, "film", scene.name, "--workers", 1)
        until(lambda: STAGES[stage](shelf), process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() in (0, -signal.SIGKILL), f"{stage} never began: {process.communicate()}"
        assert ended(mark), f"killed during {stage}, left running: {running(mark)}"
        if unfinished(scene, stage):
            return True
        shutil.rmtree(shelf)
        shutil.copytree(before, shelf)
    return False


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


def test_a_film_killed_in_every_stage_is_the_film_that_was_never_killed(tiny, start, say, finished, pictures):
    for stage in STAGES:
        assert killed_during(stage, tiny, start), f"could not kill in time during {stage}"
        assert not (tiny.parent / "out").exists()
    assert say("film", "tiny.yaml").status == 0
    assert same_film(tiny.parent / "out" / "tiny", finished, pictures)
    # the other film was made by two workers: their number leaves no trace, nor does the order of the rows
    assert contents(tiny.parent / ".studio") == contents(finished.shelf.root)
    pieces = {path.name: path.read_bytes() for path in (finished.shelf.root / "pieces").glob("*.mp4")}
    assert len(pieces) == 2
    assert pieces == {path.name: path.read_bytes() for path in (tiny.parent / ".studio" / "pieces").glob("[!.]*.mp4")}
    # what the killed ones left half written is no part of anything, and clean takes it away
    shelf = Shelf(tiny.parent / ".studio")
    shelf.remove(shelf.unused())
    assert not [path for path in shelf.root.rglob("*") if half_written(path, shelf.root)]
    assert contents(shelf.root) == contents(finished.shelf.root)


def test_ctrl_c_stops_everything_at_once_with_one_line(measured, start):
    # so long a last shot that no machine has drawn it before the signal arrives
    text = measured.scene.read_text().replace("shot: closing\n    duration: 1s", "shot: closing\n    duration: 200s")
    assert "200s" in text
    measured.scene.write_text(text)
    process, mark = marked(start, "film", "tiny.yaml", "--workers", 2)
    assert until(lambda: STAGES["drawing and encoding"](measured.shelf.root), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    said = [line for line in err.splitlines() if not line.startswith("draw")]  # but for the progress
    assert said == ["stopped; what was finished is kept, and the same command goes on from there"]
    assert ended(mark)


def test_two_processes_on_one_shelf_make_the_same_film_and_neither_fails(tiny, start, finished, pictures):
    both = [start("film", "tiny.yaml", "--workers", 1, "--out", f"out-{name}") for name in "ab"]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all(same_film(tiny.parent / f"out-{name}", finished, pictures) for name in "ab")
    assert contents(tiny.parent / ".studio") == contents(finished.shelf.root)
    assert Shelf(tiny.parent / ".studio").unused() == []
