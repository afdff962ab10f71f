"""Pictures as bytes: frames checked before they are written, and PNG files that carry their provenance.

A PNG is a signature and a chain of chunks, each `length, name, data, CRC-32`; text is one more chunk after the header.
"""

import io
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..spec import Size

_HEADER = 33        # the signature and the IHDR chunk, which comes first
_END = b"\0\0\0\0IEND\xaeB`\x82"
LEVEL = 4           # of zlib: level 6 takes three times as long for 7 to 16 % fewer bytes


def checked(frames: Iterable[np.ndarray], size: Size) -> Iterator[np.ndarray]:
    """The same frames, contiguous. Raises ValueError at one that is not uint8 [height, width, 3]: it would shear."""
    for frame in frames:
        if frame.shape != (size.height, size.width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"a frame of {frame.dtype} {frame.shape}; expected uint8 {(size.height, size.width, 3)}")
        yield np.ascontiguousarray(frame)


def png(frame: np.ndarray) -> bytes:
    """The frame, uint8 sRGB [height, width, 3], as a PNG file. Same frame, same bytes."""
    import imageio.v3 as iio

    buffer = io.BytesIO()
    iio.imwrite(buffer, frame, extension=".png", plugin="pillow", compress_level=LEVEL)
    return _with_chunk(buffer.getvalue(), b"sRGB", b"\0")


def inscribed(picture: bytes, provenance: Mapping[str, Any]) -> bytes:
    """The PNG file with its provenance as JSON in a text chunk named `provenance`; the pixels stay as they are."""
    text = json.dumps(provenance, sort_keys=True, default=str)       # ASCII, so a plain tEXt chunk can hold it
    return _with_chunk(picture, b"tEXt", b"provenance\0" + text.encode("ascii"))


def measured(picture: bytes) -> Size | None:
    """Size of a PNG file by its header; None if it is no PNG or lacks its end."""
    if picture[12:16] != b"IHDR" or not picture.endswith(_END):
        return None
    return Size(*struct.unpack(">II", picture[16:24]))


def _with_chunk(picture: bytes, name: bytes, data: bytes) -> bytes:
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return picture[:_HEADER] + chunk + picture[_HEADER:]
