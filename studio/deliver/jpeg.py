"""JPEG files: written through imageio, whole in memory, and copied with a comment without encoding again."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from studio.field import Array

MAX_SIDE = 65500  # pixels, in every library made of libjpeg; the format itself could count to 65535
_MAX_COMMENT = 65533  # bytes in one segment


def write(path: Path, pixels: Array, profile: bytes, dpi: int | None) -> None:
    """Writes a picture [height, width, 3] of uint8 at quality 95, colour at full size, with an ICC profile.

    Not through OpenImageIO, which could do so band by band: on a full disk its libjpeg ends the process.
    """
    import imageio.v3 as iio

    tags = {"icc_profile": profile} if dpi is None else {"icc_profile": profile, "dpi": (dpi, dpi)}
    data = iio.imwrite("<bytes>", pixels, extension=".jpg", plugin="pillow", quality=95, subsampling=0, **tags)
    path.write_bytes(data)


def add_comment(source: Path, target: Path, text: str) -> None:
    """Copies a JPEG with a text in comment segments behind the first segment, which is JFIF's own.

    By hand: OpenImageIO also copies without decoding, but writes one segment only, adds EXIF, and ends the process if
    the text is longer than a segment. Pillow and imageio encode again.
    """
    data = text.encode("ascii")
    parts = [data[i : i + _MAX_COMMENT] for i in range(0, len(data), _MAX_COMMENT)]
    with open(source, "rb") as old, open(target, "wb") as new:
        head = old.read(6)
        new.write(head + old.read(int.from_bytes(head[4:6], "big") - 2))
        new.writelines(b"\xff\xfe" + struct.pack(">H", len(part) + 2) + part for part in parts)
        shutil.copyfileobj(old, new, 1 << 20)
