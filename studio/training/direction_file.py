"""Directions that the user brings: two vectors in weight space, read from a file without running code from it.

    .npz, .safetensors     `delta/<weight>` and `eta/<weight>` by the model's names, or flat `delta` and `eta` [P]
    .h5                    groups `xdirection` and `ydirection` of numbered tensors, as the program of Li et al. writes

P counts all weights of the model in its own order. Numbered tensors are those of `parameters()` or of `state_dict()`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from studio.config.records import nearest
from studio.config.user_files import read_regular, refusing, shown
from studio.errors import RunError
from studio.field import Array
from studio.training.formats import read_npz
from studio.training.h5 import open_h5

if TYPE_CHECKING:
    from torch import nn

LARGEST = 2**33
"""Bytes of a file, packed or unpacked: two directions of a billion weights."""
_FORM = "expected delta/<weight> and eta/<weight>, or flat delta and eta [P]; in .h5 groups xdirection and ydirection"


@dataclass(frozen=True, eq=False)
class DirectionFile:
    """delta and eta of a file, float32, by name, by number, or flat by the name ''; and a digest of its bytes."""

    path: Path
    vectors: Mapping[str, Mapping[str, Array]] = field(repr=False)
    digest: str

    def fit(self, model: nn.Module) -> list[dict[str, Array]]:
        """delta and eta by the names of weights, those alone that the file has. Raises RunError if they do not fit."""
        shapes, state = {name: tuple(w.shape) for name, w in model.named_parameters()}, model.state_dict()
        ends, fitted = np.cumsum([math.prod(shape) for shape in shapes.values()]), []
        for quantity, vector in self.vectors.items():
            if "" in vector and vector[""].size == ends[-1]:
                split = zip(shapes.items(), np.split(vector[""], ends[:-1]), strict=True)
                vector = {name: part.reshape(shape) for (name, shape), part in split}
            elif "0" in vector and "0" not in shapes and len(vector) in (len(shapes), len(state)):
                names = shapes if len(vector) == len(shapes) else state
                vector = {name: vector[str(i)] for i, name in enumerate(names) if name in shapes}
            for name, array in vector.items():
                if shapes.get(name) != array.shape:
                    where, found = f"{self.path}: {quantity}{name and '/'}{name} is", list(array.shape)
                    counts = f"{len(shapes)} weights of {ends[-1]} numbers, {len(state)} tensors with its buffers"
                    expected = list(shapes[name]) if name in shapes else f"{counts}{name and nearest(name, shapes)}"
                    raise RunError(f"{where} {found}, the model has {expected}")
            fitted.append(dict(vector))
        return fitted


def read_directions(path: Path) -> DirectionFile:
    """The vectors in a file. Raises RunError if it cannot be read, or holds anything but two vectors."""
    with refusing(path, "cannot be read"):
        status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, mtime_ns: int, size: int) -> DirectionFile:
    """The file's content; read again only if time or size changed."""
    vectors: dict[str, dict[str, Array]] = {"delta": {}, "eta": {}}
    with refusing(path, f"cannot be read as directions in {', '.join(_READERS)}"):
        content = read_regular(path, LARGEST)
        for key, array in _READERS[path.suffix](path, content).items():
            quantity, _, weight = (name := shown(key)).partition("/")
            if quantity not in vectors or not (weight or array.ndim == 1):
                raise ValueError(f"{name} {list(array.shape)} is neither of delta nor of eta; {_FORM}")
            with np.errstate(over="ignore"):
                numbers = np.asarray(array, np.float32) if array.dtype.kind in "fiu" else np.array(np.nan)
            if not np.isfinite(numbers).all():
                raise ValueError(f"{name} holds {array.dtype}, inf or NaN; expected numbers that float32 holds")
            vectors[quantity][weight] = numbers
        if not all(vectors.values()) or any("" in vector and len(vector) > 1 for vector in vectors.values()):
            raise ValueError(f"a vector is missing, or said twice; {_FORM}")
    return DirectionFile(path, vectors, hashlib.sha256(content).hexdigest()[:32])


def _read_safetensors(content: bytes) -> Mapping[str, Array]:
    from safetensors.numpy import load

    return load(content)


def _read_h5(path: Path, content: bytes) -> Mapping[str, Array]:
    """Numbered tensors. Raises ValueError if they are not there."""
    with open_h5(path, content) as file:
        try:
            groups = {"delta": file["xdirection"], "eta": file["ydirection"]}
            return {f"{name}/{i}": group[str(i)][()] for name, group in groups.items() for i in range(len(group))}
        except (KeyError, TypeError, ValueError) as error:  # of a group, or of what is none
            raise ValueError(f"{_FORM} of tensors 0, 1, ...") from error


_READERS: Mapping[str, Callable[[Path, bytes], Mapping[str, Array]]] = {
    ".npz": lambda path, _: read_npz(path, LARGEST),
    ".safetensors": lambda _, content: _read_safetensors(content),
    **dict.fromkeys((".h5", ".hdf5"), _read_h5),
}
