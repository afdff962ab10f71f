"""File formats of data sets: CIFAR's python and binary versions, MNIST's idx files, and the user's arrays.

Each reader returns arrays as they are in the files; `data.py` standardises them. CIFAR's python version is a set of
pickles, and a pickle can run any code. The reader here only rebuilds arrays of bytes and of whole numbers.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from studio.config.user_files import check_unpacked, open_regular, read_regular, refusing, shown
from studio.errors import RunError


class LabelledImages(NamedTuple):
    """Pixels uint8 [N, C, H, W] and labels [N]."""

    pixels: np.ndarray
    labels: np.ndarray


class CifarLayout(NamedTuple):
    """The files of CIFAR-10 or CIFAR-100.

    train, test: file names. key: of the labels in a pickle. skip: bytes before the label of a binary row. folders:
    where the files may lie, relative to the user's folder. classes: labels are less.
    """

    train: tuple[str, ...]
    test: str
    key: bytes
    skip: int
    folders: tuple[str, ...]
    classes: int


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
CIFAR10 = CifarLayout(_BATCHES, "test_batch", b"labels", 0, (".", "cifar-10-batches-py", "cifar-10-batches-bin"), 10)
CIFAR100 = CifarLayout(("train",), "test", b"fine_labels", 1, (".", "cifar-100-python", "cifar-100-binary"), 100)
PIXELS = 3 * 32 * 32
"""Bytes of one CIFAR image."""


def cifar(folder: Path, layout: CifarLayout) -> tuple[LabelledImages, LabelledImages]:
    """(train, test) from the folder, or the archive's own in it. Raises RunError if a file is missing or broken."""
    reader, paths = _cifar_files(folder, layout)
    *train, test = (_checked(path, layout.classes, reader(path, layout)) for path in paths)
    pixels, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return LabelledImages(pixels, labels), test


def _checked(path: Path, classes: int, images: LabelledImages) -> LabelledImages:
    """The images, if there are any and each has a label. Raises RunError. path: of their file."""
    pixels, labels = images
    if not pixels.size or labels.shape != (len(pixels),):
        raise RunError(f"{path}: {len(pixels)} images and {labels.size} labels; expected some images, a label for each")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise RunError(f"{path}: labels from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}")
    return LabelledImages(pixels, labels)


def _cifar_files(folder: Path, layout: CifarLayout) -> tuple[Callable[[Path, CifarLayout], LabelledImages], list[Path]]:
    """(reader of one file, the files in order, the test's last)."""
    names = (*layout.train, layout.test)
    for subfolder in layout.folders:
        for suffix, reader in (("", _cifar_python), (".bin", _cifar_binary)):
            paths = [Path(folder) / subfolder / f"{name}{suffix}" for name in names]
            if all(map(os.path.isfile, paths)):  # unlike Path.is_file it never raises
                return reader, paths
    raise RunError(f"{folder}: expected the files {', '.join(names)}, or the same with .bin")


def _cifar_python(path: Path, layout: CifarLayout) -> LabelledImages:
    batch = load_pickled_arrays(path)
    words = f"is not a CIFAR batch: expected {layout.key.decode()}, and data of {PIXELS} bytes a row"
    with refusing(path, words):
        pixels, labels = _array(batch[b"data"]), _array(batch[layout.key])
        if pixels.dtype != np.uint8 or labels.dtype.kind not in "iu":
            raise TypeError(f"found data of {pixels.dtype} and {layout.key.decode()} of {labels.dtype}")
        return LabelledImages(pixels.reshape(-1, 3, 32, 32), labels.astype(np.int64))


def _cifar_binary(path: Path, layout: CifarLayout) -> LabelledImages:
    with refusing(path, "cannot be read"):
        content, row = np.frombuffer(read_regular(path), np.uint8), layout.skip + 1 + PIXELS
    if not len(content) or len(content) % row:
        raise RunError(f"{path}: {len(content)} bytes are not whole rows of {row}; truncated, or of another set")
    rows = content.reshape(-1, row)
    return LabelledImages(rows[:, layout.skip + 1 :].reshape(-1, 3, 32, 32), rows[:, layout.skip].astype(np.int64))


