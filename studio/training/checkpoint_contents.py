"""What a checkpoint file holds, read without running code: its tensors by name, and how far training had come.

    {"epoch": 3, "state_dict": {"fc.weight": w}}  ->  epoch 3, {"state_dict/fc.weight": w}

Files are safetensors, or pickles that torch reads with `weights_only`. Objects of other packages' classes, such as a
Lightning module's settings, stand there as `Inert` ones. Plain values of the standard library do too; whatever else of
it a file asks for may be code, so the file is refused.
"""

from __future__ import annotations

import io
import pickle
import re
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from studio.config.user_files import check_unpacked, open_regular, refusing, shown
from studio.errors import RunError
from studio.training.formats import Inert

LONG_PICKLE = 2**16
"""Bytes beyond which a pickle without tensors is not read: it would take torch seconds, and be of no use."""
LONGEST_SCAN = 2**22
"""Bytes of a file in which the names of classes are looked for; those of an older format stand before the tensors."""
PLAIN = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|pathlib\.\w*Path|collections\.defaultdict|datetime\.\w+|decimal\.Decimal"
    r"|builtins\.(list|dict|int|float|str|bool|tuple|frozenset|complex)|torch\.(nn|optim)\.[\w.]+"
)
"""Names of the standard library and of torch that stand for plain values, modules and optimizers."""
KNOWN = {"torch", *sys.stdlib_module_names, *(name.partition(".")[0] for name in IMPORT_MAPPING)}
"""Modules with functions that may be code to be run: torch's and Python's own, also by their names in Python 2."""
COUNTERS = {
    "epoch": ("epoch", "current_epoch", "cur_epoch"),
    "step": ("global_step", "step", "iteration", "iter", "num_updates"),
}
"""Keys under which training scripts save how far they had come."""


class NoCheckpointError(RunError):
    """The file is whole, and no checkpoint."""


class Contents(NamedTuple):
    """Tensors by name, with `/` between the keys of nested mappings; and `epoch` and `step`, where they are inside."""

    tensors: Mapping[str, Tensor]
    counters: Mapping[str, float]


def read_contents(paths: tuple[Path, ...]) -> Contents:
    """What the files of a checkpoint hold; of most formats, values are read from disk when they are asked for.

    Raises RunError for what is broken or holds code, and NoCheckpointError for what holds no weights.
    """
    tensors, counters = dict[str, Tensor](), dict[str, float]()
    for path in (path for path in paths if path.suffix != ".json"):
        of_torch = path.suffix != ".safetensors"
        with refusing(path, f"cannot be read as {'a torch file' if of_torch else 'safetensors'}"):
            tree = _read_torch(path) if of_torch else _read_safetensors(path)
            tensors |= dict(_tensors(tree, ""))
            counters |= find_counters(tree)
    if not any(tensor.is_floating_point() or tensor.is_complex() for tensor in tensors.values()):
        raise NoCheckpointError(f"{shown(paths[0])}: is not a state dict (names and tensors); save model.state_dict()")
    return Contents(tensors, counters)


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Tensors by name, without the parts that a recorder puts them into, and the notes beside them."""
    open_regular(path).close()
    with safe_open(path, "pt") as file:
        tensors = {re.sub("^(weights|buffers)/", "", name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {**(file.metadata() or {}), **tensors}


def _read_torch(path: Path) -> Any:
    """What `torch.save` wrote. No code in it is run, and no memory taken that its size does not explain."""
    source: Any = path
    with open_regular(path) as file:
        is_mapped, pickled = file.read(2) == b"PK", b""
        if is_mapped:
            with zipfile.ZipFile(file) as archive:
                check_unpacked(sum(entry.file_size for entry in archive.infolist()), file.seek(0, io.SEEK_END))
                pickled = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
                is_mapped = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        if not is_mapped:
            file.seek(0)
            pickled += (content := file.read())[:LONGEST_SCAN]
            source = io.BytesIO(content)
            if content[:1] not in (b"P", b"\x80"):
                raise ValueError("torch.save did not write it")
    try:
        # torch calls bytearray with any size that the file says
        if b"bytearray\n" in pickled or (len(pickled) > LONG_PICKLE and b"_rebuild_" not in pickled):
            raise pickle.UnpicklingError
        # warnings about the pickle protocol: the file is read, or refused
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(_stand_ins(pickled)):
            return torch.load(source, map_location="cpu", weights_only=True, mmap=is_mapped)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        text = "holds more than tensors, or is broken. Code in a file is never run here: "
        way_out = "save only model.state_dict(), with torch.save or safetensors"
        what = f" (it asks for {shown(asked[1], 80)})" if asked else ""
        raise RunError(f"{shown(path)}: {text}{way_out}{what}") from error


class _InertDict:
    """Makes a plain mapping where a file asks for a kind of dict."""

    def __new__(cls, *arguments: Any) -> OrderedDict[str, Any]:  # type: ignore[misc]  # torch fills that alone
        return OrderedDict()


def _stand_ins(pickled: bytes) -> list[Any]:
    """(what stands for it, its name) of every class that a pickle may hold an object of."""
    found = re.findall(rb"c([\w.]{1,99})\n([\w.]{1,99})\n", pickled[:LONGEST_SCAN])
    names = {b".".join(pair).decode("latin1").replace("__builtin__.", "builtins.", 1) for pair in found}
    inert = {name for name in names if PLAIN.fullmatch(name) or name.partition(".")[0] not in KNOWN}
    return [(_InertDict if name.lower().endswith("dict") else Inert, name) for name in inert]


def _tensors(node: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    """(place, tensor) of what has a name in a tree, without the state of optimizers."""
    between = "/"
    if isinstance(node, Inert) and isinstance(node.state, Mapping) and "_modules" in node.state:  # a whole module
        parts = [node.state.get(key) or {} for key in ("_parameters", "_buffers", "_modules")]
        node, between = {name: value for part in parts for name, value in dict(part).items()}, "."
    elif isinstance(node, list | tuple):
        node = dict(enumerate(node))
    if not isinstance(node, Mapping) or {"state", "param_groups"} <= {*map(str, node)}:
        return
    for key, value in node.items():
        if isinstance(value, Tensor) and isinstance(key, str):
            yield place + key, value
        elif not str(key).startswith("optim"):
            yield from _tensors(value, f"{place}{key}{between}")


def find_counters(tree: Any) -> dict[str, float]:
    """`epoch` and `step` that a tree of mappings holds, at its top first.

    >>> find_counters({"meta": {"epoch": 3}, "global_step": 70, "epochs": 90})
    {'epoch': 3.0, 'step': 70.0}
    """
    nodes = [tree, *(tree.get(key) for key in ("meta", "extra_state"))] if isinstance(tree, Mapping) else []
    found = dict[str, float]()
    for name, keys in COUNTERS.items():
        for value in (node[key] for node in nodes if isinstance(node, Mapping) for key in keys if key in node):
            # no number is no counter
            with suppress(TypeError, ValueError, AttributeError, RuntimeError, IndexError):
                if isinstance(value, Inert):  # a scalar of numpy's: its type and its bytes
                    value = np.frombuffer(value.arguments[1], value.arguments[0].arguments[0])[0]
                if not isinstance(value, bool) and 0 <= (number := float(value)) < 1e15:  # larger ones are not exact
                    found.setdefault(name, round(number, 3))
    return found
