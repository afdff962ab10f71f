"""A short look at what a loss value and a Hessian product cost here, on the untrained network."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..training.recipe import Run
from .objective import Loss


@dataclass(frozen=True)
class Cost:
    """Seconds a loss value and a product take in one process; images to train on, samples of the loss, parameters."""

    value: float
    product: float
    images: int
    samples: int
    parameters: int


def probe(run: Run, loss: Loss) -> Cost:
    """Costs from a few repetitions; they change from day to day, the results that are computed do not."""
    import torch

    from ..training.evaluate import repeatable
    from . import slices
    from .network import Objective

    recipe, device = run.recipe, slices.device_kind()
    data = recipe.data.load()
    chosen = loss.samples(data)
    x, y = (torch.from_numpy(part[chosen]) for part in (data.train_x, data.train_y))
    with repeatable():
        model = recipe.model.build(data.shape, data.classes, recipe.seed)
        buffers = dict(model.named_buffers())
        quick = Objective(model, buffers, x, y, loss.mode, device, slices.path(recipe.model, device))
        plain = Objective(model, buffers, x, y, loss.mode, device, "plain")
        theta = plain.flat(dict(model.named_parameters()))
        product = plain.product(theta)
        return Cost(_median(lambda: float(quick.measure(theta)[0])), _median(lambda: product(theta).sum().item()),
                    len(data.train_y), len(y), plain.size)


def _median(work: Callable[[], object], times: int = 5) -> float:
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
