"""What a scene measures: its slices, the keys that name them, and the work that puts their values on the shelf.

    scene, trained run  ->  slices, by (what, epoch)  ->  rows, a few to a task

A row that is on the shelf is not measured again. What is measured on a slice comes row by row along its first axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from studio.config.records import digest
from studio.execution import workers
from studio.execution.progress import Progress, track
from studio.execution.workers import Task
from studio.field import Grid
from studio.landscape import slices
from studio.landscape.convexity import Convexity
from studio.landscape.loss import Loss
from studio.landscape.slices import Slice
from studio.scene.scene import Scene
from studio.storage.shelf import Shelf, StoredSlice

T = TypeVar("T")

KINDS = ("loss", "detail", "portrait", "convexity", "spectrum")
"""What can be measured, in the order in which it is; detail and portrait are the loss on finer grids."""


@dataclass(frozen=True)
class Portrait:
    """One keyframe that is measured once more, for a still, on so many points along each side of the scene's range."""

    epoch: float
    points: int


@dataclass(frozen=True)
class Measuring:
    """The measuring of a scene. folder: of its run. count: of workers. portrait: what is measured beside the film."""

    scene: Scene
    shelf: Shelf
    folder: Path
    count: int
    progress: Progress
    portrait: Portrait | None = None

    @cached_property
    def slices(self) -> dict[tuple[str, float], Slice]:
        return slices_of(self.scene, self.shelf, self.folder, self.portrait)

    @cached_property
    def keys(self) -> dict[tuple[str, float], str]:
        """The shelf's key of each slice; needs the trained run."""
        return {
            (what, epoch): digest(
                measured := quantity(what), slices.identity(slice_), slices.how(measured, self.scene.convexity)
            )
            for (what, epoch), slice_ in self.slices.items()
        }

    @property
    def used(self) -> dict[str, list[str]]:
        """The keys of all that the shelf keeps for it, by what they name."""
        vectors, images = (
            sorted({of(slice_) for slice_ in self.slices.values()}) for of in (slices.plane_key, slices.samples_key)
        )
        return {"planes": vectors, "samples": images} | {what: list(of(what, self.keys).values()) for what in KINDS}

    @property
    def done(self) -> bool:
        return all(self.shelf.slice(key).whole for key in self.keys.values())

    def measure(self) -> None:
        """Puts on the shelf all that is missing there."""
        if not self.done:
            owned = self.shelf.lock(f"compute-{self.folder.name}", self.progress)
            with owned, workers.pool(self.count, workers.gpus()) as run:
                for what in KINDS:
                    if chosen := of(what, self.slices):
                        self._measure(what, chosen, run)

    def subset_errors(self) -> list[tuple[float, float, float, float]]:
        """(alpha, beta, loss over the subset, loss over all images) at nine points of the last key's grid."""
        return slices.subset_errors(list(of("loss", self.slices).values())[-1])

    def _measure(self, what: str, chosen: dict[float, Slice], run: Callable) -> None:
        stores = {epoch: self.shelf.slice(self.keys[what, epoch]) for epoch in chosen}
        self._prepare(what, [(chosen[epoch], store) for epoch, store in stores.items() if not store.path.is_dir()], run)
        work = [
            (store, stretch)
            for epoch, store in stores.items()
            for stretch in row_tasks(quantity(what), chosen[epoch], self.scene.convexity, store.missing())
        ]
        if not work:
            return
        with track(self.progress, f"measure the {what}", [stretch.points for _, stretch in work]) as told:
            for index, values in told(run([stretch.task for _, stretch in work])):
                store, stretch = work[index]
                store.write(stretch.first, values)

    def _prepare(self, what: str, fresh: list[tuple[Slice, StoredSlice]], run: Callable) -> None:
        """Finds the planes of slices that are not begun, and makes the places of their values."""
        if not fresh:
            return
        curved = self.scene.convexity
        measured = quantity(what)
        with track(self.progress, f"prepare the {what}", [1] * len(fresh)) as told:
            for index, facts in told(run([(slices.facts, (measured, slice_, curved)) for slice_, _ in fresh])):
                slice_, store = fresh[index]
                said = {"scene": self.scene.title, "what": measured, **slices.identity(slice_), **facts}
                store.create(axes(measured, slice_, curved), fields(measured, slice_), said)


