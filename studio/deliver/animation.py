"""Animated pictures: GIF and WebP, encoded from lossless segments when these are joined.

A GIF has one palette for the whole film, the 256 colours nearest to all of it, so the film is read twice.
Comments are inserted by hand: ffmpeg writes none into a GIF or WebP, and Pillow, imageio and OpenImageIO would encode
the frames anew.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from studio.config.units import Size
from studio.deliver.encoder import concat_input, concat_list, file_url, run
from studio.deliver.media import Animation, differences, probe_animation

ENCODERS = {"gif": ("gif", "png"), "webp": ("libwebp_anim",)}
_TICKS = {"gif": 100, "webp": 1000}  # to a second: the resolution of a frame's duration
_XMP = 0x04  # flag of a WebP file that carries XMP


def write(
    preset: str, segments: Sequence[Path], path: Path, frames: int, size: Size, fps: Fraction, comment: str
) -> tuple[Animation, str]:
    """Encodes the segments; returns what the file holds, and what is wrong with it, empty if nothing."""
    encode, add_comment = {"gif": (_gif, _add_gif_comment), "webp": (_webp, _add_webp_comment)}[preset]
    encode(segments, path)
    path.write_bytes(add_comment(path.read_bytes(), comment.encode()))
    media, seconds = probe_animation(path), float(frames / fps)
    if media.frames == 1:  # a film in which nothing moves is one picture, without an end or a loop
        expected = Animation(1, media.seconds, size, preset, media.loops, comment)
    else:
        near = abs(media.seconds - seconds) <= 2 / _TICKS[preset] and media.frames <= frames
        expected = Animation(media.frames, media.seconds if near else seconds, size, preset, 0, comment)
    return media, differences(media, expected)


def _gif(segments: Sequence[Path], path: Path) -> None:
    """Dithers by error diffusion, only inside the rectangle that changes: the rest stays still."""
    import ffmpeg

    with tempfile.TemporaryDirectory() as folder:
        palette = f"{folder}/palette.png"
        film = concat_input().filter("format", "bgr0")
        colours = film.filter("palettegen", reserve_transparent=0).output(palette, vframes=1)
        run(colours, [concat_list(segments)], segments[0].parent)
        indexed = ffmpeg.filter([film, ffmpeg.input(palette)], "paletteuse", dither="sierra2_4a", diff_mode="rectangle")
        run(indexed.output(file_url(path), format="gif", loop=0), [concat_list(segments)], segments[0].parent)


def _webp(segments: Sequence[Path], path: Path) -> None:
    output = concat_input().output(
        file_url(path), format="webp", vcodec="libwebp_anim", threads=1, quality=90, compression_level=4, loop=0
    )
    run(output, [concat_list(segments)], segments[0].parent)


def _add_gif_comment(picture: bytes, comment: bytes) -> bytes:
    """Inserts a comment extension, in blocks of up to 255 bytes, after the header and its palette."""
    place = 13 + (3 << (picture[10] & 7) + 1 if picture[10] & 0x80 else 0)
    blocks = (comment[i : i + 255] for i in range(0, len(comment), 255))
    extension = b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    return picture[:place] + extension + picture[place:]


def _add_webp_comment(picture: bytes, comment: bytes) -> bytes:
    """Appends the comment as an XMP chunk, which the flags in the first chunk announce.

    A single picture lacks that first chunk; its size is that of the VP8 frame.
    """
    body = bytearray(picture[12:])
    if not body.startswith(b"VP8X"):
        sides = struct.unpack("<HH", body[14:18])
        body[:0] = b"VP8X" + struct.pack("<I4x", 10) + b"".join((side - 1).to_bytes(3, "little") for side in sides)
    body[8] |= _XMP
    body += b"XMP " + struct.pack("<I", len(comment)) + comment + bytes(len(comment) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + bytes(body)
