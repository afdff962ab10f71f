"""The tasks a worker runs, and how their results come together: rows of a slice, pieces of film.

A task is named by records and shelf keys, so it can run in any process; what it needs in memory it makes there, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .deliver.paper import bled
from .deliver.wants import Layer, Layered, Wants
from .errors import SceneError
from .field import Field, Surfaces, Way
from .film import overlays
from .film.bands import Bands
from .film.frame import Frame, Reel, Window
from .film.look import FIELDS, Look
from .film.terrain import SCALES, undrawn
from .landscape import slices
from .landscape.hessian import Convexity
from .landscape.planar import centre, compared
from .landscape.spectrum import trace
from .landscape.way import projected
from .scene import Scene
from .spec import Size, digest
from .store import TILE, Plate, Shelf, Slice
from .training import checkpoints
from .workers import Task

VERSION = 2  # raise it when the same reel is to be drawn differently
PIECE = 2.0  # seconds of film in a piece
DIRECT = 8192  # samples along a side that are drawn at once; a larger picture is drawn in tiles


@dataclass(frozen=True)
class Stretch:
    """Rows of a slice that one task measures: the first of them, how many points they take, and the task."""

    first: int
    points: int
    task: Task


def kinds(scene: Scene) -> tuple[str, ...]:
    """What a scene measures on its slices, in order."""
    if scene.convexity is None:
        return ("loss",)
    return ("loss", "convexity", "spectrum") if scene.convexity.spectrum else ("loss", "convexity")


def axes(what: str, slice_: slices.Slice, convexity: Convexity | None) -> dict[str, np.ndarray]:
    """Coordinates of what is measured on a slice; values come row by row along the first."""
    if what == "spectrum":
        return {"probe": np.arange(convexity.spectrum.probes), "step": np.arange(convexity.spectrum.steps)}
    plane = {"beta": slice_.grid.axis, "alpha": slice_.grid.axis}
    kept = what == "loss" and slice_.loss.keep_samples
    return plane | ({"sample": np.arange(len(slices.samples(slice_).arrays["y"]))} if kept else {})


def fields(what: str, slice_: slices.Slice) -> dict[str, tuple[str, ...]]:
    """What is measured on a slice, each over some of its axes."""
    if what == "spectrum":
        return dict.fromkeys(("ritz", "weight"), ("probe", "step"))
    if what == "convexity":
        return dict.fromkeys(slices.CURVATURE, ("beta", "alpha"))
    loss = slice_.loss
    names = ("loss", "measured") if loss.sampling == "preview" else loss.field_names
    each = {"losses": ("beta", "alpha", "sample")} if loss.keep_samples else {}
    return dict.fromkeys(names, ("beta", "alpha")) | each


def stretches(what: str, slice_: slices.Slice, convexity: Convexity | None, missing: list[int]) -> Iterator[Stretch]:
    """The tasks that measure the missing rows; a preview is one task, for its points follow from each other."""
    n = slice_.grid.points
    if what == "loss" and slice_.loss.sampling == "preview":
        if missing:
            yield Stretch(0, slice_.grid.size, (slices.preview_rows, (slice_,)))
        return
    if what == "convexity":
        for first, last in slices.bands(slice_):
            if not set(range(first, last)).isdisjoint(missing):
                yield Stretch(first, n * (last - first), (slices.curvature_rows, (slice_, convexity, (first, last))))
        return
    for row in missing:
        span = (row, row + 1)
        if what == "loss":
            yield Stretch(row, n, (slices.loss_rows, (slice_, span)))
        else:
            yield Stretch(row, 1, (slices.spectrum_probes, (slice_, convexity, span)))


def surfaces(shelf: Shelf, run_folder: Path, keys: dict[tuple[str, float], str], scene: Scene) -> Surfaces:
    """The surfaces on the shelf, by the names that a look gives them. A Hessian point that did not converge is NaN."""
    found: dict[str, Field] = {}
    own = dict(zip(scene.loss.field_names[2:], map(str, scene.loss.fields), strict=True))
    for what in ("loss", "convexity"):
        epochs = tuple(epoch for kind, epoch in keys if kind == what)
        if not epochs:
            continue
        measured = [shelf.slice(keys[what, epoch]).read() for epoch in epochs]
        grid = scene.grid.model_copy(update={"points": measured[0].sizes["alpha"]})
        for name in filter(measured[0].__contains__, (*SCALES, *own, "measured")):
            values = np.stack([data[name].values for data in measured])
            if name in ("lambda_min", "lambda_max"):
                values = np.where(np.stack([data["converged"].values for data in measured]) > 0, values, np.nan)
            found[own.get(name, name)] = Field(epochs, grid, values, SCALES.get(name, "linear"))
    way = _way(shelf, run_folder, scene) if scene.look.path else None
    return Surfaces(found, checkpoints.epochs(run_folder), checkpoints.metrics(run_folder), way)


def _way(shelf: Shelf, run_folder: Path, scene: Scene) -> Way:
    """The way through the scene's keys, in the planes of its loss."""
    same = {"run": scene.run, "folder": str(run_folder), "prepared": str(shelf.root), "directions": scene.directions}
    losses = {"loss": scene.loss, "grid": scene.grid, "drawn": scene.loss}
    planes = [slices.plane(slices.Slice(epoch=epoch, **same, **losses)).arrays for epoch in scene.keys()]
    return projected(scene.keys(), planes)


