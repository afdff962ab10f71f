"""Type and colour scales, drawn over the graded picture with Pillow from the fonts in `assets`."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from ..film.colour import encode
from ..film.look import assets
from ..film.overlays import Bar, Overlay, Text

_FILES = {"Regular": "Inter-Regular.otf", "Light": "InterDisplay-Light.otf"}


def set_type(picture: np.ndarray, overlays: tuple[Overlay, ...]) -> np.ndarray:
    """The picture [H, W, 3] uint8 with its overlays on it."""
    image = Image.fromarray(picture)
    for overlay in overlays:
        if isinstance(overlay, Bar):
            _draw_bar(image, overlay)
        elif overlay.opacity > 0 and overlay.align == "middle":
            _draw_turned(image, overlay)
        elif overlay.opacity > 0:
            _draw_text(image, overlay)
    return np.asarray(image)


def fonts() -> tuple[str, ...]:
    """Names of the fonts in use. Raises OSError if one is missing."""
    return tuple(" ".join(_font(weight, 12).getname()) for weight in _FILES)


def _draw_text(image: Image.Image, text: Text) -> None:
    font = _font(text.weight, max(6, round(text.size * image.height)))
    anchor, fill = "ls" if text.align == "left" else "rs", round(255 * text.opacity)
    # tabular figures: a live number must not shift the words beside it
    tabular = ["tnum"] if features.check("raqm") else None
    at = (text.x * image.height, text.y * image.height)
    for colour, stroke in _layers(text, font):
        ink = Image.new("L", image.size, 0)
        ImageDraw.Draw(ink).text(
            at, text.text, fill=fill, font=font, anchor=anchor, features=tabular, stroke_width=stroke, stroke_fill=fill
        )
        box = ink.getbbox()
        if box:
            image.paste(colour, box, ink.crop(box))


def _draw_turned(image: Image.Image, text: Text) -> None:
    """A short text around a point, turned, in its halo; placed between the pixels, or it would jump as it moves."""
    font = _font(text.weight, max(6, round(text.size * image.height)))
    side = int(font.getlength(text.text) + 2 * font.size) + 4
    at = text.x * image.height - side / 2, text.y * image.height - side / 2
    corner = round(at[0]), round(at[1])
    turn = math.radians(text.angle)
    c, s, half = math.cos(turn), math.sin(turn), side / 2
    x, y = corner[0] - at[0] - half, corner[1] - at[1] - half  # of the corner, from the point
    affine = (c, -s, half + c * x - s * y, s, c, half + s * x + c * y)
    fill = round(255 * text.opacity)
    for colour, stroke in _layers(text, font):
        ink = Image.new("L", (side, side), 0)
        ImageDraw.Draw(ink).text(
            (half, half), text.text, fill=fill, font=font, anchor="mm", stroke_width=stroke, stroke_fill=fill
        )
        image.paste(colour, corner, ink.transform(ink.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))


def _layers(text: Text, font: ImageFont.FreeTypeFont) -> list[tuple[str, int]]:
    """What is laid down for a text, the lowest first: its colour, and how many pixels it goes beyond the letters."""
    halo = [(text.halo, max(1, round(0.13 * font.size)))] if text.halo else []
    return [*halo, (text.colour, 0)]


def _draw_bar(image: Image.Image, bar: Bar) -> None:
    width, height = max(1, round(bar.width * image.height)), max(1, round(bar.height * image.height))
    stops = bar.colours[np.linspace(0, len(bar.colours) - 1, width).round().astype(int)]
    strip = Image.fromarray(np.broadcast_to((encode(stops) * 255 + 0.5).astype(np.uint8), (height, width, 3)).copy())
    at = round(bar.x * image.height), round(bar.y * image.height)
    image.paste(strip, at, Image.new("L", strip.size, round(255 * bar.opacity)))


@lru_cache(maxsize=16)
def _font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(assets() / "fonts" / _FILES[weight], size)
