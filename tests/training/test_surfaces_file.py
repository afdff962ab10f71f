import os
import zipfile

import numpy as np
import pytest

from studio.errors import RunError
from studio.field import Grid
from studio.training import surface_formats, surfaces_file
from studio.training.surfaces_file import read_surfaces

ARRAYS = {
    "coordinate": np.array([100, 200, 400]),
    "alpha": np.linspace(-1, 1, 5),
    "beta": np.linspace(0, 2, 4, dtype=np.float32),
    "loss": np.arange(60.0).reshape(3, 4, 5),
}


@pytest.fixture
def saved(tmp_path):
    def saved(**changes):
        arrays = {name: array for name, array in (ARRAYS | changes).items() if array is not None}
        np.savez(tmp_path / "mine.npz", **arrays)
        return tmp_path / "mine.npz"

    return saved


def test_the_values_of_a_file_are_read_to_the_bit_with_the_grid_they_stand_on(saved):
    accuracy = np.full((3, 4, 5), np.nan, np.float32)
    content = read_surfaces(saved(accuracy=accuracy, energy=[1, 2, 3]))
    assert content.coordinates == (100.0, 200.0, 400.0) and content.metrics == {"energy": (1.0, 2.0, 3.0)}
    assert content.grid == Grid(range=((-1, 1), (0, 2)), points=(5, 4))
    np.testing.assert_array_equal(content.fields["loss"], ARRAYS["loss"])
    assert list(content.fields) == ["loss", "accuracy"] and np.isnan(content.fields["accuracy"]).all()


def test_the_digest_is_of_the_bytes(saved):
    first = read_surfaces(saved()).digest
    assert read_surfaces(saved(loss=ARRAYS["loss"] + 1)).digest != first
    assert read_surfaces(saved()).digest == first


MISFITS = {
    "an array that is not there": ({"beta": None, "loss": None}, "no beta, loss; expected coordinate, alpha, beta and"),
    "coordinates that fall": ({"coordinate": [1, 3, 2]}, "coordinate does not ascend; expected finite numbers"),
    "whole numbers without a sign that fall": ({"coordinate": np.array([3, 2, 1], np.uint8)}, "does not ascend"),
    "a coordinate that is no number": ({"coordinate": [1, np.nan, 2]}, "coordinate does not ascend"),
    "coordinates beyond all measure": ({"coordinate": np.array([0, 1, 1e300], "g")}, "coordinate does not ascend"),
    "half floats that fall": ({"coordinate": np.array([1, 3, 2], np.float16)}, "coordinate does not ascend"),
    "a loss that is nowhere finite": ({"loss": np.full((3, 4, 5), np.nan)}, "loss holds no finite number"),
    "no coordinates": ({"coordinate": [], "loss": np.zeros((0, 4, 5))}, "coordinate is float64 [0], expected numbers"),
    "a table of coordinates": ({"coordinate": [[1, 2, 3]]}, "coordinate is int64 [1, 3], expected numbers [3]"),
    "uneven steps": ({"alpha": [0, 1, 2, 3, 5]}, "alpha has steps of 1 to 2, expected even ones"),
    "too few points": ({"beta": [0, 1], "loss": np.zeros((3, 2, 5))}, "beta has 2 points, expected at least 3"),
    "a loss of another shape": ({"loss": np.zeros((3, 5, 4))}, "loss is float64 [3, 5, 4], expected numbers [3, 4, 5]"),
    "a loss for each coordinate": ({"loss": [1, 2, 3]}, "loss is int64 [3], expected numbers [3, 4, 5]"),
    "a field of another shape": (
        {"accuracy": np.zeros((3, 4))},
        "accuracy is float64 [3, 4], expected numbers [3, 4, 5] or [3]",
    ),
    "texts": ({"note": np.array(["a", "b", "c"])}, "note is <U1 [3], expected numbers [3, 4, 5] or [3]"),
    "objects": ({"note": np.array([{}], object)}, "cannot be read as an .npz file of plain arrays"),
}


@pytest.mark.parametrize(("changes", "words"), MISFITS.values(), ids=MISFITS)
def test_an_array_that_does_not_fit_is_named_with_what_was_expected(saved, changes, words):
    path = saved(**changes)
    with pytest.raises(RunError) as caught:
        read_surfaces(path)
    assert str(caught.value).startswith(f"{path}: {words}") or words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_regular_file_or_no_archive_is_refused(tmp_path):
    pipe, text = tmp_path / "pipe.npz", tmp_path / "text.npz"
    os.mkfifo(pipe)
    text.write_text("alpha")
    for path, words in (
        (pipe, "no such file"),
        (tmp_path, "there is none"),
        (text, "cannot be read as an .npz file"),
    ):
        with pytest.raises(RunError, match=words):
            read_surfaces(path)


def test_a_small_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, **ARRAYS, accuracy=np.zeros((3, 4, 5)))
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    monkeypatch.setattr(surface_formats, "LARGEST", unpacked - 1)
    with pytest.raises(RunError, match=f"it unpacks to {unpacked} bytes, expected at most {unpacked - 1}"):
        read_surfaces(path)
    monkeypatch.setattr(surfaces_file, "LARGEST", 10)
    os.utime(path, (0, 0))
    with pytest.raises(RunError, match="bytes, expected at most 10$"):
        read_surfaces(path)
