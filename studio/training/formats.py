"""File formats of data sets: CIFAR's python and binary versions, MNIST's idx files, and the user's arrays.

Each reader returns arrays as they are in the files; `data.py` standardises them. CIFAR's python version is a set of
pickles, and a pickle can run any code. The reader here only rebuilds numpy arrays.
"""

from __future__ import annotations

import gzip
import io
import math
import pickle
import zipfile
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from studio.errors import RunError


class LabelledImages(NamedTuple):
    """Pixels uint8 [N, C, H, W] and labels [N]."""

    pixels: np.ndarray
    labels: np.ndarray


class CifarLayout(NamedTuple):
    """The files of CIFAR-10 or CIFAR-100.

    train, test: file names. key: of the labels in a pickle. skip: bytes before the label of a binary row. folders:
    where the files may lie, relative to the user's folder.
    """

    train: tuple[str, ...]
    test: str
    key: bytes
    skip: int
    folders: tuple[str, ...]


CIFAR10 = CifarLayout(
    tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test_batch",
    b"labels",
    0,
    (".", "cifar-10-batches-py", "cifar-10-batches-bin"),
)
CIFAR100 = CifarLayout(("train",), "test", b"fine_labels", 1, (".", "cifar-100-python", "cifar-100-binary"))
PIXELS = 3 * 32 * 32
"""Bytes of one CIFAR image."""
ARRAYS = ("train_x", "train_y", "test_x", "test_y")
"""Names of the arrays in an .npz file."""


def cifar(folder: Path, layout: CifarLayout) -> tuple[LabelledImages, LabelledImages]:
    """(train, test) from the folder, or the archive's own in it. Raises RunError if a file is missing or broken."""
    reader, paths = _cifar_files(folder, layout)
    *train, test = (reader(path, layout) for path in paths)
    pixels, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return LabelledImages(pixels, labels), test


def cifar_count(folder: Path, layout: CifarLayout) -> int:
    """Number of training images. Raises as `cifar` does."""
    reader, (*train, _) = _cifar_files(folder, layout)
    return sum(len(reader(path, layout).labels) for path in train)


def _cifar_files(folder: Path, layout: CifarLayout) -> tuple[Callable[[Path, CifarLayout], LabelledImages], list[Path]]:
    """(reader of one file, the files in order, the test's last)."""
    names = (*layout.train, layout.test)
    for subfolder in layout.folders:
        for suffix, reader in (("", _cifar_python), (".bin", _cifar_binary)):
            paths = [Path(folder) / subfolder / f"{name}{suffix}" for name in names]
            if all(path.is_file() for path in paths):
                return reader, paths
    raise RunError(f"{folder}: expected the files {', '.join(names)}, or the same with .bin")


def _cifar_python(path: Path, layout: CifarLayout) -> LabelledImages:
    batch = load_pickled_arrays(path)
    try:
        pixels = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        return LabelledImages(pixels, np.asarray(batch[layout.key], np.int64))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: is not a CIFAR batch: expected {layout.key.decode()}, and data of {PIXELS} bytes a row"
        ) from error


def _cifar_binary(path: Path, layout: CifarLayout) -> LabelledImages:
    content, row = np.fromfile(path, np.uint8), layout.skip + 1 + PIXELS
    if not len(content) or len(content) % row:
        raise RunError(f"{path}: {len(content)} bytes are not whole rows of {row}; truncated, or of another set")
    rows = content.reshape(-1, row)
    return LabelledImages(rows[:, layout.skip + 1 :].reshape(-1, 3, 32, 32), rows[:, layout.skip].astype(np.int64))


class _ArraysOnly(pickle.Unpickler):
    """Unpickler of numpy arrays and plain values only; it refuses, and never calls, any other name."""

    allowed = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype")}
        | {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)  # numpy 2 warns of the old name


def load_pickled_arrays(path: Path) -> dict[bytes, Any]:
    """The mapping in a pickle of plain values and numpy arrays, keys as bytes. Raises RunError for any other file."""
    try:
        content: dict[bytes, Any] = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        return content
    except Exception as error:  # a broken pickle can raise any exception
        raise RunError(f"{path}: refused: {error}; from a pickle only numpy arrays are read, no code is run") from error


def mnist(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    """(train, test) from idx files in the folder or its MNIST/raw. Raises RunError if a file is missing or broken."""
    train, test = (
        LabelledImages(_idx(folder, part, "images", 3)[:, None], _idx(folder, part, "labels", 1).astype(np.int64))
        for part in ("train", "t10k")
    )
    return train, test


def mnist_count(folder: Path) -> int:
    """Number of training images. Raises as `mnist` does."""
    return len(_idx(folder, "train", "labels", 1))


def _idx(folder: Path, part: str, quantity: str, axes: int) -> np.ndarray:
    spellings = product((".", "MNIST/raw"), "-.", ("", ".gz"))  # the names in use, in two folders
    paths = (folder / subfolder / f"{part}-{quantity}{dot}idx{axes}-ubyte{gz}" for subfolder, dot, gz in spellings)
    path = next(filter(Path.is_file, paths), None)
    if path is None:
        raise RunError(
            f"{folder}: {part}-{quantity}-idx{axes}-ubyte is missing; expected train-images-idx3-ubyte, train-"
            f"labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, with .gz or without"
        )
    return _idx_array(path, axes)


def _idx_array(path: Path, axes: int) -> np.ndarray:
    """uint8 array: two zero bytes, the type 8, the number of axes, each length as a big-endian int32, the values."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise RunError(f"{path}: cannot be unpacked: {error}") from error
    lengths = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    start = 4 + 4 * axes
    if content[:4] != bytes([0, 0, 8, axes]) or len(content) != start + math.prod(lengths):
        raise RunError(f"{path}: is not a whole idx file of {axes} axes of bytes; it is truncated or of another kind")
    return np.frombuffer(content, np.uint8, offset=start).reshape(lengths)


def arrays(path: Path) -> list[np.ndarray]:
    """The four `ARRAYS` of an .npz file: x [N, ...] float32 or int64, y [N] int64.

    Raises RunError if the file cannot be read, one is missing, or their types or shapes do not fit.
    """
    file = _npz(path)
    if missing := [name for name in ARRAYS if name not in file]:
        raise RunError(f"{path}: {', '.join(missing)} missing; expected {', '.join(ARRAYS)}, found {', '.join(file)}")
    if misfits := [text for part in ("train", "test") for text in _misfits(part, file[f"{part}_x"], file[f"{part}_y"])]:
        raise RunError(f"{path}: {'; '.join(misfits)}")
    converted = [file[name].astype(np.float32 if file[name].dtype.kind == "f" else np.int64) for name in ARRAYS]
    train, test = (f"{x.dtype} {list(x.shape[1:])}" for x in (converted[0], converted[2]))
    if train != test:
        raise RunError(f"{path}: a sample of train_x is {train}, and one of test_x {test}")
    return converted


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file}
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"{path}: cannot be read as an .npz file of plain arrays (numpy.savez): {error}") from error


def _misfits(part: str, x: np.ndarray, y: np.ndarray) -> list[str]:
    """What is wrong with samples x and labels y; empty if nothing is."""
    if x.dtype.kind not in "fiu" or x.ndim < 2:
        return [f"{part}_x is {x.dtype} {list(x.shape)}, expected numbers [N, ...]"]
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1] or not len(y) or y.min() < 0:
        return [
            f"{part}_y is {y.dtype} {list(y.shape)}, expected whole numbers from 0, one for each of "
            f"the {len(x)} of {part}_x"
        ]
    return [] if np.isfinite(x).all() else [f"{part}_x holds inf or NaN"]
