"""What a worker draws: the plates of a film's frames, the pieces of its deliverables, and sheets of small pictures.

A task is named by records and shelf keys, so it can run in any process; what it needs in memory it makes there, once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from studio.config.records import digest
from studio.config.units import Size
from studio.deliver.paper import bled
from studio.deliver.picture_spec import Aov, Picture, PictureSpec
from studio.errors import SceneError
from studio.film import overlays
from studio.film.bands import Bands
from studio.film.fields import FIELDS
from studio.film.frame import Frame, Window
from studio.film.frame_source import FrameSource
from studio.film.look import Look
from studio.film.surface import caveats as undrawn
from studio.pipeline.results import Measured
from studio.scene.scene import Scene
from studio.storage.shelf import TILE, LinearFrame

VERSION = 4  # raise it when the same reel is to be drawn differently
PIECE = 2.0  # seconds of film in a piece
DIRECT = 8192  # samples along a side that are drawn at once; a larger picture is drawn in tiles


@dataclass(frozen=True)
class RenderJob:
    """All a worker needs to make any frame. Small, and picklable.

    renderer: the GL renderer's name, for its pictures are its own. bleed: pixels around the picture for the cutter.
    """

    measured: Measured
    draft: bool
    renderer: str
    bleed: int = 0

    @property
    def scene(self) -> Scene:
        return self.measured.scene

    @property
    def reel(self) -> FrameSource:
        return reel_of(self.measured, self.draft)

    @property
    def size(self) -> Size:
        """Of what is drawn."""
        width, height = self.scene.film.size
        return Size(width + 2 * self.bleed, height + 2 * self.bleed)

    @property
    def tiled(self) -> bool:
        """Whether a frame is too large to be drawn at once."""
        return max(self.size) * self.scene.film.samples > DIRECT

    def plate(self, number: int) -> LinearFrame:
        """The place of a drawn frame: its key knows all that reaches the stage, and nothing of grade and type."""
        reel, film = self.reel, self.scene.film
        shown = [
            (
                part.shot.coordinate(part.seconds, reel.cut.fps),
                reel.orbit(part),
                part.shot.camera.look_at,
                paint := part.shot.colour or reel.look.colour,
                reel.ranges.of(paint),
                part.weight,
                (part.shot, part.seconds) if film.shutter else None,  # what moves while the shutter is open
            )
            for part in reel.cut.at(number)
        ]
        return self.kept(digest(_setting(self), shown))

    def kept(self, key: str) -> LinearFrame:
        """The plate of a key."""
        return self.measured.shelf.plate(key, self.size)

    def pieces(self, span: tuple[int, int]) -> list[list[Segment]]:
        """The pieces of every deliverable over a span of frames, cut at fixed places, each with its own key."""
        spans = [self._shown(index, span) for index in range(len(self.scene.deliver))]
        plates = {number: self.plate(number).path.stem for number in sorted({n for shown in spans for n in shown})}
        return [list(self._pieces(index, shown, plates)) for index, shown in enumerate(spans)]

    def _shown(self, index: int, span: tuple[int, int]) -> range:
        """The frames of a span that a deliverable shows."""
        if (at := getattr(self.scene.deliver[index], "at", None)) is None:
            return range(*span)
        number = at.frames(self.scene.film.fps)
        return range(number, number + 1) if number in range(*span) else range(0)

    def _pieces(self, index: int, shown: range, plates: Mapping[int, str]) -> Iterator[Segment]:
        reel, deliverable, start, stop = self.reel, self.scene.deliver[index], shown.start, shown.stop
        length = max(1, round(PIECE * reel.cut.fps))
        cuts = range(-(-start // length) * length, stop, length)
        # one or two frames have a movie's delay of their own, which does not join with others'
        edges = sorted({start, stop, *(cut for cut in cuts if start + 2 < cut < stop - 2)})
        laid = reel.look, reel.titles, reel.notes, reel.cut.fps, overlays.VERSION
        for first, last in itertools.pairwise(edges):
            own = tuple(plates[number] for number in range(first, last))
            key = digest("piece", VERSION, list(enumerate(own, first)), laid, deliverable.identity())
            yield Segment(key, index, first, last, self.measured.shelf.piece(key, deliverable.piece), own)


@dataclass(frozen=True)
class Segment:
    """A stretch of one deliverable: frames start to before stop, where it is kept, and the keys of its plates."""

    key: str
    deliverable: int
    start: int
    stop: int
    path: Path
    plates: tuple[str, ...]

    @property
    def span(self) -> tuple[int, int]:
        """First frame, and one past the last."""
        return self.start, self.stop


@lru_cache(maxsize=2)
def reel_of(measured: Measured, draft: bool) -> FrameSource:
    """The film as a function of the frame's number. Raises SceneError if nothing finite was measured."""
    scene, surfaces = measured.scene, measured.surfaces()
    kind = scene.titles.model_copy(update={"live": f"draft    {scene.type.live or ''}"} if draft else {})
    try:
        portrait = measured.portrait and astuple(measured.portrait)
        shown = measured.pinned(surfaces) if portrait else surfaces
        notes = {field: "\n".join([text, *undrawn(shown)]) for field, text in scene.notes(portrait).items()}
        return replace(FrameSource.of(scene.shots, surfaces, scene.look, kind, scene.film, notes), surfaces=shown)
    except ValueError as error:
        raise SceneError(f"{scene.title}: {error}") from error


