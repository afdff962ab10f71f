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
from studio.field import Grid
from studio.film.format import Format
from studio.film.look import Look
from studio.film.overlays import Titles
from studio.film.timeline import Cut, Shot
from studio.landscape.convexity import Convexity
from studio.landscape.detail import Detail
from studio.landscape.directions import Directions, Random
from studio.landscape.loss import Loss
from studio.landscape.sweeps import Epochs, Sweep, select
from studio.scene import checks
from studio.training.runs import Run


class Portrait(NamedTuple):
    """A keyframe that is measured once more, for a still: its epoch, and the points along each side of its own grid."""

    epoch: float
    points: int


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

    def epochs(self) -> tuple[float, ...]:
        """The epochs at which the run has, or will have, a checkpoint. Raises RunError if its folder cannot be used."""
        return self.run.instants()

    def keyframes(self) -> tuple[float, ...]:
        """The epochs at which the loss is measured. Raises SceneError if the run lacks one."""
        return self.sweep.coordinates(self.epochs())

    def detail_keyframes(self) -> tuple[float, ...]:
        """The epochs at which the finer grid is measured; none without `detail`."""
        if self.detail is None:
            return ()
        return self.keyframes() if self.detail.at == "all" else self.detail.at

    def convexity_keyframes(self) -> tuple[float, ...]:
        """The epochs at which convexity is measured; none without `convexity`."""
        if self.convexity is None:
            return ()
        return self.keyframes() if self.convexity.at == "all" else select(self.convexity.at, self.epochs())

    def mistakes(self) -> Iterator[checks.Mistake]:
        """(path of keys, what is wrong) for every mistake that takes several records to see."""
        yield from ((("shots", *path), text) for path, text in self.cut.mistakes())
        yield from checks.deliverable_mistakes(self.deliver, self.title, self.film, self.cut)
        yield from self._data_mistakes()
        yield from checks.aperture_mistakes(self.shots, self.film)
        yield from self.number_mistakes(self.run.objective.numbers())
        try:
            yield from self._epoch_mistakes()
        except RunError as error:
            yield ("run", self.run.kind, "checkpoints"), str(error)

    def number_mistakes(self, numbers: checks.Numbers) -> Iterator[checks.Mistake]:
        """Fields and numbers that are shown and not measured."""
        fields = (*checks.aov_fields(self.deliver), *checks.drawn_fields(self.look, self.shots))
        yield from checks.unmeasured_fields(fields, self.loss, self.convexity, self.run, numbers)
        yield from checks.live_mistakes(self.titles.live, self.run, numbers)

    def _data_mistakes(self) -> Iterator[checks.Mistake]:
        """What does not fit the data; or the data, if they cannot be read."""
        try:
            layout = self.run.recipe.data.layout()
        except RunError as error:
            yield ("run", self.run.kind, "recipe", "data"), str(error)
        else:
            yield from checks.run_mistakes(self.run, self.loss, layout)
            yield from checks.subset_mistakes(self.loss, self.convexity, layout.samples)

    def _epoch_mistakes(self) -> Iterator[checks.Mistake]:
        """Epochs that the run, or the sweep, lacks."""
        existing = self.epochs()
        try:
            keyframes = self.keyframes()
        except SceneError as error:
            yield ("sweep", "at"), str(error)
            return
        try:
            self.convexity_keyframes()
        except SceneError as error:
            yield ("convexity", "at"), str(error)
        if self.detail:
            yield from checks.detail_mistakes(self.detail, self.detail_keyframes(), self.grid, self.loss, keyframes)
        required = {epoch for keyframe in keyframes for epoch in self.directions.required_epochs(existing, keyframe)}
        if lacking := sorted(required - set(existing)):
            epochs = ", ".join(f"{epoch:g}" for epoch in lacking)
            yield ("directions", "epochs"), f"the run has no checkpoint at epoch {epochs}"
        yield from checks.along_mistakes(self.shots, keyframes)


def output_name(path: Path, draft: bool) -> str:
    """Name of the output files of the scene at `path`, without suffix."""
    return path.stem + ("-draft" if draft else "")
