"""PNG files, written band by band and read back chunk by chunk, so that a picture of any size needs little memory.

By hand: Pillow has no pictures of three channels of 16 bits, and wants all of a picture at once. After the PNG
specification (third edition), of whose filters two are used.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from studio.film.bands import Bands

# packs what the filters leave of grain as well as a search for repeats does, in a fifth of the time
_PACKING = 1, zlib.DEFLATED, 15, 8, zlib.Z_RLE
_INCH = 0.0254  # metres
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = 33  # the signature and the IHDR chunk, which comes first
_KINDS = {3: 2, 4: 6}  # colour type, by channels


def write(path: Path, picture: Bands, profile: bytes, dpi: int | None) -> None:
    """A picture of uint8 or uint16 [H, W, 3 or 4] as a PNG file with an ICC profile."""
    height, width, channels = picture.shape
    bits, packer = 8 * picture.dtype.itemsize, zlib.compressobj(*_PACKING)
    with open(path, "wb") as file:
        file.write(_SIGNATURE)
        file.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, _KINDS[channels], 0, 0, 0)))
        file.write(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
        if dpi is not None:
            file.write(_chunk(b"pHYs", struct.pack(">IIB", *2 * [round(dpi / _INCH)], 1)))
        file.writelines(_chunk(b"IDAT", packer.compress(band.data)) for band in _filtered(picture))
        file.write(_chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b""))


def inscribe(source: Path, target: Path, text: str) -> None:
    """Copies a PNG file, with a text in ASCII as its `provenance`."""
    with open(source, "rb") as old, open(target, "wb") as new:
        new.write(old.read(_HEADER) + _chunk(b"tEXt", b"provenance\0" + text.encode("ascii")))
        shutil.copyfileobj(old, new, 1 << 20)


def examine(path: Path) -> tuple[int, int, int, int, bytes | None, int | None]:
    """Width, height, bits, channels, profile and dots per inch of a PNG file. Raises ValueError if it is not whole."""
    with open(path, "rb") as file:
        chunks = {name: data for name, data in _chunks(file) if name != b"IDAT"}
    if b"IEND" not in chunks:
        raise ValueError("cut off")
    width, height, bits, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    channels = {kind: channels for channels, kind in _KINDS.items()}[kind]
    dpi = round(struct.unpack(">I", chunks[b"pHYs"][:4])[0] * _INCH) if b"pHYs" in chunks else None
    profile = zlib.decompress(chunks[b"iCCP"].partition(b"\0")[2][1:]) if b"iCCP" in chunks else None
    return width, height, bits, channels, profile, dpi


def _filtered(picture: Bands) -> Iterator[np.ndarray]:
    """The rows as PNG's filter leaves them, in bands of bytes: each less its left neighbours, or less the row above.

    Of the two, a row takes the one whose bytes, read as signed, have the smaller sum: that one packs better.
    """
    _, width, channels = picture.shape
    step = channels * picture.dtype.itemsize
    above = np.zeros((1, step * width), np.uint8)
    for band in picture:
        rows = band.astype(picture.dtype.newbyteorder(">")).view(np.uint8).reshape(len(band), step * width)
        left = rows.copy()
        left[:, step:] -= rows[:, :-step]
        up = rows - np.concatenate([above, rows[:-1]])
        above = rows[-1:].copy()
        choice = (_weight(up) < _weight(left))[:, None]
        yield np.concatenate([np.where(choice, 2, 1).astype(np.uint8), np.where(choice, up, left)], axis=1)


def _weight(rows: np.ndarray) -> np.ndarray:
    return np.minimum(rows, 0 - rows).sum(axis=1, dtype=np.int64)


def _chunk(name: bytes, data: bytes) -> bytes:
    """Length, name, data, and the CRC-32 of name and data."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of every chunk. Raises ValueError at one whose sum is wrong."""
    file.seek(len(_SIGNATURE))
    while head := file.read(8):
        name, data = head[4:], file.read(int.from_bytes(head[:4], "big"))
        if head + data + file.read(4) != _chunk(name, data):
            raise ValueError("cut off, or changed")
        yield name, data
