"""A run's objective on batches: the loss that training descends, and the metrics of a model.

    L = 1/N sum over samples of loss(model, sample)

Cross-entropy is summed in the network's own precision, everything else in float64.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.training.batches import X, to_tensors
from studio.training.data import Data
from studio.training.device import device
from studio.training.losses import accuracy, classes_second, float64, sample_numbers
from studio.training.objectives import CROSS_ENTROPY, Objective

CHUNK_SIZE = 256
"""Samples that `evaluate` passes together."""
Samples = tuple[X, Tensor | None, X, Tensor | None]
"""train_x, train_y, test_x and test_y."""
BatchLoss = Callable[[nn.Module, X, Tensor | None], Tensor]
"""(model, x, y) -> the mean loss of a batch."""


def tensors(data: Data) -> Samples:
    """The data on the training device."""
    train_x, test_x = (to_tensors(x).to(device()) for x in (data.train_x, data.test_x))
    train_y, test_y = (y if y is None else torch.from_numpy(y).to(device()) for y in (data.train_y, data.test_y))
    return train_x, train_y, test_x, test_y


def at(y: Tensor | None, indices: Tensor | slice) -> Tensor | None:
    """The targets at some indices; None if there are none."""
    return None if y is None else y[indices]


def mean_loss(objective: Objective) -> BatchLoss:
    """The mean loss of a batch, differentiable in the model's weights."""
    if objective == CROSS_ENTROPY:
        return lambda model, x, y: F.cross_entropy(classes_second(model(x), y), y)  # type: ignore[arg-type]  # it has targets
    numbers = sample_numbers(objective)
    return lambda model, x, y: numbers(model, x, y)["loss"].mean()


class _BatchLoss(nn.Module):
    """A batch's loss as a module around the model."""

    def __init__(self, model: nn.Module, batch_loss: BatchLoss):
        super().__init__()
        self.model, self._batch_loss = model, batch_loss

    def forward(self, x: X, y: Tensor | None) -> Tensor:
        """The mean loss."""
        return self._batch_loss(self.model, x, y)


def loss_at(weights: Mapping[str, Tensor], batch_loss: BatchLoss, model: nn.Module, x: X, y: Tensor | None) -> Tensor:
    """The mean loss of a batch at other weights than the model's own, differentiable in these."""
    named = {f"model.{name}": weight for name, weight in weights.items()}
    loss: Tensor = torch.func.functional_call(_BatchLoss(model, batch_loss), named, (x, y))
    return loss


def scores(model: nn.Module, data: Samples, objective: Objective = CROSS_ENTROPY) -> dict[str, float]:
    """`train_loss`, `test_loss` and the objective's metrics, in eval mode; the model stays in eval mode.

    Without samples to test on, the metrics of these are absent.
    """
    model.eval()
    parts = {"train": evaluate(model, *data[:2], objective), "test": evaluate(model, *data[2:], objective)}
    return {f"{part}_{name}": value for part, means in parts.items() for name, value in means.items()}


@torch.inference_mode()
def evaluate(model: nn.Module, x: X, y: Tensor | None, objective: Objective = CROSS_ENTROPY) -> dict[str, float]:
    """`loss` and the objective's metrics over samples x [N, ...] with targets y, in the model's mode."""
    numbers = _cross_entropy if objective == CROSS_ENTROPY else sample_numbers(objective)
    totals: dict[str, Tensor] = defaultdict(lambda: float64(torch.zeros((), device=x.device)))
    for chunk in (slice(start, start + CHUNK_SIZE) for start in range(0, len(x), CHUNK_SIZE)):
        found = numbers(model, x[chunk], at(y, chunk))
        weight = found.pop("weight", None)
        totals["weight"] += len(x[chunk]) if weight is None else weight.sum()
        for name, values in found.items():
            totals[name] += float64(values.sum()) if weight is None else values.mean() * weight.sum()
    whole = float(totals.pop("weight", torch.nan))
    return {name: float(total) / whole for name, total in totals.items()}


def _cross_entropy(model: nn.Module, x: X, y: Tensor | None) -> dict[str, Tensor]:
    """The loss as the sum over samples, in the network's own precision; the accuracy of each [N]."""
    assert y is not None
    outputs = classes_second(model(x), y)
    outputs = outputs.float() if outputs.itemsize < 4 else outputs  # a sum in bf16 has two digits
    loss = F.cross_entropy(outputs, y, reduction="sum") * (len(y) / y.numel())
    return {"loss": loss, "accuracy": accuracy(outputs, y)}
