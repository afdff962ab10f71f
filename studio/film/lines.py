"""Records of what a look draws on the surface besides its colours: marker, trajectory, lines, strokes, plinth, edge.

Each is a key of a Look; `studio.film.resolve` makes plain numbers of it, and `studio.render.shading` draws it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from studio.config.records import Record
from studio.config.units import Angle, Colour, NonNegative, Positive, Share


class Marker(Record):
    """The point of light where the network is: at the minimiser, unless the sweep moves it.

    radius: scene units. light: brightness, a multiple of its colour. colour: of its middle.
    glow: how strongly it lights the surface around it, in the halo's colour. spread: radius of the glow, scene units.
    halo: colour of glow and lamp.
    limb: the colour its edge turns to, which shapes it as a ball on any ground.
    dimming: how far the surface close around it is darkened.
    lamp: how strongly it lights the surface that faces it, in the halo's colour. reach: of the lamp, scene units.
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
    """The run's trajectory up to the shown instant, projected into the plane: a bright thread on the surface.

    width: scene units. light: brightness, a multiple of its colour. colour: of the thread.
    """

    width: Positive = 0.008
    light: NonNegative = 1.6
    colour: Colour = "#fff2cc"


class Contours(Record):
    """Lines of equal height.

    every: spacing, scene units. step: spacing in units of the height's field; replaces `every`.
    width: pixels of a picture 1080 lines high. opacity: 1 hides the surface below. colour: of the lines.
    index: every so many lines, one is twice as wide; 0 for none. labels: numbers on those lines; they need `step`.
    """

    every: Positive = 0.025
    step: Positive | None = None
    width: Positive = 1.0
    opacity: Share = 0.3
    colour: Colour = "#ffffff"
    index: Annotated[int, Field(ge=0)] = 0
    labels: bool = False

    @model_validator(mode="after")
    def _labels_have_round_numbers(self) -> Self:
        if self.labels and not (self.step and self.index):
            raise ValueError("labels need round numbers: set `step` and `index` too, such as 0.2 and 5")
        return self


class Wire(Record):
    """Lines on the surface along alpha, along beta, or both; or across the view, as profiles.

    along: the direction of the lines. every: spacing, scene units. width: pixels of a picture 1080 lines high.
    opacity: 1 hides the surface below. colour: of the lines.
    """

    along: Literal["alpha", "beta", "both", "view"] = "both"
    every: Positive = 0.05
    width: Positive = 1.0
    opacity: Share = 1.0
    colour: Colour = "#ffffff"


class Engraving(Record):
    """The picture in a single ink: strokes across the surface, wider where it is dark; a second set in the darkest.

    every: spacing of strokes, scene units. angle: of the strokes, from the alpha axis. gamma: above 1 is darker.
    ink: colour of the strokes. paper: colour between them.
    """

    every: Positive = 0.016
    angle: Angle = 0.0
    gamma: Positive = 1.0
    ink: Colour = "#14202e"
    paper: Colour = "#f3ecdc"


class Plinth(Record):
    """Turns the surface into a cast with a wall and a soft shadow on the background; its edge is the fade's end.

    depth: from the lowest height to the foot, scene units. colour: of the wall.
    """

    depth: Positive = 0.12
    colour: Colour = "#e8e4dc"


class Fade(Record):
    """The ring in which the drawn disc dissolves into the background; over an oblong grid it is an ellipse.

    start: radius where it begins to fade, 1 at the edge of the grid. end: radius where nothing is left.
    """

    start: Share = 0.78
    end: Share = 0.98

    @model_validator(mode="after")
    def _is_a_ring(self) -> Self:
        if not self.start < self.end:
            raise ValueError(f"fade from {self.start:g} to {self.end:g} is empty or reversed")
        return self
