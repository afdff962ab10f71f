"""PNG files, copied with a comment: a chunk is inserted, and the others are checked and copied as they are.

    file = signature, chunks
    chunk = length, name, data, CRC-32 of name and data

By hand: OpenImageIO and Pillow would decode and encode the pixels.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path


def add_comment(source: Path, target: Path, text: str) -> None:
    """Copies a PNG with an ASCII text, called `provenance`, behind its header.

    Raises ValueError where a chunk is damaged, or the last one is missing; what is copied by then is not whole.
    """
    comment = b"provenance\0" + text.encode("ascii")
    with open(source, "rb") as old, open(target, "wb") as new:
        new.write(old.read(8))  # the signature
        name = b""
        while name != b"IEND":
            head = old.read(8)
            name, data, check = head[4:], old.read(int.from_bytes(head[:4], "big")), old.read(4)
            if check != _crc(name, data):
                raise ValueError(f"damaged before byte {old.tell()}")
            new.writelines((head, data, check))
            if name == b"IHDR":
                new.writelines((struct.pack(">I4s", len(comment), b"tEXt"), comment, _crc(b"tEXt", comment)))


def _crc(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