def said(what: str, stored: Slice, convexity: Convexity) -> dict[str, float | str]:
    """What the measured curvature at one key says of the picture; see `Studio.curvature`."""
    data = stored.read()
    if what == "spectrum":
        total, error = trace(data["ritz"].values, data["weight"].values, int(data.attrs["parameters"]))
        return {"trace": total, "trace_error": error}
    known = data.where(data["converged"] > 0)
    ends = [known[name].values for name in ("lambda_min", "lambda_max", "kappa_min", "kappa_max")]
    middle = tuple(n // 2 for n in ends[0].shape)
    facts = float(data.attrs["gradient_norm"]), float(data.attrs["centre_loss"])
    return {
        "centre": centre(*facts, ends[0][middle], ends[1][middle], convexity.tol),
        **compared(*ends, convexity.tol),
    }


def reel_of_scene(scene: Scene, measured: Surfaces, draft: bool) -> Reel:
    """The film as a function of the frame's number. Raises SceneError if nothing finite was measured."""
    kind = scene.type.model_copy(update={"live": f"draft    {scene.type.live or ''}"} if draft else {})
    try:
        notes = {field: "\n".join([text, *undrawn(measured)]) for field, text in scene.notes().items()}
        return Reel.of(scene.shots, measured, scene.look, kind, scene.film, notes)
    except ValueError as error:
        raise SceneError(f"{scene.title}: {error}") from error


@dataclass(frozen=True)
class Order:
    """All a worker needs to make any frame: the scene and the shelf's keys. Small, and picklable.

    renderer: the GL renderer's name, for its pictures are its own. bleed: pixels around the picture for the cutter.
    """

    scene: Scene
    shelf: Shelf
    run_folder: str
    keys: tuple[tuple[tuple[str, float], str], ...]
    draft: bool
    renderer: str
    bleed: int = 0

    @property
    def reel(self) -> Reel:
        return _reel_of(self)

    @property
    def size(self) -> Size:
        """Of what is drawn."""
        width, height = self.scene.film.size
        return Size(width + 2 * self.bleed, height + 2 * self.bleed)

    @property
    def tiled(self) -> bool:
        """Whether a frame is too large to be drawn at once."""
        return max(self.size) * self.scene.film.samples > DIRECT

    def plate(self, number: int) -> Plate:
        """The place of a drawn frame: its key knows all that reaches the stage, and nothing of grade and type."""
        reel, film = self.reel, self.scene.film
        shown = [
            (
                part.shot.coordinate(part.seconds, reel.cut.fps),
                part.shot.camera.at(part.seconds, reel.cut.fps),
                part.shot.camera.look_at,
                paint := part.shot.colour or reel.look.colour,
                reel.ranges.of(paint),
                part.weight,
                (part.shot, part.seconds) if film.shutter else None,  # what moves while the shutter is open
            )
            for part in reel.cut.at(number)
        ]
        return self.shelf.plate(digest(_setting(self), shown), self.size)

    def pieces(self, index: int, span: tuple[int, int]) -> Iterator[Piece]:
        """The pieces of a deliverable over a span of frames, cut at fixed places, each with its own key."""
        reel, deliverable = self.reel, self.scene.deliver[index]
        start, stop = span
        if (at := getattr(deliverable, "at", None)) is not None:
            number = at.frames(reel.cut.fps)
            start, stop = (number, number + 1) if start <= number < stop else (0, 0)
        length = max(1, round(PIECE * reel.cut.fps))
        cuts = range(-(-start // length) * length, stop, length)
        # one or two frames have a movie's delay of their own, which does not join with others'
        edges = sorted({start, stop, *(cut for cut in cuts if start + 2 < cut < stop - 2)})
        laid = reel.look, reel.type, reel.notes, reel.cut.fps, overlays.VERSION
        for first, last in zip(edges, edges[1:], strict=False):
            plates = tuple(self.plate(n).path.stem for n in range(first, last))
            key = digest("piece", VERSION, list(enumerate(plates, first)), laid, deliverable.identity())
            yield Piece(key, index, first, last, self.shelf.piece(key, deliverable.piece), plates)


@dataclass(frozen=True)
class Piece:
    """A stretch of one deliverable: frames start to before stop, where it is kept, and the keys of its plates."""

    key: str
    deliverable: int
    start: int
    stop: int
    path: Path
    plates: tuple[str, ...]


def stretch(piece: Piece) -> tuple[int, int]:
    """First frame, and one past the last."""
    return piece.start, piece.stop


@lru_cache(maxsize=2)
def _reel_of(order: Order) -> Reel:
    return reel_of_scene(
        order.scene, surfaces(order.shelf, Path(order.run_folder), dict(order.keys), order.scene), order.draft
    )


@lru_cache(maxsize=2)
def _setting(order: Order) -> str:
    """The digest of what reaches the stage and is the same for all frames."""
    reel, film = order.reel, order.scene.film
    look = reel.look.model_dump(mode="json", exclude={"base", "ink", "halo", "background", "grade"})
    how = film.size, order.bleed, film.quality, film.shutter, film.fps if film.shutter else None
    return digest(
        "plate", VERSION, look, reel.look.grade.exposure, reel.ranges.height, reel.ranges.cap, order.keys, how,
        order.renderer,
    )  # fmt: skip


@lru_cache(maxsize=2)  # a tile after a tile is of the same frame
def _frame(order: Order, number: int) -> Frame:
    return _bled(order, order.reel.frame(number))


@lru_cache(maxsize=1)
def _stage(size: Size, mesh: int, samples: int):
    from .render.stage import Stage

    return Stage(size, mesh, samples)


def draw(order: Order, pieces: tuple[Piece, ...]) -> None:
    """Encodes a stretch of frames for every deliverable that wants it, from plates; draws those that are not kept."""
    start, stop = stretch(pieces[0])
    for piece in pieces:
        deliverable = order.scene.deliver[piece.deliverable]
        pictures = (_picture(order, number, deliverable.wants) for number in range(start, stop))
        deliverable.segment(pictures, piece.path, order.size, order.reel.cut.fps, start)


def draw_tile(order: Order, number: int, tile: tuple[slice, slice]) -> None:
    """Draws one tile of a frame that is too large for one window."""
    order.plate(number)[tile] = _tile(order, number, tile)


def redrawn(order: Order, number: int) -> int:
    """How many numbers of a kept plate, or of the middle tile of a large one, are others when it is drawn again."""
    plate = order.plate(number)
    tile = plate.tiles[len(plate.tiles) // 2] if order.tiled else (slice(None), slice(None))
    again = _tile(order, number, tile) if order.tiled else _whole(order, number)
    return int((plate[tile] != again).sum())


def _picture(order: Order, number: int, wants: Wants) -> Bands | Layered:
    """A frame as a deliverable wants it."""
    from .render import grade

    frame, plate = _frame(order, number), _plate(order, number)
    if wants.bits is None:
        made = grade.shone(plate, frame, alpha=wants.alpha)
    else:
        made = grade.picture(plate, frame, bits=wants.bits, alpha=wants.alpha)
    return Layered(made, _layers(order, number, wants.layers)) if wants.layers else made


def _layers(order: Order, number: int, names: tuple[Layer, ...]) -> Mapping[Layer, np.ndarray]:
    from .render.layers import layers

    fields = order.reel.fields(number, [name for name in names if name in FIELDS])
    return layers(_stage_of(order), _bled(order, order.reel.plain(number)), names, fields, order.size)


def _plate(order: Order, number: int) -> Plate | np.ndarray:
    """A frame's plate; drawn now, and kept, if it is not."""
    plate = order.plate(number)
    if order.tiled:
        for tile in plate.missing():
            draw_tile(order, number, tile)
        return plate
    if plate.whole:
        return plate[:]
    plate[:, :] = codes = _whole(order, number)
    return codes


def _whole(order: Order, number: int) -> np.ndarray:
    from .render.plate import coded

    return coded(_stage_of(order).light(_frame(order, number)))


def _tile(order: Order, number: int, tile: tuple[slice, slice]) -> np.ndarray:
    from .render.plate import coded

    rows, columns = tile
    light = _stage_of(order).light(_frame(order, number), Window(columns.start, rows.start, order.size))
    return coded(light[: rows.stop - rows.start, : columns.stop - columns.start])


def _stage_of(order: Order):
    """The stage on which an order's frames, or their tiles, are drawn."""
    return _stage(Size(TILE, TILE) if order.tiled else order.size, order.reel.look.mesh, order.scene.film.samples)


def _bled(order: Order, frame: Frame) -> Frame:
    return bled(frame, order.scene.film.size, order.bleed) if order.bleed else frame


def sheet(order: Order, number: int, looks: tuple[tuple[str, Look], ...]) -> np.ndarray:
    """One frame in each of several looks, side by side [H, W, 3], uint8."""
    from .render.sheet import sheet as drawn

    return drawn(order.reel, number, dict(looks), columns=2)
