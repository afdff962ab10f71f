"""The tasks a worker runs, and how their results come together: rows of a slice, pieces of film.

A task is named by records and shelf keys, so it can run in any process; what it needs in memory it makes there, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .errors import SceneError
from .field import Field, Surfaces
from .film.frame import Reel
from .film.terrain import SCALES, undrawn
from .landscape import slices
from .landscape.hessian import Convexity
from .scene import Scene
from .spec import digest
from .store import Shelf
from .training import checkpoints

VERSION = 1  # raise it when the same reel is to be drawn differently
PIECE = 2.0  # seconds of film in a piece


def loss_row(slice_: slices.Slice, row: int, convexity: Convexity | None) -> dict[str, np.ndarray]:
    """Loss and accuracy [points] on one row of beta."""
    return {name: values[0] for name, values in slices.loss_rows(slice_, (row, row + 1)).items()}


def convexity_row(slice_: slices.Slice, row: int, convexity: Convexity) -> dict[str, np.ndarray]:
    """Both ends of the Hessian's spectrum [points] on one row of beta."""
    n = slice_.grid.points
    return slices.extremes_points(slice_, convexity.tol, convexity.seed, (row * n, (row + 1) * n))


ROWS = {"loss": loss_row, "convexity": convexity_row}
FIELDS = {"loss": ("loss", "accuracy"), "convexity": ("lambda_min", "lambda_max", "converged", "products")}


def surfaces(shelf: Shelf, run_folder: Path, keys: dict[tuple[str, float], str], scene: Scene) -> Surfaces:
    """The surfaces on the shelf. A Hessian point that did not converge is NaN."""
    fields = {}
    for what, names in FIELDS.items():
        epochs = tuple(epoch for kind, epoch in keys if kind == what)
        if not epochs:
            continue
        found = [shelf.slice(keys[what, epoch]).read() for epoch in epochs]
        grid = scene.grid.model_copy(update={"points": found[0].sizes["alpha"]})
        for name in filter(SCALES.__contains__, names):
            values = np.stack([data[name].values for data in found])
            if what == "convexity":
                values = np.where(np.stack([data["converged"].values for data in found]) > 0, values, np.nan)
            fields[name] = Field(epochs, grid, values, SCALES[name])
    return Surfaces(fields, checkpoints.epochs(run_folder), checkpoints.metrics(run_folder))


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
    """All a worker needs to make any frame: the scene and the shelf's keys. Small, and picklable."""

    scene: Scene
    shelf: Shelf
    run_folder: str
    keys: tuple[tuple[tuple[str, float], str], ...]
    draft: bool

    @property
    def reel(self) -> Reel:
        return _reel_of(self)

    def pieces(self, index: int, span: tuple[int, int], renderer: str) -> Iterator[Piece]:
        """The pieces of a deliverable over a span of frames, cut at fixed places, each with its own key."""
        reel, deliverable = self.reel, self.scene.deliver[index]
        start, stop = span
        if (at := getattr(deliverable, "at", None)) is not None:
            number = at.frames(reel.cut.fps)
            start, stop = (number, number + 1) if start <= number < stop else (0, 0)
        length = max(1, round(PIECE * reel.cut.fps))
        edges = sorted({start, stop, *range(-(-start // length) * length, stop, length)})
        for first, last in zip(edges, edges[1:], strict=False):
            shown = [(n, reel.cut.at(n)) for n in range(first, last)]
            paints = dict.fromkeys(part.shot.colour or reel.look.colour for _, parts in shown for part in parts)
            ranges = reel.ranges.height, reel.ranges.cap, [reel.ranges.of(paint) for paint in paints]
            key = digest(
                "piece",
                VERSION,
                shown,
                reel.cut.fps,
                reel.look,
                reel.type,
                ranges,
                reel.notes,
                self.keys,
                reel.size,
                self.scene.film.samples,
                renderer,
                deliverable.identity(),
            )
            yield Piece(key, index, first, last, self.shelf.piece(key, deliverable.piece))


@dataclass(frozen=True)
class Piece:
    """A stretch of one deliverable: frames start to before stop, and where it is kept."""

    key: str
    deliverable: int
    start: int
    stop: int
    path: Path


def stretch(piece: Piece) -> tuple[int, int]:
    """First frame, and one past the last."""
    return piece.start, piece.stop


@lru_cache(maxsize=2)
def _reel_of(order: Order) -> Reel:
    return reel_of_scene(
        order.scene, surfaces(order.shelf, Path(order.run_folder), dict(order.keys), order.scene), order.draft
    )


@lru_cache(maxsize=1)
def _stage(size, mesh: int, samples: int):
    from .render.stage import Stage

    return Stage(size, mesh, samples)


def draw(order: Order, pieces: tuple[Piece, ...]) -> None:
    """Draws a stretch of frames once and encodes it for every deliverable that wants it."""
    reel, scene, (start, stop) = order.reel, order.scene, stretch(pieces[0])
    stage = _stage(reel.size, reel.look.mesh, scene.film.samples)
    pictures: Iterable[np.ndarray] = (stage.draw(reel.frame(n)) for n in range(start, stop))
    if len(pieces) > 1:
        pictures = list(pictures)
    for piece in pieces:
        scene.deliver[piece.deliverable].segment(pictures, piece.path, reel.size, reel.cut.fps, start)
