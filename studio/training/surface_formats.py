"""Formats of measured surfaces: each reader gives arrays by name, as `surfaces_file` wants them.

    .npz                the arrays themselves
    .nc, .zarr          an xarray dataset: `loss` over alpha and beta, and over one more axis if there are several
    .csv                a row a point: alpha, beta, loss, perhaps `coordinate` and fields; `keyframe.NAME` is a metric
    .h5, or a folder    surfaces of Li et al. (2018), an instant each: an attribute `coordinate`, or the epoch in a name

In the files of Li et al. values lie flat, x fastest, whatever shape they are given; -1 is a cell that is not measured.
"""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from studio.config.user_files import check_unpacked
from studio.field import Array
from studio.training.checkpoint_files import from_name
from studio.training.formats import read_npz
from studio.training.h5 import h5py_for, open_h5

Contents = Mapping[str, bytes]
"""The bytes of a file, or of every file in a folder, by their paths in it."""
LARGEST = 2**32
"""Bytes of a file or a folder, packed or unpacked."""
METRIC = "keyframe."
"""Before the name of a metric, in the head of a table."""
LI_NAMES = {"alpha": "xcoordinates", "beta": "ycoordinates", "loss": "train_loss", "accuracy": "train_acc"}
LI_NAMES |= {"lambda_min": "min_eig", "lambda_max": "max_eig"}
"""What Li et al. call an array."""
NOT_MEASURED, UNFINISHED = -1.0, {"lambda_min": 1.0}
"""What stands in a cell that Li et al. have not measured, and where it is another number."""
_OURS = {theirs: ours for ours, theirs in LI_NAMES.items()}


def read_arrays(path: Path, contents: Contents) -> dict[str, Array]:
    """The arrays of a file or folder, by name. Raises ValueError and other errors for what it is not."""
    folder = ".zarr" if {"zarr.json", ".zgroup"} & contents.keys() else ".h5"
    read = _READERS.get(folder if path.is_dir() else path.suffix)
    return read(path, contents) if read else read_npz(path, LARGEST)


def _read_netcdf(path: Path, contents: Contents) -> dict[str, Array]:
    [content] = contents.values()
    if content.startswith(b"CDF"):
        return _read_xarray(io.BytesIO(content), engine="scipy")
    with open_h5(path, content):
        return _read_xarray(io.BytesIO(content), engine="h5netcdf")


def _read_zarr(path: Path, contents: Contents) -> dict[str, Array]:
    """Of version 3 alone: one of the codecs of version 2 unpickles, which runs any code."""
    if "zarr.json" not in contents:
        raise ValueError("it is zarr of version 2; write it again with zarr_format=3")
    arrays = [json.loads(text) for name, text in contents.items() if name.endswith("zarr.json")]
    unpacked = sum(8 * math.prod(array.get("shape") or (0,)) for array in arrays)
    check_unpacked(unpacked, sum(map(len, contents.values())))
    return _read_xarray(path, engine="zarr", consolidated=False, zarr_format=3)


def _read_xarray(file: Any, **options: Any) -> dict[str, Array]:
    import xarray as xr

    with warnings.catch_warnings(action="ignore"), xr.open_dataset(file, decode_times=False, **options) as data:
        return _arrays(data)


def _arrays(data: Any) -> dict[str, Array]:
    """The fields and metrics of an xarray dataset; what has other axes, or is no number, is left out."""
    over = data["loss"].dims if "loss" in data else ()
    if not {"alpha", "beta"} <= set(over) & set(data.coords) or len(over) > 3:
        form = "expected a loss over alpha, beta and perhaps one axis more, and their coordinates"
        raise ValueError(f"{form}; found {'a loss over ' * bool(over)}{', '.join(map(str, over or data)) or 'nothing'}")
    if len(over) == 2:
        data, over = data.expand_dims(coordinate=[0.0]), ("coordinate", *over)
    [axis] = set(over) - {"alpha", "beta"}
    shapes = ((axis, "beta", "alpha"), (axis,))
    data = data.transpose(*shapes[0], ...)
    numbers = {str(name): array for name, array in data.items() if array.dims in shapes and array.dtype.kind in "fiu"}
    arrays = {"coordinate": data[axis], "alpha": data["alpha"], "beta": data["beta"], **numbers}
    return {name: array.values for name, array in arrays.items()}


