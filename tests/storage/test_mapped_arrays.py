import numpy as np
import pytest

from studio.errors import DamageError
from studio.storage.mapped_arrays import map_arrays, save_arrays

ARRAYS = {"x": np.arange(6.0).reshape(2, 3), "y": np.array([1, 2], np.int64)}


@pytest.fixture
def folder(tmp_path):
    """A folder of two arrays and a fact."""
    save_arrays(tmp_path / "arrays", ARRAYS, {"count": 2})
    return tmp_path / "arrays"


def test_arrays_and_facts_come_back_bit_for_bit(folder):
    mapped = map_arrays(folder)
    assert mapped.facts == {"count": 2} and mapped.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert mapped.arrays[name].dtype == array.dtype and np.array_equal(mapped.arrays[name], array)


def test_what_a_process_writes_into_a_mapped_array_stays_out_of_the_file(folder):
    mapped = map_arrays(folder)
    mapped.arrays["x"][0, 0] = 99.0
    assert map_arrays(folder).arrays["x"][0, 0] == 0.0


def test_a_folder_that_is_missing_or_damaged_is_named(folder):
    with pytest.raises(DamageError, match="nowhere: is damaged"):
        map_arrays(folder.parent / "nowhere")
    (folder / "x.npy").write_bytes(b"cut")
    with pytest.raises(DamageError, match="arrays: is damaged"):
        map_arrays(folder)


def test_an_array_of_objects_is_refused(folder):
    np.save(folder / "z.npy", np.array([{}], dtype=object))
    with pytest.raises(DamageError, match="arrays: is damaged"):
        map_arrays(folder)
