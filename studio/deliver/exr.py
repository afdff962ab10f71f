"""EXR files, written band by band and read back by their header, so that a picture of any size needs little memory.

The library wants all of a picture at once. So to it each band is a picture of its rows alone; the blocks that it packs
them into, which know their own rows, are moved into the one file. After the OpenEXR file layout, version 2: a header of
attributes, a table of where the blocks lie, and the blocks.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np

from studio.film.bands import Bands

BLOCK = 16
"""Rows that are packed together; a band is a whole number of blocks, but for the last one."""
_MAGIC = 8  # bytes that say it is an EXR, and of which version
_WINDOW = b"dataWindow\0box2i\0" + struct.pack("<I", 16)


def write(path: Path, lit: Bands, layers: Mapping[str, np.ndarray], chromaticities: tuple, dpi: int | None) -> None:
    """Linear light [H, W, 3 or 4] in half floats, and layers [H, W], each under the name of its channel."""
    height, width, colours = lit.shape
    with open(path, "wb") as file, TemporaryDirectory(dir=path.parent) as folder:
        band, top = Path(folder) / "band.exr", 0
        places: list[int] = []
        for rows in lit:
            bottom = top + len(rows)
            channels = {name: np.ascontiguousarray(values[top:bottom]) for name, values in layers.items()}
            _pack(band, {"RGBA"[:colours]: rows, **channels}, (width, height), top, chromaticities, dpi)
            with open(band, "rb") as packed:
                _header(packed)
                table, found = packed.tell(), _places(packed)
                if top == 0:
                    packed.seek(0)
                    file.write(_windowed(packed.read(table), width, height) + bytes(8 * -(-height // BLOCK)))
                    packed.seek(found.nbytes, 1)
                places += [file.tell() + place - int(found[0]) for place in map(int, found)]
                shutil.copyfileobj(packed, file, 1 << 20)
            top = bottom
        file.seek(table)
        file.write(np.array(places, "<u8").tobytes())


def _pack(path: Path, channels: Mapping[str, np.ndarray], whole: tuple[int, int], top: int, white, dpi) -> None:
    """The rows of a picture from `top` on as a file of their own. Raises OSError if it cannot be written."""
    import OpenEXR

    (width, height), rows = whole, len(next(iter(channels.values())))
    header: dict[str, Any] = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": white,
        "dataWindow": ((0, top), (width - 1, top + rows - 1)),
        "displayWindow": ((0, 0), (width - 1, height - 1)),
        **({} if dpi is None else {"xDensity": float(dpi)}),
    }
    with OpenEXR.File(header, dict(channels)) as file:
        try:
            file.write(str(path))
        except RuntimeError as error:  # whose words alone say what it was
            number = errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else errno.EIO
            raise OSError(number, str(error)) from error


def _windowed(header: bytes, width: int, height: int) -> bytes:
    """The header of a band as that of the whole picture."""
    place = header.index(_WINDOW) + len(_WINDOW)
    return header[:place] + struct.pack("<4i", 0, 0, width - 1, height - 1) + header[place + 16 :]


def inscribe(source: Path, target: Path, text: str) -> None:
    """As the first attribute of the header; the table behind it, of where the pixels are, moves with them."""
    comment = b"comments\0string\0" + struct.pack("<I", len(text)) + text.encode("ascii")
    with open(source, "rb") as old, open(target, "wb") as new:
        _header(old)
        table, places = old.tell(), _places(old)
        old.seek(0)
        new.write(old.read(_MAGIC) + comment + old.read(table - _MAGIC))
        new.write((places + np.uint64(len(comment))).tobytes())
        old.seek(places.nbytes, 1)
        shutil.copyfileobj(old, new, 1 << 20)


def examine(path: Path) -> tuple[int, int, dict[str, int], np.ndarray, int | None]:
    """Width, height, bits of every channel, primaries [3, 2], dots per inch. Raises ValueError if it is not whole."""
    with open(path, "rb") as file:
        header = _header(file)
        places = _places(file)
        end = file.tell()
        for place in places:
            if place != end:
                raise ValueError("cut off, or changed")
            file.seek(int(place) + 4)
            end = int(place) + 8 + int.from_bytes(file.read(4), "little")
        if end != path.stat().st_size:
            raise ValueError("cut off")
    left, top, right, bottom = struct.unpack("<4i", header[b"dataWindow"])
    primaries = np.frombuffer(header[b"chromaticities"], "<f4")[:6].reshape(3, 2)
    dpi = round(struct.unpack("<f", header[b"xDensity"])[0]) if b"xDensity" in header else None
    return right - left + 1, bottom - top + 1, dict(_channels(header[b"channels"])), primaries, dpi


def _header(file: BinaryIO) -> dict[bytes, bytes]:
    """Values of the header's attributes; leaves the file at the table behind it."""
    file.seek(_MAGIC)
    attributes = {}
    while name := _word(file):  # name, type, size, value, until an empty name
        _word(file)
        attributes[name] = file.read(int.from_bytes(file.read(4), "little"))
    return attributes


def _places(file: BinaryIO) -> np.ndarray:
    """Reads the table: where in the file its blocks of rows lie, in order. The first begins where the table ends."""
    table, first = file.tell(), file.read(8)
    length = int.from_bytes(first, "little") - table
    return np.frombuffer(first + file.read(length - 8), "<u8")


def _word(file: BinaryIO) -> bytes:
    word = b""
    while (letter := file.read(1)) != b"\0":
        if not letter:
            raise ValueError("cut off")
        word += letter
    return word


def _channels(data: bytes) -> Iterator[tuple[str, int]]:
    """Name and bits of every channel: a name, its end, and 16 bytes of which the first says what kind of number."""
    place = 0
    while data[place]:
        end = data.index(b"\0", place)
        yield data[place:end].decode("ascii"), {1: 16, 2: 32}[data[end + 1]]
        place = end + 17
