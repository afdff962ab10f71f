"""A slice: one keyframe with its loss, resolved once; what its numbers depend on, and the digests that name them.

`SliceResolver.resolve` works out everything that a worker needs: the method, the device, and the digests of the plane,
the samples and the slice. Workers (`tasks`) derive nothing again. No torch is loaded here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from studio.config.records import digest
from studio.errors import RunError
from studio.field import Grid
from studio.landscape.centres import AtCheckpoint, Centre, Mixture
from studio.landscape.convexity import Convexity
from studio.landscape.directions import Directions, parts
from studio.landscape.loss import Loss, choose_method
from studio.landscape.sweeps.keyframe import Keyframe
from studio.storage.files import read_json
from studio.storage.shelf import Shelf
from studio.training import checkpoints
from studio.training.data import DataSet
from studio.training.derived import AnyRun
from studio.training.device import Kind, device_kind
from studio.training.models import Mlp, Model
from studio.training.objectives import Objective
from studio.training.recipe import MOVE_ALL

VERSION = 7
"""Part of every digest: raised by hand when the numbers change for the same inputs."""
CURVATURE_VERSION = 6
"""The same, for the numbers that only curvature has."""
CURVATURE_FIELDS = ("lambda_min", "lambda_max", "converged", "products", "kappa_min", "kappa_max")
"""Fields of a convexity slice: the extreme Hessian eigenvalues, how they were found, and the plane's own two."""
GPU_POINTS = 256
"""Points of a perceptron's Hessian grid that a GPU measures together, as whole rows: one row does not fill it."""

Quantity = Literal["loss", "convexity", "spectrum"]


