import numpy as np
import pytest
import xarray as xr

from studio.errors import DamageError
from studio.field import Grid
from studio.storage.slices import StoredSlice

GRID = Grid(range=(-2, 2), points=5)
AXES = {"beta": GRID.alpha, "alpha": GRID.alpha}
FIELDS = dict.fromkeys(("loss", "accuracy"), ("beta", "alpha"))


@pytest.fixture
def slice_(shelf) -> StoredSlice:
    stored = shelf.slice("abc")
    stored.create(AXES, FIELDS, {"epoch": 3.0, "scene": "First light"})
    return stored


def row(value: float) -> dict[str, np.ndarray]:
    return {"loss": np.full((1, 5), value), "accuracy": np.full((1, 5), 100 * value)}


def test_a_new_slice_misses_every_row(slice_):
    assert slice_.missing() == [0, 1, 2, 3, 4] and not slice_.complete


def test_a_slice_that_does_not_exist_is_not_whole(shelf):
    assert not shelf.slice("none").complete


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
    assert slice_.complete and other.complete
    assert slice_.read().equals(other.read())


def test_several_rows_can_be_written_at_once(slice_):
    slice_.write(1, {name: np.concatenate([values, values + 1]) for name, values in row(0.25).items()})
    assert slice_.missing() == [0, 3, 4]
    assert slice_.read()["loss"].values[1:3, 0].tolist() == [0.25, 1.25]


def test_a_field_may_have_axes_of_its_own(shelf):
    stored = shelf.slice("ghi")
    fields = {"loss": ("beta", "alpha"), "losses": ("beta", "alpha", "sample")}
    stored.create(AXES | {"sample": np.arange(3)}, fields, {})
    each = np.arange(15.0).reshape(1, 5, 3)
    stored.write(4, {"loss": each.mean(2), "losses": each})
    assert np.array_equal(stored.read()["losses"].sel(beta=2.0).values, each[0])


def test_creating_a_slice_again_keeps_what_was_measured(slice_):
    slice_.write(0, row(0.5))
    slice_.create(AXES, FIELDS, {})
    assert slice_.missing() == [1, 2, 3, 4]


def test_anyone_can_open_a_slice_with_xarray_and_reads_where_it_comes_from(slice_):
    slice_.write(0, row(0.5))
    data = xr.open_zarr(slice_.path, consolidated=False)
    assert data.attrs["scene"] == "First light" and dict(data.sizes) == {"beta": 5, "alpha": 5}
    assert np.array_equal(data["alpha"].values, GRID.alpha) and float(data["loss"].sel(alpha=1.0, beta=-2.0)) == 0.5


def test_a_broken_slice_is_the_machines_fault_and_the_message_says_what_to_do(slice_):
    (slice_.path / "zarr.json").write_text("{")
    with pytest.raises(DamageError, match="abc.zarr: is damaged"):
        slice_.read()
