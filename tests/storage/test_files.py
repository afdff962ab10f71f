import errno
import json
import os
from pathlib import Path

import pytest

from studio.errors import MachineError
from studio.storage import files
from studio.storage.files import atomic_write, check_writable, read_json, translate_os_errors, write_json


def test_a_file_appears_whole_and_alone(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with atomic_write(path) as beside:
        beside.write_text("all of it")
        assert not path.exists() and beside.parent == path.parent and beside.suffix == ".txt"
    assert path.read_text() == "all of it" and [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_file_leaves_the_old_one_and_nothing_else(tmp_path, interruption):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(interruption), atomic_write(path) as beside:
        beside.write_text("half of the n")
        raise interruption
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for content in ("old", "new"):
        with atomic_write(tmp_path / "a.zarr") as beside:
            (beside / "inner").mkdir(parents=True)
            (beside / "inner" / content).write_text(content)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["a.zarr", "a.zarr/inner", "a.zarr/inner/new"]


def test_an_interrupted_folder_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "a.zarr") as beside:
        beside.mkdir()
        (beside / "x").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(files.os, "fsync", lambda handle: calls.append("sync"))
    replace = os.replace
    monkeypatch.setattr(files.os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    with atomic_write(tmp_path / "a") as beside:
        beside.mkdir()
        (beside / "x").write_text("x")
        (beside / "y").write_text("y")
    assert calls == ["sync", "sync", "rename"]


def test_two_writers_do_not_share_a_temporary(tmp_path):
    with atomic_write(tmp_path / "a") as one, atomic_write(tmp_path / "a") as other:
        assert one != other
        one.write_text("1")
        other.write_text("2")
    assert (tmp_path / "a").read_text() == "1"  # the outer block ends last


@pytest.mark.parametrize(
    ("number", "calls"),
    [
        (errno.ENOSPC, "disk is full; all finished work is kept"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "cannot be written"),
        (errno.EROFS, "cannot be written"),
    ],
    ids=errno.errorcode.get,
)
def test_a_disk_that_takes_no_more_is_the_machines_fault(tmp_path, number, calls):
    with pytest.raises(MachineError, match=f"a.txt: .*{calls}") as caught, atomic_write(tmp_path / "a.txt") as beside:
        beside.write_text("half")
        raise OSError(number, os.strerror(number))
    assert caught.value.exit_status == 3 and list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_explained(tmp_path):
    (tmp_path / "out").write_text("I am a file")
    with pytest.raises(MachineError, match="cannot be written"), atomic_write(tmp_path / "out" / "film.mp4"):
        pass
    assert (tmp_path / "out").read_text() == "I am a file"


def test_a_folder_where_a_file_should_be_is_explained(tmp_path):
    (tmp_path / "film.mp4").mkdir()
    with (
        pytest.raises(MachineError, match="film.mp4: cannot be written"),
        atomic_write(tmp_path / "film.mp4") as beside,
    ):
        beside.write_text("a film")
    assert [p.name for p in tmp_path.rglob("*")] == ["film.mp4"]


def test_asking_whether_a_folder_can_be_written_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "not" / "there", Path("not/there"), Path("..")):
        check_writable(folder)
    assert list(tmp_path.iterdir()) == []


def test_other_failures_pass_as_they_are(tmp_path):
    with pytest.raises(BrokenPipeError), translate_os_errors(tmp_path):
        raise BrokenPipeError(errno.EPIPE, "pipe")


def test_json_comes_back_as_it_was_and_reads_well(tmp_path):
    value = {"b": [1, 2.5, None], "a": "\u00e9"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == value | {"checksum": json.loads(text)["checksum"]} and text.startswith('{\n "a"')
