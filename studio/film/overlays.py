"""Text and colour scale on the picture: what they say and where, as plain numbers, in shares of the picture's height.

From a scene's titles, an instant of the surfaces and the ranges at it: the title, the live line (coordinate and loss),
small notes on how the slice was measured, and the legend of the colours. The last three are a shot's captions.
"""

from __future__ import annotations

import math
import string
import textwrap
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from studio.config.records import Record, nearest
from studio.config.units import Colour, CueTime, Size, Time
from studio.field import SHORT_FORMAT, Axis, Instant, Scale, from_scale
from studio.film.chart import Chart
from studio.film.colour import lab_diagonal, lookup_table, to_linear
from studio.film.easing import Ease
from studio.film.fields import CATEGORIES, FIELDS, ColourMapping, HeightMapping
from studio.film.look import Look
from studio.film.marks import MARGIN, WHITE, Bar, Overlay, Text
from studio.film.ranges import Ranges
from studio.film.surface import value_at
from studio.film.timeline import Panel, Region

VERSION = 8  # raise it when the same film is to get other text
SMALLEST = 9
"""Pixels of the smallest text; in less, letters run together. But no text is made larger than the live line."""
_BAR_WIDTH = 0.24
_MIDDLE = 0.3  # of the letters, above their baseline
_LETTER_WIDTH = 0.54  # mean width of a letter, as a share of the text's size
_MIN_LAB_DIAGONAL = 25  # a map whose colours lie closer together in CIELAB has no legend: nobody could read it


def names_in(text: str) -> list[str]:
    """The names in braces of a live line. Raises ValueError if a brace has no other."""
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]


def live_mistake(live: str, axis: Axis, numbers: Iterable[str] = (), *, any_metric: bool = False) -> str | None:
    """What is wrong with a live line of a film over the coordinates of an axis; None if nothing is.

    numbers: beside `loss` and the coordinate. any_metric: whether there may be more metrics of training and testing.
    """
    known = ("coordinate", axis.name, "loss", "distance", *numbers)
    try:
        names = names_in(live)
        for name in names:
            if name not in known and not (any_metric and name.startswith(("train_", "test_"))):
                return f"no number called '{name}'{nearest(name, known)}"
        for _, word, form, _ in string.Formatter().parse(live):
            if form and not SHORT_FORMAT.fullmatch(form):
                return f"'{form}' formats no number; write it like {{{word}:.1f}}"
        live.format(**dict.fromkeys(names, 1.0) | {"coordinate": axis.label(1.0)})
    except (ValueError, KeyError, IndexError) as error:
        return f"'{live}' cannot be filled in: {error}"
    return None


def claim_mistake(text: str, numbers: Iterable[str]) -> str | None:
    """What is wrong with a claim that may name these numbers; None if nothing is."""
    numbers = tuple(numbers)
    try:
        names = names_in(text)
        if unknown := next((name for name in names if name not in numbers), None):
            return f"no number '{unknown}'" + (nearest(unknown, numbers) if numbers else "; say it under `numbers`")
        text.format_map(dict.fromkeys(names, ""))
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        return f"'{text}' cannot be filled in: {error}"
    return None if names else "claims no number; name one of the scene's in braces, or take the line out"


class Titles(Record):
    """The text on the picture.

    title: shown at the start. title_for: how long it is shown.
    live: a line with numbers in braces, formatted as in Python; `{coordinate}` is the sweep's, with its name and unit,
    and its name alone, such as `{angle:.0f}`, the number. claim: a line with numbers of the scene in braces, as they
    were measured, in the title's place. claim_from: when it appears at the earliest. notes: small lines that say how
    the slice was measured.
    legend: the colour scale. chart: of numbers against the coordinate, in the upper right. colour: the look's ink if
    omitted. size: of the live line, a share of the picture's height.
    """

    title: str | None = None
    title_for: CueTime = Time(4.0)
    live: str | None = "{coordinate}    loss {loss:.3f}"
    claim: str | None = None
    claim_from: CueTime = Time(0.0)
    notes: bool = True
    legend: bool = True
    chart: Chart | None = None
    colour: Colour | None = None
    size: Annotated[float, Field(gt=0, le=0.2)] = 0.03

    def with_ink(self, look: Look) -> Titles:
        """The same in the look's ink, unless it has a colour of its own."""
        return self if self.colour else self.model_copy(update={"colour": look.ink})


