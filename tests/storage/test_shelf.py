import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import studio.storage.shelf
from studio.config.records import digest
from studio.config.units import Size
from studio.errors import MachineError, SceneError
from studio.execution.progress import silent
from studio.field import Grid
from studio.storage.files import write_json
from studio.storage.shelf import MARK, Shelf, StoredSlice

GRID = Grid(range=(-2, 2), points=5)
AXES = {"beta": GRID.axis, "alpha": GRID.axis}
FIELDS = dict.fromkeys(("loss", "accuracy"), ("beta", "alpha"))


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def slice_(shelf) -> StoredSlice:
    found = shelf.slice("abc")
    found.create(AXES, FIELDS, {"epoch": 3.0, "scene": "First light"})
    return found


def row(value: float) -> dict[str, np.ndarray]:
    return {"loss": np.full((1, 5), value), "accuracy": np.full((1, 5), 100 * value)}


def test_the_shelf_stands_where_it_is_told_or_where_the_environment_says_or_beside_the_scene(tmp_path, monkeypatch):
    scene = tmp_path / "film.yaml"
    monkeypatch.delenv("STUDIO_SHELF", raising=False)
    assert Shelf.beside(scene).root == tmp_path / ".studio"
    monkeypatch.setenv("STUDIO_SHELF", str(tmp_path / "env"))
    assert Shelf.beside(scene).root == tmp_path / "env"
    assert Shelf.beside(scene, tmp_path / "chosen").root == tmp_path / "chosen"


def test_a_new_slice_misses_every_row(slice_):
    assert slice_.missing() == [0, 1, 2, 3, 4] and not slice_.whole


def test_a_slice_that_does_not_exist_is_not_whole(shelf):
    assert not shelf.slice("none").whole


def test_a_written_row_comes_back_bit_for_bit_and_is_no_longer_missing(slice_):
    values = np.array([0.1, 1e-300, 3.0, np.pi, 1e300])
    slice_.write(2, {"loss": values[None], "accuracy": values[None]})
    assert slice_.missing() == [0, 1, 3, 4]
    assert np.array_equal(slice_.read()["loss"].values[2], values)


def test_a_row_of_nan_and_inf_is_measured_and_a_row_that_is_not_is_missing(slice_):
    slice_.write(1, {"loss": np.array([[np.nan] * 4 + [np.inf]]), "accuracy": np.full((1, 5), np.nan)})
    assert slice_.missing() == [0, 2, 3, 4]
    assert np.isnan(slice_.read()["loss"].values[1, :4]).all() and np.isinf(slice_.read()["loss"].values[1, 4])


def test_a_row_counts_only_once_all_its_fields_are_there(slice_):
    with pytest.raises(KeyError):
        slice_.write(0, {"loss": np.zeros((1, 5)), "unheard": np.zeros((1, 5))})
    assert 0 in slice_.missing()


def test_rows_may_come_in_any_order(slice_, shelf):
    other = shelf.slice("def")
    other.create(AXES, FIELDS, {})
    for order, store in (([0, 1, 2, 3, 4], slice_), ([3, 1, 4, 0, 2], other)):
        for index in order:
            store.write(index, row(index / 10))
    assert slice_.whole and other.whole
    assert slice_.read().equals(other.read())


def test_several_rows_can_be_written_at_once(slice_):
    slice_.write(1, {name: np.concatenate([values, values + 1]) for name, values in row(0.25).items()})
    assert slice_.missing() == [0, 3, 4]
    assert slice_.read()["loss"].values[1:3, 0].tolist() == [0.25, 1.25]


def test_a_field_may_have_axes_of_its_own(shelf):
    found = shelf.slice("ghi")
    fields = {"loss": ("beta", "alpha"), "losses": ("beta", "alpha", "sample")}
    found.create(AXES | {"sample": np.arange(3)}, fields, {})
    each = np.arange(15.0).reshape(1, 5, 3)
    found.write(4, {"loss": each.mean(2), "losses": each})
    assert np.array_equal(found.read()["losses"].sel(beta=2.0).values, each[0])


def test_creating_a_slice_again_keeps_what_was_measured(slice_):
    slice_.write(0, row(0.5))
    slice_.create(AXES, FIELDS, {})
    assert slice_.missing() == [1, 2, 3, 4]


def test_anyone_can_open_a_slice_with_xarray_and_reads_where_it_comes_from(slice_):
    slice_.write(0, row(0.5))
    data = xr.open_zarr(slice_.path, consolidated=False)
    assert data.attrs["scene"] == "First light" and dict(data.sizes) == {"beta": 5, "alpha": 5}
    assert np.array_equal(data["alpha"].values, GRID.axis) and float(data["loss"].sel(alpha=1.0, beta=-2.0)) == 0.5


def test_a_broken_slice_is_the_machines_fault_and_the_message_says_what_to_do(slice_):
    (slice_.path / "zarr.json").write_text("{")
    with pytest.raises(MachineError, match="abc.zarr: cannot be read .* remove it and run again"):
        slice_.read()


def test_notes_are_laid_over_what_was_noted_before(shelf):
    note = shelf.manifest(shelf.root.parent / "film.yaml", "film")
    assert note.read() == {}
    note.add(keys=["a"], others=["c"])
    note.add(keys=["b"])
    assert note.read() == {"scene": "../film.yaml", "keys": ["b"], "others": ["c"]}


R1, R2, S1, S2, P1 = (digest(name) for name in ("r1", "r2", "s1", "s2", "p1"))


