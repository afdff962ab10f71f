"""Surfaces from elsewhere: xarray's files, tables, and those of Li et al., with whatever is in them."""

import json
import pickle
import shutil

import numpy as np
import pytest
import xarray as xr

from studio.errors import RunError
from studio.field import Grid
from studio.training.surfaces_file import read_surfaces

ALPHA, BETA = np.linspace(-1, 1, 5), np.linspace(0, 3, 4)
LOSS = np.arange(20.0).reshape(4, 5)
LOSS[0] = 1e36, np.inf, np.nan, 5e-324, -0.0


def dataset(**more) -> xr.Dataset:
    """Surfaces at two temperatures, with the axes in an order of their own."""
    values = np.stack([LOSS, LOSS + 1]).transpose(2, 0, 1)
    axes = {"temperature": [100.0, 300.0], "alpha": ALPHA, "beta": BETA}
    over = ("alpha", "temperature", "beta")
    energy = ("temperature", [1.0, 2.0], {"units": "seconds"})
    return xr.Dataset({"loss": (over, values), "energy": energy, "losses": ("sample", np.zeros(3)), **more}, axes)


def check(path) -> None:
    content = read_surfaces(path)
    assert content.coordinates == (100.0, 300.0) and content.metrics == {"energy": (1.0, 2.0)}
    assert content.grid == Grid(range=((-1, 1), (0, 3)), points=(5, 4)) and list(content.fields) == ["loss"]
    assert content.fields["loss"].tobytes() == np.stack([LOSS, LOSS + 1]).tobytes()


def test_datasets_of_xarray_are_read_to_the_bit_whatever_the_order_of_their_axes(tmp_path):
    dataset().to_netcdf(tmp_path / "a.nc", engine="scipy")
    dataset().to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    for name in ("a.nc", "a.zarr"):
        check(tmp_path / name)


@pytest.mark.extras
def test_a_netcdf_file_may_be_hdf5(tmp_path):
    dataset().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    check(tmp_path / "a.nc")


def test_a_dataset_of_one_surface_stands_at_0(tmp_path):
    dataset().isel(temperature=0).to_netcdf(tmp_path / "a.nc", engine="scipy")
    content = read_surfaces(tmp_path / "a.nc")
    assert content.coordinates == (0.0,) and content.fields["loss"].tobytes() == LOSS.tobytes()


def test_a_table_may_lack_coordinates_and_cells(tmp_path):
    rows = [(a, b, LOSS[j, i]) for i, a in enumerate(ALPHA) for j, b in enumerate(BETA)]
    lines = [f"{float(a)!r}, {float(b)!r}, {float(loss)!r}\n" for a, b, loss in rows[:-1]]
    (tmp_path / "a.csv").write_text("# theirs\nalpha, beta, loss\n" + "".join(lines))
    content, expected = read_surfaces(tmp_path / "a.csv"), LOSS.copy()
    expected[-1, -1] = np.nan
    assert content.coordinates == (0.0,) and content.fields["loss"].tobytes() == expected.tobytes()


class Trap:
    """What a pickle runs when it is loaded."""

    def __reduce__(self):
        return pytest.exit, ("code from a file was run",)


MISFITS = {
    "no_loss.nc": "expected a loss over alpha, beta and perhaps one axis more, and their coordinates; found ",
    "axes.nc": "found a loss over x, y",
    "text.nc": "cannot be read as surfaces in an .npz",
    "short.csv": "no column beta; found alpha, loss",
    "twice.csv": "cannot be read as surfaces",
    "sparse.csv": "bytes unpack to",
    "empty": "no such file; expected an .npz, .nc, .zarr, .csv or .h5 file",
    "none.zarr": "no such file; expected",
    "pickles.zarr": "it is zarr of version 2; write it again with zarr_format=3",
    "mixed.zarr": "expected a loss over alpha, beta and perhaps one axis more, and their coordinates; found nothing",
    "bomb.zarr": "bytes unpack to",
}