@dataclass(frozen=True)
class Slice:
    """A resolved slice. Hashable and picklable; it names its inputs by records and digests.

    quantity: what is measured. centre: whose weights are theta. loss: whose values, or whose Hessian, are measured.
    direction_loss: the loss that directions of curvature are computed from. grid: the sample points. convexity: None
    for loss values. objective: of the run. parameters: patterns of the weights that move. method, reason: how loss
    values are computed, and why. Digests name what lies on the shelf: the runs that centres are of; theta, delta and
    eta (`plane_digest`); the samples of both losses; the slice itself (`digest`). inputs: the resolved inputs of its
    numbers, as JSON.
    """

    quantity: Quantity
    run_digests: tuple[str, ...]
    centre: Centre
    model: Model
    data: DataSet
    directions: Directions
    loss: Loss
    direction_loss: Loss
    grid: Grid
    convexity: Convexity | None
    objective: Objective
    parameters: tuple[str, ...]
    device: Kind
    method: str
    reason: str
    plane_digest: str
    samples_digest: str
    direction_samples_digest: str
    digest: str
    inputs: str

    @property
    def curvature(self) -> Convexity:
        """The convexity record of a slice of curvature. Raises ValueError for a slice of loss values."""
        if self.convexity is None:
            raise ValueError(f"a slice of the {self.quantity} has no convexity record")
        return self.convexity

    @property
    def losses_by_samples(self) -> dict[str, Loss]:
        """{digest of the samples: loss over them} of all samples that the slice needs on the shelf."""
        return {self.samples_digest: self.loss, self.direction_samples_digest: self.direction_loss}

    @property
    def row_groups(self) -> list[tuple[int, int]]:
        """Rows of the Hessian grid that are measured together, as half-open ranges (first, end): a fixed rule.

        Points that are differentiated together round together, so the groups must not depend on what is missing.
        """
        n, columns = self.grid.shape
        rows = max(1, GPU_POINTS // columns) if self.device == "cuda" and isinstance(self.model, Mlp) else 1
        return [(first, min(first + rows, n)) for first in range(0, n, rows)]


@dataclass(frozen=True)
class SliceResolver:
    """Resolves the slices of trained runs, which it lists once: make a new one after training.

    shelf: where the runs lie. runs: that centres are of, the scene's first, and their digests. direction_loss: the loss
    of the film's surfaces.
    """

    shelf: Shelf
    runs: tuple[AnyRun, ...]
    run_digests: tuple[str, ...]
    direction_loss: Loss

    def resolve(
        self, quantity: Quantity, keyframe: Keyframe, grid: Grid, loss: Loss, convexity: Convexity | None = None
    ) -> Slice:
        """The resolved slice through a keyframe's centre. Raises RunError if a run lacks a checkpoint."""
        run, directions = self.runs[keyframe.centre.checkpoints[0].run], keyframe.directions
        device, direction_loss = device_for(loss, quantity), self.direction_loss.without_extras
        plane = self._plane_inputs(run, keyframe.centre, directions, direction_loss)
        samples = self._samples_inputs(loss)
        method, reason = scene_method(run, directions, loss)
        inputs = {
            "version": VERSION,
            **plane,
            **samples,
            **self._loss_inputs(loss, device),
            "grid": grid.model_dump(mode="json"),
            "method": method,
        }
        return Slice(
            quantity=quantity,
            run_digests=self.run_digests,
            centre=keyframe.centre,
            model=run.recipe.model,
            data=run.recipe.data,
            directions=directions,
            loss=loss,
            direction_loss=direction_loss,
            grid=grid,
            convexity=convexity,
            objective=self.runs[0].objective,
            parameters=self.runs[0].parameters,
            device=device,
            method=method,
            reason=reason,
            plane_digest=digest("plane", VERSION, plane),
            samples_digest=digest("samples", VERSION, samples),
            direction_samples_digest=digest("samples", VERSION, self._samples_inputs(direction_loss)),
            digest=digest(quantity, inputs, _curvature_inputs(quantity, convexity)),
            inputs=json.dumps(inputs, sort_keys=True),
        )

    def weights_digest(self, at: AtCheckpoint) -> str:
        """SHA-256 of a checkpoint's weights. Raises RunError if the run has none there."""
        facts = self._facts_by_run[at.run].get(at.checkpoint)
        if facts is None:
            raise RunError(f"the run {self.run_digests[at.run]} has no checkpoint at {at.checkpoint:g}")
        return str(facts["weights"])

    @cached_property
    def _data_digest(self) -> str:
        return str(read_json(self.shelf.run(self.run_digests[0]) / "run.json")["data"])

    @cached_property
    def _facts_by_run(self) -> list[dict[float, dict[str, Any]]]:
        return [checkpoints.facts_by_epoch(self.shelf.run(run_digest)) for run_digest in self.run_digests]

    def _plane_inputs(
        self, run: AnyRun, centre: Centre, directions: Directions, direction_loss: Loss
    ) -> dict[str, Any]:
        """What theta, delta and eta depend on."""
        number = centre.checkpoints[0].run
        required = directions.required([AtCheckpoint(at, number) for at in self._facts_by_run[number]], centre)
        if isinstance(centre, Mixture) and len(set(map(self.weights_digest, centre.checkpoints))) == 1:
            raise RunError("sweep: both networks have the same weights; name another run, or another seed")
        inputs = {
            "model": run.recipe.model.model_dump(mode="json"),
            "centre": centre.inputs(self.weights_digest),
            "required": [other.inputs(self.weights_digest) for other in required],
            "directions": directions.model_dump(mode="json"),
        }
        if self.runs[0].parameters != MOVE_ALL:
            inputs["moving"] = self.runs[0].parameters
        if "hessian" in {part.kind for part in parts(directions)}:
            # directions of curvature depend on the loss too, and on the device that finds them
            samples = self._samples_inputs(direction_loss)
            device = device_for(direction_loss, "convexity")
            inputs["direction_loss"] = samples | self._loss_inputs(direction_loss, device)
        return inputs

    def _samples_inputs(self, loss: Loss) -> dict[str, Any]:
        selection = loss.model_dump(mode="json", include={"subset", "seed", "calibration", "word"})
        inputs = {"data": self._data_digest, "sample_selection": selection}
        # beside the samples lies the number of outputs, which follows from the kind of objective
        kind = self.runs[0].objective.kind
        return inputs if kind == "cross-entropy" else inputs | {"objective": kind}

    def _loss_inputs(self, loss: Loss, device: Kind) -> dict[str, Any]:
        values = loss.model_dump(mode="json", exclude={"method", "subset", "seed", "calibration", "word"})
        objective = self.runs[0].objective
        # digests of cross-entropy are older than objectives
        criterion = objective.kind if objective.kind == "cross-entropy" else objective.model_dump(mode="json")
        return {"loss": values | {"criterion": criterion}, "device": device}


def _curvature_inputs(quantity: Quantity, convexity: Convexity | None) -> dict[str, Any]:
    if convexity is None:
        return {}
    fields = {"convexity": {"tol", "seed", "ignore"}, "spectrum": {"ignore", "spectrum"}}[quantity]
    return {"version": CURVATURE_VERSION} | convexity.model_dump(mode="json", include=fields)


def scene_method(run: AnyRun, directions: Directions, loss: Loss) -> tuple[str, str]:
    """(method, reason) of a scene's loss values on this machine: the scene's own choice, or a fixed rule."""
    if run.objective.calls_model:
        return "loop", "the objective runs the network itself"
    moves_norms = getattr(directions, "ignore", "nothing") != "bias-and-norm"
    return choose_method(moved_model(run), loss, moves_norms, device_for(loss))


def moved_model(run: AnyRun) -> Model | None:
    """The model, if the landscape moves all of its weights."""
    return run.recipe.model if run.parameters == MOVE_ALL else None


def device_for(loss: Loss, quantity: Quantity = "loss") -> Kind:
    """The kind of device that measures a quantity: the one in use, or the CPU for float64 where that has none."""
    kind, needs_float64 = device_kind(), quantity != "loss" or loss.precision == "float64"
    return "cpu" if needs_float64 and kind == "mps" else kind


def axes(slice_: Slice, sample_count: int) -> dict[str, np.ndarray]:
    """{name: coordinates} of the axes of a slice's fields, the rows' first. sample_count: N of the loss."""
    if slice_.quantity == "spectrum" and (spectrum := slice_.curvature.spectrum):
        return {"probe": np.arange(spectrum.probes), "step": np.arange(spectrum.steps)}
    plane = {"beta": slice_.grid.beta, "alpha": slice_.grid.alpha}
    if slice_.quantity == "loss" and slice_.loss.keep_samples:
        return plane | {"sample": np.arange(sample_count)}
    return plane


def fields(slice_: Slice, loss_fields: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """{name: names of its axes} of the measured fields. loss_fields: those of a slice of the loss, from its facts."""
    if slice_.quantity == "spectrum":
        return dict.fromkeys(("ritz", "weight"), ("probe", "step"))
    if slice_.quantity == "convexity":
        return dict.fromkeys(CURVATURE_FIELDS, ("beta", "alpha"))
    loss = slice_.loss
    names = ("loss", "measured") if loss.sampling == "preview" else loss_fields
    layout: dict[str, tuple[str, ...]] = dict.fromkeys(names, ("beta", "alpha"))
    if loss.keep_samples:
        layout["losses"] = ("beta", "alpha", "sample")
    return layout
