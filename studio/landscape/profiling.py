"""A short look at what a loss value and a Hessian product cost here, on the untrained network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from studio.landscape.convexity import Convexity
from studio.landscape.directions import Directions
from studio.landscape.loss import Loss
from studio.training.recipe import Run


@dataclass(frozen=True)
class Cost:
    """Seconds a loss value and a product take in one process; images to train on, samples of the loss, parameters.

    method, why: how loss values are computed, and what decided it.
    """

    value: float
    product: float
    images: int
    samples: int
    parameters: int
    method: str
    why: str


ROW = 6
"""Points of the grid that are timed together: some methods share work along a row."""


def probe(run: Run, directions: Directions, loss: Loss, convexity: Convexity | None) -> Cost:
    """Costs from a few repetitions; they change from day to day, the results that are computed do not."""
    from studio.landscape import slices
    from studio.landscape.curvature.hvp import HessianOperator
    from studio.landscape.values.evaluator import Evaluator
    from studio.landscape.values.profiling import untrained
    from studio.training.evaluate import repeatable

    device, method = slices.device_kind(), slices.chosen_method(run.recipe.model, directions, loss)
    with repeatable():
        drawn, *line = untrained(run, directions, loss, device)
        curved = untrained(run, directions, convexity.loss(loss), device)[0] if convexity else drawn
        evaluator = Evaluator(drawn, *line, method[0])
        derivatives = HessianOperator(curved, convexity.ignore if convexity else "nothing")
        points = line[0].expand(derivatives.together, -1)
        product, v = derivatives.products(points), derivatives.restricted(points)
        return Cost(
            _median(lambda: evaluator.row([0.0] * ROW, 0.0)["loss"].sum().item()) / ROW,
            _median(lambda: product(v).sum().item()) / len(points),
            len(run.recipe.data.load().train_y),
            drawn.samples,
            drawn.size,
            *method,
        )


def _median(work: Callable[[], object], times: int = 5) -> float:
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