def _read_csv(path: Path, contents: Contents) -> dict[str, Array]:
    import pandas as pd
    import xarray as xr

    [content] = contents.values()
    # by way of text: pandas' own numbers may be off in the last bit
    table = pd.read_csv(io.BytesIO(content), comment="#", dtype=str, skipinitialspace=True).astype(np.float64)
    if missing := {"alpha", "beta", "loss"}.difference(table):
        raise ValueError(f"no column {', '.join(sorted(missing))}; found {', '.join(map(str, table))}")
    table = table.assign(coordinate=table.get("coordinate", 0.0))
    fields = table[[name for name in table if not name.startswith(METRIC)]]
    keys = ["coordinate", "beta", "alpha"]
    check_unpacked(8 * len(fields.columns) * math.prod(fields[keys].nunique()), len(content))
    metrics = table.groupby("coordinate").first().filter(regex=f"^{METRIC}")
    by_name = {name.removeprefix(METRIC): values.to_numpy() for name, values in metrics.items()}
    return _arrays(xr.Dataset.from_dataframe(fields.set_index(keys))) | by_name


def _read_li(path: Path, contents: Contents) -> dict[str, Array]:
    """The surfaces of all files, by coordinate; the fields are those that every file has."""
    files = {name: content for name, content in contents.items() if name.endswith((".h5", ".hdf5")) or path.is_file()}
    if not files:
        raise ValueError("there is none")
    surfaces = [_li_surface(path, name, content) for name, content in files.items()]
    surfaces.sort(key=lambda surface: float(surface["coordinate"]))
    axes = {name: surfaces[0][name] for name in ("alpha", "beta")}
    if any(not np.array_equal(surface[name], axis) for name, axis in axes.items() for surface in surfaces):
        raise ValueError("its files have several grids; expected one")
    names = set.intersection(*map(set, surfaces)) - set(axes)
    return axes | {name: np.stack([surface[name] for surface in surfaces]) for name in sorted(names)}


def _li_surface(path: Path, name: str, content: bytes) -> dict[str, Array]:
    """The arrays of one file, by our names."""
    with open_h5(path / name, content) as file:
        fields = {_OURS.get(key, key): np.asarray(value[()]) for key, value in file.items()}
        coordinate = file.attrs.get("coordinate", from_name(name).get("epoch", (None,))[0] if path.is_dir() else 0.0)
    if coordinate is None:
        raise ValueError(f"{name} has no epoch in its name; name it like epoch-10.h5")
    alpha, beta = fields.pop("alpha").astype(np.float64), fields.pop("beta").astype(np.float64)
    surface = {"coordinate": np.array(float(coordinate)), "alpha": alpha, "beta": beta}
    for field, values in fields.items():
        if values.size == alpha.size * beta.size and values.dtype.kind in "fiu":
            cells = values.astype(np.float64).reshape(len(beta), len(alpha))
            surface[field] = np.where(cells == UNFINISHED.get(field, NOT_MEASURED), np.nan, cells)
    return surface


def write_li(path: Path, coordinate: float, surface: Mapping[str, Array], attributes: str) -> None:
    """Writes a surface as the program of Li et al. does, whose scripts read it. Raises RunError without h5py.

    surface: alpha [A], beta [B] and fields [B, A] by our names.
    """
    with h5py_for(path).File(path, "w") as file:
        file.attrs["coordinate"], file["dir_file"], file["attributes"] = coordinate, "", attributes
        for name, values in surface.items():
            shape = values.shape if values.ndim == 1 else values.shape[::-1]
            file[LI_NAMES.get(name, name)] = values.reshape(shape)


_READERS: Mapping[str, Callable[[Path, Contents], dict[str, Array]]] = {
    **dict.fromkeys((".nc", ".nc4", ".cdf"), _read_netcdf),
    **dict.fromkeys((".h5", ".hdf5"), _read_li),
    ".zarr": _read_zarr,
    ".csv": _read_csv,
}
