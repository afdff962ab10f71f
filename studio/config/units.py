"""Units as a scene writes them: `12s`, `120deg`, `35mm`, `1920x1080`, `#ff8a2b`; and numbers with a range."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


def _unit(parse: Callable[[str], Any], schema: dict, **serial) -> tuple:
    """A scalar that is parsed when it is text, and taken as it is when it comes from Python."""

    def read(given):
        if isinstance(given, (dict, list)):
            raise ValueError(f"expected a single value, found '{given}'")
        return parse(given.strip()) if isinstance(given, str) else given

    return BeforeValidator(read), WithJsonSchema(schema), *([PlainSerializer(**serial)] if serial else [])


def _number(text: str, suffix: str, example: str) -> float:
    match = re.fullmatch(rf"([-+]?[\d.]+(?:e[-+]?\d\d?)?)\s*{re.escape(suffix)}", text)
    try:
        return float(match.group(1))
    except (AttributeError, ValueError):
        raise ValueError(f"'{text}' is not understood; write it like {example}") from None


@dataclass(frozen=True, order=True)
class Time:
    """A stretch of film in seconds or frames: `12s`, `288f`, `1:30` (minutes:seconds)."""

    amount: float
    unit: str = "s"

    def seconds(self, fps: Fraction) -> float:
        return self.amount if self.unit == "s" else float(self.amount / fps)

    def frames(self, fps: Fraction) -> int:
        """To the nearest whole frame."""
        return round(self.amount * fps) if self.unit == "s" else round(self.amount)

    def __str__(self):
        return f"{self.amount:.12g}{self.unit}"  # digests are made from this text

    @classmethod
    def parse(cls, text: str) -> Time:
        if re.fullmatch(r"\d+(:\d{1,2}){1,2}(\.\d+)?", text):
            amount = 0.0
            for part in text.split(":"):
                amount = amount * 60 + float(part)
            return cls(amount)
        unit = "f" if text.endswith("f") else "s"
        amount = _number(text, unit, "12s, 288f or 1:30")
        if amount < 0:
            raise ValueError(f"'{text}' is before the start; times are 0s or later")
        return cls(amount, unit)


LARGEST = 16384
"""Pixels along a side that GL draws at once; beyond, VTK draws black without a word."""
WIDEST = 100_000
"""Pixels along a side of any picture."""


class Size(NamedTuple):
    """Width and height in pixels: `1920x1080`."""

    width: int
    height: int

    def __str__(self):
        return f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, text: str) -> Size:
        match = re.fullmatch(r"(\d+)\s*x\s*(\d+)", text)
        if not match or not (0 < int(match[1]) <= WIDEST and 0 < int(match[2]) <= WIDEST):
            raise ValueError(f"'{text}' is not a picture size; write it like 1920x1080, at most {WIDEST} a side")
        return cls(int(match[1]), int(match[2]))


def _fps(text: str) -> Fraction:
    ntsc = {"23.976": 24, "29.97": 30, "59.94": 60, "47.952": 48, "119.88": 120}
    rate = Fraction(ntsc[text] * 1000, 1001) if text in ntsc else _fraction(text)
    if not 1 <= rate <= 240:
        raise ValueError(f"{text} frames per second; expected 1 to 240")
    return rate


def _fraction(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"'{text}' is not a frame rate; write it like 24, 23.976 or 24000/1001") from None


def _size(given):
    return given if isinstance(given, Size) else Size.parse(str(given))


Duration = Annotated[Time, *_unit(Time.parse, {"type": "string", "examples": ["12s", "288f"]}, func=str)]
PixelSize = Annotated[
    Size, BeforeValidator(_size), PlainSerializer(str), WithJsonSchema({"type": "string", "pattern": r"^\d+x\d+$"})
]
FrameRate = Annotated[
    Fraction,
    BeforeValidator(lambda given: _fps(str(given))),
    PlainSerializer(str),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]}),
]
Angle = Annotated[float, *_unit(lambda text: _number(text, "deg", "120deg"), {"type": "string", "pattern": "deg$"})]
"""Degrees, written `120deg`."""
Focal = Annotated[float, *_unit(lambda text: _number(text, "mm", "35mm"), {"type": "string", "pattern": "mm$"})]
"""Focal length in millimetres over a 24 mm high gate, written `35mm`."""


def scene_folder(info: ValidationInfo) -> Path:
    """Where relative paths start from: the folder of the scene."""
    return (info.context or {}).get("folder", Path())


Folder = Annotated[Path, AfterValidator(lambda path, info: scene_folder(info) / path)]
"""A folder; relative to the scene's file."""


def _colour(text: str) -> str:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"'{text}' is not a colour; write it like #ff8a2b")
    return text.lower()


Colour = Annotated[str, *_unit(_colour, {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"})]
