"""A Frame: everything a renderer needs for one picture, as plain numbers; and the Reel that makes any of them.

Frame n is a pure function of the reel and n: of the cut, the surfaces and the ranges resolved from them once. So frames
can be made alone, in any order, in any process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from ..field import Instant, Surfaces
from ..spec import LARGEST, FrameRate, PixelSize, Record, Size
from . import overlays
from .camera import Pose
from .labels import labels
from .look import Grade, Look, Paint
from .terrain import Ranges, colours, heights, parts, ranges, source
from .timeline import Cut, Part, Shot


class Format(Record):
    """The picture: its size in pixels, its rate, and how many samples a pixel has along each side."""

    size: PixelSize = Size(1920, 1080)
    fps: FrameRate = Fraction(24)
    samples: Annotated[int, Field(ge=1, le=8)] = 2

    @model_validator(mode="after")
    def _can_be_drawn(self):
        if max(self.size) * self.samples > LARGEST:
            raise ValueError(
                f"{self.size} with {self.samples} samples along a side is more than {LARGEST}; take fewer samples"
            )
        return self


@dataclass(frozen=True)
class View:
    """One camera on one surface. height [N, N] in scene units, NaN where there is a hole; paint [N, N, 3] linear RGB.

    azimuth: of the camera, which the lamps follow. weight: in the frame. ends: what the height scale reads at height 0
    and at the exaggeration. nodes: how many measured points the height has along a side.
    """

    height: np.ndarray
    paint: np.ndarray
    pose: Pose
    azimuth: float
    look: Look
    weight: float = 1.0
    ends: tuple[float, float] = (0.0, 1.0)
    nodes: int = 3


@dataclass(frozen=True)
class Frame:
    """One picture: views to be mixed in linear light, the type over them, and the grade."""

    number: int
    views: tuple[View, ...]
    overlays: tuple[overlays.Overlay, ...]
    grade: Grade


@dataclass(frozen=True)
class Reel:
    """A cut with its surfaces, look and type. notes: what is said of a colour's field, by the grid it stands on."""

    cut: Cut
    surfaces: Surfaces
    look: Look
    type: overlays.Type
    size: Size
    notes: dict[str, str]
    ranges: Ranges

    @classmethod
    def of(
        cls,
        shots: tuple[Shot, ...],
        surfaces: Surfaces,
        look: Look,
        kind: overlays.Type,
        form: Format,
        notes: dict[str, str],
    ) -> Reel:
        """The reel of some shots. Raises ValueError if nothing finite was measured."""
        paints = tuple(shot.colour or look.colour for shot in shots)
        return cls(Cut(shots, form.fps), surfaces, look, kind, form.size, notes, ranges(surfaces, look, paints))

    def frame(self, number: int) -> Frame:
        """Frame `number` of the film, from 0."""
        shown = self.cut.at(number)
        seconds = float(number / self.cut.fps)
        leading = max(shown, key=lambda part: part.weight)
        kind, aspect = self.type.inked(self.look), self.size.width / self.size.height
        views = tuple(self._view(part) for part in shown)
        type_ = [
            label
            for view in views
            for label in labels(view.height, view.look, view.ends, view.pose, aspect, view.weight)
        ]
        type_ += overlays.title(kind, seconds, kind.title_for.seconds(self.cut.fps))
        type_ += overlays.live(kind, self._instant(leading))
        shares: dict[Paint, float] = {}  # two shots that say the same do not dip in their dissolve
        for part in shown:
            paint = part.shot.colour or self.look.colour
            shares[paint] = shares.get(paint, 0.0) + part.weight
        for paint, share in shares.items():
            notes = self.notes[source(paint.field)]
            type_ += overlays.captions(kind, self.look, paint, self.ranges, notes, aspect, share)
        if halo := self.look.halo:
            type_ = [replace(o, halo=o.halo or halo) if isinstance(o, overlays.Text) else o for o in type_]
        return Frame(number, views, tuple(type_), self.look.grade)

    def dressed(self, look: Look) -> Reel:
        """The same film in another look, whose colours also replace those of single shots.

        Raises ValueError if the look draws what was not measured.
        """
        shots = tuple(shot.model_copy(update={"colour": None}) for shot in self.cut.shots)
        cut = replace(self.cut, shots=shots)
        return replace(self, cut=cut, look=look, ranges=ranges(self.surfaces, look, (look.colour,)))

    def _instant(self, part: Part) -> Instant:
        return self.surfaces.at(part.shot.coordinate(part.seconds, self.cut.fps))

    def _view(self, part: Part) -> View:
        instant, look = self._instant(part), self.look
        height = heights(instant, look, self.ranges)
        orbit = part.shot.camera.at(part.seconds, self.cut.fps)
        return View(
            height,
            colours(instant, look, part.shot.colour or look.colour, self.ranges),
            orbit.pose(self._focus(part.shot.camera.look_at, height)),
            orbit.azimuth,
            look,
            part.weight,
            self.ranges.height,
            instant.grids[parts(look.height.field)[0]].points,
        )

    def _focus(self, look_at, height: np.ndarray) -> tuple[float, float, float]:
        if not isinstance(look_at, str):
            return look_at
        centre = float(height[height.shape[0] // 2, height.shape[1] // 2])
        middle = self.look.height.exaggeration / 2
        return 0.0, 0.0, centre if look_at == "minimiser" and np.isfinite(centre) else middle
