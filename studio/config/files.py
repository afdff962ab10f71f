"""Files that a scene names: regular ones of a bounded size, read at once."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for somebody to write into it


def read_file(path: str | Path, largest: int) -> bytes:
    """The bytes of a file. Raises OSError if it is a pipe, a device or a folder, or has more than `largest` bytes."""
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _AT_ONCE))  # noqa: SIM115
    except ValueError as error:  # a NUL in the path, or text that no path can hold
        raise OSError(errno.EINVAL, "no such file: its name has characters that no file's has") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        content = file.read(largest + 1)  # some of /proc say 0 and hold more
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"has more than {largest} bytes")
    return content
