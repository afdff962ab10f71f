"""Arrays in a folder that all processes of a machine map into memory, with a few facts about them.

    <folder>/<name>.npy        one array each
    <folder>/facts.json        facts, and the checksums of the arrays

Pages are shared between processes; what a process writes into an array stays in that process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from studio.storage.files import CHANGED, atomic_write, checksum, read_json, to_json, translate_read_errors


@dataclass(frozen=True, eq=False)
class MappedArrays:
    """Arrays by name, mapped from files copy-on-write, and facts about them."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Writes the arrays and facts as a folder, atomically. Raises MachineError if the disk is full or unwritable."""
    note = {"facts": facts, "arrays": {name: _checksum(folder, name, array) for name, array in arrays.items()}}
    with atomic_write(folder) as temporary:
        temporary.mkdir()
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        (temporary / "facts.json").write_text(to_json(folder / "facts.json", note), encoding="utf-8")


def map_arrays(folder: Path) -> MappedArrays:
    """Maps the arrays of a folder. Raises DamageError if it is missing, or not what was written."""
    with translate_read_errors(folder):
        times = tuple(path.stat().st_mtime_ns for path in (folder, *sorted(folder.iterdir())))
        return MappedArrays(_load(folder), _verified_facts(folder, times))


def _load(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path, mmap_mode="c", allow_pickle=False) for path in folder.glob("*.npy")}


@lru_cache(maxsize=256)
def _verified_facts(folder: Path, times: tuple[int, ...]) -> Mapping[str, Any]:
    """The facts, once the arrays are read to their ends and are what was written: once in a process."""
    note: dict[str, Any] = read_json(folder / "facts.json")
    if note["arrays"] != {name: _checksum(folder, name, array) for name, array in _load(folder).items()}:
        raise ValueError(f"an array {CHANGED}")
    return dict(note["facts"])


def _checksum(folder: Path, name: str, array: np.ndarray) -> int:
    return checksum(folder / name, f"{array.dtype.str}{array.shape}".encode(), np.ascontiguousarray(array))
