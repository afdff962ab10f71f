"""RenderJob, and the tasks of a render worker: frames, segments of deliverables, and sheets of small pictures.

    surfaces  ->  linear frames  ->  segments of each deliverable

A job names its inputs by records and digests, so it can run in any process, which loads what it needs once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.config.records import digest
from studio.config.units import Size
from studio.deliver.paper import add_bleed
from studio.deliver.picture_spec import Aov, Picture, PictureSpec
from studio.errors import SceneError
from studio.field import Surfaces
from studio.film import overlays
from studio.film.bands import Bands
from studio.film.fields import FIELDS
from studio.film.frame import Frame, Window
from studio.film.frame_source import FrameSource
from studio.film.look import Look
from studio.film.surface import caveats
from studio.film.timeline import EVERYWHERE
from studio.pipeline.results import Results
from studio.scene.captions import captions
from studio.scene.scene import Scene
from studio.storage.linear_frames import TILE, LinearFrame, Tile
from studio.storage.shelf import Shelf, seal_segment

if TYPE_CHECKING:
    from studio.render.stage import Stage

PACKAGES = ("landscape-studio", "torch", "numpy", "scipy", "vtk", "pyvista")
"""Of the versions that provenance names."""
VERSION = 4
"""Raised by hand when the same film is drawn differently."""
Span = tuple[int, int]
"""The first frame, and one past the last."""
SEGMENT_SECONDS = 2.0
"""Film time of a segment."""
LARGEST_DIRECT = 8192
"""Samples along a side that are drawn at once; a larger picture is drawn in tiles."""


@dataclass(frozen=True)
class RenderJob:
    """All that a worker needs to render any frame; small and picklable.

    results: of the scene's landscapes, in their order. renderer: name of the GL renderer, since another one draws other
    pixels. bleed: extra pixels on every side. alone: the one shot that is shown, for deliverables with handles; the
    others show the film.
    """

    scene: Scene
    results: tuple[Results, ...]
    draft: bool
    renderer: str
    bleed: int = 0
    alone: str | None = None

    @property
    def shelf(self) -> Shelf:
        """Where everything lies."""
        return self.results[0].shelf

    @property
    def source(self) -> FrameSource:
        """The film as a function of the frame's number."""
        return frame_source(self.scene, self.results, self.draft, self.alone)

    @property
    def size(self) -> Size:
        """Size of a drawn frame, bleed included."""
        width, height = self.scene.film.size
        return Size(width + 2 * self.bleed, height + 2 * self.bleed)

    @property
    def is_tiled(self) -> bool:
        """Whether a frame is too large to be drawn at once."""
        return max(self.size) * self.scene.film.quality.samples > LARGEST_DIRECT

    def parts(self, shot: str | None = None) -> Iterator[tuple[RenderJob, Span, str]]:
        """The film, and then every shot, or one, by itself: a job, its span, and the suffix of the files' names.

        Shots by themselves are for deliverables with handles; without any there are none.
        """
        cut = self.scene.cut
        yield (self, (0, cut.length), "") if shot is None else (self, cut.span(shot), f"-{shot}")
        if any(deliverable.handles.amount for deliverable in self.scene.deliver):
            for name in (other.shot for other in cut.shots if shot in (None, other.shot)):
                yield replace(self, alone=name), cut.span(name), f"-{name}-handles"

    def linear_frame(self, number: int) -> LinearFrame:
        """A drawn frame on the shelf; its digest covers all that reaches the stage, so no grade and no titles."""
        source, film = self.source, self.scene.film
        shares = [
            (
                coordinate := share.shot.coordinate(share.seconds, source.cut.fps),
                source.camera_orbit(share),
                [[target, weight] for target, weight in source.targets(share).items()],
                share.shot.camera.travels and (share.shot.camera.path, share.shot.camera.altitude),
                share.shot.camera.grows_from,
                share.shot.coordinate(share.shot.length(source.cut.fps), source.cut.fps),  # of landmarks
                colour := share.shot.colour or source.look.colour,
                source.ranges.at(coordinate).height,
                source.ranges.at(coordinate).colour_ends(colour),
                source.surfaces[share.landscape].marker(coordinate),
                share.weight,
                (share.landscape, share.panel, *([share.region] if share.region != EVERYWHERE else ())),
                *(
                    [source.look.over, share.shot.over, source.surfaces[share.shot.over].marker(coordinate)]
                    if share.shot.over
                    else ()
                ),
                (share.shot, share.seconds) if film.shutter else None,  # what moves while the shutter is open
            )
            for share in source.shares(number)
        ]
        return self.stored_frame(digest(_film_digest(self), shares))

    def stored_frame(self, digest: str) -> LinearFrame:
        """The drawn frame of a digest."""
        return self.shelf.frame(digest, self.size)

    def shows(self, index: int) -> bool:
        """Whether deliverable `index` is made of this job's film, or shot."""
        return bool(self.scene.deliver[index].handles.amount) == (self.alone is not None)

    def segments(self, span: Span) -> list[list[Segment]]:
        """The segments of every deliverable over a span, cut at fixed places."""
        ranges = [self._frames_in(index, span) for index in range(len(self.scene.deliver))]
        numbers = sorted({number for frames in ranges for number in frames})
        digests = {number: self.linear_frame(number).path.name for number in numbers}
        return [list(self._segments(index, frames, digests)) for index, frames in enumerate(ranges)]

    def _frames_in(self, index: int, span: Span) -> range:
        """The frames of a span that deliverable `index` shows, with its handles; none if it is made of other spans."""
        deliverable, fps = self.scene.deliver[index], self.scene.film.fps
        if not self.shows(index):
            return range(0)
        handles = deliverable.handles.frames(fps)
        if (at := getattr(deliverable, "at", None)) is None:
            return range(span[0] - handles, span[1] + handles)
        number = at.frames(fps)
        return range(number, number + 1) if number in range(*span) else range(0)

    def _segments(self, index: int, frames: range, digests: Mapping[int, str]) -> Iterator[Segment]:
        source, deliverable, start, stop = self.source, self.scene.deliver[index], frames.start, frames.stop
        length = max(1, round(SEGMENT_SECONDS * source.cut.fps))
        cuts = range(-(-start // length) * length, stop, length)
        # no segment of one or two frames: its encoder delay differs, so it would not join with the others
        edges = sorted({start, stop, *(cut for cut in cuts if start + 2 < cut < stop - 2)})
        axes = {name: surfaces.axis for name, surfaces in source.surfaces.items()}
        overlay = source.look, source.titles, source.notes, axes, source.cut.fps, overlays.VERSION
        for first, last in pairwise(edges):
            shown = tuple(digests[number] for number in range(first, last))
            veils = [[n, *veil] for n in range(first, last) if (veil := source.veil(n))[1]]
            frames_shown = list(enumerate(shown, first)), *([veils] if veils else ())
            name = digest("segment", VERSION, *frames_shown, overlay, deliverable.identity())
            path = self.shelf.segment(name, deliverable.segment_suffix)
            yield Segment(name, index, first, last, path, shown)


@dataclass(frozen=True)
class Segment:
    """A stretch of one deliverable: frames from start to before stop, its path, and the digests of its frames."""

    digest: str
    deliverable: int
    start: int
    stop: int
    path: Path
    frames: tuple[str, ...]


@lru_cache(maxsize=2)
def frame_source(scene: Scene, results: tuple[Results, ...], draft: bool, alone: str | None = None) -> FrameSource:
    """The film as a function of the frame's number. Raises SceneError if nothing finite was measured.

    alone: the only shot that is shown.
    """
    landscapes = dict(zip(scene.names, results, strict=True))
    surfaces = {name: landscape.surfaces() for name, landscape in landscapes.items()}
    live = f"draft    {scene.titles.live or ''}" if draft else scene.titles.live
    titles = scene.titles.model_copy(update={"live": live})
    try:
        held = {name: landscape.hold_portrait(surfaces[name]) for name, landscape in landscapes.items()}
        notes = {name: _notes(landscape, held[name]) for name, landscape in landscapes.items()}
        # ranges are the film's, also where a portrait is shown
        source = FrameSource.of(scene.shots, surfaces, scene.look, titles, scene.film, notes, scene.cues)
    except ValueError as error:
        raise SceneError(f"{scene.title}: {error}") from error
    return replace(source, surfaces=held, cut=replace(source.cut, alone=alone))


def provenance(job: RenderJob) -> dict[str, Any]:
    """The facts that every output carries: the scene, runs, slices, the GL renderer, the seed, versions of packages."""
    networks = job.scene.networks
    return {
        "scene": job.scene.title,
        "digest": digest(job.scene),
        "draft": job.draft,
        "renderer": job.renderer,
        **({"seed": networks[0].recipe.seed} if networks else {}),
        "runs": [run for results in job.results for run in results.runs],
        "slices": sorted(digest for results in job.results for digest in results.digests.values()),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _notes(results: Results, surfaces: Surfaces) -> dict[str, str]:
    """The notes of a landscape by the grid that a colour's field is measured on."""
    texts = captions(results.scene, results.portrait)
    return {grid: "\n".join([text, *caveats(surfaces)]) for grid, text in texts.items()}


@lru_cache(maxsize=2)
def _film_digest(job: RenderJob) -> str:
    """Digest of everything that reaches the stage and is the same for all frames."""
    source, film, digests = job.source, job.scene.film, [tuple(results.digests.items()) for results in job.results]
    look = source.look.model_dump(mode="json", exclude={"base", "ink", "halo", "background", "grade", "over"})
    how = film.size, job.bleed, film.quality, film.shutter, film.fps if film.shutter else None, film.interpolation
    exposure, ranges = source.look.grade.exposure, source.ranges
    return digest("frame", VERSION, look, exposure, ranges.cap, digests, how, job.renderer)


# --- tasks -----------------------------------------------------------------------------------------------------------


def render_segments(job: RenderJob, segments: tuple[Segment, ...]) -> None:
    """Encodes segments of one span from linear frames, and draws those that the shelf lacks."""
    for segment in segments:
        deliverable = job.scene.deliver[segment.deliverable]
        stored, spec = map(job.stored_frame, segment.frames), deliverable.picture_spec
        pictures = (_picture(job, number, frame, spec) for number, frame in enumerate(stored, segment.start))
        deliverable.write_segment(pictures, segment.path, job.size, job.source.cut.fps, segment.start)
        seal_segment(segment.path)


def draw_tile(job: RenderJob, number: int, stored: LinearFrame, tile: Tile) -> None:
    """Draws one tile of a frame that is too large for one window."""
    stored.write(tile, _draw(job, number, tile))


def count_differences(job: RenderJob, number: int, stored: LinearFrame) -> int:
    """How many codes of a stored frame, or of the middle tile of a large one, differ when it is drawn again."""
    tile = stored.tiles[len(stored.tiles) // 2] if job.is_tiled else None
    return int((stored[tile or slice(None)] != _draw(job, number, tile)).sum())


def look_sheet(job: RenderJob, number: int, looks: tuple[tuple[str, Look], ...]) -> np.ndarray:
    """One frame in each of several looks, side by side [H, W, 3], uint8."""
    from studio.render import contact_sheet

    return contact_sheet.look_sheet(job.source, number, dict(looks))


def storyboard(job: RenderJob, only: str | None = None, pictures: int = 3) -> np.ndarray:
    """Frames of every shot, or of one, evenly in time [H, W, 3], uint8."""
    from studio.render import contact_sheet

    return contact_sheet.storyboard(job.source, job.scene.title + "   draft" * job.draft, only, pictures)


def cast_sheet(
    job: RenderJob, every: slice, number: int, texts: tuple[tuple[str, str], ...], facts: str, own_ranges: bool
) -> np.ndarray:
    """Frame `number` of some of the shots, each of another landscape [H, W, 3], uint8."""
    from studio.render import contact_sheet

    heading = job.scene.title + "   draft" * job.draft, facts
    return contact_sheet.cast_sheet(job.source, every, number, texts, heading, own_ranges=own_ranges)


def preview(job: RenderJob, number: int, size: Size) -> np.ndarray:
    """Frame `number` small and without text [H, W, 3], uint8."""
    source = job.source.without_titles(size, "preview")
    picture: np.ndarray = _stage(size, source.look.mesh, source.quality.samples).draw(source.frame(number))
    return picture


def curves(job: RenderJob, shot: str) -> np.ndarray:
    """Curves of a shot's camera over time [H, W, 3], uint8."""
    from studio.render import curves

    return curves.curves(job.source, shot)


# --- drawing ---------------------------------------------------------------------------------------------------------


def _picture(job: RenderJob, number: int, stored: LinearFrame, spec: PictureSpec) -> Bands | Picture:
    """A frame in the bits, with the alpha and the AOVs of a deliverable."""
    from studio.render import grade

    frame, codes = _frame(job, number), _linear_codes(job, number, stored)
    if spec.bits is None:
        bands = grade.linear_picture(codes, frame, alpha=spec.alpha)
    else:
        bands = grade.picture(codes, frame, bits=spec.bits, alpha=spec.alpha)
    return Picture(bands, _aovs(job, number, spec.aovs)) if spec.aovs else bands


def _aovs(job: RenderJob, number: int, names: tuple[Aov, ...]) -> Mapping[Aov, np.ndarray]:
    from studio.render.aovs import render_aovs

    fields = job.source.fields(number, [name for name in names if name in FIELDS])
    frame = _with_bleed(job, job.source.aov_frame(number))
    rendered = render_aovs(_stage_of(job), frame, names, fields, job.size)
    return {name: rendered[name] for name in names}


def _linear_codes(job: RenderJob, number: int, stored: LinearFrame) -> LinearFrame | np.ndarray:
    """The codes of a frame, linear light as uint16 (studio.render.linear_frame): stored, or drawn now and stored."""
    if job.is_tiled:
        for tile in stored.missing():
            draw_tile(job, number, stored, tile)
        return stored
    if stored.complete:
        return stored[:]
    codes = _draw(job, number)
    for tile in stored.tiles:
        stored.write(tile, codes[tile])
    return codes


def _draw(job: RenderJob, number: int, tile: Tile | None = None) -> np.ndarray:
    stage, frame = _stage_of(job), _frame(job, number)
    if tile is None:
        return stage.linear_frame(frame)
    rows, columns = tile
    codes = stage.linear_frame(frame, Window(columns.start, rows.start, job.size))
    return codes[: rows.stop - rows.start, : columns.stop - columns.start]


@lru_cache(maxsize=2)  # tile after tile is of the same frame
def _frame(job: RenderJob, number: int) -> Frame:
    return _with_bleed(job, job.source.frame(number))


def _with_bleed(job: RenderJob, frame: Frame) -> Frame:
    return add_bleed(frame, job.scene.film.size, job.bleed) if job.bleed else frame


def _stage_of(job: RenderJob) -> Stage:
    """The stage on which a job's frames, or their tiles, are drawn."""
    return _stage(Size(TILE, TILE) if job.is_tiled else job.size, job.source.look.mesh, job.scene.film.quality.samples)


@lru_cache(maxsize=1)
def _stage(size: Size, mesh: int, samples: int) -> Stage:
    from studio.render.stage import Stage

    return Stage(size, mesh, samples)