@dataclass(frozen=True)
class Page:
    """The layout of a film's text, the same for all of its frames.

    aspect: the picture's width. small_size: of notes and legend. notes_width: room for the notes. live_y, notes_y,
    legend_y: baselines of the live line, of the first of the notes, and of the legend.
    """

    aspect: float
    small_size: float
    notes_width: float
    live_y: float
    notes_y: float
    legend_y: float

    @classmethod
    def of(cls, size: Size, titles: Titles, notes: Iterable[tuple[ColourMapping, str]]) -> Page:
        """The layout that holds the notes of each of a film's colour mappings, so that no line moves between them."""
        notes = tuple(notes)
        aspect, small = size.width / size.height, min(max(0.5 * titles.size, SMALLEST / size.height), titles.size)
        longest = max((len(field_label(mapping.field)) for mapping, _ in notes), default=0)
        legend_width = max(_BAR_WIDTH, _LETTER_WIDTH * small * longest) + 2 * small if titles.legend else 0.0
        width, lowest = aspect - 2 * MARGIN, 1 - MARGIN + 0.35 * titles.size
        # in a tall picture the legend stands above the notes
        notes_width = width - legend_width if width - legend_width > width / 2 else width
        rows = max((len(_wrap(text, notes_width, small)) for _, text in notes if titles.notes), default=1)
        first = lowest - 1.6 * small * (rows - 1)
        live = min(1 - MARGIN - 2 * titles.size, first - small - 0.6 * titles.size)
        legend = live - 1.6 * titles.size if notes_width == width else lowest
        return cls(aspect, small, notes_width, live, first, legend)

    def of_panel(self, panel: Panel) -> Page:
        """The layout of the text in a panel, whose left edge is 0."""
        return replace(self, aspect=self.aspect / panel.count)

    def shift(self, elements: Iterable[Overlay], panel: Panel) -> list[Overlay]:
        """Overlays of a panel where the panel stands on the page."""
        return [overlay.placed(self.aspect * panel.left, 0.0) for overlay in elements]


def _wrap(notes: str, width: float, size: float) -> list[str]:
    """The lines of notes, broken before their dots where they are wider than `width`."""
    unbroken = notes.replace(" ", "\u00a0").replace("\u00a0\u00b7\u00a0", "\u00a0\u00b7 ")
    letters = max(1, int(width / (_LETTER_WIDTH * size)))
    wrapper = textwrap.TextWrapper(letters, break_long_words=False, break_on_hyphens=False)
    return [row.replace("\u00a0", " ") for line in unbroken.splitlines() for row in wrapper.wrap(line)]


def live_line(titles: Titles, instant: Instant, axis: Axis, page: Page, grown: float = 1.0) -> list[Overlay]:
    """The live line with the numbers of an instant; empty if the titles have none.

    grown: share of the height to which the surface has grown, said in the line. The loss is that at the marker; without
    one, that in the middle of the window.
    """
    if not titles.live:
        return []
    numbers = dict.fromkeys(names_in(titles.live), float("nan")) | {"distance": 0.0} | dict(instant.metrics)
    numbers |= {"loss": value_at(instant, "loss", instant.marker or instant.window.centre)}
    numbers[axis.name] = instant.coordinate
    line = titles.live.format(**{**numbers, "coordinate": axis.label(instant.coordinate)})
    line += f"    at {grown:.0%} of its height" if grown < 1 else ""
    return [Text(line, MARGIN, page.live_y, titles.size, 0.92, colour=titles.colour or WHITE)]