class Inert:
    """Stands for an object in a pickle, and does nothing: numpy's own take any memory, and crash on some states."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any):
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _array(value: Any) -> np.ndarray:
    """A list, or an array of plain numbers from a pickle, as an array."""
    if not isinstance(value, Inert):
        return np.asarray(value)
    _, shape, dtype, by_columns, content = value.state
    code, order = (part.decode() if isinstance(part, bytes) else part for part in (dtype.arguments[0], dtype.state[1]))
    return np.frombuffer(content, order + code).reshape(shape, order="F" if by_columns else "C")


class _ArraysOnly(pickle._Unpickler):
    """Unpickler of numpy arrays and plain values only; it refuses, and never calls, any other name.

    It is the one in Python: that in C takes gigabytes for a few bytes that number its memory.
    """

    allowed: Mapping[tuple[str, str], Any] = {
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): Inert,
        ("numpy.core.multiarray", "_reconstruct"): Inert,
        ("numpy._core.multiarray", "_reconstruct"): Inert,
        ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # Python 3 writes bytes so, for Python 2
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.allowed[module, name]


def load_pickled_arrays(path: Path) -> dict[bytes, Any]:
    """The mapping in a pickle of plain values and numpy arrays, keys as bytes. Raises RunError for any other file."""
    with refusing(path, "refused, since from a pickle only numpy arrays are read and no code is run"):
        pickled = read_regular(path)
        if len(pickled) > 2**16 and b"data" not in pickled:  # it would take seconds, and be of no use
            raise pickle.UnpicklingError("it is long and holds no data")
        content: dict[bytes, Any] = _ArraysOnly(io.BytesIO(pickled), encoding="bytes").load()
        return content


def mnist(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    """(train, test) from idx files in the folder or its MNIST/raw. Raises RunError if a file is missing or broken."""
    files = [(_idx_file(folder, part, "images", 3), _idx_file(folder, part, "labels", 1)) for part in ("train", "t10k")]
    train, test = (
        _checked(labels, 10, LabelledImages(_idx_array(images, 3)[:, None], _idx_array(labels, 1).astype(np.int64)))
        for images, labels in files
    )
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        sizes = ("x".join(map(str, part.pixels.shape[2:])) for part in (test, train))
        raise RunError(f"{files[1][0]}: images of {' pixels, and those to train on of '.join(sizes)}")
    return train, test


LONGEST_TEXT = 2**26
"""Bytes of a text."""
TEXT_SHA256 = "221be4e7012c670d"
"""How the digest of the text begins that comes with scikit-learn, of the version in constraints.txt."""


@lru_cache(maxsize=4)  # asked for its alphabet again and again
def text(path: Path | None) -> str:
    """The text in a file; for None, what scikit-learn says of its data sets. Raises RunError for another version's."""
    if path is not None:
        with refusing(path, "cannot be read as text in UTF-8"):
            return read_regular(path, LONGEST_TEXT).decode()
    import sklearn

    files = sorted((Path(sklearn.__file__).parent / "datasets" / "descr").glob("*.rst"))
    found = "\n".join(file.read_text("utf-8") for file in files)
    if not hashlib.sha256(found.encode()).hexdigest().startswith(TEXT_SHA256):
        way_out = "install the version in constraints.txt, or name a text of your own: {kind: text, file: mine.txt}"
        raise RunError(
            f"data: text: scikit-learn {sklearn.__version__} has another text than films are made of; {way_out}"
        )
    return found


def published(kind: str, folder: Path) -> tuple[LabelledImages, LabelledImages, int]:
    """(train, test, number of classes) of `cifar10`, `cifar100` or `mnist`. Raises RunError as their readers do."""
    layout = {"cifar10": CIFAR10, "cifar100": CIFAR100}.get(kind)
    return (*cifar(folder, layout), layout.classes) if layout else (*mnist(folder), 10)


def _idx_file(folder: Path, part: str, quantity: str, axes: int) -> Path:
    spellings = product((".", "MNIST/raw"), "-.", ("", ".gz"))  # the names in use, in two folders
    paths = (folder / subfolder / f"{part}-{quantity}{dot}idx{axes}-ubyte{gz}" for subfolder, dot, gz in spellings)
    path = next(filter(os.path.isfile, paths), None)
    if path is None:
        names = "train-images-idx3, train-labels-idx1, t10k-images-idx3 and t10k-labels-idx1"
        missing = f"{part}-{quantity}-idx{axes}-ubyte is missing"
        raise RunError(f"{folder}: {missing}; expected {names}, each with -ubyte or -ubyte.gz behind it")
    return path


