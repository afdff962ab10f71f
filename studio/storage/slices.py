"""Measured slices on the shelf: one zarr group each, which xarray opens.

Values arrive row by row along the first axis. `checksum` has one number a row, of the row's values, its index, the axes
and the attributes; it is written after the values, so a row that has one is whole. 0 is a row that is not measured. NaN
is a value like any other.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from studio.errors import DamageError
from studio.storage.files import CHANGED, atomic_write, checksum, translate_os_errors, translate_read_errors


@dataclass(frozen=True)
class StoredSlice:
    """A slice on the shelf: fields over named axes, and a checksum of each row of the first axis."""

    path: Path

    def create(
        self, axes: Mapping[str, np.ndarray], fields: Mapping[str, tuple[str, ...]], provenance: Mapping[str, Any]
    ) -> None:
        """Creates an empty slice, if there is none. axes: the first is that of rows. fields: the axes of each."""
        if self.path.is_dir():
            return
        rows = next(iter(axes))
        sizes = {name: [len(axes[axis]) for axis in over] for name, over in fields.items()}
        arrays: dict[str, Any] = {name: (over, np.full(sizes[name], np.nan)) for name, over in fields.items()}
        arrays["checksum"] = rows, np.zeros(len(axes[rows]), np.uint32)
        empty = xr.Dataset(arrays, dict(axes), {name: str(value) for name, value in provenance.items()})
        chunks = {name: {"chunks": (1, *size[1:])} for name, size in sizes.items()}
        encoding: dict[str, Any] = chunks | {"checksum": {"chunks": (len(axes[rows]),)}}
        with atomic_write(self.path) as temporary:
            empty.to_zarr(temporary, encoding=encoding, consolidated=False, zarr_format=3, write_empty_chunks=True)

    def write(self, first: int, values: Mapping[str, np.ndarray]) -> None:
        """Writes rows from the index `first` on, then their checksums. Only the process that holds the lock may write.

        values: by field, [rows, ...]. Raises MachineError if the disk is full or unwritable.
        """
        arrays = {name: np.asarray(rows, float) for name, rows in values.items()}
        with translate_os_errors(self.path):
            group: Any = zarr.open_group(self.path, mode="r+")
            header, count = self._header(), len(next(iter(arrays.values())))
            for name, rows in arrays.items():
                group[name][first : first + count] = rows
            by_row = ({name: rows[i] for name, rows in arrays.items()} for i in range(count))
            sums = [self._checksum(header, index, row) for index, row in enumerate(by_row, first)]
            group["checksum"][first : first + count] = sums

    def missing(self) -> list[int]:
        """Indices of the rows that are not measured. Raises DamageError if the slice cannot be read."""
        with translate_read_errors(self.path):
            sums = zarr.open_group(self.path, mode="r")["checksum"]
            return np.flatnonzero(np.asarray(sums) == 0).tolist()

    @property
    def complete(self) -> bool:
        """Whether the slice exists and all of its rows are measured. Values are checked when they are read."""
        with contextlib.suppress(DamageError):
            return self.path.is_dir() and not self.missing()
        return False

    def read(self) -> xr.Dataset:
        """Everything measured so far. Raises DamageError if it is not what was written."""
        with translate_read_errors(self.path), warnings.catch_warnings(action="ignore"):  # of what a group lacks
            stored = xr.open_zarr(self.path, consolidated=False).load()
            dataset: xr.Dataset = stored.drop_vars("checksum")
            header, arrays = self._header(), {str(name): dataset[name].values for name in dataset}
            for i, total in enumerate(stored["checksum"].values):
                if total not in (0, self._checksum(header, i, {name: rows[i] for name, rows in arrays.items()})):
                    raise ValueError(f"row {i} {CHANGED}")
        return dataset

    def _header(self) -> bytes:
        """All that is written when a slice is created, and stays: attributes, axes, and how the arrays are laid out."""
        files = sorted((*self.path.glob("zarr.json"), *self.path.glob("*/zarr.json"), *self.path.glob("*/c/0")))
        return b"".join(file.read_bytes() for file in files if file.is_file() and file.parts[-3] != "checksum")

    def _checksum(self, header: bytes, index: int, values: Mapping[str, np.ndarray]) -> int:
        # xarray may hand out another NaN than the one that was measured
        plain = {name: np.where(np.isnan(row), np.nan, row) for name, row in sorted(values.items())}
        named = itertools.chain.from_iterable((name.encode(), row.tobytes()) for name, row in plain.items())
        return checksum(self.path / str(index), header, *named)


def concat_slices(slices: Mapping[float, StoredSlice]) -> xr.Dataset:
    """Slices of one kind as one dataset, along the new first axis `keyframe` of their coordinates.

    Where their grids differ, alpha and beta are coordinates over (keyframe, column) and (keyframe, row).
    """
    datasets = [stored.read() for stored in slices.values()]
    axes = [name for name in ("alpha", "beta") if name in datasets[0].dims]
    if any(not dataset[name].equals(datasets[0][name]) for dataset in datasets for name in axes):
        dimensions = {"alpha": "column", "beta": "row"}
        datasets = [dataset.drop_indexes(axes).rename_dims(dimensions) for dataset in datasets]
    along = xr.Variable("keyframe", list(slices))
    return xr.concat(datasets, along, "all", "different", "equals", join="exact", combine_attrs="drop_conflicts")