def panel_name(titles: Titles, name: str, page: Page, row: int = 0) -> list[Overlay]:
    """The name of a panel's landscape, at its upper right; under the title's and the claim's line."""
    x, y = page.aspect - MARGIN, MARGIN + (1 + 1.5 * row) * titles.size + below_titles(titles)
    return [Text(name, x, y, titles.size, 0.92, align="right", colour=titles.colour or WHITE)]


def frame_of(region: Region, page: Page, titles: Titles, weight: float) -> list[Overlay]:
    """Thin lines around an inset."""
    left, top, right, bottom = region
    ink, thin = to_linear(titles.colour or WHITE)[None], 0.0015
    x, width, opacity = page.aspect * left, page.aspect * (right - left), 0.5 * weight
    across = [Bar(ink, x, y, width, thin, opacity) for y in (top, bottom - thin)]
    return [*across, *(Bar(ink, at, top, thin, bottom - top, opacity) for at in (x, x + width - thin))]


def camera_dot(region: Region, place: tuple[float, float], page: Page, titles: Titles, weight: float) -> list[Overlay]:
    """Where the camera of the main picture is, in an inset. place: shares of the inset's sides from its top left."""
    left, top, right, bottom = region
    if not all(0.02 < share < 0.98 for share in place):
        return []
    size = 0.2 * (bottom - top)
    x, y = page.aspect * (left + (right - left) * place[0]), top + (bottom - top) * place[1]
    return [Text("\u2022", x, y, size, 0.9 * weight, "Regular", "middle", titles.colour or WHITE)]


def below_titles(titles: Titles) -> float:
    """How far down what stands in a panel's upper corner moves, so that the whole page's lines stay free."""
    return 2.1 * titles.size if titles.claim or titles.title else 0.0


def title(titles: Titles, seconds: float, length: float) -> list[Overlay]:
    """The title at a time of the film: it fades in over 0.8 s and out over 1.2 s; empty after `length` seconds."""
    if not titles.title or not 0 <= seconds < length:
        return []
    size, opacity = 2.1 * titles.size, 0.95 * Ease("in-out-sine")(min(1.0, seconds / 0.8, (length - seconds) / 1.2))
    return [Text(titles.title, MARGIN, MARGIN + size, size, opacity, "Light", colour=titles.colour or WHITE)]


def claim(titles: Titles, seconds: float, start: float, page: Page) -> list[Overlay]:
    """The claim at a time of the film, at the upper left; it fades in within 0.8 s from `start` on."""
    if not titles.claim or seconds < start:
        return []
    size, opacity = 0.8 * titles.size, 0.92 * Ease("in-out-sine")(min(1.0, (seconds - start) / 0.8))
    letters = max(1, int((page.aspect - 2 * MARGIN) / (_LETTER_WIDTH * size)))
    rows, colour = textwrap.wrap(titles.claim, letters), titles.colour or WHITE
    return [
        Text(row, MARGIN, MARGIN + size * (1 + 1.5 * n), size, opacity, colour=colour) for n, row in enumerate(rows)
    ]


def notes_and_legend(
    titles: Titles, look: Look, mapping: ColourMapping, ranges: Ranges, notes: str, page: Page
) -> list[Overlay]:
    """The notes of a view and the legend of its colours, as far as the titles have them.

    With a halo they are more opaque, since the surface may be behind.
    """
    size, opacity, colour = page.small_size, 0.85 if look.halo else 0.55, titles.colour or WHITE
    rows = _wrap(notes, page.notes_width, size) if titles.notes else []
    overlays: list[Overlay] = [
        Text(row, MARGIN, page.notes_y + 1.6 * size * n, size, opacity, colour=colour) for n, row in enumerate(rows)
    ]
    if titles.legend and lab_diagonal(mapping.map) >= _MIN_LAB_DIAGONAL:
        overlays += _legend(titles, look, mapping, ranges, page)
    return overlays


