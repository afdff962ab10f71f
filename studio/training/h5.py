"""HDF5 files of the user's, opened in memory: nothing in them may lie in another file, or unpack to far more."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio.config.user_files import check_unpacked
from studio.errors import RunError


@contextmanager
def open_h5(path: Path, content: bytes) -> Iterator[Any]:
    """The file's root group. Raises ValueError for links and for values in other files; as `h5py_for` does."""
    h5py, links = h5py_for(path), list[tuple[str, Any]]()
    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems_links(lambda name, link: links.append((name, link)))  # an error in it would not come out
        values = {name: file[name] if isinstance(link, h5py.HardLink) else None for name, link in links}
        sets = {name: value for name, value in values.items() if isinstance(value, h5py.Dataset)}
        for name, value in values.items():
            if value is None or (name in sets and (value.external or value.is_virtual)):
                raise ValueError(f"{name} is a link, or lies in another file; copy its values into this one")
        check_unpacked(sum((value.size or 0) * value.dtype.itemsize for value in sets.values()), len(content))
        yield file


def h5py_for(path: Path) -> Any:
    """The library h5py. Raises RunError, which names the file, if it is missing."""
    try:
        import h5py
    except ImportError as error:
        way_out = 'pip install "landscape-studio[h5]"; or choose .npz instead'
        raise RunError(f"{path}: an HDF5 file needs h5py: {way_out}") from error
    return h5py
