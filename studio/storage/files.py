"""Files that are whole or absent: written beside their place, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.errors import MachineError


@contextlib.contextmanager
def translate_os_errors(path: str | Path) -> Iterator[None]:
    """Raises MachineError for a full or unwritable disk met inside the block while writing `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(
                f"{path}: the disk is full; all finished work is kept. Free some space and run again"
            ) from error
        unwritable = PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError
        if isinstance(error, unwritable) or error.errno == errno.EROFS:
            raise MachineError(f"{path}: cannot be written: {error.strerror}") from error
        raise


@contextlib.contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Raises MachineError for anything that fails inside the block while reading `path` from the shelf."""
    try:
        yield
    except Exception as error:  # zarr raises many kinds
        raise MachineError(f"{path}: cannot be read ({error}); remove it and run again") from error


def check_writable(folder: Path) -> None:
    """Raises MachineError if the folder, or its nearest existing parent, takes no files. Creates nothing."""
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    with translate_os_errors(folder), tempfile.TemporaryFile(dir=existing):
        pass


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary path for a file or folder, with the suffix of `path`; renamed onto `path` if the block succeeds.

    A block that fails leaves nothing behind. Raises MachineError if the disk is full or unwritable.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        with translate_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            if temporary.is_dir() and path.is_dir():
                shutil.rmtree(path)
            os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        elif temporary.exists():
            temporary.unlink()


def is_temporary(path: Path) -> bool:
    """Whether the name is one that `atomic_write` gives to unfinished files."""
    return re.fullmatch(r"\..*-[0-9a-f]{8}(\.\w+)?", path.name) is not None


def _sync(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())


def write_json(path: str | Path, value: Any) -> None:
    """Writes the value as readable JSON, atomically. Values that JSON lacks are written as their text."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """The value in a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
