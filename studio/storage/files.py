"""Files that are whole or absent: written beside their place, synced, renamed; and known again by a checksum.

    checksum = CRC-32 of (folder, name, content)

The place is part of it, so a file that lies in the place of another one is noticed as a changed one is.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from studio.errors import DamageError, MachineError, StudioError

CHANGED = "is not what was written"


def shelf_folder(scene: Path, folder: Path | None = None) -> Path:
    """The shelf's folder: `folder`, else the one that STUDIO_SHELF names, else `.studio` beside the scene."""
    return Path(folder or os.environ.get("STUDIO_SHELF") or scene.resolve().parent / ".studio").resolve()


@contextlib.contextmanager
def translate_os_errors(path: str | Path) -> Iterator[None]:
    """Raises MachineError for a full or unwritable disk met inside the block while writing `path`."""
    try:
        yield
    except (BrokenPipeError, FileNotFoundError):  # not about writing this file
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = "the disk is full; all finished work is kept. Free some space and run again"
            raise MachineError(f"{path}: {text}") from error
        raise MachineError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Raises DamageError for what fails inside the block while reading `path`; MachineError if the machine refuses."""
    try:
        yield
    except (StudioError, MemoryError):
        raise
    except Exception as error:  # zarr raises many kinds
        damage = None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO
        if isinstance(error, OSError) and error.errno not in damage:
            raise MachineError(f"{path}: cannot be read: {error.strerror}") from error
        raise DamageError(path, error) from error


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
            for file in filter(Path.is_file, (temporary, *temporary.rglob("*"))):
                with open(file, "rb") as handle:
                    os.fsync(handle.fileno())
            if temporary.is_dir() and path.is_dir():
                shutil.rmtree(path)
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary, ignore_errors=True) if temporary.is_dir() else temporary.unlink()


def rewrite(path: Path, content: bytes) -> None:
    """Gives a file another content, atomically; its permissions stay. `path`: no link, since it is replaced."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
        shutil.copymode(path, temporary)


def is_temporary(path: Path) -> bool:
    """Whether the name is one that `atomic_write` gives to unfinished files."""
    return re.fullmatch(r"\..*-[0-9a-f]{8}(\.\w+)?", path.name) is not None


# --- checksums -------------------------------------------------------------------------------------------------------


def checksum(path: Path, *parts: Any) -> int:
    """CRC-32 of a file's content, in bytes or arrays, and of its place: its folder's name and its own; never 0."""
    # three times as fast as a cryptographic hash; the faults of disks and of people need no other
    place = f"{path.parent.name}/{path.name}\n".encode()
    return reduce(lambda value, part: zlib.crc32(part, value), parts, zlib.crc32(place)) or 1


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, atomically: its checksum in 8 hex digits, then the content."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"%08x" % checksum(path, content) + content)


def read_bytes(path: Path) -> memoryview:
    """The content that `write_bytes` wrote. Raises DamageError if the file holds anything else."""
    with translate_read_errors(path):
        content = memoryview(path.read_bytes())
        if bytes(content[:8]) != b"%08x" % checksum(path, content[8:]):
            raise ValueError(f"it {CHANGED}")
        return content[8:]


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Writes the value as readable JSON with its checksum, atomically. Values that JSON lacks are written as text."""
    with atomic_write(path) as temporary:
        temporary.write_text(to_json(Path(path), value), encoding="utf-8")


def to_json(path: Path, value: Mapping[str, Any]) -> str:
    """The text that `write_json` writes to `path`."""
    plain = json.loads(json.dumps(value, default=str))
    return json.dumps({**plain, "checksum": _json_checksum(path, plain)}, indent=1, sort_keys=True) + "\n"


def read_json(path: str | Path) -> dict[str, Any]:
    """The value that `write_json` wrote. Raises DamageError if the file is absent or holds anything else."""
    with translate_read_errors(path := Path(path)):
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict) or value.pop("checksum", 0) != _json_checksum(path, value):
            raise ValueError(f"it {CHANGED}")
        return value


def _json_checksum(path: Path, value: Mapping[str, Any]) -> int:
    return checksum(path, json.dumps(value, sort_keys=True).encode())
