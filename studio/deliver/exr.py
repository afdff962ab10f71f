"""EXR files, copied with a comment: an attribute is inserted, and the compressed pixels are copied as they are.

    file = magic and version, attributes, an empty name, the offset of each chunk of rows, chunks
    attribute = name, type, length, value

By hand: OpenImageIO and OpenEXR would decode and encode the pixels.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np

_CHUNK_ROWS = 16  # with zip compression
_NAME_END = b"\0"


def add_comment(source: Path, target: Path, text: str, height: int) -> None:
    """Copies a whole EXR of `height` rows and zip compression with a text as its attribute `comments`."""
    value = text.encode()
    attribute = b"comments\0string\0" + struct.pack("<I", len(value)) + value
    with open(source, "rb") as old, open(target, "wb") as new:
        header = old.read(1 << 16)
        end = _end_of_attributes(header)
        new.writelines((header[:end], attribute, _NAME_END))
        old.seek(end + 1)
        offsets = np.frombuffer(old.read(8 * -(-height // _CHUNK_ROWS)), "<u8")
        new.write((offsets + np.uint64(len(attribute))).tobytes())
        shutil.copyfileobj(old, new, 1 << 20)


def _end_of_attributes(header: bytes) -> int:
    """Index of the empty name that follows the attributes."""
    place = 8  # behind magic and version
    while header[place : place + 1] != _NAME_END:
        length = header.index(_NAME_END, header.index(_NAME_END, place) + 1) + 1  # behind name and type
        place = length + 4 + int.from_bytes(header[length : length + 4], "little")
    return place