def quantity(what: str) -> str:
    """What is measured on slices of a kind: loss, convexity or spectrum."""
    return "loss" if what in ("detail", "portrait") else what


def slices_of(
    scene: Scene, shelf: Shelf, folder: Path, portrait: Portrait | None = None
) -> dict[tuple[str, float], Slice]:
    """What is measured, by (what, epoch): the loss grid at every key, the finer grid and the curvature at their own."""
    same = {"run": scene.run, "folder": str(folder), "prepared": str(shelf.root), "directions": scene.directions}

    def over(what: str, epochs: tuple[float, ...], grid: Grid, loss: Loss) -> dict[tuple[str, float], Slice]:
        return {(what, epoch): Slice(epoch=epoch, grid=grid, loss=loss, drawn=scene.loss, **same) for epoch in epochs}

    found = over("loss", scene.keys(), scene.grid, scene.loss)
    if scene.detail:
        found |= over("detail", scene.detail_keys(), scene.detail.grid, scene.loss)
    if portrait:
        finer = scene.grid.model_copy(update={"points": portrait.points})
        found |= over("portrait", (portrait.epoch,), finer, scene.loss)
    if curved := scene.convexity:
        for what in ("convexity", "spectrum") if curved.spectrum else ("convexity",):
            found |= over(what, scene.convexity_keys(), curved.grid(scene.grid), curved.loss(scene.loss).alone)
    return found


def of(what: str, found: Mapping[tuple[str, float], T]) -> dict[float, T]:
    """What is there of one kind, by epoch."""
    return {epoch: one for (kind, epoch), one in found.items() if kind == what}


# --- what is measured on a slice, and by which tasks -----------------------------------------------------------------


def axes(what: str, slice_: Slice, convexity: Convexity | None) -> dict[str, np.ndarray]:
    """Coordinates of what is measured on a slice."""
    if what == "spectrum":
        return {"probe": np.arange(convexity.spectrum.probes), "step": np.arange(convexity.spectrum.steps)}
    plane = {"beta": slice_.grid.axis, "alpha": slice_.grid.axis}
    kept = what == "loss" and slice_.loss.keep_samples
    return plane | ({"sample": np.arange(len(slices.samples(slice_).arrays["y"]))} if kept else {})


def fields(what: str, slice_: Slice) -> dict[str, tuple[str, ...]]:
    """What is measured on a slice, each over some of its axes."""
    if what == "spectrum":
        return dict.fromkeys(("ritz", "weight"), ("probe", "step"))
    if what == "convexity":
        return dict.fromkeys(slices.CURVATURE, ("beta", "alpha"))
    loss = slice_.loss
    names = ("loss", "measured") if loss.sampling == "preview" else loss.field_names
    each = {"losses": ("beta", "alpha", "sample")} if loss.keep_samples else {}
    return dict.fromkeys(names, ("beta", "alpha")) | each


@dataclass(frozen=True)
class RowTask:
    """Rows of a slice that one task measures: the first of them, how many points they take, and the task."""

    first: int
    points: int
    task: Task


def row_tasks(what: str, slice_: Slice, convexity: Convexity | None, missing: list[int]) -> Iterator[RowTask]:
    """The tasks that measure the missing rows; a preview is one task, for its points follow from each other."""
    n = slice_.grid.points
    if what == "loss" and slice_.loss.sampling == "preview":
        if missing:
            yield RowTask(0, slice_.grid.size, (slices.preview_rows, (slice_,)))
        return
    if what == "convexity":
        for first, last in slices.bands(slice_):
            if not set(range(first, last)).isdisjoint(missing):
                yield RowTask(first, n * (last - first), (slices.curvature_rows, (slice_, convexity, (first, last))))
        return
    for row in missing:
        span = (row, row + 1)
        if what == "loss":
            yield RowTask(row, n, (slices.loss_rows, (slice_, span)))
        else:
            yield RowTask(row, 1, (slices.spectrum_probes, (slice_, convexity, span)))
