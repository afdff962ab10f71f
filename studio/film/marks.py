"""Marks: what overlays are made of, in shares of the picture's height from its top left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from studio.field import Array

MARGIN = 0.06
"""From the picture's edges to what stands on it."""
WHITE = "#ffffff"


@dataclass(frozen=True)
class Text:
    """A line of text whose baseline starts, or with align="right" ends, at (x, y) from the top left.

    With align="middle" it is centred there and turned `angle` degrees anticlockwise. halo: a soft edge of this colour.
    """

    text: str
    x: float
    y: float
    size: float
    opacity: float
    weight: str = "Regular"
    align: Literal["left", "right", "middle"] = "left"
    colour: str = WHITE
    angle: float = 0.0
    halo: str | None = None

    def placed(self, x: float, y: float, scale: float = 1.0) -> Text:
        """The mark moved by (x, y) and then scaled."""
        return replace(self, x=scale * (self.x + x), y=scale * (self.y + y), size=scale * self.size)


@dataclass(frozen=True)
class Bar:
    """A horizontal strip of linear colours [n, 3], with its upper left corner at (x, y) from the top left.

    halo: a soft edge of this colour.
    """

    colours: Array
    x: float
    y: float
    width: float
    height: float
    opacity: float
    halo: str | None = None

    def placed(self, x: float, y: float, scale: float = 1.0) -> Bar:
        """The mark moved by (x, y) and then scaled."""
        place, size = (scale * (self.x + x), scale * (self.y + y)), (scale * self.width, scale * self.height)
        return Bar(self.colours, *place, *size, self.opacity, self.halo)


@dataclass(frozen=True)
class Curve:
    """A line through points [n, 2] from the top left, of a width."""

    points: Array
    width: float
    opacity: float
    colour: str = WHITE
    halo: str | None = None

    def placed(self, x: float, y: float, scale: float = 1.0) -> Curve:
        """The mark moved by (x, y) and then scaled."""
        return replace(self, points=scale * (self.points + np.array([x, y])), width=scale * self.width)


Overlay = Text | Bar | Curve
