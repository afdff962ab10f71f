"""A Frame: everything a renderer needs for one picture, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.config.units import Size
from studio.film import overlays
from studio.film.camera import Pose
from studio.film.light import Background, Grade
from studio.film.look import Look


@dataclass(frozen=True)
class Window:
    """Where a part of a picture lies in the whole of it: its left and its top edge, in pixels from the top left."""

    left: int
    top: int
    whole: Size


@dataclass(frozen=True)
class View:
    """One camera on one surface. height [N, N] in scene units, NaN where there is a hole; paint [N, N, 3] linear RGB.

    azimuth: of the camera, which the lamps follow. weight: in the frame. ends: what the height scale reads at height 0
    and at the exaggeration. nodes: how many measured points the height has along a side. jitter, lens: as a Subframe
    has them, the first in shares of a sample, the second in shares of the pose's own lens. way: the places [n, 2] that
    the weights came by, scene units, where the look draws them.

    Two views whose arrays are the same objects show the same; nothing may change them.
    """

    height: np.ndarray
    paint: np.ndarray
    pose: Pose
    azimuth: float
    look: Look
    weight: float = 1.0
    ends: tuple[float, float] = (0.0, 1.0)
    nodes: int = 3
    jitter: tuple[float, float] = (0.0, 0.0)
    lens: tuple[float, float] = (0.0, 0.0)
    trajectory: np.ndarray | None = None


@dataclass(frozen=True)
class Frame:
    """One picture: views to be mixed in linear light, what is behind and over them, and the grade.

    The views of one surface follow one another; the first of all is what layers are made of.
    """

    number: int
    views: tuple[View, ...]
    overlays: tuple[overlays.Overlay, ...]
    grade: Grade
    background: Background
