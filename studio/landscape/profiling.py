"""Seconds of loss values and Hessian products on this machine, timed on the untrained network.

The seconds depend on the shapes of the network and not on its weights, so nothing needs to be trained first. Times
change from day to day; no measured value depends on them.
"""

from __future__ import annotations

import statistics
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.field import Array, Grid
from studio.landscape import slices
from studio.landscape.centres import AtCheckpoint
from studio.landscape.directions import Directions, Random, WeightSource
from studio.landscape.loss import Loss, applicable_methods
from studio.landscape.tasks import make_samples
from studio.training.device import deterministic
from studio.training.models import Model, move_only
from studio.training.runs import NetworkRun

if TYPE_CHECKING:
    from torch import Tensor

    from studio.landscape.convexity import Convexity
    from studio.landscape.network.weight_loss import WeightLoss
    from studio.landscape.values.evaluator import Evaluator

TimedRow = tuple[Array, float]
"""Loss values [points] and the seconds they took."""

ROWS, POINTS = 9, 25
"""Of `time_methods`: rows on which methods take turns, so that a busy moment slows all alike; most points in each."""
COST_POINTS, COST_REPETITIONS = 6, 5
"""Of `measure_costs`: points that are timed together, since some methods share work along a row; and how often."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a loss value and of a Hessian product in one process, and how large the problem is.

    images: in the training set. samples: in the loss's subset. parameters: trainable weights. method, reason: how loss
    values are computed, and why.
    """

    value: float
    product: float
    images: int
    samples: int
    parameters: int
    method: str
    reason: str


@dataclass(frozen=True)
class MethodTiming:
    """The times of a method, or why it cannot be used.

    preparation: seconds to prepare a slice. value: median seconds of a loss value. difference: the largest difference
    of a loss from the plain loop's, relative to it. failure: why the method cannot be used; empty if it can.
    """

    method: str
    preparation: float = 0.0
    value: float = 0.0
    difference: float = 0.0
    failure: str = ""


def measure_costs(run: NetworkRun, directions: Directions, loss: Loss, convexity: Convexity | None) -> Cost:
    """The cost of a scene's loss and curvature, each the median of a few repetitions, by the scene's own method."""
    from studio.landscape.curvature.hvp import HessianOperator
    from studio.landscape.values.evaluator import Evaluator

    device, (method, reason) = slices.device_for(loss), slices.scene_method(run, directions, loss)
    exact_loss = convexity.loss(loss) if convexity else loss
    exact = slices.device_for(exact_loss, "convexity")
    with deterministic():
        weight_loss, theta, delta, eta = untrained_plane(run, directions, loss, device)
        exact_weight_loss, *_ = untrained_plane(run, directions, exact_loss, exact)
        evaluator = Evaluator(weight_loss, theta, delta, eta, method)
        hessian = HessianOperator(exact_weight_loss, convexity.ignore if convexity else "nothing")
        points = theta.expand(hessian.engine.batch_points, -1)
        product, v = hessian.products(points), hessian.restrict(points)
        return Cost(
            value=_median_seconds(lambda: evaluator.row([0.0] * COST_POINTS, 0.0)["loss"].sum().item()) / COST_POINTS,
            product=_median_seconds(lambda: product(v).sum().item()) / len(points),
            images=len(run.recipe.data.load().train_x),
            samples=weight_loss.sample_count,
            parameters=weight_loss.size,
            method=method,
            reason=reason,
        )


def time_methods(run: NetworkRun, directions: Directions, loss: Loss, grid: Grid) -> list[MethodTiming]:
    """The timing of every applicable method on a few rows of the grid, the plain loop first, torch's compiler last.

    Only the plain loop's own errors are raised.
    """
    from studio.landscape.values.evaluator import Evaluator

    device = slices.device_for(loss)
    runs_objective = run.objective.calls_model
    methods = ("loop",) if runs_objective else candidate_methods(slices.moved_model(run), loss, device)
    alphas = np.linspace(*grid.sides[0], min(grid.counts[0], POINTS))
    evaluators: dict[str, Evaluator] = {}
    first_seconds, failures = dict[str, float](), dict[str, MethodTiming]()
    with deterministic():
        plane = untrained_plane(run, directions, loss, device)
        for method in methods:
            start = time.perf_counter()
            try:
                evaluator = Evaluator(*plane, method)
                _time_row(evaluator, alphas, 0.0)  # compiles kernels and records CUDA graphs
                evaluators[method] = evaluator
            except Exception as error:  # of any kind: torch's compiler raises many
                if method == "loop":  # then nothing can be measured at all
                    raise
                failures[method] = MethodTiming(method, failure=str(error).partition("\n")[0] or type(error).__name__)
            first_seconds[method] = time.perf_counter() - start
        rows: dict[str, list[TimedRow]] = {method: [] for method in evaluators}
        for beta in np.linspace(*grid.sides[1], ROWS):
            for method, evaluator in evaluators.items():
                rows[method].append(_time_row(evaluator, alphas, beta))
    return [failures.get(m) or _timing(m, rows[m], first_seconds[m], rows["loop"]) for m in methods]


def candidate_methods(model: Model | None, loss: Loss, device: str) -> tuple[str, ...]:
    """Every applicable method, and torch's compiler, which takes minutes to prepare."""
    return (*applicable_methods(model, loss, device), "torch-compile")


def untrained_plane(
    run: NetworkRun, directions: Directions, loss: Loss, device: str
) -> tuple[WeightLoss, Tensor, Tensor, Tensor]:
    """The loss of the network as it is before training; theta, delta and eta [P] of a random plane through its weights.

    The plane moves the tensors that the scene's directions move: that decides whether batch norms fold once or at every
    point.
    """
    from studio.training.batches import to_tensors
    from studio.training.dry_pass import dry_pass

    dry_pass(run, loss.functions)
    recipe, objective = run.recipe, run.objective
    arrays, facts = make_samples(recipe.data, loss, objective)
    tensors = {name: to_tensors(array) for name, array in arrays.items()}
    model = move_only(run.parameters, recipe.model.build(facts["shape"], facts["classes"], recipe.seed))
    weight_loss = loss.weight_loss(model, dict(model.named_buffers()), tensors, device, objective)
    weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    source = WeightSource((AtCheckpoint(0.0),), lambda _: weights)
    plane = Random(ignore=getattr(directions, "ignore", "nothing"), seed=0).plane(source, AtCheckpoint(0.0))
    return weight_loss, weight_loss.flat(weights), weight_loss.flat(plane.delta), weight_loss.flat(plane.eta)


def _time_row(evaluator: Evaluator, alphas: Array, beta: float) -> TimedRow:
    start = time.perf_counter()
    values = evaluator.row(alphas, beta)["loss"].cpu().numpy()
    return values, time.perf_counter() - start


def _timing(method: str, rows: Sequence[TimedRow], first_seconds: float, loop: Sequence[TimedRow]) -> MethodTiming:
    """The times of a method from its rows and the seconds until its first one. loop: the plain loop's rows."""
    seconds = statistics.median(seconds for _, seconds in rows)
    values, expected = (np.concatenate([values for values, _ in timed]) for timed in (rows, loop))
    known = np.isfinite(expected) & (expected != 0)
    difference = np.abs(values[known] / expected[known] - 1).max(initial=0.0)
    return MethodTiming(method, max(0.0, first_seconds - seconds), seconds * len(rows) / len(values), float(difference))


def _median_seconds(work: Callable[[], Any]) -> float:
    work()
    return statistics.median(timeit.repeat(work, number=1, repeat=COST_REPETITIONS))
