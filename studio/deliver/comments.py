"""Picture files copied with a comment: it is inserted, and what was encoded is copied as it is.

    PNG = signature, chunks of length, name, data, and CRC-32 of name and data
    EXR = magic and version, attributes of name, type, length and value, an empty name, the offset of each chunk, chunks

By hand: OpenImageIO, OpenEXR, Pillow and imageio would decode and encode the pixels, and ffmpeg writes no comment into
a GIF or WebP. OpenImageIO also copies a JPEG without decoding, but it writes one segment only, adds EXIF, and ends the
process if the text is longer than a segment.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

_MAX_JPEG_COMMENT = 65533  # bytes in one segment
_NAME_END = b"\0"
_XMP = 0x04  # flag of a WebP file that carries XMP


def add_to_png(source: Path, target: Path, text: str) -> None:
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


def add_to_exr(source: Path, target: Path, text: str) -> None:
    """Copies a whole EXR with a text as its attribute `comments`."""
    value = text.encode()
    attribute = b"comments\0string\0" + struct.pack("<I", len(value)) + value
    with open(source, "rb") as old, open(target, "wb") as new:
        header = old.read(1 << 16)
        end = _end_of_attributes(header)
        new.writelines((header[:end], attribute, _NAME_END))
        old.seek(end + 1)
        first = old.read(8)  # the first chunk lies behind the offsets, which this one thus counts
        offsets = np.frombuffer(first + old.read(int.from_bytes(first, "little") - end - 9), "<u8")
        new.write((offsets + np.uint64(len(attribute))).tobytes())
        shutil.copyfileobj(old, new, 1 << 20)


def _end_of_attributes(header: bytes) -> int:
    """Index of the empty name that follows the attributes."""
    place = 8  # behind magic and version
    while header[place : place + 1] != _NAME_END:
        length = header.index(_NAME_END, header.index(_NAME_END, place) + 1) + 1  # behind name and type
        place = length + 4 + int.from_bytes(header[length : length + 4], "little")
    return place


def add_to_jpeg(source: Path, target: Path, text: str) -> None:
    """Copies a JPEG with an ASCII text in comment segments behind the first segment, which is JFIF's own."""
    data = text.encode("ascii")
    parts = [data[i : i + _MAX_JPEG_COMMENT] for i in range(0, len(data), _MAX_JPEG_COMMENT)]
    with open(source, "rb") as old, open(target, "wb") as new:
        head = old.read(6)
        new.write(head + old.read(int.from_bytes(head[4:6], "big") - 2))
        new.writelines(b"\xff\xfe" + struct.pack(">H", len(part) + 2) + part for part in parts)
        shutil.copyfileobj(old, new, 1 << 20)


BY_SUFFIX: dict[str, Callable[[Path, Path, str], None]] = {".png": add_to_png, ".exr": add_to_exr, ".jpg": add_to_jpeg}


def add_to_gif(picture: bytes, comment: bytes) -> bytes:
    """A GIF with a comment extension, in blocks of up to 255 bytes, after the header and its palette."""
    place = 13 + (3 << (picture[10] & 7) + 1 if picture[10] & 0x80 else 0)
    blocks = (comment[i : i + 255] for i in range(0, len(comment), 255))
    extension = b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    return picture[:place] + extension + picture[place:]


def add_to_webp(picture: bytes, comment: bytes) -> bytes:
    """A WebP with the comment as an XMP chunk at its end, which the flags in the first chunk announce.

    A single picture lacks that first chunk; its size is that of the VP8 frame.
    """
    body = bytearray(picture[12:])
    if not body.startswith(b"VP8X"):
        sides = struct.unpack("<HH", body[14:18])
        body[:0] = b"VP8X" + struct.pack("<I4x", 10) + b"".join((side - 1).to_bytes(3, "little") for side in sides)
    body[8] |= _XMP
    body += b"XMP " + struct.pack("<I", len(comment)) + comment + bytes(len(comment) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + bytes(body)
