"""A slice: one keyframe with its loss, resolved once; what its numbers depend on, and the digests that name them.

    f(alpha, beta) = L(theta + alpha delta + beta eta)

`resolve_slice` works out everything that a worker needs: the method, the device, and the digests of the plane, the
samples and the slice. Workers (`tasks`) derive nothing again. No torch is loaded here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from studio.config.records import digest
from studio.field import Grid
from studio.landscape.convexity import Convexity
from studio.landscape.directions import Directions
from studio.landscape.loss import Loss, choose_method
from studio.landscape.sweeps import require_epoch
from studio.storage.files import read_json
from studio.storage.shelf import Shelf
from studio.training import checkpoints
from studio.training.data import DataSet
from studio.training.models import Mlp, Model
from studio.training.recipe import Run

VERSION = 4
"""Raised by hand when the numbers change for the same inputs."""
CURVATURE_VERSION = 4
"""The same, for the numbers that only curvature has."""
CURVATURE_FIELDS = ("lambda_min", "lambda_max", "converged", "products", "kappa_min", "kappa_max")
"""Fields of a convexity slice: the extreme Hessian eigenvalues, how they were found, and the plane's own two."""
GPU_POINTS = 256
"""Points of a perceptron's Hessian grid that a GPU measures together, as whole rows: one row does not fill it."""

