"""Overlays as pixels: text and colour scales over a picture's sRGB, drawn with Pillow and the fonts in `assets`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features
from scipy.ndimage import gaussian_filter

from studio.field import Array
from studio.film.colour import encode, to_srgb
from studio.film.look import assets_folder
from studio.film.marks import Bar, Curve, Overlay, Text

_NEAR, _FAR = 0.2, 0.7  # widths of a halo's core and of its tail, in sizes of text
_FILES = {"Regular": "Inter-Regular.otf", "Light": "InterDisplay-Light.otf"}


@dataclass(frozen=True)
class GlyphMask:
    """The pixels of an overlay or of its halo; the upper left corner (left, top) may lie outside the picture.

    mask [h, w]: coverage, 0..255. opacity: of the whole mask. colour: sRGB in 0..1, [3] or, of a bar, [3, 1, w].
    """

    left: int
    top: int
    mask: Array
    opacity: float
    colour: Array


def glyph_masks(overlays: Iterable[Overlay], height: int) -> tuple[GlyphMask, ...]:
    """The masks of overlays on a picture `height` pixels high, in the order in which they are drawn: halos first."""
    groups = [tuple(_masks(overlay, height)) for overlay in overlays if overlay.opacity > 0]
    # halos under all text, or the halo of a line would lie on the line before
    return tuple(halo for group in groups for halo in group[:-1]) + tuple(group[-1] for group in groups)


def draw_glyphs(srgb: Array, cover: Array | None, masks: Iterable[GlyphMask], top: int = 0) -> None:
    """Draws masks on a band of a picture, in place. srgb: [3, rows, W] in 0..1. top: the band's first row.

    cover [rows, W]: the band's coverage, which the masks increase; None if it is opaque.
    """
    rows, width = srgb.shape[1:]
    for glyph in masks:
        mask_rows, mask_width = glyph.mask.shape
        first, last = max(glyph.top, top), min(glyph.top + mask_rows, top + rows)
        left, right = max(glyph.left, 0), min(glyph.left + mask_width, width)
        if first >= last or left >= right:
            continue
        part = slice(first - glyph.top, last - glyph.top), slice(left - glyph.left, right - glyph.left)
        place = slice(first - top, last - top), slice(left, right)
        alpha = glyph.mask[part] * np.float32(glyph.opacity / 255)
        colour = glyph.colour[:, None, None] if glyph.colour.ndim == 1 else glyph.colour[..., part[1]]
        under = srgb[:, *place]
        if cover is None:
            under += alpha * (colour - under)
            continue
        total = alpha + cover[place] * (1 - alpha)
        under += alpha / np.maximum(total, np.float32(1e-9)) * (colour - under)
        cover[place] = total


def draw_overlays(picture: Array, overlays: tuple[Overlay, ...]) -> Array:
    """The picture [H, W, 3] uint8 with overlays on it."""
    srgb = np.moveaxis(picture, -1, 0) * np.float32(1 / 255)
    draw_glyphs(srgb, None, glyph_masks(overlays, len(picture)))
    return np.rint(np.moveaxis(srgb, 0, -1) * 255).astype(np.uint8)


def fonts() -> tuple[str, ...]:
    """Names of the fonts in use. Raises OSError if one is missing."""
    return tuple(" ".join(part or "" for part in _font(weight, 12).getname()) for weight in _FILES)


def _masks(overlay: Overlay, height: int) -> Iterator[GlyphMask]:
    """The halo of an overlay, if it has one, and the overlay itself."""
    if isinstance(overlay, Bar):
        glyphs = _bar(overlay, height)
        size = 2.5 * glyphs.mask.shape[0]
    elif isinstance(overlay, Curve):
        glyphs, size = _curve(overlay, height), 12 * overlay.width * height
    else:
        glyphs = _text(overlay, height)
        size = _pixel_size(overlay, height)
    if overlay.halo:
        margin, halo = _halo(glyphs.mask.tobytes(), glyphs.mask.shape, size)
        yield GlyphMask(
            glyphs.left - margin, glyphs.top - margin, halo, overlay.opacity, to_srgb(overlay.halo).astype(np.float32)
        )
    yield glyphs


def _pixel_size(text: Text, height: int) -> int:
    return max(6, round(text.size * height))


def _text(text: Text, height: int) -> GlyphMask:
    x, y = text.x * height, text.y * height
    column, row = math.floor(x), math.floor(y)
    # a place between pixels: text that moves would jump otherwise
    inside = round(x - column, 4), round(y - row, 4)
    size = _pixel_size(text, height)
    if text.align == "middle":
        left, top, mask = _rotated(text.text, text.weight, size, text.angle, inside)
    else:
        left, top, mask = _line(text.text, text.weight, size, text.align, inside)
    return GlyphMask(column + left, row + top, mask, text.opacity, to_srgb(text.colour).astype(np.float32))


def _bar(bar: Bar, height: int) -> GlyphMask:
    columns, rows = max(1, round(bar.width * height)), max(1, round(bar.height * height))
    stops = bar.colours[np.linspace(0, len(bar.colours) - 1, columns).round().astype(int)]
    colour = encode(stops).T[:, None].astype(np.float32)
    left, top = round(bar.x * height), round(bar.y * height)
    return GlyphMask(left, top, np.full((rows, columns), 255, np.uint8), bar.opacity, colour)


def _curve(curve: Curve, height: int) -> GlyphMask:
    """A line drawn at four times the size and made smaller."""
    width = max(1.0, curve.width * height)
    left, top = (math.floor(float(start) * height - width) for start in curve.points.min(axis=0))
    right, bottom = (math.ceil(float(end) * height + width) for end in curve.points.max(axis=0))
    columns, rows = right - left, bottom - top
    mask = Image.new("L", (4 * columns, 4 * rows), 0)
    places = [(4 * (float(x) * height - left), 4 * (float(y) * height - top)) for x, y in curve.points]
    ImageDraw.Draw(mask).line(places, fill=255, width=round(4 * width), joint="curve")
    small = np.asarray(mask.resize((columns, rows), Image.Resampling.BOX))
    return GlyphMask(left, top, small, curve.opacity, to_srgb(curve.colour).astype(np.float32))


@lru_cache(maxsize=32)
def _halo(mask: bytes, shape: tuple[int, ...], size: float) -> tuple[int, Array]:
    """The soft halo of a mask of uint8 [h, w]: its margin around the mask in pixels, and the halo as a mask.

    Its core separates letters from lines that are as thin as theirs; its tail evens out what is behind them.
    """
    margin = round(_FAR * 3 * size) + 1
    letters = np.pad(np.frombuffer(mask, np.uint8).reshape(shape), margin).astype(np.float32)
    clear = np.full_like(letters, 255)
    for share, reach, gain in ((0.9, _NEAR, 3.5), (0.5, _FAR, 2.5)):
        around = gaussian_filter(letters, reach * size, truncate=3.0)
        clear *= 1 - share * (1 - np.exp(around * (-gain / 255)))
    return margin, np.rint(255 - clear).astype(np.uint8)


@lru_cache(maxsize=16)
def _line(text: str, weight: str, size: int, align: str, inside: tuple[float, float]) -> tuple[int, int, Array]:
    """A line of text that starts or ends inside the pixel (0, 0): left and top of its mask, and the mask [h, w].

    inside: where in that pixel, 0 to 1 to the right and down.
    """
    # tabular figures: a number that changes must not shift the words beside it
    anchor, tabular = align[0] + "s", ["tnum"] if features.check("raqm") else None
    font = _font(weight, size)
    left, top, right, bottom = (int(end) for end in font.getbbox(text, anchor=anchor, features=tabular))
    mask = Image.new("L", (right - left + 3, bottom - top + 3), 0)
    place = inside[0] - left + 1, inside[1] - top + 1
    ImageDraw.Draw(mask).text(place, text, fill=255, font=font, anchor=anchor, features=tabular)
    return left - 1, top - 1, np.asarray(mask)


def _rotated(text: str, weight: str, size: int, angle: float, inside: tuple[float, float]) -> tuple[int, int, Array]:
    """A short text rotated about a place inside the pixel (0, 0), as `_line` returns it. angle: in degrees."""
    font = _font(weight, size)
    side = int(font.getlength(text) + 2 * size) + 4
    half, turn = side / 2, math.radians(angle)
    left, top = round(inside[0] - half), round(inside[1] - half)
    c, s, x, y = math.cos(turn), math.sin(turn), left - inside[0], top - inside[1]
    affine = (c, -s, half + c * x - s * y, s, c, half + s * x + c * y)
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).text((half, half), text, fill=255, font=font, anchor="mm")
    return left, top, np.asarray(mask.transform(mask.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))


@lru_cache(maxsize=16)
def _font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(assets_folder() / "fonts" / _FILES[weight], size)