@lru_cache(maxsize=2)
def _setting(order: RenderJob) -> str:
    """The digest of what reaches the stage and is the same for all frames."""
    reel, film, keys = order.reel, order.scene.film, tuple(order.measured.keys.items())
    look = reel.look.model_dump(mode="json", exclude={"base", "ink", "halo", "background", "grade"})
    how = film.size, order.bleed, film.quality, film.shutter, film.fps if film.shutter else None, film.interpolation
    return digest(
        "plate",
        VERSION,
        look,
        reel.look.grade.exposure,
        reel.ranges.height,
        reel.ranges.cap,
        keys,
        how,
        order.renderer,
    )


@lru_cache(maxsize=2)  # a tile after a tile is of the same frame
def _frame(order: RenderJob, number: int) -> Frame:
    return _bled(order, order.reel.frame(number))


@lru_cache(maxsize=1)
def _stage(size: Size, mesh: int, samples: int):
    from studio.render.stage import Stage

    return Stage(size, mesh, samples)


def draw(order: RenderJob, pieces: tuple[Segment, ...]) -> None:
    """Encodes a stretch of frames for every deliverable that wants it, from plates; draws those that are not kept."""
    for piece in pieces:
        deliverable, plates = order.scene.deliver[piece.deliverable], enumerate(piece.plates, piece.start)
        pictures = (_picture(order, number, order.kept(key), deliverable.wants) for number, key in plates)
        deliverable.segment(pictures, piece.path, order.size, order.reel.cut.fps, piece.start)


def draw_tile(order: RenderJob, number: int, plate: LinearFrame, tile: tuple[slice, slice]) -> None:
    """Draws one tile of a frame that is too large for one window."""
    plate[tile] = _tile(order, number, tile)


def redrawn(order: RenderJob, number: int, plate: LinearFrame) -> int:
    """How many numbers of a kept plate, or of the middle tile of a large one, are others when it is drawn again."""
    tile = plate.tiles[len(plate.tiles) // 2] if order.tiled else (slice(None), slice(None))
    again = _tile(order, number, tile) if order.tiled else _whole(order, number)
    return int((plate[tile] != again).sum())


def _picture(order: RenderJob, number: int, plate: LinearFrame, wants: PictureSpec) -> Bands | Picture:
    """A frame as a deliverable wants it."""
    from studio.render import grade

    frame, light = _frame(order, number), _drawn(order, number, plate)
    if wants.bits is None:
        made = grade.shone(light, frame, alpha=wants.alpha)
    else:
        made = grade.picture(light, frame, bits=wants.bits, alpha=wants.alpha)
    return Picture(made, _layers(order, number, wants.aovs)) if wants.aovs else made


def _layers(order: RenderJob, number: int, names: tuple[Aov, ...]) -> Mapping[Aov, np.ndarray]:
    from studio.render.aovs import render_aovs

    fields = order.reel.fields(number, [name for name in names if name in FIELDS])
    return render_aovs(_stage_of(order), _bled(order, order.reel.aov_frame(number)), names, fields, order.size)


def _drawn(order: RenderJob, number: int, plate: LinearFrame) -> LinearFrame | np.ndarray:
    """What is on a frame's plate; drawn now, and kept, if it is not yet."""
    if order.tiled:
        for tile in plate.missing():
            draw_tile(order, number, plate, tile)
        return plate
    if plate.whole:
        return plate[:]
    plate[:, :] = codes = _whole(order, number)
    return codes


def _whole(order: RenderJob, number: int) -> np.ndarray:
    return _stage_of(order).plate(_frame(order, number))


def _tile(order: RenderJob, number: int, tile: tuple[slice, slice]) -> np.ndarray:
    rows, columns = tile
    codes = _stage_of(order).plate(_frame(order, number), Window(columns.start, rows.start, order.size))
    return codes[: rows.stop - rows.start, : columns.stop - columns.start]


def _stage_of(order: RenderJob):
    """The stage on which an order's frames, or their tiles, are drawn."""
    return _stage(Size(TILE, TILE) if order.tiled else order.size, order.reel.look.mesh, order.scene.film.samples)


def _bled(order: RenderJob, frame: Frame) -> Frame:
    return bled(frame, order.scene.film.size, order.bleed) if order.bleed else frame


def sheet(order: RenderJob, number: int, looks: tuple[tuple[str, Look], ...]) -> np.ndarray:
    """One frame in each of several looks, side by side [H, W, 3], uint8."""
    from studio.render.contact_sheet import sheet as drawn

    return drawn(order.reel, number, dict(looks), columns=2)


def storyboard(order: RenderJob) -> np.ndarray:
    """The first, the middle and the last frame of every shot [H, W, 3], uint8."""
    from studio.render.contact_sheet import storyboard as drawn

    return drawn(order.reel, order.scene.title + "   draft" * order.draft)
