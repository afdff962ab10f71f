"""Loss and accuracy of a model on labelled samples.

loss = 1/N sum of -log p(y | x; theta)        accuracy = 100/N times the number of correct largest logits
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.training.data import Data
from studio.training.determinism import device

CHUNK_SIZE = 256
"""Samples that `evaluate` passes together."""


def tensors(data: Data) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """train_x, train_y, test_x and test_y, on the training device."""
    arrays = (data.train_x, data.train_y, data.test_x, data.test_y)
    train_x, train_y, test_x, test_y = (torch.from_numpy(array).to(device()) for array in arrays)
    return train_x, train_y, test_x, test_y


def scores(model: nn.Module, data: tuple[Tensor, ...]) -> dict[str, float]:
    """Losses and accuracies in percent, in eval mode, from the tensors of `tensors`; the model stays in eval mode."""
    model.eval()
    results = *evaluate(model, *data[:2]), *evaluate(model, *data[2:])
    return dict(zip(("train_loss", "train_accuracy", "test_loss", "test_accuracy"), results, strict=True))


@torch.inference_mode()
def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """(mean cross-entropy, accuracy in percent) over samples x [N, ...] with labels y [N], in the model's mode."""
    loss, correct = torch.zeros(2, device=x.device, dtype=torch.float64)
    for samples, labels in zip(torch.split(x, CHUNK_SIZE), torch.split(y, CHUNK_SIZE), strict=True):
        logits = model(samples)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    return float(loss) / len(y), 100.0 * float(correct) / len(y)