def _idx_array(path: Path, axes: int) -> np.ndarray:
    """uint8 array: two zero bytes, the type 8, the number of axes, each length as a big-endian int32, the values."""
    with refusing(path, "cannot be unpacked"):
        packed = read_regular(path)
        with gzip.open(io.BytesIO(packed)) if path.suffix == ".gz" else io.BytesIO(packed) as file:
            header = file.read(4 + 4 * axes)
            lengths = [int.from_bytes(header[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
            is_idx = header[:4] == bytes([0, 0, 8, axes])
            check_unpacked(math.prod(lengths) * is_idx, len(packed))
            content = file.read(math.prod(lengths) + 1) if is_idx else b""  # to its end, where gzip has a checksum
    if not is_idx or len(content) != math.prod(lengths):
        raise RunError(f"{path}: is not a whole idx file of {axes} axes of bytes; it is truncated or of another kind")
    return np.frombuffer(content, np.uint8).reshape(lengths)


def arrays(path: Path) -> list[np.ndarray]:
    """train_x and test_x [N, ...] of an .npz file, and train_y and test_y [N, ...] if it has them: float32 or int64.

    Raises RunError if the file cannot be read, an array is missing, or their types or shapes do not fit.
    """
    file = read_npz(path)
    if "test_x" in file and not file["test_x"].size:
        raise RunError(
            f"{path}: test_x is {file['test_x'].dtype} {list(file['test_x'].shape)}, expected numbers [N, ...]"
        )
    return checked_arrays(file, str(path))


def checked_arrays(file: Mapping[str, np.ndarray], path: str) -> list[np.ndarray]:
    """The same of arrays by name. path: where they are from, for messages. Samples to test on may be none."""
    names = [f"{part}_{array}" for array in "xy" for part in ("train", "test")]
    if not {"train_y", "test_y"} & file.keys():
        names = names[:2]
    if missing := [name for name in names if name not in file]:
        expected = "train_x and test_x, and train_y and test_y if there are targets"
        raise RunError(f"{path}: {', '.join(missing)} missing; expected {expected}, found {', '.join(file)}")
    some = [name for name in names if name.startswith("train") or file["test_x"].size]
    if misfits := [text for name in some for text in _misfits(name, file[name], file[f"{name[:-1]}x"])]:
        raise RunError(f"{path}: {'; '.join(misfits)}")
    pictures = [name for name in names if name.endswith("x") and file[name].ndim >= 4]
    are_real = {name for name in names if name in pictures or file[name].dtype.kind == "f"}
    converted = [file[name].astype(np.float32 if name in are_real else np.int64) for name in names]
    for name, train, test in zip(("x", "y"), converted[::2], converted[1::2], strict=False):
        kinds = [f"{array.dtype} {list(array.shape[1:])}" for array in (train, test)]
        if kinds[0] != kinds[1]:
            raise RunError(f"{path}: a sample of train_{name} is {kinds[0]}, and one of test_{name} {kinds[1]}")
    return converted


def read_npz(path: Path, most: float = math.inf) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; no code in it is run. Raises RunError if it cannot be, or is over `most` bytes."""
    with refusing(path, "cannot be read as an .npz file of plain arrays (numpy.savez)"):
        with open_regular(path, most) as stream, zipfile.ZipFile(stream) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > most:
                raise ValueError(f"it unpacks to {size} bytes, expected at most {most}")
            check_unpacked(size, stream.seek(0, io.SEEK_END))
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file}
        if others := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{others[0]} is no array")
        return {shown(name): array for name, array in arrays.items()}


def _misfits(name: str, array: np.ndarray, x: np.ndarray) -> list[str]:
    """What is wrong with an array of samples or of targets; empty if nothing is. x: the samples."""
    kinds, dimensions = ("fiu", 2) if array is x else ("fiub", 1)
    if array.dtype.kind not in kinds or array.ndim < dimensions or not array.size:
        return [f"{name} is {array.dtype} {list(array.shape)}, expected numbers [N, ...]"]
    if x.ndim and len(array) != len(x):
        return [f"{name} is {array.dtype} {list(array.shape)}, expected a row for each of the {len(x)} samples"]
    largest = np.finfo(np.float32).max if array.dtype.kind == "f" else np.iinfo(np.int64).max
    is_held = array.dtype.kind == "b" or -largest <= array.min() <= array.max() <= largest  # False for NaN
    return [] if is_held else [f"{name} holds inf or NaN, or a number beyond {largest:.1e}"]
