"""Files that the user names in a scene: regular ones, of bounded size, refused in one sentence whatever is in them."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import AfterValidator

from studio.errors import RunError

UNPACKED, RATIO = 2**25, 100
"""Bytes that any file may unpack to, and how many times its own size a larger one: a bomb unpacks to 1000 times."""


def open_regular(path: Path, most: float = math.inf) -> BinaryIO:
    """An open file. Raises ValueError for what is no regular file, has over `most` bytes, or is a hole; OSError."""
    at_once = getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for somebody to write into it
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | at_once))  # noqa: SIM115
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_size > most:
            raise ValueError(f"it has {status.st_size} bytes, expected at most {most}")
        check_unpacked(status.st_size, getattr(status, "st_blocks", status.st_size) * 512)
    except ValueError:
        file.close()
        raise
    return file


def read_regular(path: Path, most: float = math.inf) -> bytes:
    """The file's content. Raises as `open_regular` does."""
    with open_regular(path, most) as file:
        content = file.read(-1 if most == math.inf else int(most) + 1)  # some of /proc say 0 and hold more
    if len(content) > most:
        raise ValueError(f"it has more than {most} bytes")
    return content


def check_unpacked(unpacked: int, packed: int) -> None:
    """Raises ValueError if so many bytes cannot honestly come out of so few."""
    if unpacked > max(UNPACKED, RATIO * packed):
        raise ValueError(f"its {packed} bytes unpack to {unpacked}, expected at most {RATIO} times as many")


@contextmanager
def refusing(path: Path, words: str) -> Iterator[None]:
    """A context in which any error becomes a RunError of one sentence: the file, `words`, the reason."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:  # of any kind: libraries raise many for a broken file
        raise RunError(f"{shown(path)}: {words}: {reason(error)}") from error


def readable(read: Callable[[Path], object]) -> AfterValidator:
    """A validator of a path to a file that `read` reads; a RunError of it is the message."""

    def check(path: Path) -> Path:
        try:
            read(path)
        except RunError as error:
            raise ValueError(str(error)) from error
        return path

    return AfterValidator(check)


def reason(error: BaseException) -> str:
    """The first line of what an error says, or the error's name if it says nothing."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shown((text.strip() or type(error).__name__).splitlines()[0], 200)


def shown(text: object, most: int = 4096) -> str:
    """A text for a message: at most so many characters, with escapes for those that no terminal shows."""
    start = str(text)[:most]
    return start if start.isprintable() else ascii(start)[1:-1]
