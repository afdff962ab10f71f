"""A Frame: everything a renderer needs for one picture, as plain numbers and arrays, no configuration record."""

from __future__ import annotations

from dataclasses import dataclass

from studio.config.units import Size
from studio.field import Array
from studio.film.appearance import Appearance, Gradient, Grading, Wire
from studio.film.marks import Overlay
from studio.film.pose import Pose
from studio.film.timeline import EVERYWHERE, WHOLE, Panel, Region


@dataclass(frozen=True)
class Window:
    """A part of a picture. left, top: its first column and row, from the top left."""

    left: int
    top: int
    picture_size: Size


@dataclass(frozen=True)
class LineSheet:
    """A second surface in a view, of which only lines are drawn. height [N, N], marker: as a view's."""

    height: Array
    wire: Wire
    marker: tuple[float, float] | None = None


@dataclass(frozen=True)
class View:
    """One camera on one surface. height [N, N] in scene units, NaN in holes; colours [N, N, 3], linear RGB.

    weight: share in the frame. panel: the part of a split screen that it fills, or an inset's. region: the part of the
    picture that it fills, over the views before it; of an inset's panel beside them, in their hole. jitter: offset of
    the samples, in samples. lens_point: on the lens, a disc of radius 1. trajectory: places [n, 2] of the run's
    checkpoints, scene units; None where the look draws no trajectory. marker: place of the network, scene units; None
    for nowhere. sides: half of the drawn part's, scene units; the longer is 1. over: a second surface, as lines.

    Views that hold the same array objects show the same surface; nothing may change the arrays.
    """

    height: Array
    colours: Array
    pose: Pose
    appearance: Appearance
    weight: float = 1.0
    panel: Panel = WHOLE
    region: Region = EVERYWHERE
    hole: Region | None = None
    jitter: tuple[float, float] = (0.0, 0.0)
    lens_point: tuple[float, float] = (0.0, 0.0)
    trajectory: Array | None = None
    marker: tuple[float, float] | None = (0.0, 0.0)
    sides: tuple[float, float] = (1.0, 1.0)
    over: LineSheet | None = None


@dataclass(frozen=True)
class Frame:
    """One picture: views that are mixed in linear light, the background, the overlays and the grading.

    Views of one surface follow one another. AOVs are of the first view. veil: a colour in sRGB, 0 to 1, over the graded
    picture and under the overlays, and how dense it is.
    """

    number: int
    views: tuple[View, ...]
    overlays: tuple[Overlay, ...]
    grading: Grading
    background: Gradient
    veil: tuple[tuple[float, float, float], float] = ((0.0, 0.0, 0.0), 0.0)
