"""Arrays in a folder that all processes of a machine map into memory, with a few facts about them.

    <folder>/<name>.npy        one array each
    <folder>/facts.json

Pages are shared between processes; what a process writes into an array stays in that process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.storage.files import atomic_write, read_json, translate_read_errors


@dataclass(frozen=True, eq=False)
class MappedArrays:
    """Arrays by name, mapped from files copy-on-write, and facts about them."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Writes the arrays and facts as a folder, atomically. Raises MachineError if the disk is full or unwritable."""
    with atomic_write(folder) as temporary:
        temporary.mkdir()
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        (temporary / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def map_arrays(folder: Path) -> MappedArrays:
    """Maps the arrays of a folder. Raises MachineError if it is missing or cannot be read."""
    with translate_read_errors(folder):
        arrays = {path.stem: np.load(path, mmap_mode="c", allow_pickle=False) for path in folder.glob("*.npy")}
        return MappedArrays(arrays, read_json(folder / "facts.json"))
