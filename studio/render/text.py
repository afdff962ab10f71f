"""Type and colour scales, drawn with Pillow from the fonts in `assets` as ink that is laid over a picture's sRGB."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features
from scipy.ndimage import gaussian_filter

from studio.film.colour import encode, to_linear as linear
from studio.film.look import assets_folder as assets
from studio.film.overlays import Bar, Overlay

_NEAR, _FAR = 0.2, 0.7
"""How far a halo reaches, in sizes of type: its core, and its foot."""
_FILES = {"Regular": "Inter-Regular.otf", "Light": "InterDisplay-Light.otf"}


@dataclass(frozen=True)
class Ink:
    """What an overlay lays down, its upper left corner at (left, top), which may lie outside the picture.

    mask [h, w]: how much it covers, 0..255. opacity: of all of it. colour: sRGB in 0..1 [3], of a bar [3, 1, w].
    """

    left: int
    top: int
    mask: np.ndarray
    opacity: float
    colour: np.ndarray


def inks(overlays: Iterable[Overlay], height: int) -> tuple[Ink, ...]:
    """What overlays lay down on a picture of some height, the lowest first."""
    laid = [tuple(_inks(overlay, height)) for overlay in overlays if overlay.opacity > 0]
    # halos under all, or the one of a line would lie on the line before
    return tuple(halo for one in laid for halo in one[:-1]) + tuple(one[-1] for one in laid)


def inked(shares: np.ndarray, cover: np.ndarray | None, laid: Iterable[Ink], top: int = 0) -> None:
    """Lays ink on the sRGB [3, rows, W] in 0..1 of a band of a picture, its first row `top`, and on its coverage."""
    rows, width = shares.shape[1:]
    for ink in laid:
        tall, wide = ink.mask.shape
        first, last = max(ink.top, top), min(ink.top + tall, top + rows)
        left, right = max(ink.left, 0), min(ink.left + wide, width)
        if first >= last or left >= right:
            continue
        part = slice(first - ink.top, last - ink.top), slice(left - ink.left, right - ink.left)
        place = slice(first - top, last - top), slice(left, right)
        ink_share = ink.mask[part] * np.float32(ink.opacity / 255)
        colour = ink.colour[:, None, None] if ink.colour.ndim == 1 else ink.colour[..., part[1]]
        under = shares[:, *place]
        if cover is None:
            under += ink_share * (colour - under)
            continue
        whole = ink_share + cover[place] * (1 - ink_share)
        under += ink_share / np.maximum(whole, np.float32(1e-9)) * (colour - under)
        cover[place] = whole


def set_type(picture: np.ndarray, overlays: tuple[Overlay, ...]) -> np.ndarray:
    """The picture [H, W, 3] uint8 with its overlays on it."""
    shares = np.moveaxis(picture, -1, 0) * np.float32(1 / 255)
    inked(shares, None, inks(overlays, len(picture)))
    return np.rint(np.moveaxis(shares, 0, -1) * 255).astype(np.uint8)


def fonts() -> tuple[str, ...]:
    """Names of the fonts in use. Raises OSError if one is missing."""
    return tuple(" ".join(_font(weight, 12).getname()) for weight in _FILES)


def _inks(overlay: Overlay, height: int) -> Iterator[Ink]:
    if isinstance(overlay, Bar):
        strip = _strip(overlay, height)
        if overlay.halo:
            size = 2.5 * strip.mask.shape[0]
            rim, pool = _pool(strip.mask.tobytes(), strip.mask.shape, size)
            yield Ink(strip.left - rim, strip.top - rim, pool, overlay.opacity, _srgb(overlay.halo))
        yield strip
        return
    place = overlay.x * height, overlay.y * height
    corner = math.floor(place[0]), math.floor(place[1])
    # between the pixels, or what moves would jump
    inside = round(place[0] - corner[0], 4), round(place[1] - corner[1], 4)
    size = max(6, round(overlay.size * height))
    if overlay.align == "middle":
        left, top, mask = _turned(overlay.text, overlay.weight, size, overlay.angle, inside)
    else:
        left, top, mask = _line(overlay.text, overlay.weight, size, overlay.align, inside)
    if overlay.halo:
        rim, pool = _pool(mask.tobytes(), mask.shape, size)
        yield Ink(corner[0] + left - rim, corner[1] + top - rim, pool, overlay.opacity, _srgb(overlay.halo))
    yield Ink(corner[0] + left, corner[1] + top, mask, overlay.opacity, _srgb(overlay.colour))


def _srgb(colour: str) -> np.ndarray:
    return encode(linear(colour)).astype(np.float32)


@lru_cache(maxsize=32)
def _pool(mask: bytes, shape: tuple[int, int], size: float) -> tuple[int, np.ndarray]:
    """What lies around letters and has no edge: how far it goes beyond their mask, and its own mask.

    Close to the letters it parts them from lines as thin as theirs, and further out it calms the ground they stand on.
    """
    rim = round(_FAR * 3 * size) + 1
    letters = np.pad(np.frombuffer(mask, np.uint8).reshape(shape), rim).astype(np.float32)
    clear = np.full_like(letters, 255)
    for share, reach, gain in ((0.9, _NEAR, 3.5), (0.5, _FAR, 2.5)):
        around = gaussian_filter(letters, reach * size, truncate=3.0)
        clear *= 1 - share * (1 - np.exp(around * (-gain / 255)))
    return rim, np.rint(255 - clear).astype(np.uint8)


@lru_cache(maxsize=16)
def _line(text: str, weight: str, size: int, align: str, inside: tuple[float, float]) -> tuple[int, int, np.ndarray]:
    """A line of type that starts or ends inside the pixel (0, 0): left and top of its mask [h, w], and the mask."""
    # tabular figures: a live number must not shift the words beside it
    how = {"anchor": align[0] + "s", "features": ["tnum"] if features.check("raqm") else None}
    font = _font(weight, size)
    left, top, right, bottom = (int(end) for end in font.getbbox(text, **how))
    mask = Image.new("L", (right - left + 3, bottom - top + 3), 0)
    ImageDraw.Draw(mask).text((inside[0] - left + 1, inside[1] - top + 1), text, fill=255, font=font, **how)
    return left - 1, top - 1, np.asarray(mask)


def _turned(
    text: str, weight: str, size: int, angle: float, inside: tuple[float, float]
) -> tuple[int, int, np.ndarray]:
    """A short text around a point inside the pixel (0, 0), turned: left and top of its mask [h, w], and the mask."""
    font = _font(weight, size)
    side = int(font.getlength(text) + 2 * size) + 4
    half, turn = side / 2, math.radians(angle)
    left, top = round(inside[0] - half), round(inside[1] - half)
    c, s, x, y = math.cos(turn), math.sin(turn), left - inside[0], top - inside[1]
    affine = (c, -s, half + c * x - s * y, s, c, half + s * x + c * y)
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).text((half, half), text, fill=255, font=font, anchor="mm")
    return left, top, np.asarray(mask.transform(mask.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))


def _strip(bar: Bar, height: int) -> Ink:
    wide, tall = max(1, round(bar.width * height)), max(1, round(bar.height * height))
    stops = bar.colours[np.linspace(0, len(bar.colours) - 1, wide).round().astype(int)]
    colour = encode(stops).T[:, None].astype(np.float32)
    place = round(bar.x * height), round(bar.y * height)
    return Ink(*place, np.full((tall, wide), 255, np.uint8), bar.opacity, colour)


@lru_cache(maxsize=16)
def _font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(assets() / "fonts" / _FILES[weight], size)
