"""The FrameSource: any frame of a film, from its cut, surfaces and look.

Frame n is a pure function of the source and n: of the cut, the surfaces and the ranges resolved from them once. So
frames can be made alone, in any order, in any process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from studio.config.units import Size
from studio.field import Instant, Surfaces
from studio.film import overlays
from studio.film.camera import Orbit
from studio.film.fields import ColourMapping, grid_of, measured_fields
from studio.film.format import Format
from studio.film.frame import Frame, View
from studio.film.labels import labels
from studio.film.look import Look
from studio.film.quality import QUALITIES, Quality, subframes
from studio.film.ranges import Ranges, ranges
from studio.film.surface import colours, drawn_trajectory, heights, open_side, values
from studio.film.timeline import Cut, Shot, ShotShare

_KEPT = 4  # sheets; a dissolve shows two
COARSE = 241  # vertices along a side, where a look at the land as a whole is enough


@dataclass(frozen=True)
class FrameSource:
    """A cut with its surfaces, look and type. notes: what is said of a colour's field, by the grid it stands on.

    shutter: seconds for which it is open.
    """

    cut: Cut
    surfaces: Surfaces
    look: Look
    titles: overlays.Titles
    size: Size
    notes: dict[str, str]
    ranges: Ranges
    quality: Quality = QUALITIES["draft"]
    shutter: float = 0.0
    _sheets: dict[tuple, tuple[np.ndarray, np.ndarray]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    @classmethod
    def of(
        cls,
        shots: tuple[Shot, ...],
        surfaces: Surfaces,
        look: Look,
        kind: overlays.Titles,
        form: Format,
        notes: dict[str, str],
    ) -> FrameSource:
        """The reel of some shots. Raises ValueError if nothing finite was measured."""
        paints = tuple(shot.colour or look.colour for shot in shots)
        look = form.quality.meshed(look)
        found, shutter = ranges(surfaces, look, paints), form.shutter / 360 / float(form.fps)
        return cls(Cut(shots, form.fps), surfaces, look, kind, form.size, notes, found, form.quality, shutter)

    def frame(self, number: int) -> Frame:
        """Frame `number` of the film, from 0."""
        shown = self.cut.at(number)
        seconds = float(number / self.cut.fps)
        kind = self.titles.with_ink(self.look)
        said = ((paint, self.notes[grid_of(paint.field)]) for paint, _ in self.ranges.colours)
        page = overlays.Page.of(self.size, kind, said)
        steady = tuple(self._view(part) for part in shown)
        views = tuple(view for part, one in zip(shown, steady, strict=True) for view in self._subframes(part, one))
        type_ = [
            label
            for view in steady
            for label in labels(view.height, view.look, view.ends, view.pose, page, overlays.dissolve_opacity(view.weight))
        ]
        type_ += overlays.title(kind, seconds, kind.title_for.seconds(self.cut.fps))
        type_ += overlays.dissolve_overlays((part.weight, self._said(part, kind, page)) for part in shown)
        if halo := self.look.halo:
            type_ = [replace(o, halo=o.halo or halo) for o in type_]
        return Frame(number, views, tuple(type_), self.look.grade, self.look.background)

    def _said(self, part: ShotShare, kind: overlays.Titles, page: overlays.Page) -> list[overlays.Overlay]:
        """What a shot says of itself at an instant."""
        paint = part.shot.colour or self.look.colour
        notes = self.notes[grid_of(paint.field)]
        return overlays.live(kind, self._instant(part), page) + overlays.captions(
            kind, self.look, paint, self.ranges, notes, page
        )

    def aov_frame(self, number: int) -> Frame:
        """What layers are made of: the view that weighs most, at the frame's own instant, and nothing laid over it."""
        view = self._view(self._leading(number))
        return Frame(number, (view,), (), self.look.grade, self.look.background)

    def fields(self, number: int, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Fields as they were measured, under the plain frame, at every vertex of its view [N, N]."""
        instant = self._instant(self._leading(number))
        return {name: values(instant, self.look, name) for name in names}

    def _leading(self, number: int) -> ShotShare:
        return max(self.cut.at(number), key=lambda part: part.weight)

    def with_look(self, look: Look) -> FrameSource:
        """The same film in another look, whose colours also replace those of single shots.

        Raises ValueError if the look draws what was not measured.
        """
        shots = tuple(shot.model_copy(update={"colour": None}) for shot in self.cut.shots)
        cut, look = replace(self.cut, shots=shots), self.quality.meshed(look)
        return replace(self, cut=cut, look=look, ranges=ranges(self.surfaces, look, (look.colour,)))

    def _instant(self, part: ShotShare) -> Instant:
        return self.surfaces.at(part.shot.coordinate(part.seconds, self.cut.fps))

    def orbit(self, part: ShotShare) -> Orbit:
        """Where the camera stands; its azimuth from alpha, whatever the shot counts it from."""
        camera = part.shot.camera
        orbit = camera.at(part.seconds, self.cut.fps)
        if camera.azimuth_from == "alpha":
            return orbit
        return replace(orbit, azimuth=orbit.azimuth + self.open_side)

    @cached_property
    def open_side(self) -> float:
        """The azimuth from which the minimiser is seen over the lowest land, degrees, at the film's last coordinate."""
        coarse = self.with_mesh(COARSE)
        instant = self.surfaces.at(max(field.coordinates[-1] for field in self.surfaces.fields.values()))
        return open_side(heights(instant, coarse.look, self.ranges), self.look.fade.start)

    def with_mesh(self, vertices: int) -> FrameSource:
        """The same film on a mesh of so many vertices along a side."""
        return replace(self, look=self.look.model_copy(update={"mesh": vertices}))

    def single_shot(self, shot: Shot, number: int) -> tuple[Instant, View]:
        """What a shot shows at its own frame `number`, from 0, as if no other overlapped it."""
        part = ShotShare(shot, float(number / self.cut.fps), 1.0)
        return self._instant(part), self._view(part)

    def _view(self, part: ShotShare) -> View:
        instant, look = self._instant(part), self.look
        height, paint = self._sheet(instant, part.shot.colour or look.colour)
        orbit = self.orbit(part)
        return View(
            height,
            paint,
            orbit.pose(self._focus(part.shot.camera.look_at, height)),
            orbit.azimuth,
            look,
            part.weight,
            self.ranges.height,
            instant.grids[measured_fields(look.height.field)[0]].points,
            trajectory=drawn_trajectory(instant, look),
        )

    def _subframes(self, part: ShotShare, steady: View) -> Iterator[View]:
        """The views that are averaged where a single steady one would be; the lamps stand still in all of them."""
        count = self.quality.subframes
        for place in subframes(count):
            view, seconds = steady, max(0.0, part.seconds + self.shutter * (place.time - 0.5))
            if self.shutter:
                view = replace(self._view(part._replace(seconds=seconds)), azimuth=steady.azimuth)
            yield replace(view, weight=part.weight / count, jitter=place.jitter, lens=place.lens)

    def _sheet(self, instant: Instant, paint: ColourMapping) -> tuple[np.ndarray, np.ndarray]:
        """Heights and colours at an instant; the same arrays for the same one, as in a hold, and not to be changed."""
        key = instant.coordinate, paint
        if key not in self._sheets:
            made = heights(instant, self.look, self.ranges), colours(instant, self.look, paint, self.ranges)
            for array in made:
                array.flags.writeable = False
            while len(self._sheets) >= _KEPT:
                del self._sheets[next(iter(self._sheets))]
            self._sheets[key] = made
        return self._sheets[key]

    def _focus(self, look_at, height: np.ndarray) -> tuple[float, float, float]:
        if not isinstance(look_at, str):
            return look_at
        found = {
            "minimiser": height[height.shape[0] // 2, height.shape[1] // 2],
            "land": np.nanmean(height) if np.isfinite(height).any() else np.nan,
        }.get(look_at, np.nan)
        return 0.0, 0.0, float(found) if np.isfinite(found) else self.look.height.exaggeration / 2
