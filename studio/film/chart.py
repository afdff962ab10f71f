"""A small chart on the picture: measured numbers against the coordinate, each with a dot where the film is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from studio.config.records import FrozenDict, Record
from studio.field import Array, Surfaces
from studio.film.marks import MARGIN, Curve, Overlay, Text
from studio.film.quantities import QuantityField

Series = Mapping[str, Mapping[float, float]]
"""Values by coordinate, by the name that the chart gives them."""
OPACITIES = (0.95, 0.6, 0.45, 0.35)
"""Of the curves, in their order."""


class Chart(Record):
    """Measured numbers against the coordinate of the sweep, with a dot at the present one.

    numbers: each by the name that stands beside it, such as `{sharpness: lambda_max, "2/rate": 2/lr}`; that of a field
    is where the network is. scale: of the numbers. past: whether curves are drawn up to the present only. width,
    height: of the chart, shares of the picture's height.
    """

    numbers: Annotated[dict[str, QuantityField], Field(min_length=1, max_length=4), AfterValidator(FrozenDict)]
    scale: Literal["linear", "log"] = "linear"
    past: bool = False
    width: Annotated[float, Field(gt=0, le=1)] = 0.42
    height: Annotated[float, Field(gt=0, le=1)] = 0.16

    def series(self, surfaces: Surfaces) -> Series:
        """Its numbers in a landscape. Raises ValueError if one was not measured, or has no finite value."""
        found = {name: number.series(surfaces) for name, number in self.numbers.items()}
        for name, values in found.items():
            if not any(map(self._is_shown, values.values())):
                raise ValueError(f"titles.chart: {name} has no value to show on a {self.scale} scale")
        return found

    def _is_shown(self, value: float) -> bool:
        return math.isfinite(value) and (self.scale == "linear" or value > 0)

    def draw(
        self, series: Series, coordinate: float, aspect: float, size: float, colour: str, lower: float = 0.0
    ) -> list[Overlay]:
        """The chart in the upper right of a picture, at a coordinate.

        aspect: the picture's width, size: that of the text, lower: how far down it moves, in shares of its height.
        """
        shown = {
            name: np.array([(at, self._on_scale(v)) for at, v in sorted(values.items()) if self._is_shown(v)])
            for name, values in series.items()
        }
        everything = np.concatenate(list(shown.values()))
        (first, low), (last, high) = everything.min(axis=0), everything.max(axis=0)
        right, top = aspect - MARGIN, MARGIN + lower + 2.2 * size
        room = size * 0.58 * max(len(name) for name in series)  # for the names, right of the curves
        width = self.width - room

        def place(points: Array) -> Array:
            x = (points[:, 0] - first) / max(last - first, 1e-12)
            y = (points[:, 1] - low) / max(high - low, 1e-12)
            return np.stack([right - self.width + width * x, top + self.height * (1 - y)], axis=1)

        ends = zip((low, high), place(np.array([(first, low), (first, high)])), strict=True)
        drawn: list[Overlay] = [self._number(value, at, size, colour) for value, at in ends]
        names = list[Text]()
        for (name, points), opacity in zip(shown.items(), OPACITIES, strict=False):
            value = float(np.interp(coordinate, points[:, 0], points[:, 1]))
            now = np.array([(coordinate, value)])
            curve = np.concatenate([points[points[:, 0] < coordinate], now]) if self.past else points
            [(x, y)] = place(now)
            drawn.append(Curve(place(curve), 0.0018, opacity, colour))
            drawn.append(Text("\u2022", float(x), float(y), 1.6 * size, opacity, align="middle", colour=colour))
            [(x, y)] = place(points[-1:]) + np.array([0.4 * size, 0.35 * size])
            names.append(Text(name, float(x), float(y), size, opacity, colour=colour))
        return [*drawn, *_apart(names, size)]

    def _on_scale(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else value

    def _number(self, value: float, place: Sequence[float], size: float, colour: str) -> Text:
        """A number of the scale, left of the curves."""
        text = f"{math.exp(value) if self.scale == 'log' else value:.3g}"
        x, y = float(place[0]) - 0.5 * size, float(place[1]) + 0.35 * size
        return Text(text, x, y, size, 0.6, align="right", colour=colour)


def _apart(names: list[Text], size: float) -> Iterator[Text]:
    """The names, those that would lie over one above them moved down."""
    lowest = -math.inf
    for name in sorted(names, key=lambda name: name.y):
        lowest = max(name.y, lowest + 1.25 * size)
        yield replace(name, y=lowest)
