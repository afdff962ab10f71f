"""The frames of a film: frame n is a pure function of the source and n.

The source holds the cut, the surfaces and the ranges resolved from them once. So frames can be made alone, in any
order, in any process.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, cached_property, partial

import numpy as np

from studio.config.records import FrozenDict
from studio.config.units import Size
from studio.field import Array, Instant, Surfaces
from studio.film import overlays, surface
from studio.film.chart import Series
from studio.film.colour import to_srgb
from studio.film.cues import Cue, resolve
from studio.film.fields import ColourMapping, grid_of
from studio.film.format import QUALITIES, Format, Quality, QualityName, subframes
from studio.film.frame import Frame, LineSheet, View
from studio.film.framing import distance_to_fit
from studio.film.ground import Ground
from studio.film.labels import labels
from studio.film.look import Look
from studio.film.marks import WHITE, Overlay
from studio.film.overlays import Page, Titles
from studio.film.pose import Orbit, Point, Pose, project
from studio.film.ranges import Ranges, cuts, ranges
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading, resolve_wire
from studio.film.reveal import as_grown, grown
from studio.film.targets import Landmark, Place, Target, landmark
from studio.film.timeline import EVERYWHERE, Cut, Panel, Shot, ShotShare, Transition, overlap

COARSE_MESH = 241  # vertices along a side that suffice where only the shape of the surface matters
LANDMARK_MESH = 121  # where only places of the land matter
_CACHED_ARRAYS = 8  # heights and colours; a dissolve shows two surfaces


@dataclass(frozen=True)
class FrameSource:
    """A cut with its look, titles, and the surfaces of each landscape by name.

    notes: by landscape and by the grid that a colour's field is measured on. shutter: seconds for which it is open.
    """

    cut: Cut
    surfaces: Mapping[str, Surfaces]
    look: Look
    titles: Titles
    size: Size
    notes: Mapping[str, Mapping[str, str]]
    ranges: Ranges
    quality: Quality = QUALITIES["draft"]
    shutter: float = 0.0
    _cache: dict[Hashable, Array] = field(init=False, repr=False, compare=False, default_factory=dict)
    _landmarks: dict[tuple[str, float, str], Place] = field(init=False, repr=False, compare=False, default_factory=dict)

    @classmethod
    def of(
        cls,
        shots: tuple[Shot, ...],
        surfaces: Mapping[str, Surfaces],
        look: Look,
        titles: Titles,
        film: Format,
        notes: Mapping[str, Mapping[str, str]],
        cues: Mapping[str, Cue] = FrozenDict(),
    ) -> FrameSource:
        """The frames of some shots. Raises ValueError if a drawn field was not measured or has no finite value.

        cues: that the shots name; without them the times are used that the shots have.
        """
        if cues:
            shots = _with_cues(shots, cues, film.fps, surfaces)
        quality, shutter = film.quality, film.shutter / 360 / float(film.fps)
        look = quality.scale_mesh(look)
        scales = ranges(surfaces.values(), look, tuple(shot.colour or look.colour for shot in shots))
        source = cls(Cut(shots, film.fps), surfaces, look, titles, film.size, notes, scales, quality, shutter)
        return replace(source, cut=Cut(tuple(map(source._framed, shots)), film.fps).matched)

    # --- frames ------------------------------------------------------------------------------------------------------

    def frame(self, number: int) -> Frame:
        """Frame `number` of the film, from 0."""
        shares = self.shares(number)
        # what lies over the other in a wipe is not mixed with it
        mixed = all(share.region == EVERYWHERE for share in shares if not share.panel.region)
        shown = shares if mixed else tuple(share._replace(weight=1.0) for share in shares)
        views = tuple(map(self._view, shown))
        pairs = zip(shown, views, strict=True)
        drawn = tuple(subframe for share, view in pairs for subframe in self._subframes(share, view))
        colour, density = shares[0].veil
        veil = (tuple(to_srgb(colour).tolist()), density)
        return replace(self._frame(number, drawn, self._overlays(number, shares, views)), veil=veil)

    def camera(self, number: int) -> tuple[str, float, Pose]:
        """The shot of largest weight in a frame, the coordinate that it shows, and the camera's pose."""
        share = self._largest_share(number)
        return share.shot.shot, share.shot.coordinate(share.seconds, self.cut.fps), self._view(share).pose

    def veil(self, number: int) -> tuple[str, float]:
        """The colour that lies over a frame, and how dense it is."""
        return self.shares(number)[0].veil

    def aov_frame(self, number: int) -> Frame:
        """The frame that AOVs are drawn of: the view of largest weight at the frame's own time, without overlays."""
        return self._frame(number, (replace(self._view(self._largest_share(number)), over=None),), ())

    def fields(self, number: int, names: Iterable[str]) -> dict[str, Array]:
        """Fields in their own units, by name, at every vertex of the AOV frame's view [N, N]."""
        instant = self.instant(self._largest_share(number))
        return {name: surface.values(instant, self.look, name) for name in names}

    def label(self, number: int) -> str:
        """The coordinate of the sweep that the shot of largest weight shows, as the picture names it."""
        share = self._largest_share(number)
        return self.surfaces[share.landscape].axis.label(share.shot.coordinate(share.seconds, self.cut.fps))

    def shares(self, number: int) -> tuple[ShotShare, ...]:
        """The shots that frame `number` shows, one after the other, each once for every landscape in it."""
        return tuple(part for share in self.cut.at(number) for part in self._panels(share))

    def _panels(self, share: ShotShare) -> Iterator[ShotShare]:
        names, inset = self._shown(share.shot), share.shot.inset
        for number, name in enumerate(names):
            hole = inset.region if inset else None
            yield share._replace(landscape=name, panel=Panel(number, len(names)), hole=hole)
        if inset:
            shot = share.shot.parts[1]
            region, panel = overlap(share.region, inset.region), Panel(region=inset.region)
            yield share._replace(shot=shot, landscape=inset.show or names[0], panel=panel, region=region)

    def _shown(self, shot: Shot) -> tuple[str, ...]:
        return shot.show or tuple(self.surfaces)[:1]

    def _named(self, shot: Shot) -> tuple[str, ...]:
        """The landscapes that a shot shows, also as lines."""
        return self._shown(shot) + ((shot.over,) if shot.over else ())

    def standpoint(self, shot: Shot, number: int) -> tuple[ShotShare, Array, Pose]:
        """The first panel of a shot at its own frame `number`, from 0: its share, the heights and the camera's pose."""
        share = next(self._panels(ShotShare(shot, float(number / self.cut.fps), 1.0)))
        instant = self.instant(share)
        height = self._heights(share, instant)
        orbit, focal_point = self._aim(share, instant, height)
        return share, height, orbit.pose(focal_point)

    def shot_view(self, shot: Shot, number: int) -> View:
        """What the first panel of a shot shows at its own frame `number`, from 0, without shots that overlap it."""
        return self._view(next(self._panels(ShotShare(shot, float(number / self.cut.fps), 1.0))))

    def _frame(self, number: int, views: tuple[View, ...], texts: tuple[Overlay, ...]) -> Frame:
        look = self.look
        return Frame(number, views, texts, resolve_grading(look.grade), resolve_background(look.background))

    # --- variants of the film ----------------------------------------------------------------------------------------

    def with_look(self, look: Look) -> FrameSource:
        """The same film in another look, whose colours also replace those of single shots.

        Raises ValueError if the look draws what was not measured.
        """
        shots = tuple(shot.model_copy(update={"colour": None}) for shot in self.cut.shots)
        cut, look = replace(self.cut, shots=shots), self.quality.scale_mesh(look)
        return replace(self, cut=cut, look=look, ranges=ranges(self.surfaces.values(), look, (look.colour,)))

    def with_mesh(self, vertices: int) -> FrameSource:
        """The same film on a mesh of `vertices` along a side."""
        return replace(self, look=self.look.model_copy(update={"mesh": vertices}))

    def without_titles(self, size: Size, quality: QualityName) -> FrameSource:
        """The same film at another size and quality, with no text on it."""
        titles = Titles(live=None, notes=False, legend=False)
        return replace(self, size=size, titles=titles, quality=QUALITIES[quality])

    def split_shots(self) -> Iterator[FrameSource]:
        """Each shot as a film by itself, without dissolve, with the ranges of the whole film."""
        for shot in self.cut.shots:
            yield replace(self, cut=Cut((shot.model_copy(update={"to_next": Transition()}),), self.cut.fps))

    # --- cameras and surfaces ----------------------------------------------------------------------------------------

    def camera_orbit(self, share: ShotShare) -> Orbit:
        """The camera's orbit in a shot, its azimuth counted from alpha even if the shot counts from the open side.

        Of a camera on a path it is the one that the shot says, before it stands on the ground.
        """
        camera = share.shot.camera
        orbit = share.shot.orbit(share.seconds, self.cut.fps)
        if camera.azimuth_from == "alpha" or camera.travels:
            return orbit
        return orbit.rotate(self.open_sides[share.landscape])

    def targets(self, share: ShotShare) -> Mapping[Target, float]:
        """What a shot's camera looks at, with weights."""
        return share.shot.targets(share.seconds, self.cut.fps)

    def ground(self, share: ShotShare, instant: Instant, height: Array) -> Ground:
        """A surface that a shot shows, as its camera sees it."""
        return Ground(height, instant, self.look, partial(self._landmark, share))

    def scales(self, landscape: str, coordinate: float) -> Ranges:
        """The scales at which a landscape is drawn: those of all, or upside down."""
        scales = self.ranges.at(coordinate)
        return scales.upside_down() if self.look.height.reverses(landscape) else scales

    def _landmark(self, share: ShotShare, name: Landmark) -> Place:
        """A place of the land as it is at a shot's end."""
        end = share.shot.coordinate(share.shot.length(self.cut.fps), self.cut.fps)
        key = share.landscape, end, name
        if key not in self._landmarks:
            instant, look = self.surfaces[share.landscape].at(end), self.with_mesh(LANDMARK_MESH).look
            height = surface.heights(instant, look, self.scales(share.landscape, instant.coordinate))
            try:
                self._landmarks[key] = landmark(height, name, instant.window.scene_sides, look.fade.start)
            except ValueError as error:
                raise ValueError(f"shot {share.shot.shot}: camera.look_at: {error}") from None
        return self._landmarks[key]

    def _framed(self, shot: Shot) -> Shot:
        """A shot with the distances of its frames: `fit` is a size in the picture, whatever the land."""
        if shot.inset:
            inset = shot.inset.model_copy(update={"camera": self._framed(shot.parts[1]).camera})
            shot = shot.model_copy(update={"inset": inset})
        if not any((shot.camera.start.frame, *(key.frame for move in shot.camera.moves for key in move.keys))):
            return shot
        camera, orbit, moves, start = shot.camera, shot.camera.first_orbit, [], 0.0
        if camera.start.frame:
            distance = self._distance(shot, 0.0, orbit, camera.start.frame)
            begun = camera.start.model_copy(update={"distance": distance, "frame": None})
            camera = camera.model_copy(update={"start": begun})
            orbit = camera.first_orbit
        for move in camera.moves:
            keys, passed = list(move.keys), orbit
            for n, key in enumerate(move.keys):
                passed = key.apply(passed)
                if key.frame:
                    distance = self._distance(shot, start + key.at.seconds(self.cut.fps), passed, key.frame)
                    keys[n] = key.model_copy(update={"distance": distance, "frame": None})
                    passed = replace(passed, distance=distance)
            moves.append(move.model_copy(update={"keys": tuple(keys)}))
            orbit, start = moves[-1].end(orbit), start + move.seconds(self.cut.fps)
        return shot.model_copy(update={"camera": camera.model_copy(update={"moves": tuple(moves)})})

    def _distance(self, shot: Shot, seconds: float, orbit: Orbit, percent: float) -> float:
        """The distance at which a shot's subject fills so much of the picture."""
        share = next(self._panels(ShotShare(shot, seconds, 1.0)))
        ground = self._coarse_ground(share)
        if shot.camera.azimuth_from == "open-side":
            orbit = orbit.rotate(self.open_sides[share.landscape])
        targets = self.targets(share)
        _, focal_point = ground.aim(shot.camera, orbit, targets)
        aspect = self.size.width / self.size.height * share.panel.aspect
        subject = ground.subject(targets)
        if shot.over:
            lines = self._coarse_ground(share._replace(landscape=shot.over))
            subject = np.concatenate([subject, lines.subject(targets)])
        if shot.camera.grows_from:  # and flat it fits, too
            subject = np.concatenate([subject, subject * (1, 1, 0)])
        return distance_to_fit(subject - focal_point, orbit, aspect, percent / 100)

    def _coarse_ground(self, share: ShotShare) -> Ground:
        """A surface that a shot shows, on a mesh that has its shape."""
        instant, coarse = self.instant(share), self.with_mesh(LANDMARK_MESH).look
        scales = self.scales(share.landscape, instant.coordinate)
        return self.ground(share, instant, surface.heights(instant, coarse, scales))

    @cached_property
    def open_sides(self) -> dict[str, float]:
        """Azimuth, degrees, on which each surface rises least from the marker, at the film's last coordinate."""
        look, sides = self.with_mesh(COARSE_MESH).look, {}
        for name, surfaces in self.surfaces.items():
            ends = [field.coordinates[-1] for field in surfaces.fields.values()]
            ends += surfaces.markers.coordinates[-1:] if surfaces.markers else ()
            instant = surfaces.at(max(ends))
            height = surface.heights(instant, look, self.scales(name, instant.coordinate))
            marker = surface.drawn_marker(instant, look) or (0.0, 0.0)
            sides[name] = surface.open_side(height, look.fade.start, marker)
        return sides

    def _largest_share(self, number: int) -> ShotShare:
        return max(self.shares(number), key=lambda share: (share.weight, share.panel.region is None))

    def instant(self, share: ShotShare) -> Instant:
        """The surfaces that a shot shows at its time."""
        return self.surfaces[share.landscape].at(share.shot.coordinate(share.seconds, self.cut.fps))

    def _view(self, share: ShotShare, azimuth: float | None = None) -> View:
        """The view of a shot at one time, through a pinhole. azimuth: that the lamps follow; None for the camera's."""
        instant, look, camera = self.instant(share), self.look, share.shot.camera
        height = self._heights(share, instant)
        orbit, focal_point = self._aim(share, instant, height)
        ends, nodes = self.scales(share.landscape, instant.coordinate).height, surface.drawn_nodes(instant, look)
        azimuth = orbit.azimuth if azimuth is None else azimuth
        return View(
            height,
            self._colours(share.landscape, instant, share.shot.colour or look.colour),
            orbit.pose(focal_point),
            as_grown(resolve_appearance(look, azimuth, ends, nodes), camera.grows_from, orbit.reveal),
            share.weight,
            share.panel,
            region=share.region,
            hole=share.hole,
            trajectory=surface.drawn_trajectory(instant, look),
            marker=surface.drawn_marker(instant, look),
            sides=instant.window.scene_sides,
            over=self._line_sheet(share, azimuth) if share.shot.over else None,
        )

    def _line_sheet(self, share: ShotShare, azimuth: float) -> LineSheet:
        """The landscape that a shot shows as lines over the other one, at its time."""
        other = share._replace(landscape=str(share.shot.over))
        instant, wire = self.instant(other), resolve_wire(self.look.over, azimuth)
        return LineSheet(self._heights(other, instant), wire, surface.drawn_marker(instant, self.look))

    def _subframes(self, share: ShotShare, view: View) -> Iterator[View]:
        """The views whose mean replaces that at the frame's own time; the lamps stand still in all of them."""
        count, azimuth = self.quality.subframes, self.camera_orbit(share).azimuth
        for subframe in subframes(count):
            seconds = max(0.0, share.seconds + self.shutter * (subframe.time - 0.5))
            moved = self._view(share._replace(seconds=seconds), azimuth) if self.shutter else view
            yield replace(moved, weight=share.weight / count, jitter=subframe.jitter, lens_point=subframe.lens_point)

    def _aim(self, share: ShotShare, instant: Instant, height: Array) -> tuple[Orbit, Point]:
        """The camera's orbit over the surface that it stands on, and its focal point."""
        ground = self.ground(share, instant, height)
        return ground.aim(share.shot.camera, self.camera_orbit(share), self.targets(share))

    def _heights(self, share: ShotShare, instant: Instant) -> Array:
        """The surface that a shot shows at its time, as far as it has grown, read-only; the same object in a hold."""
        start, reveal = share.shot.camera.grows_from, self.camera_orbit(share).reveal
        scales = self.scales(share.landscape, instant.coordinate)
        key = share.landscape, self._when(share.landscape, instant)
        height = self._kept(key, lambda: surface.heights(instant, self.look, scales))
        return grown(height, start, reveal) if start and reveal < 1 else height

    def _colours(self, landscape: str, instant: Instant, mapping: ColourMapping) -> Array:
        """The colours of a surface at an instant, read-only; the same object in a hold."""
        key = landscape, self._when(landscape, instant), mapping
        scales = self.ranges.at(instant.coordinate)
        return self._kept(key, lambda: surface.colours(instant, self.look, mapping, scales))

    def _when(self, landscape: str, instant: Instant) -> float:
        """The coordinate of an instant; of a land that stands still always 0, since it is the same."""
        moves = any(len(field.coordinates) > 1 for field in self.surfaces[landscape].fields.values())
        return instant.coordinate if moves else 0.0

    def _kept(self, key: Hashable, make: Callable[[], Array]) -> Array:
        """An array that is made once, while few others are."""
        if key not in self._cache:
            array = make()
            array.flags.writeable = False
            while len(self._cache) >= _CACHED_ARRAYS:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = array
        return self._cache[key]

    # --- overlays ----------------------------------------------------------------------------------------------------

    def _overlays(self, number: int, shares: tuple[ShotShare, ...], views: tuple[View, ...]) -> tuple[Overlay, ...]:
        """Labels of contours, the title, and the captions of the shots, each with a halo where the look has one."""
        seconds, titles = float(number / self.cut.fps), self.titles.with_ink(self.look)
        shown = {self._named(shot) for shot in self.cut.shots}
        notes = ((mapping, self._notes(names, mapping)) for mapping, _ in self.ranges.colours for names in shown)
        page = Page.of(self.size, titles, notes)
        elements: list[Overlay] = []
        main = views[0]
        for share, view in zip(shares, views, strict=True):
            if share.panel.region:
                weight = _text_weight(share)
                elements += overlays.frame_of(share.panel.region, page, titles, weight)
                [place] = project(np.array([main.pose.position]), view.pose, page.aspect) / (page.aspect, 1)
                elements += overlays.camera_dot(
                    share.panel.region, (float(place[0]), float(place[1])), page, titles, weight
                )
                continue
            main = view
            opacity = overlays.dissolve_opacity(_text_weight(share))
            texts = labels(view, self.look, page.of_panel(view.panel), opacity)
            elements += page.shift(texts, view.panel)
        title_end, claim_start = (time.seconds(self.cut.fps) for time in (titles.title_for, titles.claim_from))
        elements += overlays.title(titles, seconds, title_end)
        elements += overlays.claim(titles, seconds, max(claim_start, title_end if titles.title else 0.0), page)
        whole = [share for share in shares if not share.panel.region]
        captions = ((_text_weight(share), self._captions(share, titles, page)) for share in whole)
        elements += overlays.dissolve_overlays(captions)
        if halo := self.look.halo:
            return tuple(replace(overlay, halo=overlay.halo or halo) for overlay in elements)
        return tuple(elements)

    def _captions(self, share: ShotShare, titles: Titles, page: Page) -> list[Overlay]:
        """The live line of a shot's panel at one time; with the first panel also the notes and the legend."""
        mapping, instant, shown = share.shot.colour or self.look.colour, self.instant(share), self._shown(share.shot)
        own_page, axis = page.of_panel(share.panel), self.surfaces[share.landscape].axis
        over, upper = share.shot.over, replace(own_page, live_y=own_page.live_y - 1.5 * titles.size)
        reveal = self.camera_orbit(share).reveal
        own = overlays.live_line(titles, instant, axis, upper if over else own_page, reveal)
        if over:
            lines = titles.model_copy(update={"colour": self.look.over.colour})
            own += overlays.live_line(lines, self.instant(share._replace(landscape=over)), axis, own_page, reveal)
            own += overlays.panel_name(lines, f"{over}, as lines", own_page, row=1)
        if titles.chart:
            colour = titles.colour or WHITE
            lower = overlays.below_titles(titles) + 0.9 * titles.size if len(shown) > 1 else 0.0
            series, size = self._series[share.landscape], own_page.small_size
            own += titles.chart.draw(series, instant.coordinate, own_page.aspect, size, colour, lower)
        if len(shown) > 1 or over:
            own += overlays.panel_name(titles, share.landscape, own_page)
        captions = page.shift(own, share.panel)
        if share.panel.number == 0:
            scales, notes = self.ranges.at(instant.coordinate), self._notes(self._named(share.shot), mapping)
            captions += overlays.notes_and_legend(titles, self.look, mapping, scales, notes, page)
        return captions

    @cached_property
    def _series(self) -> dict[str, Series]:
        """The numbers of the chart, of each landscape."""
        chart = self.titles.chart
        return {name: chart.series(surfaces) for name, surfaces in self.surfaces.items()} if chart else {}

    @cached_property
    def _texts(self) -> dict[tuple[str, ColourMapping], str]:
        """The notes of a landscape in the colours of a mapping, with what these and the heights cut."""
        return {
            (name, mapping): "\n".join(
                [
                    self.notes[name][grid_of(mapping.field)],
                    *([overlays.upside_down(self.look.height)] if self.look.height.reverses(name) else []),
                    *cuts(surfaces, self.look, mapping, self.ranges),
                ]
            )
            for name, surfaces in self.surfaces.items()
            for mapping, _ in self.ranges.colours
        }

    def _notes(self, shown: tuple[str, ...], mapping: ColourMapping) -> str:
        """The notes of the landscapes shown; where they differ, each with its landscape's name."""
        notes = {name: self._texts[name, mapping] for name in shown}
        if len(set(notes.values())) == 1:
            return notes[shown[0]]
        return "\n".join(f"{name}: {text}" for name, text in notes.items())


def _with_cues(
    shots: tuple[Shot, ...], cues: Mapping[str, Cue], fps: Fraction, surfaces: Mapping[str, Surfaces]
) -> tuple[Shot, ...]:
    """The shots with the times that measured cues have. Raises ValueError if one never comes, or comes too late."""

    @cache
    def coordinate(landscape: str, name: str) -> float:
        try:
            return cues[name].coordinate(surfaces[landscape])
        except ValueError as error:
            raise ValueError(f"cues.{name}: {error}") from None

    found, mistakes = resolve(shots, cues, fps, lambda shot, name: coordinate((shot.show or tuple(surfaces))[0], name))
    for (index, *path), text in [*mistakes, *Cut(found, fps).mistakes()]:
        raise ValueError(f"shot {found[int(index)].shot}: {'.'.join(map(str, path))}: {text}")
    return found


def _text_weight(share: ShotShare) -> float:
    """Of a shot's own text: under a veil it goes as in a dissolve."""
    return share.weight * (1 - share.veil[1])
