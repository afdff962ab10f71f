"""A short look at what a loss value and a Hessian product cost here, on the untrained network."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..training.recipe import Run
from .directions import Directions
from .hessian import Convexity
from .objective import Loss


@dataclass(frozen=True)
class Cost:
    """Seconds a loss value and a product take in one process; images to train on, samples of the loss, parameters.

    path, why: how loss values are computed, and what decided it.
    """

    value: float
    product: float
    images: int
    samples: int
    parameters: int
    path: str
    why: str


ROW = 5
"""Points of the grid that are timed together: some paths share work along a row."""


def probe(run: Run, directions: Directions, loss: Loss, convexity: Convexity | None) -> Cost:
    """Costs from a few repetitions; they change from day to day, the results that are computed do not."""
    import torch

    from ..training.evaluate import repeatable
    from . import slices
    from .evaluator import Evaluator
    from .products import Derivatives

    recipe, device = run.recipe, slices.device_kind()
    data = recipe.data.load()
    model = recipe.model.build(data.shape, data.classes, recipe.seed)

    def objective(of: Loss):
        x, y = (torch.from_numpy(part[of.samples(data)]) for part in (data.train_x, data.train_y))
        calibration = None if of.calibration is None else torch.from_numpy(data.train_x[of.calibrating(data)])
        return of.objective(model, dict(model.named_buffers()), x, y, device, calibration)

    with repeatable():
        drawn, curved = objective(loss), objective(convexity.loss(loss) if convexity else loss)
        theta = drawn.flat(dict(model.named_parameters()))
        path, why = slices.chosen_path(recipe.model, directions, loss)
        evaluator = Evaluator(drawn, theta, torch.zeros_like(theta), torch.zeros_like(theta), path)
        derivatives = Derivatives(curved, convexity.ignore if convexity else "nothing")
        points = theta.expand(derivatives.together, -1)
        product, v = derivatives.products(points), derivatives.restricted(points)
        return Cost(_median(lambda: evaluator.row([0.0] * ROW, 0.0)["loss"].sum().item()) / ROW,
                    _median(lambda: product(v).sum().item()) / len(points),
                    len(data.train_y), drawn.samples, drawn.size, path, why)


def _median(work: Callable[[], object], times: int = 5) -> float:
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