@pytest.fixture
def scene(shelf, tmp_path):
    """A scene beside a shelf of which it uses a run, a slice and a piece; another run and slice lie there too."""
    scene = tmp_path / "film.yaml"
    scene.write_text("")
    for path in (shelf.run(R1), shelf.run(R2)):
        write_json(path / "run.json", {})
    for key in (S1, S2):
        shelf.slice(key).create(AXES, {"loss": ("beta", "alpha")}, {})
    write_json(shelf.piece(P1, ".mkv"), {})
    shelf.manifest(scene, "film").add(keys=[R1, S1, P1])
    return scene


def test_only_what_no_existing_scene_used_is_unused(shelf, scene):
    leftover = shelf.root / "pieces" / ".p2-12ab34cd.mkv"
    leftover.write_text("half")
    assert set(shelf.unused()) == {shelf.run(R2), shelf.slice(S2).path, leftover}
    size = shelf.size()
    assert size > shelf.size(shelf.unused()) > 0
    shelf.remove(shelf.unused())
    assert shelf.unused() == [] and shelf.slice(S1).path.is_dir() and shelf.size() < size
    scene.unlink()
    assert set(shelf.unused()) == {shelf.run(R1), shelf.slice(S1).path, shelf.piece(P1, ".mkv")}


def test_in_a_folder_without_the_mark_nothing_is_unused_and_nothing_can_be_removed(shelf, scene):
    (shelf.root / MARK).unlink()
    assert shelf.unused() == shelf.plates() == []
    with pytest.raises(SceneError, match="no shelf of studio's; nothing is removed"):
        shelf.remove([shelf.run(R2)])
    assert shelf.run(R2).is_dir()


def test_only_our_own_names_are_unused_and_links_are_never_followed(shelf, scene, tmp_path):
    (elsewhere := tmp_path / "elsewhere" / R2).mkdir(parents=True)
    shelf.remove(shelf.unused())
    (shelf.root / "runs" / R2).symlink_to(elsewhere)  # a link in a room
    (shelf.root / "plates").symlink_to(elsewhere.parent)  # a room that is a link
    for path in ("runs/experiment-3", ".git", ".venv", "results", "slices/.cache", f"runs/{R1}/.notes"):
        (shelf.root / path).mkdir()
    assert shelf.unused() == shelf.plates() == [] and elsewhere.is_dir()


def test_a_folder_that_holds_anything_else_is_never_marked_as_a_shelf(shelf):
    (shelf.root / "runs").mkdir(parents=True)
    shelf.mark()  # a shelf from before there were marks
    assert shelf.marked
    (shelf.root / MARK).unlink()
    (shelf.root / ".git").mkdir()
    with pytest.raises(SceneError, match=r"is no shelf of studio's: it holds \.git"), shelf.lock("key", silent):
        pass
    assert not shelf.marked and not (shelf.root / "locks").exists()


OWNER = """
import sys
from pathlib import Path
from studio.execution.progress import silent
from studio.storage.shelf import Shelf
with Shelf(Path(sys.argv[1])).lock("key", silent):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_a_key_has_one_owner_among_all_processes_and_death_gives_it_back(shelf):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}  # it ends when its input does, which is never
    other = subprocess.Popen([sys.executable, "-c", OWNER, str(shelf.root)], text=True, **pipes)
    try:
        assert other.stdout.readline() == "mine\n"
        told = []

        def waiting(name, total):
            told.append(name)
            other.kill()
            return silent(name, total)

        with shelf.lock("another key", waiting):
            assert told == []  # nobody else has this one
            with shelf.lock("key", waiting):
                assert told == ["waiting for another studio at work on key"]
    finally:
        other.kill()
        other.communicate()


def test_a_shelf_that_cannot_be_written_is_the_machines_fault(shelf):
    shelf.root.parent.mkdir(exist_ok=True)
    shelf.root.write_text("a file, not a folder")
    with pytest.raises(MachineError, match="cannot be written"), shelf.lock("key", silent):
        pass


# --- plates ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def plate(shelf, monkeypatch):
    """Of 150 x 100 pixels in six tiles, nothing drawn yet."""
    monkeypatch.setattr(studio.storage.shelf, "TILE", 64)
    return shelf.plate("drawn", Size(150, 100))


CODES = np.random.default_rng(0).integers(0, 2**16, (100, 150, 4)).astype(np.uint16)


def test_a_plate_comes_back_bit_for_bit_by_rows_by_tiles_and_whole(plate):
    for tile in plate.tiles:
        plate[tile] = CODES[tile]
    assert plate.whole and plate.shape == CODES.shape
    assert np.array_equal(plate[:], CODES) and np.array_equal(plate[60:70], CODES[60:70])
    assert np.array_equal(plate[60:70, 5:9], CODES[60:70, 5:9])


def test_a_plate_is_whole_when_its_last_tile_is_drawn_and_black_is_drawn_too(plate):
    assert not plate.whole and plate.missing() == plate.tiles
    for tile in plate.tiles[:-1]:
        plate[tile] = 0 * CODES[tile]
    assert plate.missing() == plate.tiles[-1:]
    plate[plate.tiles[-1]] = CODES[plate.tiles[-1]]
    assert plate.whole and not plate[:64, :64].any()


def test_the_array_of_a_plate_is_made_with_its_first_tile_only(plate, monkeypatch):
    made = []
    create = studio.storage.shelf.zarr.create_array
    monkeypatch.setattr(studio.storage.shelf.zarr, "create_array", lambda *a, **k: made.append(a) or create(*a, **k))
    for tile in plate.tiles:
        plate[tile] = CODES[tile]
    assert len(made) == 1 and plate.whole


def test_a_plate_that_does_not_exist_or_is_broken_cannot_be_read(plate):
    with pytest.raises(MachineError, match="remove it and run again"):
        plate[:]
    plate[:, :] = CODES
    (plate.path / "c" / "0" / "0" / "0").write_bytes(b"cut")
    with pytest.raises(MachineError, match="remove it and run again"):
        plate[:]
