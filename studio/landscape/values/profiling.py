"""Every method that may compute a scene's loss values, timed in turns on this machine, on the untrained network.

What a value costs depends on the shapes of the network and not on its weights, so nothing needs to be trained first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.field import Grid
from studio.landscape.directions import CheckpointSource, Directions, Random
from studio.landscape.loss import Loss, fitting
from studio.training.models import Model
from studio.training.recipe import Run

if TYPE_CHECKING:
    from torch import Tensor

    from studio.landscape.network.weight_loss import WeightLoss
    from studio.landscape.values.evaluator import Evaluator

ROWS, POINTS = 9, 25
"""Rows on which the methods take turns, so that a busy moment falls on all of them alike; points in each, at most."""

Clocked = tuple[Any, float]
"""What some work returned, and how many seconds it took."""


@dataclass(frozen=True)
class Timed:
    """A method: seconds to prepare a slice for it, median seconds of a loss value, and the largest difference of a loss
    from the plain loop's, relative to it; or why the method cannot be taken.
    """

    method: str
    preparing: float = 0.0
    value: float = 0.0
    difference: float = 0.0
    failure: str = ""


def timed(run: Run, directions: Directions, loss: Loss, grid: Grid) -> list[Timed]:
    """Each method that fits the loss, the plain loop first and torch's compiler last, on a few rows of the grid."""
    from studio.landscape.slices import device_kind
    from studio.training.evaluate import repeatable

    device = device_kind()
    names = methods(run.recipe.model, loss, device)
    with repeatable():
        objective, *line = untrained(run, directions, loss, device)
        alphas = np.linspace(*grid.range, min(grid.points, POINTS))
        began = {name: _begun(objective, line, name, alphas) for name in names}
        ready = {name: found for name, found in began.items() if not isinstance(found, Timed)}
        rows = {name: [] for name in ready}
        for beta in np.linspace(*grid.range, ROWS):
            for name, (evaluator, _) in ready.items():
                rows[name].append(_clocked(lambda e=evaluator, b=beta: _row(e, alphas, b)))
    return [_timed(name, rows[name], ready[name][1], rows["loop"]) if name in ready else began[name] for name in names]


def methods(model: Model, loss: Loss, device: str) -> tuple[str, ...]:
    """Those that are worth a try: all that fit, and torch's compiler, which takes its time."""
    return (*fitting(model, loss, device), "torch-compile")


def untrained(run: Run, directions: Directions, loss: Loss, device: str) -> tuple[WeightLoss, Tensor, Tensor, Tensor]:
    """The loss of the network as it is before training; theta, delta and eta [P] through its weights, delta and eta
    random. They move what the scene's directions move: batch norms can be folded away once, or at every point.
    """
    import torch

    recipe = run.recipe
    data = recipe.data.load()
    x, y = (torch.from_numpy(part[loss.samples(data)]) for part in (data.train_x, data.train_y))
    calibration = None if loss.calibration is None else torch.from_numpy(data.train_x[loss.calibrating(data)])
    model = recipe.model.build(data.shape, data.classes, recipe.seed)
    objective = loss.objective(model, dict(model.named_buffers()), x, y, device, calibration)
    weights = {name: p.detach() for name, p in model.named_parameters()}
    plane = Random(ignore=getattr(directions, "ignore", "nothing")).plane(
        CheckpointSource((0.0,), lambda epoch: weights), 0.0
    )
    return objective, *(objective.flat(part) for part in (weights, plane.delta, plane.eta))


def _begun(objective: WeightLoss, line: list[Tensor], name: str, alphas: np.ndarray) -> tuple[Evaluator, float] | Timed:
    """The method's evaluator and the seconds until its first row was there; or, why there is none."""
    from studio.landscape.values.evaluator import Evaluator

    def begin() -> Evaluator:
        evaluator = Evaluator(objective, *line, name)
        _row(evaluator, alphas, 0.0)
        return evaluator

    try:
        return _clocked(begin)
    except Exception as error:  # of any kind: torch's compiler raises many
        if name == "loop":  # then nothing can be measured at all
            raise
        return Timed(name, failure=str(error).partition("\n")[0] or type(error).__name__)


def _row(evaluator: Evaluator, alphas: np.ndarray, beta: float) -> np.ndarray:
    return evaluator.row(alphas, beta)["loss"].cpu().numpy()


def _clocked(work: Callable[[], Any]) -> Clocked:
    began = time.perf_counter()
    made = work()
    return made, time.perf_counter() - began


def _timed(name: str, rows: list[Clocked], first: float, plain: list[Clocked]) -> Timed:
    """rows, plain: the values of each row, and its seconds. first: seconds until the first row."""
    seconds = statistics.median(took for _, took in rows)
    found, usual = (np.concatenate([values for values, _ in some]) for some in (rows, plain))
    known = np.isfinite(usual) & (usual != 0)
    difference = np.abs(found[known] / usual[known] - 1).max(initial=0.0)
    return Timed(name, max(0.0, first - seconds), seconds / len(rows[0][0]), float(difference))
