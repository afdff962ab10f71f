"""Type on the picture: what it says and where, as plain numbers. Lengths are shares of the picture's height.

The picture always says what it shows: the live line (epoch and loss), and one small line with the facts of the slice.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from ..field import Instant
from ..spec import Colour, Duration, Record, Time, nearest
from .colour import table
from .easing import in_out_sine
from .look import FIELDS, Height, Look, Paint
from .terrain import Ranges

MARGIN = 0.06
WORDS = ("epoch", "loss", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate")


def _live(text: str) -> str:
    try:
        for _, name, _, _ in string.Formatter().parse(text):
            if name is not None and name not in WORDS:
                raise ValueError(f"no number called '{name}'{nearest(name, WORDS)}")
        text.format(**dict.fromkeys(WORDS, 1.0))
    except (KeyError, IndexError) as error:
        raise ValueError(f"'{text}' cannot be filled in: {error}") from None
    return text


class Type(Record):
    """title: shown at the start, for title_for. live: a line with numbers in braces, formatted as in Python.

    notes: the small line that says how the slice was measured. legend: the colour scale. colour: the look's ink if not
    given. size: of the live line.
    """

    title: str | None = None
    title_for: Duration = Time(4.0)
    live: Annotated[str, AfterValidator(_live)] | None = "epoch {epoch:.1f}    loss {loss:.3f}"
    notes: bool = True
    legend: bool = True
    colour: Colour | None = None
    size: Annotated[float, Field(gt=0, le=0.2)] = 0.03

    def inked(self, look: Look) -> Type:
        """The same in the look's ink, unless it has a colour of its own."""
        return self if self.colour else self.model_copy(update={"colour": look.ink})


@dataclass(frozen=True)
class Text:
    """A line of type whose baseline starts, or with align="right" ends, at (x, y) from the top left.

    With align="middle" it is centred there, turned by `angle` degrees against the clock. halo: a colour around it.
    """

    text: str
    x: float
    y: float
    size: float
    opacity: float
    weight: str = "Regular"
    align: Literal["left", "right", "middle"] = "left"
    colour: str = "#ffffff"
    angle: float = 0.0
    halo: str | None = None


@dataclass(frozen=True)
class Bar:
    """A horizontal strip of linear colours [n, 3], with its upper left corner at (x, y) from the top left."""

    colours: np.ndarray
    x: float
    y: float
    width: float
    height: float
    opacity: float


Overlay = Text | Bar


def live(kind: Type, instant: Instant) -> list[Overlay]:
    """The line with the numbers of this instant."""
    if not kind.live:
        return []
    return [
        Text(
            kind.live.format(**_numbers(instant)),
            MARGIN,
            1 - MARGIN - 2 * kind.size,
            kind.size,
            0.92,
            colour=kind.colour,
        )
    ]


def title(kind: Type, seconds: float, length: float) -> list[Overlay]:
    """The title at a time of the film; it comes in 0.8 s and goes in 1.2 s."""
    if not kind.title or not 0 <= seconds < length:
        return []
    opacity = 0.95 * in_out_sine(min(1.0, seconds / 0.8, (length - seconds) / 1.2))
    return [Text(kind.title, MARGIN, MARGIN + 2.1 * kind.size, 2.1 * kind.size, opacity, "Light", colour=kind.colour)]


def _numbers(instant: Instant) -> dict[str, float]:
    loss = instant.values["loss"]
    numbers = dict.fromkeys(WORDS, float("nan")) | dict(instant.metrics)
    return numbers | {"epoch": instant.coordinate, "loss": float(loss[loss.shape[0] // 2, loss.shape[1] // 2])}


def captions(
    kind: Type, look: Look, paint: Paint, ranges: Ranges, notes: str, aspect: float, opacity: float
) -> list[Overlay]:
    """What a view says of itself: the notes, of one line or two, and the colour scale. aspect: width over height."""
    size, low_line = 0.5 * kind.size, 1 - MARGIN + 0.35 * kind.size
    small = {"size": size, "colour": kind.colour}
    found: list[Overlay] = []
    if kind.notes:
        lines = reversed(notes.splitlines())
        found += [
            Text(line, MARGIN, low_line - 1.6 * size * n, opacity=0.55 * opacity, **small)
            for n, line in enumerate(lines)
        ]
    if kind.legend and np.ptp(table(paint.map), axis=0).any():  # one colour for all tells nothing
        low, high = _told(paint, look, ranges)
        name = name_of(paint.field)
        width, right = 0.24, aspect - MARGIN
        found += [
            Bar(table(paint.map), right - width, low_line - 1.8 * size, width, 0.4 * size, 0.9 * opacity),
            Text(name, right, low_line - 2.3 * size, opacity=0.7 * opacity, align="right", **small),
            Text(high, right, low_line, opacity=0.7 * opacity, align="right", **small),
            Text(low, right - width, low_line, opacity=0.7 * opacity, **small),
        ]
    return found


def _told(paint: Paint, look: Look, ranges: Ranges) -> tuple[str, str]:
    """What stands at both ends of the colour scale."""
    if paint.field == "hidden":
        return "no", "yes"
    scale = paint.scale
    if scale == "height":
        scale = look.height.scale if paint.field == look.height.field else "linear"
    low, high = (f"{unscaled(end, scale):.2g}" for end in ranges.of(paint))
    return low, high


def unscaled(value: np.ndarray | float, scale: str) -> np.ndarray | float:
    """Values of a field from those on a scale of heights."""
    return {"log": np.exp, "sqrt": np.square, "linear": np.positive, "signed-log": np.sinh}[scale](value)


def name_of(field: str) -> str:
    """What a field is called on the picture; a metric of the user's by its function."""
    return FIELDS.get(field) or field.rpartition(":")[2]


def height_words(height: Height) -> str:
    """How the picture's notes name the height."""
    words = {"log": "log {}", "sqrt": "\u221a{}", "linear": "{}", "signed-log": "signed log {}"}
    return words[height.scale].format(name_of(height.field))
