"""Field types with units: `12s`, `120deg`, `35mm`, `1920x1080`, `#ff8a2b`; and numbers with a range."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema

from studio.config.records import OMIT_DEFAULT

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
LONGEST_TIME = 10_000_000
"""Seconds or frames of a time, more than any film has."""


def _parse_name(text: str) -> str:
    if not re.fullmatch(r"[^/\\:*?\"<>|]{1,}", text) or text.strip(" .") != text or len(text.encode()) > 120:
        raise ValueError(f"'{text}' is no name: files are named after it; write a few words of letters and digits")
    return text


Name = Annotated[str, AfterValidator(_parse_name)]
"""A name that can be part of a file's."""


def _scalar(parse: Callable[[str], Any], schema: dict[str, Any]) -> tuple[Any, ...]:
    """Annotations of a scalar that is parsed if it is text, and kept as it is if it comes from Python."""

    def read(value: Any) -> Any:
        if isinstance(value, (dict, list)):
            raise ValueError(f"expected a single value, found '{value}'")
        return parse(value.strip()) if isinstance(value, str) else value

    return BeforeValidator(read), WithJsonSchema(schema)


def _parse_number(text: str, suffix: str, example: str) -> float:
    number = re.fullmatch(rf"([-+]?[\d.]+(?:e[-+]?\d\d?)?)\s*{re.escape(suffix)}", text)
    try:
        return float(number[1] if number else "")
    except ValueError:
        raise ValueError(f"'{text}' is not understood; write it like {example}") from None


CUE = re.compile(r"[A-Za-z][\w-]*")
"""A cue's name: letters first, so that it is no time."""


@dataclass(frozen=True, order=True)
class Time:
    """A stretch of film in seconds or frames: `12s`, `288f`, `1:30` (minutes:seconds); or a cue of the scene.

    cue: its name. The amount is then 0 until `studio.film.cues` knows it.
    """

    amount: float
    unit: str = "s"
    cue: str = field(default="", metadata=OMIT_DEFAULT)

    def seconds(self, fps: Fraction) -> float:
        """Seconds, at a frame rate in frames per second."""
        return self.amount if self.unit == "s" else float(self.amount / fps)

    def frames(self, fps: Fraction) -> int:
        """Frames, rounded to the nearest, at a frame rate in frames per second."""
        return round(self.amount * fps) if self.unit == "s" else round(self.amount)

    def __str__(self) -> str:
        # digests are made from this text
        return f"{self.amount:.12g}{self.unit}" if self.amount or not self.cue else self.cue

    @classmethod
    def parse(cls, text: str) -> Time:
        """The time written as text. Raises ValueError with an example.

        >>> Time.parse("1:30").seconds(Fraction(24))
        90.0
        """
        unit = "f" if text.endswith("f") else "s"
        if re.fullmatch(r"\d+(:\d{1,2}){1,2}(\.\d+)?", text):
            amount = reduce(lambda total, part: total * 60 + float(part), text.split(":"), 0.0)
        else:
            amount = _parse_number(text, unit, "12s, 288f or 1:30")
        if amount < 0:
            raise ValueError(f"'{text}' is before the start; times are 0s or later")
        if amount > LONGEST_TIME:
            raise ValueError(f"'{text}' is too long; a time is at most {LONGEST_TIME}{unit}")
        return cls(amount, unit)


MAX_WINDOW_SIDE = 16384
"""Pixels along a side that GL draws at once; beyond, VTK draws black and reports nothing."""
MAX_PICTURE_SIDE = 100_000
"""Pixels along a side of any picture."""


class Size(NamedTuple):
    """Width and height in pixels: `1920x1080`."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, text: str) -> Size:
        """The size written as text, such as `1920x1080`. Raises ValueError with an example."""
        sides = re.fullmatch(r"(\d+)\s*x\s*(\d+)", text)
        size = cls(*map(int, sides.groups() if sides else (0, 0)))
        if not 0 < min(size) <= max(size) <= MAX_PICTURE_SIDE:
            form = f"write it like 1920x1080, at most {MAX_PICTURE_SIDE} a side"
            raise ValueError(f"'{text}' is not a picture size; {form}")
        return size


def _parse_fps(text: str) -> Fraction:
    ntsc = {"23.976": 24, "29.97": 30, "59.94": 60, "47.952": 48, "119.88": 120}
    try:
        # not all that Fraction reads: 1e999999999 would fill the memory
        number = re.fullmatch(r"\d{1,9}(\.\d{1,20}|/\d{1,9})?", text)
        rate = Fraction(ntsc[text] * 1000, 1001) if text in ntsc else Fraction(number[0] if number else "")
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"'{text}' is not a frame rate; write it like 24, 23.976 or 24000/1001") from None
    if not 1 <= rate <= 240:
        raise ValueError(f"{text} frames per second; expected 1 to 240")
    return rate


def _number_with_unit(unit: str, name: str, example: str) -> tuple[Any, ...]:
    """Annotations of a number that is written with its unit."""
    schema = {"type": "string", "description": name, "pattern": f"{unit}$", "examples": [example]}
    return _scalar(lambda text: _parse_number(text, unit, example), schema)


_TIME = {"type": "string", "description": "time", "examples": ["12s", "288f"]}
Duration = Annotated[Time, *_scalar(Time.parse, _TIME), PlainSerializer(str)]
"""A stretch of film, written `12s`, `288f` or `1:30`."""
_CUE_TIME = {**_TIME, "examples": ["12s", "288f", "drop"]}
CueTime = Annotated[
    Time,
    *_scalar(lambda text: Time(0.0, cue=text) if CUE.fullmatch(text) else Time.parse(text), _CUE_TIME),
    PlainSerializer(str),
]
"""A time, or the name of a cue."""
_SIZE = {"type": "string", "description": "size", "pattern": r"^\d+x\d+$", "examples": ["1920x1080"]}
_AS_SIZE = BeforeValidator(lambda value: value if isinstance(value, Size) else Size.parse(str(value)))
PixelSize = Annotated[Size, _AS_SIZE, PlainSerializer(str), WithJsonSchema(_SIZE)]
_RATE = WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]})
FrameRate = Annotated[Fraction, BeforeValidator(lambda value: _parse_fps(str(value))), PlainSerializer(str), _RATE]
Angle = Annotated[float, *_number_with_unit("deg", "angle", "120deg")]
"""Degrees, written `120deg`."""
Percent = Annotated[float, *_number_with_unit("%", "share", "90%")]
"""A share in percent, written `90%`."""
FocalLength = Annotated[float, *_number_with_unit("mm", "length", "35mm")]
"""Focal length in millimetres over a 24 mm high gate, written `35mm`."""


def scene_folder(info: ValidationInfo) -> Path:
    """The folder of the scene, where relative paths start."""
    folder: Path = (info.context or {}).get("folder", Path())
    return folder


ScenePath = Annotated[Path, AfterValidator(lambda path, info: scene_folder(info) / path)]
"""A folder or file; a relative path starts in the folder of the scene."""


_COLOUR = {"type": "string", "description": "colour", "pattern": "^#[0-9a-fA-F]{6}$", "examples": ["#ff8a2b"]}


def _parse_colour(text: str) -> str:
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ValueError(f"'{text}' is not a colour; write it like #ff8a2b")
    return text.lower()


Colour = Annotated[str, *_scalar(_parse_colour, _COLOUR)]
