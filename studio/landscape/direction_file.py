"""Directions that the user brings: two vectors in weight space, read from a file without running code from it.

    .npz, .safetensors     `delta/<weight>` and `eta/<weight>` by the model's names, or flat `delta` and `eta` [P]
    .h5                    groups `xdirection` and `ydirection` of numbered tensors, as the program of Li et al. writes

P counts all weights of the model in its own order. Numbered tensors are those of `parameters()` or of `state_dict()`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.config.records import nearest
from studio.config.user_files import check_unpacked, read_regular, refusing, shown
from studio.errors import RunError
from studio.field import Array
from studio.training.formats import read_npz

if TYPE_CHECKING:
    from torch import nn

LARGEST = 2**33
"""Bytes of a file, packed or unpacked: two directions of a billion weights."""
_FORM = "expected delta/<weight> and eta/<weight>, or flat delta and eta [P]; in an .h5 file xdirection and ydirection"


@dataclass(frozen=True, eq=False)
class DirectionFile:
    """delta and eta of a file, float32, by name, by number, or flat by the name ''; and a digest of its bytes."""

    path: Path
    vectors: Mapping[str, Mapping[str, Array]] = field(repr=False)
    digest: str

    def fit(self, model: nn.Module) -> list[dict[str, Array]]:
        """delta and eta by the names of weights, those alone that the file has. Raises RunError if they do not fit."""
        shapes, fitted = {name: tuple(w.shape) for name, w in model.named_parameters()}, []
        for quantity, vector in self.vectors.items():
            named = self._named(quantity, vector, model)
            for name, array in named.items():
                if shapes.get(name) != array.shape:
                    expected = f" {list(shapes[name])}" if name in shapes else f" no such weight{nearest(name, shapes)}"
                    raise RunError(f"{self.path}: {quantity}/{name} is {list(array.shape)}, the model has{expected}")
            fitted.append(named)
        return fitted

    def _named(self, quantity: str, vector: Mapping[str, Array], model: nn.Module) -> dict[str, Array]:
        weights, state = dict(model.named_parameters()), model.state_dict()
        if "" in vector:
            ends = np.cumsum([w.numel() for w in weights.values()])
            if vector[""].size != ends[-1]:
                raise RunError(f"{self.path}: {quantity} has {vector[''].size} numbers, the model {ends[-1]} weights")
            split = zip(weights.items(), np.split(vector[""], ends[:-1]), strict=True)
            return {name: part.reshape(w.shape) for (name, w), part in split}
        if "0" not in vector or "0" in weights:
            return dict(vector)
        names = next((list(names) for names in (weights, state) if len(names) == len(vector)), [])
        if not names:
            counts = f"{len(weights)}, or {len(state)} with its buffers"
            raise RunError(f"{self.path}: {quantity} has {len(vector)} tensors, the model {counts}")
        return {name: vector[str(i)] for i, name in enumerate(names) if name in weights}


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
            name, (quantity, _, weight) = shown(key, 80), key.partition("/")
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


def _read_safetensors(path: Path, content: bytes) -> Mapping[str, Array]:
    from safetensors.numpy import load

    arrays: dict[str, Array] = load(content)
    return arrays


def _read_h5(path: Path, content: bytes) -> Mapping[str, Array]:
    """Numbered tensors. Raises ValueError for links and for values that lie in other files."""
    try:
        import h5py
    except ImportError as error:
        way_out = 'pip install "landscape-studio[h5]", or save the vectors as .npz'
        raise RunError(f"{path}: an .h5 file needs h5py: {way_out}") from error

    def member(group: Any, key: str, kind: Any) -> Any:
        value = group[key] if isinstance(group.get(key, getlink=True), h5py.HardLink) else None
        if not isinstance(value, kind) or (kind is h5py.Dataset and (value.external or value.is_virtual)):
            raise ValueError(
                f"no {key} in {group.name}; expected groups xdirection and ydirection of tensors 0, 1, ..."
            )
        return value

    with h5py.File(io.BytesIO(content), "r") as file:
        groups = {"delta": member(file, "xdirection", h5py.Group), "eta": member(file, "ydirection", h5py.Group)}
        sets = {
            f"{name}/{i}": member(group, str(i), h5py.Dataset)
            for name, group in groups.items()
            for i in range(len(group))
        }
        check_unpacked(sum(values.size * values.dtype.itemsize for values in sets.values()), len(content))
        return {name: np.asarray(values[()]) for name, values in sets.items()}


_READERS: Mapping[str, Callable[[Path, bytes], Mapping[str, Array]]] = {
    ".npz": lambda path, _: read_npz(path, LARGEST),
    ".safetensors": _read_safetensors,
    **dict.fromkeys((".h5", ".hdf5"), _read_h5),
}
