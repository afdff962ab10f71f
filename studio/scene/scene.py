"""Scene: the whole YAML as one record, assembled from the rooms' records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import Field

from studio.config.reading import read
from studio.config.records import Record
from studio.deliver.deliverable import Deliverable
from studio.deliver.movie import Movie
from studio.errors import RunError, SceneError
from studio.field import Axis, Grid
from studio.film.format import Format
from studio.film.look import Look
from studio.film.overlays import Titles
from studio.film.timeline import Cut, Shot
from studio.landscape.convexity import Convexity
from studio.landscape.detail import Detail
from studio.landscape.directions import Directions, Random
from studio.landscape.loss import Loss
from studio.landscape.sweeps import Coordinates, Epochs, Keyframe, Runs, Sweep, select
from studio.scene import checks
from studio.training.runs import Run


class Portrait(NamedTuple):
    """A keyframe that is measured once more, for a still: its coordinate, and the points along each side."""

    coordinate: float
    points: int

    def grid(self, grid: Grid) -> Grid:
        """The film's grid with the portrait's points."""
        return grid.model_copy(update={"points": self.points})


class Scene(Record):
    """A film: what is measured (run to convexity), how it is shown (look to titles), and what is delivered.

    title: of the film; it names nothing on disk. run: the training run. directions: the two directions in weight space.
    sweep: what changes from keyframe to keyframe. grid: the sample points of the loss. detail: a finer grid around the
    centre. loss: which loss. convexity: where Hessian eigenvalues are measured. look: how numbers become a picture.
    film: size, rate and quality. shots: in order. titles: the text on the picture. deliver: the files to make.
    """

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
        """The shots in time, at the film's rate."""
        return Cut(self.shots, self.film.fps)

    @property
    def runs(self) -> Runs:
        """The scene's run, then those that its sweep needs. Raises SceneError if these cannot be trained."""
        return self.run, *self.sweep.needs(self.run)

    @property
    def axis(self) -> Axis:
        """The axis of the sweep's coordinates."""
        return self.sweep.axis(self.runs)

    def keyframes(self) -> tuple[Keyframe, ...]:
        """The keyframes at which the loss is measured, by coordinate.

        Raises SceneError if a run lacks a checkpoint, and RunError if its folder cannot be used.
        """
        return self.sweep.unroll(self.runs, self.directions, self.grid)

    def detail_keyframes(self) -> tuple[Keyframe, ...]:
        """The keyframes at which the finer grid is measured; none without `detail`. Raises as `keyframes` does."""
        return self._chosen(self.detail.at) if self.detail else ()

    def convexity_keyframes(self) -> tuple[Keyframe, ...]:
        """The keyframes at which convexity is measured; none without `convexity`. Raises as `keyframes` does."""
        return self._chosen(self.convexity.at) if self.convexity else ()

    def _chosen(self, at: Coordinates) -> tuple[Keyframe, ...]:
        by_coordinate = {keyframe.coordinate: keyframe for keyframe in self.keyframes()}
        chosen = select(at, tuple(by_coordinate), self.axis, "the sweep has no keyframe")
        return tuple(by_coordinate[coordinate] for coordinate in chosen)

    def mistakes(self) -> Iterator[checks.Mistake]:
        """(path of keys, what is wrong) for every mistake that takes several records to see."""
        yield from ((("shots", *path), text) for path, text in self.cut.mistakes())
        yield from checks.deliverable_mistakes(self.deliver, self.title, self.film, self.cut)
        yield from checks.unmeasured_fields(checks.aov_fields(self.deliver), self.loss, self.convexity)
        yield from checks.subset_mistakes(self.loss, self.convexity, self.run.recipe.data)
        yield from checks.aperture_mistakes(self.shots, self.film)
        yield from checks.unmeasured_fields(checks.drawn_fields(self.look, self.shots), self.loss, self.convexity)
        try:
            yield from self._keyframe_mistakes()
        except RunError as error:
            yield ("run", "checkpoints"), str(error)

    def _keyframe_mistakes(self) -> Iterator[checks.Mistake]:
        """Checkpoints that a run lacks, and coordinates that the sweep lacks."""
        try:
            keyframes, existing = self.keyframes(), self.run.instants()
        except SceneError as error:
            yield ("sweep", *(("at",) if isinstance(self.sweep, Epochs) else ())), str(error)
            return
        for key, chosen in (("convexity", self.convexity_keyframes), ("detail", self.detail_keyframes)):
            try:
                chosen()
            except SceneError as error:
                yield (key, "at"), str(error)
        if self.detail:
            yield from checks.detail_mistakes(self.detail, self.grid, self.loss)
        required = {
            at for k in keyframes for centre in k.directions.required(existing, k.centre) for at in centre.checkpoints
        }
        if lacking := sorted(at.checkpoint for at in required if not at.run and at.checkpoint not in existing):
            places = ", ".join(f"{checkpoint:g}" for checkpoint in lacking)
            yield ("directions", "at"), f"the run has no checkpoint at {self.run.axis.name} {places}"
        yield from checks.along_mistakes(self.shots, [keyframe.coordinate for keyframe in keyframes], self.axis)


def output_name(path: Path, draft: bool) -> str:
    """Name of the output files of the scene at `path`, without suffix."""
    return path.stem + ("-draft" if draft else "")