def test_what_does_not_fit_is_one_sentence_and_nothing_in_it_is_run(tmp_path):
    dataset().drop_vars("loss").to_netcdf(tmp_path / "no_loss.nc", engine="scipy")
    xr.Dataset({"loss": (("x", "y"), LOSS)}).to_netcdf(tmp_path / "axes.nc", engine="scipy")
    (tmp_path / "text.nc").write_text("CDF")
    (tmp_path / "short.csv").write_text("alpha,loss\n0,1\n")
    (tmp_path / "twice.csv").write_text("alpha,beta,loss\n0,1,1\n0,1,2\n")
    (tmp_path / "sparse.csv").write_text("alpha,beta,loss\n" + "".join(f"{n},{n},1\n" for n in range(2000)))
    (tmp_path / "empty").mkdir()
    for name, version in (("pickles.zarr", 2), ("mixed.zarr", 2), ("bomb.zarr", 3)):
        dataset().to_zarr(tmp_path / name, zarr_format=version, consolidated=False)
    for name in ("pickles.zarr", "mixed.zarr"):
        path = tmp_path / name / "loss" / ".zarray"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "|O", "filters": [{"id": "pickle"}]}))
        for chunk in (tmp_path / name / "loss").glob("[0-9]*"):
            chunk.write_bytes(pickle.dumps(Trap()))
    shutil.copy(tmp_path / "bomb.zarr" / "zarr.json", tmp_path / "mixed.zarr")
    path = tmp_path / "bomb.zarr" / "alpha" / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shape": [10**10]}))
    for name, words in MISFITS.items():
        with pytest.raises(RunError) as caught:
            read_surfaces(tmp_path / name)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / name}: ") and words in message and "\n" not in message, (name, message)


def write_theirs(path, points, *, done=None, allocated=None) -> None:
    """As `plot_surface.py` of Li et al. does: arrays of (len(x), len(y)), filled flat along meshgrid(x, y)."""
    import h5py

    x, y = (np.linspace(-1, 1, n) for n in points)
    losses, accuracies = -np.ones(allocated or points), -np.ones(allocated or points)
    xs, ys = (mesh.ravel() for mesh in np.meshgrid(x, y))
    for i in range(losses.size if done is None else done):
        losses.ravel()[i], accuracies.ravel()[i] = 1e36 if i == 1 else xs[i] + 10 * ys[i] + 20, 50.0
    with h5py.File(path, "w") as file:
        file["xcoordinates"], file["ycoordinates"], file["dir_file"] = x, y, "weights.h5"
        file["train_loss"], file["train_acc"] = losses, accuracies


@pytest.mark.extras
@pytest.mark.parametrize("points", [(5, 5), (7, 4), (4, 7)])
def test_a_surface_of_li_et_al_is_read_along_x_whatever_its_sides(tmp_path, points):
    for allocated in (points, points[::-1]):
        write_theirs(tmp_path / "theirs.h5", points, done=points[0] * points[1] - 2, allocated=allocated)
        content = read_surfaces(tmp_path / "theirs.h5")
        x, y = (np.linspace(-1, 1, n) for n in points)
        expected = x + 10 * y[:, None] + 20
        expected[0, 1], expected[-1, -2:] = 1e36, np.nan  # a loss beyond all measure, and cells that are not finished
        assert content.grid == Grid(points=points) and content.coordinates == (0.0,)
        np.testing.assert_array_equal(content.fields["loss"], expected[None])
        np.testing.assert_array_equal(np.isnan(content.fields["accuracy"]), np.isnan(expected)[None])


@pytest.mark.extras
def test_a_folder_of_their_surfaces_is_a_film_over_the_epochs_in_the_names(tmp_path):
    for epoch in (30, 4):
        write_theirs(tmp_path / f"model_{epoch}.t7_surface_epoch={epoch}.h5", (5, 4), done=epoch // 2)
    content = read_surfaces(tmp_path)
    assert content.coordinates == (4.0, 30.0)
    assert [int(np.isfinite(values).sum()) for values in content.fields["loss"]] == [2, 15]
    first = content.digest
    write_theirs(tmp_path / "model_5_epoch=5.h5", (5, 5))
    with pytest.raises(RunError, match="its files have several grids; expected one"):
        read_surfaces(tmp_path)
    write_theirs(tmp_path / "model_5_epoch=5.h5", (5, 4))
    assert read_surfaces(tmp_path).digest != first
    write_theirs(tmp_path / "final.h5", (5, 4))
    with pytest.raises(RunError, match=r"final\.h5 has no epoch in its name"):
        read_surfaces(tmp_path)
