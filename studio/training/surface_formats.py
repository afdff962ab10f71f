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
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from studio.config.user_files import check_unpacked
from studio.field import Array
from studio.training.checkpoints import parse_epoch
from studio.training.formats import read_npz
from studio.training.h5 import create_h5, open_h5

Contents = Mapping[str, bytes]
"""The bytes of a file, or of every file in a folder, by their paths in it."""
LARGEST = 2**32
"""Bytes of a file or a folder, packed or unpacked."""
METRIC = "keyframe."
"""Before the name of a metric, in the head of a table."""
LI_NAMES = {"loss": "train_loss", "accuracy": "train_acc", "lambda_min": "min_eig", "lambda_max": "max_eig"}
"""What Li et al. call a field."""
_OURS = {theirs: ours for ours, theirs in LI_NAMES.items()}
_CODECS = (
    "bytes blosc bz2 crc32c delta fixedscaleoffset gzip lz4 lzma sharding_indexed shuffle transpose vlen-utf8 zlib zstd"
)
_TEXT = re.compile(r'(?:[SUV]|length_bytes": )(\d+)')  # bytes, or letters, of one text


def read_arrays(path: Path, contents: Contents) -> dict[str, Array]:
    """The arrays of a file or folder, by name. Raises ValueError and other errors for what it is not."""
    folder = ".zarr" if {"zarr.json", ".zgroup"} & contents.keys() else ".h5"
    return _READERS.get(folder if path.is_dir() else path.suffix, _read_npz)(path, contents)


def unfinished(name: str) -> float:
    """What stands in a cell that Li et al. have not measured, of a field by our name."""
    return 1.0 if name == "lambda_min" else -1.0


def _read_npz(path: Path, _: Contents) -> dict[str, Array]:
    return read_npz(path, LARGEST)


def _read_netcdf(path: Path, contents: Contents) -> dict[str, Array]:
    [content] = contents.values()
    if content.startswith(b"CDF"):
        return _read_xarray(io.BytesIO(content), engine="scipy")
    with open_h5(path, content):
        return _read_xarray(io.BytesIO(content), engine="h5netcdf")


def _read_zarr(path: Path, contents: Contents) -> dict[str, Array]:
    """Refuses codecs that are not plain, since one of them unpickles, which runs any code."""
    unpacked = 0
    for name, content in contents.items():
        if name.endswith((".zarray", "zarr.json")):
            _check_codecs(array := json.loads(content))
            longest = max([8, *map(int, _TEXT.findall(json.dumps([array.get("dtype"), array.get("data_type")])))])
            unpacked += longest * math.prod(array.get("shape") or ())
    check_unpacked(unpacked, sum(map(len, contents.values())))
    return _read_xarray(path, engine="zarr", consolidated=False)


def _check_codecs(metadata: Mapping[str, Any]) -> None:
    lists = (metadata.get(key) or () for key in ("codecs", "index_codecs", "filters"))
    for codec in filter(None, (*(codec for codecs in lists for codec in codecs), metadata.get("compressor"))):
        if (name := str(codec.get("name") or codec.get("id")).removeprefix("numcodecs.")) not in _CODECS.split():
            raise ValueError(f"its codec {name} is not one of {_CODECS.replace(' ', ', ')}")
        _check_codecs(codec.get("configuration") or {})


def _read_xarray(file: Any, **options: Any) -> dict[str, Array]:
    import xarray as xr

    with warnings.catch_warnings(action="ignore"), xr.open_dataset(file, decode_times=False, **options) as data:
        return _arrays(data.load())


def _arrays(data: Any) -> dict[str, Array]:
    """The fields and metrics of an xarray dataset; what has other axes is left out."""
    over = data["loss"].dims if "loss" in data else ()
    if not {"alpha", "beta"} <= set(over) & set(data.coords) or len(over) > 3:
        form = "expected a loss over alpha, beta and perhaps one axis more, and their coordinates"
        raise ValueError(f"{form}; found {'a loss over ' * bool(over)}{', '.join(map(str, over or data)) or 'nothing'}")
    if len(over) == 2:
        data, over = data.expand_dims(coordinate=[0.0]), ("coordinate", *over)
    [axis] = set(over) - {"alpha", "beta"}
    shapes = ((axis, "beta", "alpha"), (axis,))
    data = data.transpose(*shapes[0], ...)
    axes = {"coordinate": data[axis].values, "alpha": data["alpha"].values, "beta": data["beta"].values}
    return axes | {str(name): array.values for name, array in data.items() if array.dims in shapes}


