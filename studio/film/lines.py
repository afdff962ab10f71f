"""What is drawn on the surface beside its colour: marker, path, lines and strokes; and how the surface ends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from studio.config.records import Record
from studio.config.units import Angle, Colour, NonNegative, Positive, Share


class Marker(Record):
    """The point of light at the minimiser. radius, spread: scene units. light: how much brighter than its colour.

    limb: the colour its edge turns to, so that it is round on any ground. dimming: how far the land close around it is
    darkened. lamp: how strongly it lights the land that faces it, in the halo's colour, about as far as its reach.
    """

    radius: Positive = 0.008
    light: NonNegative = 2.2
    colour: Colour = "#fffdf4"
    glow: NonNegative = 0.8
    spread: Positive = 0.07
    halo: Colour = "#ffc070"
    limb: Colour | None = None
    dimming: Share = 0.0
    lamp: NonNegative = 0.0
    reach: Positive = 0.4


class TrajectoryLine(Record):
    """The way of the weights up to the shown epoch, a lit thread on the surface, as near as the plane comes to it.

    width: scene units. light: how much brighter than its colour.
    """

    width: Positive = 0.008
    light: NonNegative = 1.6
    colour: Colour = "#fff2cc"


class Contours(Record):
    """Lines of equal height. every: spacing in scene units; step: in the height's own units, then instead of it.

    index: each so-manieth line is twice as wide; 0 for none. labels: those lines are told by their numbers; with step.
    """

    every: Positive = 0.025
    step: Positive | None = None
    width: Positive = 1.0
    opacity: Share = 0.3
    colour: Colour = "#ffffff"
    index: Annotated[int, Field(ge=0)] = 0
    labels: bool = False

    @model_validator(mode="after")
    def _can_be_told(self):
        if self.labels and not (self.step and self.index):
            raise ValueError("labels need round numbers to tell: give `step` and `index` too, such as 0.2 and 5")
        return self


class Wire(Record):
    """Lines on the surface that run along alpha, along beta, or both; or across the view, as its profiles.

    every: spacing in scene units.
    """

    along: Literal["alpha", "beta", "both", "view"] = "both"
    every: Positive = 0.05
    width: Positive = 1.0
    opacity: Share = 1.0
    colour: Colour = "#ffffff"


class Engraving(Record):
    """The picture in one ink: strokes across the surface that swell where it is dark; a second set in the deepest.

    every: spacing of strokes, scene units. angle: of the strokes, from the direction of alpha. gamma: above 1, darker.
    """

    every: Positive = 0.016
    angle: Angle = 0.0
    gamma: Positive = 1.0
    ink: Colour = "#14202e"
    paper: Colour = "#f3ecdc"


class Plinth(Record):
    """A cast that stands on the background in its own soft shadow, cut where the disc would have ended its fading.

    depth: from the lowest of the heights to the foot, scene units. colour: of its wall.
    """

    depth: Positive = 0.12
    colour: Colour = "#e8e4dc"


class Fade(Record):
    """Where the drawn disc dissolves into the background: radii in scene units, start and end."""

    start: Share = 0.78
    end: Share = 0.98

    @model_validator(mode="after")
    def _is_a_ring(self):
        if not self.start < self.end:
            raise ValueError(f"fade from {self.start:g} to {self.end:g} is empty or reversed")
        return self
