"""Whole files or none: written beside, synced, renamed."""

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

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def translate_os_errors(path: str | Path) -> Iterator[None]:
    """Turns a full or unwritable disk, met while writing `path`, into a MachineError."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise MachineError(
                f"{path}: the disk is full; all finished work is kept. Free some space and run again"
            ) from error
        unfit = PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError
        if isinstance(error, unfit) or error.errno == errno.EROFS:
            raise MachineError(f"{path}: cannot be written: {error.strerror}") from error
        raise


def check_writable(folder: Path) -> None:
    """Raises MachineError if nothing could be written in a folder, or if it cannot be made; makes nothing."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    with translate_os_errors(folder), tempfile.TemporaryFile(dir=there):
        pass


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, for a file or a folder; renamed onto `path` if all goes well.

    Nothing is left behind when it does not. Raises MachineError if the disk is full or cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        with translate_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            _sync(beside)
            if beside.is_dir() and path.is_dir():
                shutil.rmtree(path)
            os.replace(beside, path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        elif beside.exists():
            beside.unlink()


def is_temporary(path: Path) -> bool:
    """Whether a name is one that `atomic` gives to what is not whole yet."""
    return re.fullmatch(r"\..*-[0-9a-f]{8}(\.\w+)?", path.name) is not None


def _sync(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())


def write_json(path: str | Path, value: Any) -> None:
    """The value as readable JSON, whole or not at all."""
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
