"""Type on the picture: what it says and where, as plain numbers. Lengths are shares of the picture's height.

The picture always says what it shows: the live line (epoch and loss), and one small line with the facts of the slice.
"""

from __future__ import annotations

import string
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from studio.config.records import Record, nearest
from studio.config.units import Colour, Duration, Size, Time
from studio.field import Instant
from studio.film.colour import spread, table
from studio.film.easing import in_out_sine
from studio.film.fields import FIELDS, ColourMapping, HeightMapping
from studio.film.look import Look
from studio.film.surface import Ranges

VERSION = 4  # raise it when the same reel is to say otherwise what it shows
MARGIN = 0.06
SMALLEST = 9
"""Pixels of the smallest type; in less, letters run together. But none is made larger than the live line."""
_BAR = 0.24
_LETTER = 0.54
"""How wide a letter is in the mean, of the size of type."""
_TELLING = 25
"""How far the colours of a map lie apart in CIELAB at least, if a legend is to tell them apart."""
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


class Titles(Record):
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

    def inked(self, look: Look) -> Titles:
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
    """A horizontal strip of linear colours [n, 3], with its upper left corner at (x, y) from the top left.

    halo: a colour around it.
    """

    colours: np.ndarray
    x: float
    y: float
    width: float
    height: float
    opacity: float
    halo: str | None = None


Overlay = Text | Bar


@dataclass(frozen=True)
class Page:
    """Where type stands in a picture.

    aspect: its width. small: the size of notes and legend. room: the width of the notes. live, notes, legend: the
    baselines of the live line, of the first of the notes, and of the legend.
    """

    aspect: float
    small: float
    room: float
    live: float
    notes: float
    legend: float

    @classmethod
    def of(cls, size: Size, kind: Titles, said: Iterable[tuple[ColourMapping, str]]) -> Page:
        """The page of a film that says, of each of its paints, some notes; so that no line moves when they change."""
        aspect, small = size.width / size.height, min(max(0.5 * kind.size, SMALLEST / size.height), kind.size)
        said = tuple(said)
        longest = max((len(name_of(paint.field)) for paint, _ in said), default=0)
        right = max(_BAR, _LETTER * small * longest) + 2 * small if kind.legend else 0.0
        whole, low = aspect - 2 * MARGIN, 1 - MARGIN + 0.35 * kind.size
        room = whole - right if whole - right > whole / 2 else whole  # in a tall picture the legend stands above
        rows = max((len(_rows(notes, room, small)) for _, notes in said if kind.notes), default=1)
        first = low - 1.6 * small * (rows - 1)
        live = min(1 - MARGIN - 2 * kind.size, first - small - 0.6 * kind.size)
        return cls(aspect, small, room, live, first, live - 1.6 * kind.size if room == whole else low)


def _rows(notes: str, room: float, size: float) -> list[str]:
    """The lines of notes, broken at their dots where they are wider than the room."""
    whole = notes.replace(" ", "\u00a0").replace("\u00a0\u00b7\u00a0", "\u00a0\u00b7 ")
    letters = max(1, int(room / (_LETTER * size)))
    rows = [
        row
        for line in whole.splitlines()
        for row in textwrap.wrap(line, letters, break_long_words=False, break_on_hyphens=False)
    ]
    return [row.replace("\u00a0", " ") for row in rows]


def live(kind: Titles, instant: Instant, page: Page) -> list[Overlay]:
    """The line with the numbers of this instant."""
    if not kind.live:
        return []
    return [
        Text(
            kind.live.format(**_numbers(instant)),
            MARGIN,
            page.live,
            kind.size,
            0.92,
            colour=kind.colour,
        )
    ]


def title(kind: Titles, seconds: float, length: float) -> list[Overlay]:
    """The title at a time of the film; it comes in 0.8 s and goes in 1.2 s."""
    if not kind.title or not 0 <= seconds < length:
        return []
    opacity = 0.95 * in_out_sine(min(1.0, seconds / 0.8, (length - seconds) / 1.2))
    return [Text(kind.title, MARGIN, MARGIN + 2.1 * kind.size, 2.1 * kind.size, opacity, "Light", colour=kind.colour)]


def _numbers(instant: Instant) -> dict[str, float]:
    loss = instant.values["loss"]
    numbers = dict.fromkeys(WORDS, float("nan")) | dict(instant.metrics)
    return numbers | {"epoch": instant.coordinate, "loss": float(loss[loss.shape[0] // 2, loss.shape[1] // 2])}


def captions(kind: Titles, look: Look, paint: ColourMapping, ranges: Ranges, notes: str, page: Page) -> list[Overlay]:
    """What a view says of itself: the notes, and the colour scale."""
    size, low = page.small, page.legend
    small = {"size": size, "colour": kind.colour}
    found: list[Overlay] = []
    if kind.notes:
        seen = 0.85 if look.halo else 0.55  # what needs a halo has something behind it
        found += [
            Text(row, MARGIN, page.notes + 1.6 * size * n, opacity=seen, **small)
            for n, row in enumerate(_rows(notes, page.room, size))
        ]
    if kind.legend and spread(paint.map) >= _TELLING:
        first, last = _told(paint, look, ranges)
        right, small["opacity"] = page.aspect - MARGIN, 0.9 if look.halo else 0.7
        found += [
            Bar(table(paint.map), right - _BAR, low - 1.8 * size, _BAR, 0.4 * size, 0.9),
            Text(name_of(paint.field), right, low - 2.3 * size, align="right", **small),
            Text(last, right, low, align="right", **small),
            Text(first, right - _BAR, low, **small),
        ]
    return found


def crossed(said: Iterable[tuple[float, Iterable[Overlay]]]) -> list[Overlay]:
    """What shots say in their dissolve, of each its weight and its type: all that differs crosses through nothing.

    What goes has gone before what comes begins to show, so that no two texts are ever read in one place. What shots
    have in common stands as if there were no dissolve.
    """
    shares: dict[tuple, tuple[Overlay, float]] = {}
    for weight, overlays in said:
        for overlay in overlays:
            what = _unfaded(overlay)
            shares[what] = overlay, shares[what][1] + weight if what in shares else weight
    shown = ((overlay, overlay.opacity * crossing(share)) for overlay, share in shares.values())
    return [replace(overlay, opacity=opacity) for overlay, opacity in shown if opacity]


def crossing(share: float) -> float:
    """How far type shows that has a share of the frame: not at all up to half of it."""
    return in_out_sine(max(0.0, 2 * share - 1))


def _unfaded(overlay: Overlay) -> tuple:
    """What an overlay is but for how far it shows, as something that compares."""
    values = {field.name: getattr(overlay, field.name) for field in fields(overlay) if field.name != "opacity"}
    return type(overlay), *(v.tobytes() if isinstance(v, np.ndarray) else v for v in values.values())


def _told(paint: ColourMapping, look: Look, ranges: Ranges) -> tuple[str, str]:
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


def height_words(height: HeightMapping) -> str:
    """How the picture's notes name the height."""
    words = {"log": "log {}", "sqrt": "\u221a{}", "linear": "{}", "signed-log": "signed log {}"}
    return words[height.scale].format(name_of(height.field))
