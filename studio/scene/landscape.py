"""Landscape: all that is measured, as one record; a scene has one, or several by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Self

from pydantic import ConfigDict, ValidationInfo, field_validator, model_validator

from studio.config.records import Record
from studio.errors import RunError, SceneError
from studio.field import Axis, Grid
from studio.landscape.centres import AtCheckpoint
from studio.landscape.convexity import Convexity
from studio.landscape.detail import Detail
from studio.landscape.directions import Checkpoints, Directions, Random, Through, misfit
from studio.landscape.loss import Loss
from studio.landscape.sweeps.along import Epochs
from studio.landscape.sweeps.between import Chord, Curve
from studio.landscape.sweeps.keyframe import Coordinates, Keyframe, Runs, select
from studio.landscape.sweeps.sweep import Sweep
from studio.scene import checks
from studio.training.data import Layout
from studio.training.derived import AnyRun
from studio.training.runs import NetworkRun, Run, SurfacesRun


def _run_may_stand_elsewhere(schema: dict[str, Any]) -> None:
    schema["required"] = [key for key in schema.get("required", ()) if key != "run"]


class Landscape(Record):
    """What is measured. A key that is not written here is the scene's own.

    run: the training run. directions: the two directions in weight space. sweep: what changes from keyframe to
    keyframe. grid: the sample points of the loss. detail: a finer grid around the centre. loss: which loss. convexity:
    where Hessian eigenvalues are measured.
    """

    model_config = ConfigDict(json_schema_extra=_run_may_stand_elsewhere)

    run: Run
    directions: Directions = Random()
    sweep: Sweep = Epochs()
    grid: Grid = Grid()
    detail: Detail | None = None
    loss: Loss = Loss()
    convexity: Convexity | None = None

    @field_validator("directions", "sweep", "grid", "detail", "loss", "convexity")
    @classmethod
    def _is_of_a_network(cls, value: Any, info: ValidationInfo) -> Any:
        """Only keys that are written come here."""
        if isinstance(info.data.get("run"), SurfacesRun) and not isinstance(value, Epochs):
            raise ValueError(
                "not with run.kind: surfaces, whose file has its own grid and is measured already; take it out, or "
                "write it under the landscapes that are measured here"
            )
        return value

    @model_validator(mode="after")
    def _has_its_files_grid(self) -> Self:
        if isinstance(self.run, SurfacesRun):
            object.__setattr__(self, "grid", self.run.content.grid)
        return self

    @property
    def runs(self) -> Runs:
        """The landscape's run, then those that its sweep needs. Raises SceneError if these cannot be trained."""
        return self.run, *self.sweep.needs(self.run)

    @property
    def networks(self) -> tuple[AnyRun, ...]:
        """Those of the runs that are trained or imported: none for surfaces that the user brings."""
        return tuple(run for run in self.runs if not isinstance(run, SurfacesRun))

    @property
    def network(self) -> NetworkRun:
        """The landscape's run. Raises SceneError for surfaces that the user brings."""
        if isinstance(self.run, SurfacesRun):
            raise SceneError(f"run.file: {self.run.file} brings surfaces, and no network to measure or to train")
        return self.run

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

    def landscape_mistakes(self) -> Iterator[checks.Mistake]:
        """(path of keys, what is wrong) for every mistake that takes several records to see."""
        yield from self.data_mistakes()
        try:
            yield from self._keyframe_mistakes()
        except RunError as error:
            yield ("run", self.run.kind, "checkpoints"), str(error)

    def data_mistakes(self, layout: Layout | None = None) -> Iterator[checks.Mistake]:
        """What does not fit the data; or the data, if they cannot be read. layout: of data that only a call tells."""
        if isinstance(self.run, SurfacesRun):
            yield from checks.file_mistakes(self.run)
            return
        other = self.sweep.to if isinstance(self.sweep, Chord | Curve) else None
        try:
            known, *others = (run.recipe.data.layout() for run in (self.run, other) if run)
        except RunError as error:
            yield self.run.keys("data"), str(error)
            return
        layout = known or layout
        yield from checks.run_mistakes(self.run, self.loss, layout)
        for keys, text in checks.run_mistakes(other, self.loss, others[0] or layout) if other else ():
            if keys[0] == "run":
                yield ("sweep", "to"), f"{'.'.join(keys[2:])}: {text}"
        if layout:
            yield from checks.weight_mistakes(self.run, layout, self.directions)
            yield from checks.subset_mistakes(self.loss, self.convexity, layout.samples)

    def _keyframe_mistakes(self) -> Iterator[checks.Mistake]:
        """Checkpoints that a run lacks, and coordinates that the sweep lacks."""
        try:
            keyframes = self.keyframes()
        except SceneError as error:
            yield ("sweep", *(("at",) if isinstance(self.sweep, Epochs) else ())), str(error)
            return
        for key, chosen in (("convexity", self.convexity_keyframes), ("detail", self.detail_keyframes)):
            try:
                chosen()
            except SceneError as error:
                yield (key, "at"), str(error)
        if self.detail and len({keyframe.grid for keyframe in keyframes}) > 1:
            yield ("detail",), "the sweep's grids are nested already; take one of the two out"
        elif self.detail:
            yield from checks.detail_mistakes(self.detail, self.grid, self.loss)
        own = [[AtCheckpoint(at, number) for at in run.instants()] for number, run in enumerate(self.runs)]
        planes = [(k.directions, own[k.centre.checkpoints[0].run], k.centre) for k in keyframes]
        required = {
            at
            for directions, available, centre in {plane[0]: plane for plane in planes}.values()  # each only once
            for needed in directions.required(available, centre)
            for at in needed.checkpoints
        }
        if lacking := required - {*itertools.chain(*own)}:
            places = ", ".join(sorted(f"{at.checkpoint:g}{f' of run {at.run}' * bool(at.run)}" for at in lacking))
            keys = ("directions", "at") if isinstance(self.directions, Checkpoints | Through) else ("directions",)
            yield keys, f"the run has no checkpoint at {self.run.axis.name} {places}"
        elif len(models := {number: run.recipe.model for number, run in enumerate(self.networks)}) > 1:
            spans = ((centre, at) for directions, of, centre in planes for at in directions.required(of, centre))
            pairs = ((centre.checkpoints[0], at) for centre, needed in spans for at in needed.checkpoints)
            if unlike := next((pair for pair in pairs if models[pair[0].run] != models[pair[1].run]), None):
                yield ("directions",), f"{unlike[0]} and {unlike[1]} are of different networks, which share no plane"
        if text := next(filter(None, itertools.starmap(misfit, planes)), None):
            yield ("directions",), text
        if len({keyframe.coordinate for keyframe in keyframes}) < len(keyframes):
            yield ("sweep",), "two keyframes fall on one coordinate, of a thousandth; take fewer steps, or a longer way"


KEYS = tuple(Landscape.model_fields)
