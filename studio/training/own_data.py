"""Samples that the user's code returns: arrays, data sets or loaders of batches, in memory.

    a pair of parts (train, test), or one part      part: x, (x, y), a dict or tuple of more, a Dataset, a DataLoader

What is drawn at random, such as augmented pictures or the order of a loader, is drawn once, by a seed.
"""

from __future__ import annotations

import math
import random
import re
import sys
from collections.abc import Iterator, Mapping
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
    if isinstance(part, Mapping | tuple) or _is_array(part):
        return _arrays(part)
    source = part.dataset if isinstance(part, DataLoader) else part
    if not isinstance(part, DataLoader) and (isinstance(part, IterableDataset) or hasattr(part, "__getitem__")):
        part = DataLoader(part, batch_size=TOGETHER)
    batches, taken, free = list[list[np.ndarray]](), 0, SHARE * _free_memory()
    for batch in map(_arrays, part):
        batches.append(batch)
        taken += sum(array.nbytes for array in batch)
        count = sum(len(done[0]) for done in batches)
        total = len(source) if hasattr(source, "__len__") else count
        if (needed := taken / max(count, 1) * total) > free:
            sizes = f"needs {needed / 1e9:.1f} GB for {total} samples, and {free / 1e9:.1f} GB may be used"
            raise RunError(f"{name} {sizes}; return fewer, such as a torch.utils.data.Subset")
    return [_joined(arrays, name) for arrays in zip(*batches, strict=True)]


def _joined(arrays: tuple[np.ndarray, ...], name: str) -> np.ndarray:
    if kinds := {f"{array.dtype} {list(array.shape[1:])}" for array in arrays} - {
        first := f"{arrays[0].dtype} {list(arrays[0].shape[1:])}"
    }:
        raise RunError(f"{name} gives batches with samples of {first} and {kinds.pop()}; pad all of them to one shape")
    return np.concatenate(arrays)


def _free_memory() -> float:
    """Bytes that this machine can still give."""
    known = (
        re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text()) if sys.platform == "linux" else None
    )
    return 1024 * float(known[1]) if known else math.inf


def _arrays(batch: Any) -> list[np.ndarray]:
    """[x] or [x, y] of a batch; of more than these, one structured array. Floats become float32."""
    parts = batch if isinstance(batch, tuple | list) else [batch]
    return [to_array(part) for part in parts] if len(parts) <= 2 and all(map(_is_array, parts)) else [to_array(batch)]


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A context in which Python's, numpy's and torch's random numbers follow from a seed; restores them."""
    ours, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002  # the user's code may draw from these
    try:
        with restored_random_numbers("cpu"):
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)  # noqa: NPY002
