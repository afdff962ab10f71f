"""Surfaces that the user brings: a loss over (coordinate, beta, alpha), and what goes with it, in a file or a folder.

    coordinate [K], alpha [A], beta [B], loss [K, B, A]; other fields [K, B, A] and metrics [K] by their names

All of it is read at once; `surface_formats` has the formats.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from studio.config.user_files import read_regular, refusing, shown
from studio.errors import RunError
from studio.field import Grid
from studio.training.surface_formats import LARGEST, read_arrays

MOST_FILES = 20_000
"""In a folder."""
ATTRIBUTES = "attributes"
"""An array of text in an .npz file, about the others."""
FORMATS = "an .npz, .nc, .zarr, .csv or .h5 file, or a folder of .h5 files"
_AXES = ("coordinate", "alpha", "beta")
_FAR = 1e30  # products of such coordinates, and quotients of their steps, stay finite
_UNEVEN = 1e-3  # of a step: as far as a point may be from its even place; float32 needs less


@dataclass(frozen=True, eq=False)
class SurfacesFile:
    """What a file holds. fields: float64 [K, B, A] by name. metrics: [K] by name. digest: of the file's bytes."""

    coordinates: tuple[float, ...]
    grid: Grid
    fields: Mapping[str, np.ndarray] = field(repr=False)
    metrics: Mapping[str, tuple[float, ...]] = field(repr=False)
    digest: str


def read_surfaces(path: Path) -> SurfacesFile:
    """The surfaces in a file or folder. Raises RunError if it is none, too large, or an array does not fit."""
    with refusing(path, "cannot be listed"):
        found = [path] if os.path.isfile(path) else [*itertools.islice(path.rglob("*"), MOST_FILES)]
        files = sorted(filter(os.path.isfile, found))
    if not files or len(found) == MOST_FILES:
        raise RunError(f"{shown(path)}: no such file; expected {FORMATS}, less than {MOST_FILES}")
    return _read(path, tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=4)
def _read(path: Path, files: tuple[tuple[Path, int, int], ...]) -> SurfacesFile:
    """The content; read again only if times or sizes changed, since a scene asks for it many times."""
    with refusing(path, "cannot be read"):
        if (size := sum(size for *_, size in files)) > LARGEST:
            raise ValueError(f"it has {size} bytes, expected at most {LARGEST}")
        contents = {str(file.relative_to(path)): read_regular(file, LARGEST) for file, *_ in files}
    with refusing(path, f"cannot be read as surfaces in {FORMATS}"):
        arrays = read_arrays(path, contents)
    arrays.pop(ATTRIBUTES, None)
    named = (name.encode() * path.is_dir() + content for name, content in contents.items())
    digest = hashlib.sha256(b"".join(named)).hexdigest()[:32]
    if missing := [name for name in (*_AXES, "loss") if name not in arrays]:
        found = ", ".join(arrays) or "nothing"
        raise RunError(f"{path}: no {', '.join(missing)}; expected {', '.join(_AXES)} and loss, found {found}")
    for misfit in _misfits(arrays):
        raise RunError(f"{path}: {misfit}")
    coordinate, alpha, beta = (arrays.pop(name) for name in _AXES)
    with np.errstate(over="ignore"):  # of long doubles
        fields = {name: np.asarray(array, np.float64) for name, array in arrays.items() if array.ndim == 3}
    metrics = {name: tuple(map(float, array)) for name, array in arrays.items() if array.ndim == 1}
    return SurfacesFile(tuple(map(float, coordinate)), Grid.over(alpha, beta), fields, metrics, digest)


def _misfits(arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What is wrong with each array: expected and found."""
    over = [arrays[name].size for name in ("coordinate", "beta", "alpha")]
    if arrays["loss"].dtype.kind == "f" and all(over) and not np.isfinite(arrays["loss"]).any():
        yield "loss holds no finite number"
    for name, array in arrays.items():
        shapes = [[array.size]] if name in _AXES else [over] if name == "loss" else [over, over[:1]]
        if array.dtype.kind not in "fiu" or list(array.shape) not in shapes or not array.size:
            yield f"{name} is {array.dtype} {list(array.shape)}, expected numbers {' or '.join(map(str, shapes))}"
        elif name in _AXES:
            with np.errstate(over="ignore"):  # of long doubles
                values = np.asarray(array, np.float64).clip(-_FAR, _FAR)
            even = np.linspace(values[0], values[-1], len(values))
            if not (np.abs(values) < _FAR).all() or (np.diff(values) <= 1 / _FAR).any():
                yield f"{name} does not ascend; expected finite numbers, each larger than the one before"
            elif name != "coordinate" and len(values) < 3:
                yield f"{name} has {len(values)} points, expected at least 3"
            elif name != "coordinate" and np.abs(values - even).max() > _UNEVEN * (even[1] - even[0]):
                yield f"{name} has steps of {np.diff(values).min():g} to {np.diff(values).max():g}, expected even ones"
