"""The Appearance of a view: a Look as plain numbers for the renderer, without configuration records.

`studio.film.resolve` makes it from a Look and the camera's azimuth; its parts are called as those of the Look. Colours
are linear RGB, angles radians, azimuths count from the alpha axis, lengths are scene units, and widths of lines are
pixels of a picture 1080 lines high.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

Rgb = tuple[float, float, float]
Vector = tuple[float, float, float]


def direction(azimuth: float, elevation: float) -> Vector:
    """The unit vector towards an azimuth and an elevation.

    >>> direction(0.0, 0.0)
    (1.0, 0.0, 0.0)
    """
    level = np.cos(elevation)
    return float(np.cos(azimuth) * level), float(np.sin(azimuth) * level), float(np.sin(elevation))


@dataclass(frozen=True)
class Lamp:
    """A soft lamp far away. light: on matt surfaces. glint: in reflections. size: half its angular width."""

    azimuth: float
    elevation: float
    light: Rgb
    glint: Rgb
    size: float


@dataclass(frozen=True)
class Panel:
    """A bright rectangle that is only reflected. half_size: tangents of half its angular width and height."""

    azimuth: float
    elevation: float
    half_size: tuple[float, float]
    glint: Rgb

    @property
    def right(self) -> Vector:
        """The horizontal unit vector along the panel's width."""
        return float(-np.sin(self.azimuth)), float(np.cos(self.azimuth)), 0.0


@dataclass(frozen=True)
class Lighting:
    """All lamps of a view, where they stand for its camera. key: casts the baked shadow.

    ambient: strength of sky, horizon and ground. occlusion, shadow: strengths of the baked light, 0 to 1.
    """

    key: Lamp
    rim: Lamp
    fill: Lamp | None
    panels: tuple[Panel, ...]
    sky: Rgb
    horizon: Rgb
    ground: Rgb
    ambient: float
    occlusion: float
    shadow: float


@dataclass(frozen=True)
class HeightScale:
    """What drawn heights stand for: heights 0 and `exaggeration` are `low` and `high` on a scale of the field."""

    scale: Literal["log", "sqrt", "linear", "signed-log"]
    low: float
    high: float
    exaggeration: float

    @property
    def slope(self) -> float:
        """Change on the scale for one scene unit of height."""
        return (self.high - self.low) / self.exaggeration


@dataclass(frozen=True)
class Marker:
    """The ball of light at the minimiser, before exposure. limb: light of its edge, as its middle if None.

    glow: its light on the surface within `spread`. dimming: share of light taken from the surface close to it. lamp:
    its light on the surface that faces it, within `reach`; None if off.
    """

    radius: float
    light: Rgb
    limb: Rgb | None
    glow: Rgb
    spread: float
    dimming: float
    lamp: Rgb | None
    reach: float


@dataclass(frozen=True)
class TrajectoryLine:
    """The line along the run's trajectory. width: scene units. light: before exposure."""

    width: float
    light: Rgb


@dataclass(frozen=True)
class Contours:
    """Lines of equal height. every: spacing in scene units. step: in the field's units, instead of `every`.

    index: every index-th line is twice as wide; 0 for none.
    """

    every: float
    step: float | None
    index: int
    width: float
    opacity: float
    colour: Rgb


@dataclass(frozen=True)
class Wire:
    """Two families of parallel lines on the surface: across an axis and along it. families: which of them are drawn."""

    every: float
    axis: tuple[float, float]
    families: tuple[bool, bool]
    width: float
    opacity: float
    colour: Rgb


@dataclass(frozen=True)
class Engraving:
    """The picture in a single ink. across: vector across the strokes; its length is the number of strokes in a unit."""

    across: tuple[float, float]
    gamma: float
    ink: Rgb
    paper: Rgb


@dataclass(frozen=True)
class Fog:
    """Air between eye and surface: the share of fog in the light is 1 - exp(-(distance - start) / reach)."""

    start: float
    reach: float
    colour: Rgb


@dataclass(frozen=True)
class Plinth:
    """The wall and ground of a cast. depth: from height 0 to the foot. colour: of the wall."""

    depth: float
    colour: Rgb


@dataclass(frozen=True)
class Nodes:
    """Dots on the measured points. place: of one of them. spacing: along alpha and beta; both in scene units."""

    place: tuple[float, float]
    spacing: tuple[float, float]


@dataclass(frozen=True)
class Appearance:
    """How one view's surface and its surroundings are drawn; parts that a look leaves out are None.

    exposure: factor on all light. fade_start, fade_end: radii between which the drawn ellipse fades out, 1 at the edge
    of the window; a plinth's wall stands at fade_end.
    """

    metallic: float
    roughness: float
    exposure: float
    fade_start: float
    fade_end: float
    height_scale: HeightScale
    lighting: Lighting
    marker: Marker
    trajectory: TrajectoryLine | None = None
    contours: Contours | None = None
    wire: Wire | None = None
    engraving: Engraving | None = None
    fog: Fog | None = None
    plinth: Plinth | None = None
    nodes: Nodes | None = None


@dataclass(frozen=True)
class Gradient:
    """The background: light at the picture's bottom and top, linear in between."""

    bottom: Rgb
    top: Rgb


@dataclass(frozen=True)
class Lut:
    """A 3D look-up table: a `.cube` file and the SHA-256 of its contents."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Grading:
    """From linear light to the picture; the fields mean what those of `studio.film.light.Grade` mean."""

    contrast: float
    shoulder: float
    bloom: float
    threshold: float
    saturation: float
    vignette: float
    grain: float
    lut: Lut | None = None
