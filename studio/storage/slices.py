"""Measured slices on the shelf: one zarr group each, which xarray opens.

Values arrive row by row along the first axis. A mask `done` says which rows are measured; it is written after the
values, so a row that is marked is whole. NaN is a value like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from studio.storage.files import atomic_write, translate_os_errors, translate_read_errors


@dataclass(frozen=True)
class StoredSlice:
    """A slice on the shelf: fields over named axes, and the mask `done` over the first axis."""

    path: Path

    def create(
        self, axes: Mapping[str, np.ndarray], fields: Mapping[str, tuple[str, ...]], provenance: Mapping[str, Any]
    ) -> None:
        """Creates an empty slice; one that exists is left as it is.

        axes: coordinates by name; the first is the axis of rows. fields: names of each field's axes.
        """
        if self.path.is_dir():
            return
        rows = next(iter(axes))
        sizes = {name: [len(axes[axis]) for axis in over] for name, over in fields.items()}
        empty = xr.Dataset(
            {name: (over, np.full(sizes[name], np.nan)) for name, over in fields.items()}
            | {"done": (rows, np.zeros(len(axes[rows]), bool))},
            coords=dict(axes),
            attrs={name: str(value) for name, value in provenance.items()},
        )
        chunks = {name: {"chunks": (1, *size[1:])} for name, size in sizes.items()}
        encoding: dict[str, Any] = chunks | {"done": {"chunks": (len(axes[rows]),)}}
        with atomic_write(self.path) as temporary:
            empty.to_zarr(temporary, encoding=encoding, consolidated=False, zarr_format=3, write_empty_chunks=True)

    def write(self, first: int, values: Mapping[str, np.ndarray]) -> None:
        """Writes rows from the index `first` on, then marks them done. Only the process that holds the lock may write.

        values: by field, [rows, ...]. Raises MachineError if the disk is full or unwritable.
        """
        with translate_os_errors(self.path):
            group = zarr.open_group(self.path, mode="r+")
            count = len(next(iter(values.values())))
            for name, rows in values.items():
                group[name][first : first + count] = rows  # type: ignore[index]  # an array, not a group
            group["done"][first : first + count] = True  # type: ignore[index]

    def missing(self) -> list[int]:
        """Indices of the rows that are not measured. Raises MachineError if the slice cannot be read."""
        with translate_read_errors(self.path):
            done = zarr.open_group(self.path, mode="r")["done"]
            return np.flatnonzero(~np.asarray(done)).tolist()

    @property
    def complete(self) -> bool:
        """Whether the slice exists and all of its rows are measured."""
        return self.path.is_dir() and not self.missing()

    def read(self) -> xr.Dataset:
        """Everything measured so far. Raises MachineError if the slice cannot be read."""
        with translate_read_errors(self.path):
            dataset: xr.Dataset = xr.open_zarr(self.path, consolidated=False).load()
        return dataset


def concat_slices(slices: Mapping[float, StoredSlice]) -> xr.Dataset:
    """Slices of one kind as one dataset, along the new first axis `keyframe` of their coordinates.

    Where their grids differ, alpha and beta are coordinates over (keyframe, column) and (keyframe, row).
    """
    datasets = [stored.read().drop_vars("done") for stored in slices.values()]
    axes = [name for name in ("alpha", "beta") if name in datasets[0].dims]
    if any(not dataset[name].equals(datasets[0][name]) for dataset in datasets for name in axes):
        dimensions = {"alpha": "column", "beta": "row"}
        datasets = [dataset.drop_indexes(axes).rename_dims(dimensions) for dataset in datasets]
    return xr.concat(
        datasets,
        xr.Variable("keyframe", list(slices)),
        data_vars="all",
        coords="different",
        join="exact",
        compat="equals",
        combine_attrs="drop_conflicts",
    )
