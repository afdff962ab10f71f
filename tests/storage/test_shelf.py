import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from studio.config.records import digest
from studio.errors import MachineError, SceneError
from studio.execution.progress import silent
from studio.storage.files import write_json
from studio.storage.shelf import MARK, Manifest, Shelf


def test_the_shelf_is_the_folder_given_else_that_of_the_environment_else_beside_the_scene(tmp_path, monkeypatch):
    scene = tmp_path / "film.yaml"
    monkeypatch.delenv("STUDIO_SHELF", raising=False)
    assert Shelf.beside(scene).root == tmp_path / ".studio"
    monkeypatch.setenv("STUDIO_SHELF", str(tmp_path / "env"))
    assert Shelf.beside(scene).root == tmp_path / "env"
    assert Shelf.beside(scene, tmp_path / "chosen").root == tmp_path / "chosen"


def test_an_update_of_a_manifest_replaces_the_entries_it_names_and_keeps_the_others(shelf):
    manifest = Manifest(shelf, shelf.root.parent / "film.yaml", "film")
    assert manifest.read() == {}
    manifest.update(slices=["a"], others=["c"])
    manifest.update(slices=["b"])
    assert manifest.read() == {"scene": "../film.yaml", "slices": ["b"], "others": ["c"]}


R1, R2, S1, S2, P1 = (digest(name) for name in ("r1", "r2", "s1", "s2", "p1"))


@pytest.fixture
def scene(shelf, tmp_path):
    """A scene beside a shelf of which it uses a run, a slice and a segment; another run and slice lie there too."""
    scene = tmp_path / "film.yaml"
    scene.write_text("")
    for path in (shelf.run(R1), shelf.run(R2)):
        write_json(path / "run.json", {})
    for name in (S1, S2):
        shelf.slice(name).create({"beta": np.zeros(1), "alpha": np.zeros(1)}, {"loss": ("beta", "alpha")}, {})
    write_json(shelf.segment(P1, ".mkv"), {})
    Manifest(shelf, scene, "film").update(slices=[R1, S1, P1])
    return scene


def test_only_what_no_existing_scene_used_is_unused(shelf, scene):
    leftover = shelf.root / "segments" / ".p2-12ab34cd.mkv"
    leftover.write_text("half")
    assert set(shelf.unused()) == {shelf.run(R2), shelf.slice(S2).path, leftover}
    size = shelf.size()
    assert size > shelf.size(shelf.unused()) > 0
    shelf.remove(shelf.unused())
    assert shelf.unused() == [] and shelf.slice(S1).path.is_dir() and shelf.size() < size
    scene.unlink()
    assert set(shelf.unused()) == {shelf.run(R1), shelf.slice(S1).path, shelf.segment(P1, ".mkv")}


def test_in_a_folder_without_the_mark_nothing_is_unused_and_nothing_can_be_removed(shelf, scene):
    (shelf.root / MARK).unlink()
    assert shelf.unused() == shelf.frames() == []
    with pytest.raises(SceneError, match="not a shelf of studio; nothing is removed"):
        shelf.remove([shelf.run(R2)])
    assert shelf.run(R2).is_dir()


def test_only_our_own_names_are_unused_and_links_are_never_followed(shelf, scene, tmp_path):
    (elsewhere := tmp_path / "elsewhere" / R2).mkdir(parents=True)
    shelf.remove(shelf.unused())
    (shelf.root / "runs" / R2).symlink_to(elsewhere)  # a link in a room
    (shelf.root / "frames").symlink_to(elsewhere.parent)  # a room that is a link
    for path in ("runs/experiment-3", ".git", ".venv", "results", "slices/.cache", f"runs/{R1}/.notes"):
        (shelf.root / path).mkdir()
    assert shelf.unused() == shelf.frames() == [] and elsewhere.is_dir()


def test_two_processes_may_mark_a_new_shelf_at_the_same_time(shelf, monkeypatch):
    shelf.root.mkdir()
    (shelf.root / f".{Path(MARK).stem}-0123abcd.json").write_text("{")  # the other one writes its mark
    shelf.mark()
    monkeypatch.setattr(Shelf, "is_marked", False)  # it was marked after this was asked
    shelf.mark()


def test_a_folder_that_holds_anything_else_is_never_marked_as_a_shelf(shelf):
    (shelf.root / "runs").mkdir(parents=True)
    shelf.mark()  # a shelf from before there were marks
    assert shelf.is_marked
    (shelf.root / MARK).unlink()
    (shelf.root / ".git").mkdir()
    with pytest.raises(SceneError, match=r"is not a shelf of studio: it holds \.git"), shelf.lock("film", silent):
        pass
    assert not shelf.is_marked and not (shelf.root / "locks").exists()


OWNER = """
import sys
from pathlib import Path
from studio.execution.progress import silent
from studio.storage.shelf import Shelf
with Shelf(Path(sys.argv[1])).lock("film", silent):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_by_one_process_at_a_time_and_released_when_it_dies(shelf):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}  # it ends when its input does, which is never
    other = subprocess.Popen([sys.executable, "-c", OWNER, str(shelf.root)], text=True, **pipes)
    try:
        assert other.stdout.readline() == "mine\n"
        waits = []

        def waiting(name, total):
            waits.append(name)
            other.kill()
            return silent(name, total)

        with shelf.lock("run", waiting):
            assert waits == []  # no other process holds this one
            with shelf.lock("film", waiting):
                assert waits == ["waiting for another studio at work on film"]
    finally:
        other.kill()
        other.communicate()


def test_a_shelf_that_cannot_be_written_is_the_machines_fault(shelf):
    shelf.root.parent.mkdir(exist_ok=True)
    shelf.root.write_text("a file, not a folder")
    with pytest.raises(MachineError, match="cannot be written"), shelf.lock("film", silent):
        pass
