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
from .film.look import Look
from .film.terrain import SCALES, undrawn
from .landscape import slices
from .landscape.hessian import Convexity
from .landscape.planar import centre, compared
from .landscape.spectrum import trace
from .scene import Scene
from .spec import digest
from .store import Shelf, Slice
from .training import checkpoints
from .workers import Task

VERSION = 1  # raise it when the same reel is to be drawn differently
PIECE = 2.0  # seconds of film in a piece


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
    for row in missing:
        span = (row, row + 1)
        if what == "loss":
            yield Stretch(row, n, (slices.loss_rows, (slice_, span)))
        elif what == "convexity":
            yield Stretch(row, n, (slices.curvature_rows, (slice_, convexity, span)))
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
    return Surfaces(found, checkpoints.epochs(run_folder), checkpoints.metrics(run_folder))


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
        cuts = range(-(-start // length) * length, stop, length)
        # a lone frame has a movie's delay of its own, which does not join with others'
        edges = sorted({start, stop, *(cut for cut in cuts if start + 1 < cut < stop - 1)})
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


def sheet(order: Order, number: int, looks: tuple[tuple[str, Look], ...]) -> np.ndarray:
    """One frame in each of several looks, side by side [H, W, 3], uint8."""
    from .render.sheet import sheet as drawn

    return drawn(order.reel, number, dict(looks), columns=2)
