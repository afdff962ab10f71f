"""What measuring a slice needs in memory, made once and kept in files that all workers of a machine map.

A plane is the three vectors theta, delta and eta, flat [P] in the model's own order of trainable weights; samples are
the images and labels of the loss. Each lies in a folder named by the digest of what it was made from, so that slices
share what they have in common, and pages in memory are shared by processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.errors import MachineError
from studio.storage.files import atomic_write, translate_os_errors


@dataclass(frozen=True, eq=False)
class MappedArrays:
    """Arrays by name, mapped from files (what is written to them stays in this process), and facts about them."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def get_or_create(folder: Path, make: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]) -> MappedArrays:
    """What lies in the folder; made first if it is not there. Of several processes one makes it, the others wait.

    The lock lies with the shelf's others, in `locks` beside the folder's own.

    Raises MachineError if what lies there cannot be read.
    """
    if not folder.is_dir():
        from filelock import FileLock

        lock = folder.parents[1] / "locks" / f"{folder.name}.lock"
        with translate_os_errors(lock):
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                if not folder.is_dir():
                    _write(folder, *make())
    try:
        arrays = {path.stem: np.load(path, mmap_mode="c", allow_pickle=False) for path in folder.glob("*.npy")}
        return MappedArrays(arrays, json.loads((folder / "facts.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise MachineError(f"{folder}: cannot be read ({error}); remove it and run again") from error


def _write(folder: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    with atomic_write(folder) as beside:
        beside.mkdir()
        for name, array in arrays.items():
            np.save(beside / f"{name}.npy", array)
        (beside / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