Quantity = Literal["loss", "convexity", "spectrum"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Slice:
    """A resolved slice. Hashable and picklable; it names its inputs by records and digests.

    quantity: what is measured. run: digest of the training run. epoch: of the centre. loss: whose values, or whose
    Hessian, are measured. direction_loss: the loss that directions of curvature are computed from. grid: the sample
    points. convexity: None for loss values. method, reason: how loss values are computed, and why. plane, samples,
    direction_samples, digest: names on the shelf of theta, delta and eta; of the samples of both losses; of the slice.
    inputs: the resolved inputs of its numbers, as JSON.
    """

    quantity: Quantity
    run: str
    epoch: float
    model: Model
    data: DataSet
    directions: Directions
    loss: Loss
    direction_loss: Loss
    grid: Grid
    convexity: Convexity | None
    device: Device
    method: str
    reason: str
    plane: str
    samples: str
    direction_samples: str
    digest: str
    inputs: str

    @property
    def curvature(self) -> Convexity:
        """The convexity record of a slice of curvature."""
        if self.convexity is None:
            raise ValueError(f"a slice of the {self.quantity} has no convexity record")
        return self.convexity

    @property
    def row_groups(self) -> list[tuple[int, int]]:
        """Rows of the Hessian grid that are measured together, each from first to before last: a fixed rule.

        Points that are differentiated together round together, so the groups must not depend on what is missing.
        """
        n = self.grid.points
        rows = max(1, GPU_POINTS // n) if self.device == "cuda" and isinstance(self.model, Mlp) else 1
        return [(first, min(first + rows, n)) for first in range(0, n, rows)]


@dataclass(frozen=True)
class SliceResolver:
    """Resolves the slices of one trained run.

    shelf: where the run lies. run, digest: its record and digest. directions: of all slices. direction_loss: the loss
    of the film's surfaces.
    """

    shelf: Shelf
    run: Run
    digest: str
    directions: Directions
    direction_loss: Loss

    def resolve(
        self, quantity: Quantity, epoch: float, grid: Grid, loss: Loss, convexity: Convexity | None = None
    ) -> Slice:
        """The resolved slice at an epoch. Raises SceneError if the run, or the directions, lack a checkpoint."""
        recipe, device = self.run.recipe, device_kind()
        folder = self.shelf.run(self.digest)
        data = read_json(folder / "run.json")["data"]
        direction_loss = self.direction_loss.without_extras
        plane = self._plane_inputs(folder, epoch, direction_loss, data, device)
        samples = _samples_inputs(loss, data)
        method, reason = scene_method(recipe.model, self.directions, loss)
        inputs = {
            "version": VERSION,
            **plane,
            **samples,
            **_loss_inputs(loss, device),
            "grid": grid.model_dump(mode="json"),
            "method": method,
        }
        return Slice(
            quantity=quantity,
            run=self.digest,
            epoch=plane["epoch"],
            model=recipe.model,
            data=recipe.data,
            directions=self.directions,
            loss=loss,
            direction_loss=direction_loss,
            grid=grid,
            convexity=convexity,
            device=device,
            method=method,
            reason=reason,
            plane=digest("plane", VERSION, plane),
            samples=digest("samples", VERSION, samples),
            direction_samples=digest("samples", VERSION, _samples_inputs(direction_loss, data)),
            digest=digest(quantity, inputs, _curvature_inputs(quantity, convexity)),
            inputs=json.dumps(inputs, sort_keys=True),
        )

    def _plane_inputs(
        self, folder: Path, epoch: float, direction_loss: Loss, data: str, device: Device
    ) -> dict[str, Any]:
        """What theta, delta and eta depend on."""
        index = checkpoints.index(folder)
        epochs = tuple(index)
        epoch = require_epoch(epoch, epochs)
        used = sorted({epoch, *(require_epoch(e, epochs) for e in self.directions.uses(epochs, epoch))})
        inputs = {
            "model": self.run.recipe.model.model_dump(mode="json"),
            "epoch": epoch,
            "weights": {f"{e:g}": index[e]["weights"] for e in used},
            "directions": self.directions.model_dump(mode="json"),
        }
        if self.directions.kind == "hessian":
            # directions of curvature depend on the loss too, and on the device that finds them
            inputs["direction_loss"] = _samples_inputs(direction_loss, data) | _loss_inputs(direction_loss, device)
        return inputs


def _samples_inputs(loss: Loss, data: str) -> dict[str, Any]:
    return {"data": data, "sample_selection": loss.model_dump(mode="json", include={"subset", "seed", "calibration"})}


def _loss_inputs(loss: Loss, device: Device) -> dict[str, Any]:
    return {
        "loss": loss.model_dump(mode="json", exclude={"method", "subset", "seed", "calibration"}),
        "device": device,
    }


def _curvature_inputs(quantity: Quantity, convexity: Convexity | None) -> dict[str, Any]:
    if convexity is None:
        return {}
    fields = {"convexity": {"tol", "seed", "ignore"}, "spectrum": {"ignore", "spectrum"}}[quantity]
    return {"version": CURVATURE_VERSION} | convexity.model_dump(mode="json", include=fields)


def scene_method(model: Model, directions: Directions, loss: Loss) -> tuple[str, str]:
    """The method that computes a scene's loss values on this machine, and why: the scene's choice, or a fixed rule."""
    moves_norms = getattr(directions, "ignore", "nothing") != "bias-and-norm"
    return choose_method(model, loss, moves_norms, device_kind())


def device_kind() -> Device:
    """"cuda" or "cpu". torch is asked only where a GPU's driver is present."""
    if not Path("/proc/driver/nvidia/version").exists():
        return "cpu"
    from studio.training.evaluate import device

    return "cuda" if device().type == "cuda" else "cpu"


# --- the layout of what is measured ----------------------------------------------------------------------------------


def axes(slice_: Slice, samples: int) -> dict[str, np.ndarray]:
    """Coordinates of a slice's fields; the first axis is that of rows. samples: how many the loss is a mean over."""
    if slice_.quantity == "spectrum" and (spectrum := slice_.curvature.spectrum):
        return {"probe": np.arange(spectrum.probes), "step": np.arange(spectrum.steps)}
    plane = {"beta": slice_.grid.axis, "alpha": slice_.grid.axis}
    if slice_.quantity == "loss" and slice_.loss.keep_samples:
        return plane | {"sample": np.arange(samples)}
    return plane


def fields(slice_: Slice) -> dict[str, tuple[str, ...]]:
    """Names of the measured fields, and the axes of each."""
    if slice_.quantity == "spectrum":
        return dict.fromkeys(("ritz", "weight"), ("probe", "step"))
    if slice_.quantity == "convexity":
        return dict.fromkeys(CURVATURE_FIELDS, ("beta", "alpha"))
    loss = slice_.loss
    names = ("loss", "measured") if loss.sampling == "preview" else loss.field_names
    per_sample = {"losses": ("beta", "alpha", "sample")} if loss.keep_samples else {}
    return dict.fromkeys(names, ("beta", "alpha")) | per_sample
