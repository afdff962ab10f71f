"""A short look at what a loss value and a Hessian product cost here, on the untrained network."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..training.data import Data
from ..training.recipe import Run
from .hessian import Convexity
from .objective import Loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Cost:
    """Seconds a loss value and a product take in one process; images to train on, samples of the loss, parameters."""

    value: float
    product: float
    images: int
    samples: int
    parameters: int


def probe(run: Run, loss: Loss, convexity: Convexity | None) -> Cost:
    """Costs from a few repetitions; they change from day to day, the results that are computed do not."""
    from ..training.evaluate import repeatable
    from . import slices
    from .network import Objective

    recipe, device = run.recipe, slices.device_kind()
    data = recipe.data.load()
    x, y = _images(loss, data)
    with repeatable():
        model = recipe.model.build(data.shape, data.classes, recipe.seed)
        buffers = dict(model.named_buffers())
        quick = Objective(model, buffers, x, y, loss.mode, device, slices.path(recipe.model, device))
        curved = convexity.loss(loss) if convexity else loss
        plain = Objective(model, buffers, *_images(curved, data), loss.mode, device, "plain")
        theta = plain.flat(dict(model.named_parameters()))
        product = plain.product(theta)
        return Cost(_median(lambda: float(quick.measure(theta)[0])), _median(lambda: product(theta).sum().item()),
                    len(data.train_y), len(y), plain.size)


def _images(loss: Loss, data: Data) -> "tuple[Tensor, Tensor]":
    import torch

    chosen = loss.samples(data)
    return torch.from_numpy(data.train_x[chosen]), torch.from_numpy(data.train_y[chosen])


def _median(work: Callable[[], object], times: int = 5) -> float:
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