def _legend(titles: Titles, look: Look, mapping: ColourMapping, ranges: Ranges, page: Page) -> list[Overlay]:
    size, opacity, colour = page.small_size, 0.9 if look.halo else 0.7, titles.colour or WHITE
    low, *between, high = words = _legend_words(mapping, look, ranges)
    left, right, y = page.aspect - MARGIN - _BAR_WIDTH, page.aspect - MARGIN, page.legend_y
    middle, fits = (right - _BAR_WIDTH / 2, y - _MIDDLE * size), _LETTER_WIDTH * size * len("".join(words)) < _BAR_WIDTH
    colours = lookup_table(mapping.map)
    if values := CATEGORIES.get(mapping.field):  # a bar of as many parts
        colours = colours[np.linspace(0, len(colours) - 1, len(values)).astype(int)].repeat(64, axis=0)
    return [
        Bar(colours, left, y - 1.8 * size, _BAR_WIDTH, 0.4 * size, 0.9),
        Text(field_label(mapping.field), right, y - 2.3 * size, size, opacity, align="right", colour=colour),
        Text(high, right, y, size, opacity, align="right", colour=colour),
        Text(low, left, y, size, opacity, colour=colour),
        *(Text(word, *middle, size, opacity, "Regular", "middle", colour) for word in between if fits),
    ]


def _legend_words(mapping: ColourMapping, look: Look, ranges: Ranges) -> tuple[str, ...]:
    """The text at both ends of the colour scale, in the field's units; or the names of its categories, two or three."""
    if mapping.field in CATEGORIES:
        return tuple(CATEGORIES[mapping.field].values())
    own: Scale = look.height.scale if mapping.field == look.height.field else "linear"
    scale = own if mapping.scale == "height" else mapping.scale
    low, high = from_scale(np.array(ranges.colour_ends(mapping)), scale)
    # close ends, as deep in a zoom, need more digits to differ
    digits = 2 + max(0, math.floor(math.log10(max(abs(low), abs(high)) / (high - low))))
    return f"{low:.{digits}g}", f"{high:.{digits}g}"


def dissolve_overlays(shots: Iterable[tuple[float, Iterable[Overlay]]]) -> list[Overlay]:
    """The overlays of shots in their dissolve, from each shot's weight and its overlays.

    Overlays that differ fade out, then in, so that no two texts overlap; shared ones stay as they are.
    """
    shares: dict[Hashable, tuple[Overlay, float]] = {}
    for weight, overlays in shots:
        for overlay in overlays:
            identity = _without_opacity(overlay)
            shares[identity] = overlay, shares[identity][1] + weight if identity in shares else weight
    faded = ((overlay, overlay.opacity * dissolve_opacity(share)) for overlay, share in shares.values())
    return [replace(overlay, opacity=opacity) for overlay, opacity in faded if opacity]


def dissolve_opacity(share: float) -> float:
    """The opacity of text whose shots have a share of the frame: 0 up to a half of it.

    >>> [dissolve_opacity(share) for share in (0.3, 0.5, 1.0)]
    [0.0, 0.0, 1.0]
    """
    return Ease("in-out-sine")(max(0.0, 2 * share - 1))


def _without_opacity(overlay: Overlay) -> Hashable:
    """What an overlay shows apart from its opacity, as a value that compares."""
    values = (getattr(overlay, field.name) for field in fields(overlay) if field.name != "opacity")
    return type(overlay), *(value.tobytes() if isinstance(value, np.ndarray) else value for value in values)


def field_label(field: str) -> str:
    """A field's name on the picture; a metric of the user's goes by its function's name."""
    return FIELDS.get(field) or field.rpartition(":")[2]


def height_words(height: HeightMapping) -> str:
    """The drawn height's name in the picture's notes, such as `log loss`."""
    words = {"log": "log {}", "sqrt": "\u221a{}", "linear": "{}", "signed-log": "signed log {}"}
    return words[height.scale].format(field_label(height.field))


def upside_down(height: HeightMapping) -> str:
    """The note of a landscape that is drawn upside down."""
    return f"drawn upside down: the smallest {field_label(height.field)} stands highest"
