"""Samples that the user's code returns: arrays, data sets or loaders of batches, in memory.

    a pair of parts (train, test), or one part      part: x, (x, y), a dict or tuple of more, a Dataset, a DataLoader

What is drawn at random, such as augmented pictures or the order of a loader, is drawn once, by a seed.
"""

from __future__ import annotations

import math
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from studio.config.functions import Function
from studio.config.user_files import reason
from studio.errors import RunError, SceneError, StudioError
from studio.training.batches import to_array
from studio.training.device import restored_random_numbers
from studio.training.formats import checked_arrays

TOGETHER = 256
"""Samples of a data set that are asked for at a time."""
SHARE = 0.5
"""Of the memory that is free, what samples may take: they are copied once."""


def load(make: Function, arguments: Mapping[str, Any], seed: int) -> list[np.ndarray]:
    """train_x and test_x, and perhaps train_y and test_y, that the user's function or object gives.

    There may be no samples to test on. Raises SceneError or RunError of one sentence.
    """
    try:
        with _seeded(seed):
            value = make.resolve()
            is_made = isinstance(value, type) or (callable(value) and not hasattr(value, "__getitem__"))
            return _split(value(**arguments) if is_made else value, f"run.data: {make}")
    except StudioError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise SceneError(f"run.data: {make} fails: {type(error).__name__}: {reason(error)}") from error


def _split(value: Any, name: str) -> list[np.ndarray]:
    """What the user's code returned, in its two parts."""
    if isinstance(value, Mapping) and {"train_x", "test_x"} <= value.keys():
        return checked_arrays({key: _array(part) for key, part in value.items()}, name)
    if isinstance(value, Mapping) and {*value} == {"train", "test"}:
        value = value["train"], value["test"]
    is_pair = isinstance(value, tuple | list) and len(value) == 2 and not any(map(_is_array, value))
    train, *tests = [_part(part, name) for part in (value if is_pair else [value])]
    test = tests[0] if tests else [array[:0] for array in train]
    if train[0].dtype.names:
        return [train[0], test[0]]
    named = {f"train_{key}": array for key, array in zip("xy", train, strict=False)}
    return checked_arrays(named | {f"test_{key}": array for key, array in zip("xy", test, strict=False)}, name)


def _part(part: Any, name: str) -> list[np.ndarray]:
    """[x] or [x, y] of a part; of more than these, one structured array."""
    if _is_loader(part):
        batches = [*_within_memory(_batches(part), name, _length(part))]
        if not batches:
            raise RunError(f"{name} gives no batches")
        return [_joined([batch[i] for batch in batches], name) for i in range(len(batches[0]))]
    return _arrays(part)


def _is_loader(part: Any) -> bool:
    """Whether samples come one by one, or in batches."""
    return not isinstance(part, Mapping | tuple | np.ndarray | Tensor) and (
        hasattr(part, "__getitem__") or hasattr(part, "__iter__")
    )


def _batches(source: Any) -> Iterator[list[np.ndarray]]:
    """The arrays of each batch."""
    loader = source
    if not isinstance(source, DataLoader) and (isinstance(source, IterableDataset) or hasattr(source, "__getitem__")):
        loader = DataLoader(source, batch_size=TOGETHER)
    return map(_arrays, loader)


def _length(source: Any) -> int | None:
    """How many samples it has, where it says so."""
    source = source.dataset if isinstance(source, DataLoader) else source
    return len(source) if hasattr(source, "__len__") else None


def _within_memory(batches: Iterator[list[np.ndarray]], name: str, total: int | None) -> Iterator[list[np.ndarray]]:
    """The batches. Raises RunError as soon as all of them would not fit into memory."""
    free, taken, samples = SHARE * _free_memory(), 0, 0
    for batch in batches:
        taken, samples = taken + sum(array.nbytes for array in batch), samples + len(batch[0])
        if (needed := taken / max(samples, 1) * (total or samples)) > free:
            sizes = f"needs {needed / 1e9:.1f} GB for {total or samples} samples, and {free / 1e9:.1f} GB may be used"
            raise RunError(f"{name} {sizes}; return fewer, such as a torch.utils.data.Subset")
        yield batch


def _free_memory() -> float:
    """Bytes that this machine can still give."""
    known = (
        re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text()) if sys.platform == "linux" else None
    )
    return 1024 * float(known[1]) if known else math.inf


def _joined(arrays: list[np.ndarray], name: str) -> np.ndarray:
    if len(kinds := {(array.dtype.str, str(array.dtype), array.shape[1:]) for array in arrays}) > 1:
        shapes = " and ".join(f"{kind} {list(shape)}" for _, kind, shape in sorted(kinds, key=str)[:2])
        raise RunError(f"{name} gives batches with samples of {shapes}; pad all of them to one shape")
    return np.concatenate(arrays)


def _arrays(batch: Any) -> list[np.ndarray]:
    """[x] or [x, y] of a batch; of more than these, one structured array."""
    if isinstance(batch, tuple | list) and len(batch) <= 2 and all(map(_is_array, batch)):
        return [_array(part) for part in batch]
    return [_array(batch)] if _is_array(batch) else [to_array(_mapped(batch))]


def _mapped(batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return {key: _mapped(part) for key, part in batch.items()}
    return tuple(map(_mapped, batch)) if isinstance(batch, tuple | list) else _array(batch)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _array(value: Any) -> np.ndarray:
    """Numbers as an array; floats as float32."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a batch holds {array.dtype}, expected numbers")
    return array.astype(np.float32) if array.dtype.kind == "f" else array


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A context in which Python's, numpy's and torch's random numbers follow from a seed; restores them."""
    states: list[tuple[Callable[[Any], None], Any]] = [
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),  # noqa: NPY002  # the user's code may draw from these
    ]
    try:
        with restored_random_numbers("cpu"):
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        for restore, state in states:
            restore(state)
