"""Animated pictures: GIF and WebP, encoded from lossless pieces when these are joined.

A GIF has one palette for the whole film, the 256 colours nearest to all of it, so it is read twice.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from studio.config.units import Size
from studio.deliver.encoder import joined, listed, run
from studio.deliver.media import Animation, animation, differences

ENCODERS = {"gif": ("gif", "png"), "webp": ("libwebp_anim",)}
_TICKS = {"gif": 100, "webp": 1000}  # to a second: how finely the files can say how long a frame stands
_XMP = 0x04  # flag of a WebP file that carries XMP


def write(
    preset: str, pieces: Sequence[Path], path: Path, frames: int, size: Size, fps: Fraction, comment: str
) -> tuple[Animation, str]:
    """Encodes the pieces: what the file holds, and what is wrong with that, empty if nothing is."""
    make, inscribed = {"gif": (_gif, _gif_inscribed), "webp": (_webp, _webp_inscribed)}[preset]
    make(pieces, path)
    path.write_bytes(inscribed(path.read_bytes(), comment.encode()))
    found, seconds = animation(path), float(frames / fps)
    if found.frames == 1:  # a film in which nothing moves is one picture, without an end or a loop
        wanted = Animation(1, found.seconds, size, preset, found.loops, comment)
    else:
        near = abs(found.seconds - seconds) <= 2 / _TICKS[preset] and found.frames <= frames
        wanted = Animation(found.frames, found.seconds if near else seconds, size, preset, 0, comment)
    return found, differences(found, wanted)


def _gif(pieces: Sequence[Path], path: Path) -> None:
    """Errors of colour are handed on to the neighbours, in the part of the picture that moves: the rest stays still."""
    import ffmpeg

    with tempfile.TemporaryDirectory() as folder:
        palette = f"{folder}/palette.png"
        opaque = joined().filter("format", "bgr0")
        run(opaque.filter("palettegen", reserve_transparent=0).output(palette, vframes=1), [listed(pieces)])
        chosen = ffmpeg.filter(
            [joined().filter("format", "bgr0"), ffmpeg.input(palette)],
            "paletteuse",
            dither="sierra2_4a",
            diff_mode="rectangle",
        )
        run(chosen.output(str(path), format="gif", loop=0), [listed(pieces)])


def _webp(pieces: Sequence[Path], path: Path) -> None:
    output = joined().output(
        str(path), format="webp", vcodec="libwebp_anim", threads=1, quality=90, compression_level=4, loop=0
    )
    run(output, [listed(pieces)])


def _gif_inscribed(picture: bytes, comment: bytes) -> bytes:
    """With a comment extension, in blocks of up to 255 bytes, after the header and its palette."""
    place = 13 + (3 << (picture[10] & 7) + 1 if picture[10] & 0x80 else 0)
    blocks = (comment[i : i + 255] for i in range(0, len(comment), 255))
    said = b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    return picture[:place] + said + picture[place:]


def _webp_inscribed(picture: bytes, comment: bytes) -> bytes:
    """With the comment as its XMP chunk, at the end, which the flags in the first chunk announce.

    One picture alone lacks that first chunk; its size is that of the VP8 frame.
    """
    body = bytearray(picture[12:])
    if not body.startswith(b"VP8X"):
        sides = struct.unpack("<HH", body[14:18])
        body[:0] = b"VP8X" + struct.pack("<I4x", 10) + b"".join((side - 1).to_bytes(3, "little") for side in sides)
    body[8] |= _XMP
    body += b"XMP " + struct.pack("<I", len(comment)) + comment + bytes(len(comment) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + bytes(body)
