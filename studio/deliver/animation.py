"""Animated pictures: GIF and WebP, encoded from lossless segments when these are joined.

A GIF has one palette for the whole film, the 256 colours nearest to all of it, so the film is read twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from studio.config.units import Size
from studio.deliver import comments
from studio.deliver.encoder import concat_input, concat_list, file_url, run
from studio.deliver.media import Animation, differences, probe_animation

ENCODERS = {"gif": ("gif", "png"), "webp": ("libwebp_anim",)}
_TICKS = {"gif": 100, "webp": 1000}  # to a second: the resolution of a frame's duration


def write(
    preset: str, segments: Sequence[Path], path: Path, frames: int, size: Size, fps: Fraction, comment: str
) -> tuple[Animation, str]:
    """Encodes the segments; returns what the file holds, and what is wrong with it, empty if nothing."""
    encode, add_comment = {"gif": (_gif, comments.add_to_gif), "webp": (_webp, comments.add_to_webp)}[preset]
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
