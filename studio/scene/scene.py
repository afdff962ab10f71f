"""Scene: the whole YAML as one record, assembled from the rooms' records, and what only the whole of it can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from studio.config.reading import read
from studio.config.records import Record, nearest
from studio.deliver.deliverable import Deliverable
from studio.deliver.movie import Movie
from studio.errors import RunError, SceneError
from studio.field import DETAIL, Grid
from studio.film.camera import Camera
from studio.film.fields import FIELDS, SIGNED
from studio.film.fields import measured_fields as parts
from studio.film.fields import missing as missing
from studio.film.format import Format
from studio.film.frame_source import FrameSource
from studio.film.look import Look
from studio.film.overlays import Titles, height_words
from studio.film.survey import assumed_surfaces as assumed
from studio.film.timeline import Cut, Shot
from studio.landscape.curvature.extremes import Convexity
from studio.landscape.detail import Detail
from studio.landscape.directions import Directions, Random
from studio.landscape.loss import Loss
from studio.landscape.sweeps import Epochs, Sweep, select
from studio.training import checkpoints
from studio.training.recipe import Run


class Scene(Record):
    """A film: what is measured (run to convexity), what is made of it (look to type), and what is handed over."""

    former: ClassVar[Mapping[str, str]] = {"type": "titles"}

    title: str
    run: Run
    directions: Directions = Random()
    sweep: Sweep = Epochs()
    grid: Grid = Grid()
    detail: Detail | None = None
    loss: Loss = Loss()
    convexity: Convexity | None = None
    look: Look = Look.model_validate({"base": "ember"})
    film: Format = Format()
    shots: tuple[Shot, ...] = Field(min_length=1)
    titles: Titles = Titles()
    deliver: tuple[Deliverable, ...] = Field((Movie(),), min_length=1)

    @classmethod
    def load(cls, path: str | Path) -> Scene:
        """The scene in a YAML file. Raises SceneError with every mistake in it."""
        return read(path, cls)

    @property
    def cut(self) -> Cut:
        return Cut(self.shots, self.film.fps)

    def epochs(self) -> tuple[float, ...]:
        """The epochs at which the run has, or will have, a checkpoint. Raises RunError if its folder cannot be used."""
        if self.run.checkpoints is None:
            return self.run.recipe.instants
        return tuple(checkpoints.by_epoch(self.run.checkpoints))

    def keys(self) -> tuple[float, ...]:
        """The epochs whose surfaces are measured."""
        return self.sweep.coordinates(self.epochs())

    def detail_keys(self) -> tuple[float, ...]:
        """The epochs at which the finer grid is measured; none without `detail`."""
        if self.detail is None:
            return ()
        return self.keys() if self.detail.at == "all" else self.detail.at

    def convexity_keys(self) -> tuple[float, ...]:
        """The epochs whose convexity is measured; none without `convexity`."""
        if self.convexity is None:
            return ()
        return self.keys() if self.convexity.at == "all" else select(self.convexity.at, self.epochs())

    def mistakes(self) -> Iterator[tuple[tuple, str]]:
        """(path of keys, what is wrong) for what no single record can tell."""
        for path, what in self.cut.mistakes():
            yield ("shots", *path), what
        files = [deliverable.file(self.title) for deliverable in self.deliver]
        for index, deliverable in enumerate(self.deliver):
            if files[index] in files[:index]:
                yield ("deliver", index), f"the same file as deliver[{files.index(files[index])}]; take one of them out"
            if what := deliverable.mistake(self.film.size, self.film.fps):
                yield ("film", "size"), f"deliver[{index}]: {what}"
            if (at := getattr(deliverable, "at", None)) and at.frames(self.film.fps) >= self.cut.length:
                yield (
                    ("deliver", index, "at"),
                    f"{at} is after the end of the film, which lasts {float(self.cut.length / self.film.fps):g}s",
                )
        for index, deliverable in enumerate(self.deliver):
            for layer in deliverable.wants.aovs:
                if layer in FIELDS and (what := self._unmeasured(layer)):
                    yield ("deliver", index, "aovs"), what
        yield from self._too_many()
        for index, shot in enumerate(self.shots):
            if _blurs(shot.camera) and self.film.quality.subframes == 1:
                yield (
                    ("shots", index, "camera", "start", "aperture"),
                    "an aperture blurs only in sub-frames: write `quality: master` under `film`, or "
                    "`quality: {samples: 2, subframes: 16}`, or leave the aperture out",
                )
        for where, field in self._drawn():
            if what := self._unmeasured(field):
                yield (*where, "field"), what
        try:
            yield from self._mistaken_epochs()
        except RunError as error:
            yield ("run", "checkpoints"), str(error)

    def _too_many(self) -> Iterator[tuple[tuple, str]]:
        """Subsets that are larger than the data."""
        try:
            available = self.run.recipe.data.count()
        except RunError as error:
            yield ("run", "recipe", "data"), str(error)
            return
        for key, what in self.loss.excess(available):
            yield ("loss", key), what
        if self.convexity and self.convexity.subset is not None:
            for key, what in self.convexity.loss(self.loss).excess(available):
                if key == "subset":
                    yield ("convexity", key), what

    def _unmeasured(self, field: str) -> str | None:
        """Why a field cannot be shown, and what to add; None if it is measured."""
        counted = {"accuracy", *map(str, self.loss.fields)}
        if field in counted and self.loss.sampling == "preview":
            return f"a preview measures the loss alone, not {field}; write `sampling: exact` under `loss`"
        return missing(field, {"loss"} | counted | (set(SIGNED) if self.convexity else set()))

    def _drawn(self) -> Iterator[tuple[tuple, str]]:
        yield ("look", "height"), self.look.height.field
        yield ("look", "colour"), self.look.colour.field
        for index, shot in enumerate(self.shots):
            if shot.colour:
                yield ("shots", index, "colour"), shot.colour.field

    def _mistaken_epochs(self) -> Iterator[tuple[tuple, str]]:
        existing = self.epochs()
        try:
            keys = self.keys()
        except SceneError as error:
            yield ("sweep", "at"), str(error)
            return
        if self.convexity:
            try:
                self.convexity_keys()
            except SceneError as error:
                yield ("convexity", "at"), str(error)
        if self.detail:
            if self.loss.sampling == "preview":
                yield ("detail",), "a finer grid is measured point by point; write `sampling: exact` under `loss`"
            if not self.detail.range[1] < self.grid.range[1]:
                yield ("detail", "range"), f"is not inside the grid's, which ends at {self.grid.range[1]:g}"
            elif not self.detail.grid.spacing < self.grid.spacing:
                yield (
                    ("detail", "points"),
                    f"{self.detail.points} points over this range are no finer than the grid; the distance between two "
                    f"is {self.detail.grid.spacing:.2g}, the grid's {self.grid.spacing:.2g}",
                )
            for epoch in sorted({*self.detail_keys()} - {*keys}):
                known = nearest(f"{epoch:g}", [f"{key:g}" for key in keys])
                yield ("detail", "at"), f"epoch {epoch:g} is no keyframe of the sweep{known}"
        missing = sorted({e for key in keys for e in self.directions.uses(existing, key)} - set(existing))
        if missing:
            yield ("directions", "epochs"), f"the run has no checkpoint at epoch {', '.join(f'{e:g}' for e in missing)}"
        for index, shot in enumerate(self.shots):
            for time, epoch in shot.along.items():
                if not keys[0] <= epoch <= keys[-1]:
                    yield (
                        ("shots", index, "along", str(time)),
                        f"epoch {epoch:g} is outside the measured ones, {keys[0]:g} to {keys[-1]:g}",
                    )

    def assumed(self) -> FrameSource:
        """The film over a land that is assumed, for what can be told of its shots before anything is measured."""
        names = {part for _, field in self._drawn() for part in parts(field)}
        grids = {"": (self.grid, self.keys())}
        if self.detail:
            grids[DETAIL] = self.detail.grid, self.detail_keys()
        return FrameSource.of(self.shots, assumed(names, grids), self.look, self.titles, self.film, self.notes())

    def notes(self, portrait: tuple[float, int] | None = None) -> dict[str, str]:
        """What the picture says of itself in small type, by the grid that its colour stands on.

        portrait: the epoch and the points along a side of a still that has a grid of its own.
        """
        loss, keys = self.loss, len(self.keys())
        points = f"{self.grid.points}\u00d7{self.grid.points} points at {keys} epochs"
        if portrait:
            points = f"{portrait[1]}\u00d7{portrait[1]} points at epoch {portrait[0]:g}"
        elif self.detail:
            n = self.detail.points
            points += f" and {n}\u00d7{n} within \u00b1{self.detail.range[1]:g} at {len(self.detail_keys())}"
        slice_ = " \u00b7 ".join(
            [
                f"{loss.mode} mode",
                *([loss.precision] if loss.precision != "float32" else []),
                f"{loss.subset} training images",
                self.directions.words,
                f"range \u00b1{self.grid.range[1]:g}",
                f"preview of {points}" if loss.sampling == "preview" else points,
                f"height {height_words(self.look.height)}",
            ]
        )
        said = {"loss": slice_}
        if self.convexity:
            n = self.convexity.points
            said["convexity"] = (
                f"{slice_}\nconvexity {n}\u00d7{n} points at {len(self.convexity_keys())} epochs over "
                f"{self.convexity.loss(loss).subset} images, interpolated between"
            )
        return said


def _blurs(camera: Camera) -> bool:
    """Whether some of what the camera sees is to be out of focus."""
    return any(place.aperture for place in (camera.start, *(key for move in camera.moves for key in move.keys)))


def named(path: Path, draft: bool) -> str:
    """What the files of the scene at `path` are called."""
    return path.stem + ("-draft" if draft else "")
