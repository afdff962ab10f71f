"""A slice named by records alone, and the two pieces of work on it: rows of the loss grid, points of the Hessian's.

    f(alpha, beta) = L(theta + alpha delta + beta eta)

A piece is a pure function of its slice and a range, so it may run in any process; what a slice needs in memory is
prepared once per process. `identity` says, without torch, all that the numbers depend on.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MachineError
from ..field import Grid
from ..files import read_json
from ..spec import Record
from ..training import checkpoints
from ..training.models import Mlp, Model
from ..training.recipe import Run
from .directions import Directions, Plane, Trail
from .hessian import extremes
from .objective import Loss
from .sweeps import existing

if TYPE_CHECKING:
    from torch import Tensor

    from .network import Objective

VERSION = 1
"""Raised by hand when the numbers change for the same inputs."""


class Slice(Record):
    """One centre with its plane and the way its loss is measured.

    folder: where the run's checkpoints lie. grid: the points; for eigenvalues their own, coarser one.
    """

    run: Run
    folder: str
    epoch: float
    directions: Directions
    loss: Loss
    grid: Grid


def path(model: Model, device: str) -> str:
    """The way loss values are computed, by a fixed rule, never by a timing: it is part of what names them."""
    return "folded" if device == "cpu" and not isinstance(model, Mlp) else "plain"


def device_kind() -> str:
    """"cuda" or "cpu". torch is asked only where a GPU's driver is present."""
    if not Path("/proc/driver/nvidia/version").exists():
        return "cpu"
    from ..training.evaluate import device
    return device().type


def identity(slice: Slice) -> dict[str, Any]:
    """The resolved inputs of all numbers on this slice, for a shelf's key. Raises SceneError if an epoch is missing."""
    index = checkpoints.index(Path(slice.folder))
    epoch = existing(slice.epoch, tuple(index))
    used = sorted({epoch, *(existing(e, tuple(index)) for e in slice.directions.uses(tuple(index), epoch))})
    device = device_kind()
    return {
        "version": VERSION,
        "model": slice.run.recipe.model.model_dump(mode="json"),
        "data": read_json(Path(slice.folder) / "run.json")["data"],
        "epoch": epoch,
        "weights": {f"{e:g}": index[e]["weights"] for e in used},
        "directions": slice.directions.model_dump(mode="json"),
        "loss": slice.loss.model_dump(mode="json"),
        "grid": slice.grid.model_dump(mode="json"),
        "device": device,
        "path": path(slice.run.recipe.model, device),
    }


def loss_rows(slice: Slice, rows: tuple[int, int]) -> dict[str, np.ndarray]:
    """Loss and accuracy in percent, float64 [rows, points], on rows first to (not including) last of the grid.

    A row is one beta, ascending; its values go by alpha. inf and NaN stay as measured.
    """
    import torch

    from ..training.evaluate import repeatable
    made, axis = _prepared(slice), slice.grid.axis
    with repeatable():
        measured = [made.objective.measure(made.at(alpha, axis[row])) for row in range(*rows) for alpha in axis]
        values = torch.stack([torch.stack(pair) for pair in measured]).cpu().numpy()
    loss, accuracy = values.T.reshape(2, -1, slice.grid.points).copy()
    return {"loss": loss, "accuracy": accuracy}


def extremes_points(slice: Slice, tol: float, seed: int, points: tuple[int, int]) -> dict[str, np.ndarray]:
    """Both ends of the Hessian's spectrum at points first to (not including) last of the grid, counted row by row.

    `lambda_min`, `lambda_max` float64; `converged` bool; `products` int: how many each point took.
    """
    from ..training.evaluate import repeatable
    made, axis = _prepared(slice), slice.grid.axis
    with repeatable():
        found = [extremes(made.objective.product(made.at(axis[i % len(axis)], axis[i // len(axis)])),
                          made.objective.size, seed, tol, made.objective.device) for i in range(*points)]
    return {name: np.array([getattr(one, name) for one in found])
            for name in ("lambda_min", "lambda_max", "converged", "products")}


def facts(slice: Slice) -> dict[str, float | int | str]:
    """What a report may say of the slice: parameters, samples, path, cosine and the directions' own facts."""
    made = _prepared(slice)
    return {"parameters": made.objective.size, "samples": made.objective.samples,
            "path": path(slice.run.recipe.model, made.objective.device), "cosine": made.plane.cosine,
            **made.plane.facts}


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A slice in memory: the objective, and theta, delta, eta as flat vectors on its device."""

    objective: "Objective"
    plane: Plane
    theta: "Tensor"
    delta: "Tensor"
    eta: "Tensor"

    def at(self, alpha: float, beta: float) -> "Tensor":
        return self.theta.add(self.delta, alpha=float(alpha)).add_(self.eta, alpha=float(beta))


@lru_cache(maxsize=4)
def _prepared(slice: Slice) -> _Prepared:
    from ..training.evaluate import repeatable
    folder = Path(slice.folder)
    trail = Trail(checkpoints.epochs(folder), lambda epoch: checkpoints.load(folder, epoch).weights)
    theta = checkpoints.load(folder, existing(slice.epoch, trail.epochs))
    with repeatable():
        plane = slice.directions.plane(trail, slice.epoch)
        plain, chosen = _objectives(slice, theta)
        made = _Prepared(chosen, plane, *(chosen.flat(part) for part in (theta.weights, plane.delta, plane.eta)))
        for alpha, beta in ((0, 0), (1, 0), (0, 1)) if chosen is not plain else ():
            _agree(*(float(objective.measure(made.at(alpha, beta))[0]) for objective in (plain, chosen)))
    return made


def _objectives(slice: Slice, checkpoint: checkpoints.Checkpoint) -> "tuple[Objective, Objective]":
    """The objective on the plain path and on the chosen one; the same object if that is plain too."""
    import torch

    from .network import Objective
    recipe, device = slice.run.recipe, device_kind()
    data = recipe.data.load()
    samples = slice.loss.samples(data)
    x, y = (torch.from_numpy(part[samples]) for part in (data.train_x, data.train_y))
    model = recipe.model.build(data.shape, data.classes)
    name = path(recipe.model, device)
    plain, *rest = (Objective(model, checkpoint.buffers, x, y, slice.loss.mode, device, which)
                    for which in dict.fromkeys(("plain", name)))
    return plain, *(rest or [plain])


def _agree(plain: float, chosen: float) -> None:
    """Raises MachineError unless two paths give the same loss, to far more than their rounding."""
    if not np.isclose(plain, chosen, rtol=1e-3, equal_nan=True):
        raise MachineError(f"two ways to compute the same loss give {plain:g} and {chosen:g}: "
                           f"a kernel of the installed torch is wrong; try another version of it")