def _read_csv(path: Path, contents: Contents) -> dict[str, Array]:
    import pandas as pd
    import xarray as xr

    [content] = contents.values()
    # by way of text: pandas' own numbers may be off in the last bit
    table = pd.read_csv(io.BytesIO(content), comment="#", dtype=str, skipinitialspace=True).astype(np.float64)
    if "coordinate" not in table:
        table["coordinate"] = 0.0
    if missing := [name for name in ("alpha", "beta", "loss") if name not in table]:
        raise ValueError(f"no column {', '.join(missing)}; found {', '.join(map(str, table))}")
    metrics = [name for name in table if name.startswith(METRIC)]
    keys, fields = ["coordinate", "beta", "alpha"], table.drop(columns=metrics)
    check_unpacked(8 * len(fields.columns) * math.prod(table[key].nunique() for key in keys), len(content))
    first = table.groupby("coordinate")[metrics].first()
    by_name = {name.removeprefix(METRIC): first[name].to_numpy() for name in metrics}
    return _arrays(xr.Dataset.from_dataframe(fields.set_index(keys))) | by_name


def _read_li(path: Path, contents: Contents) -> dict[str, Array]:
    """The surfaces of all files, by coordinate; the fields are those that every file has."""
    surfaces = sorted((_li_surface(path, name, content) for name, content in contents.items()), key=lambda s: s[0])
    coordinates, arrays = zip(*surfaces, strict=True)
    names = set.intersection(*(set(surface) for surface in arrays))
    for axis in ("alpha", "beta"):
        if any(not np.array_equal(surface[axis], arrays[0][axis]) for surface in arrays):
            raise ValueError(f"its files have several {axis}; expected one grid")
    stacked = {name: np.stack([surface[name] for surface in arrays]) for name in sorted(names - {"alpha", "beta"})}
    return {"coordinate": np.array(coordinates), "alpha": arrays[0]["alpha"], "beta": arrays[0]["beta"], **stacked}


def _li_surface(path: Path, name: str, content: bytes) -> tuple[float, dict[str, Array]]:
    """(coordinate, arrays by our names) of one file."""
    with open_h5(path / name, content) as file:
        if missing := [axis for axis in ("xcoordinates", "ycoordinates") if axis not in file]:
            raise ValueError(f"{name}: no {', '.join(missing)}; expected a surface of Li et al., and found {[*file]}")
        alpha, beta = (np.asarray(file[axis][()], np.float64) for axis in ("xcoordinates", "ycoordinates"))
        fields = {_OURS.get(key, key): value[()] for key, value in file.items() if _is_field(key, value, alpha, beta)}
        coordinate = file.attrs.get("coordinate", parse_epoch(Path(name).stem) if path.is_dir() else 0.0)
    if coordinate is None:
        raise ValueError(f"{name} has no epoch in its name; name it like epoch-10.h5")
    cells = {key: np.asarray(value, np.float64).reshape(len(beta), len(alpha)) for key, value in fields.items()}
    known = {key: np.where(value == unfinished(key), np.nan, value) for key, value in cells.items()}
    return float(coordinate), {"alpha": alpha, "beta": beta, **known}


def _is_field(name: str, value: Any, alpha: Array, beta: Array) -> bool:
    size, kind = getattr(value, "size", None), getattr(value, "dtype", np.dtype(object)).kind
    return size == alpha.size * beta.size and kind in "fiu" and name not in ("xcoordinates", "ycoordinates")


def write_li(path: Path, coordinate: float, alpha: Array, beta: Array, fields: Mapping[str, Array], dirs: str) -> None:
    """Writes a surface as the program of Li et al. does, whose scripts read it. fields: [B, A] by our names.

    dirs: what the directions are. Raises RunError without h5py.
    """
    with create_h5(path) as file:
        file["xcoordinates"], file["ycoordinates"] = alpha, beta
        file["dir_file"] = dirs
        for name, values in fields.items():
            file[LI_NAMES.get(name, name)] = values.reshape(len(alpha), len(beta))
        file.attrs["coordinate"] = coordinate


_READERS: Mapping[str, Callable[[Path, Contents], dict[str, Array]]] = {
    **dict.fromkeys((".nc", ".nc4", ".cdf"), _read_netcdf),
    **dict.fromkeys((".h5", ".hdf5"), _read_li),
    ".zarr": _read_zarr,
    ".csv": _read_csv,
}
