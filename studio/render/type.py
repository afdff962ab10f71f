"""Type and colour scales, drawn over the graded picture with Pillow from the fonts in `assets`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from ..film.look import assets, encode
from ..film.overlays import Bar, Overlay, Text

_FILES = {"Regular": "Inter-Regular.otf", "Light": "InterDisplay-Light.otf"}


def set_type(picture: np.ndarray, overlays: tuple[Overlay, ...]) -> np.ndarray:
    """The picture [H, W, 3] uint8 with its overlays on it."""
    image = Image.fromarray(picture)
    for overlay in overlays:
        if isinstance(overlay, Bar):
            _draw_bar(image, overlay)
        elif overlay.opacity > 0:
            _draw_text(image, overlay)
    return np.asarray(image)


def fonts() -> tuple[str, ...]:
    """Names of the fonts in use. Raises OSError if one is missing."""
    return tuple(" ".join(_font(weight, 12).getname()) for weight in _FILES)


def _draw_text(image: Image.Image, text: Text) -> None:
    font = _font(text.weight, max(6, round(text.size * image.height)))
    ink = Image.new("L", image.size, 0)
    anchor = "ls" if text.align == "left" else "rs"
    # tabular figures: a live number must not shift the words beside it
    tabular = ["tnum"] if features.check("raqm") else None
    at = (text.x * image.height, text.y * image.height)
    ImageDraw.Draw(ink).text(at, text.text, fill=round(255 * text.opacity), font=font, anchor=anchor, features=tabular)
    box = ink.getbbox()
    if box:
        image.paste(text.colour, box, ink.crop(box))


def _draw_bar(image: Image.Image, bar: Bar) -> None:
    width, height = max(1, round(bar.width * image.height)), max(1, round(bar.height * image.height))
    stops = bar.colours[np.linspace(0, len(bar.colours) - 1, width).round().astype(int)]
    strip = Image.fromarray(np.broadcast_to((encode(stops) * 255 + 0.5).astype(np.uint8), (height, width, 3)).copy())
    at = round(bar.x * image.height), round(bar.y * image.height)
    image.paste(strip, at, Image.new("L", strip.size, round(255 * bar.opacity)))


@lru_cache(maxsize=16)
def _font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(assets() / "fonts" / _FILES[weight], size)
