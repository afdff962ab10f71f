"""Loss and accuracy of a model on labelled samples, and the device and determinism settings of training.

A CPU uses one thread: sums keep their order whatever the load, and on a shared machine it is faster too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.training.data import Data

CHUNK = 256


def device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """A context in which torch uses one thread and deterministic float32 kernels; restores both settings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)


def tensors(data: Data) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """train_x, train_y, test_x and test_y, on the training device."""
    place = device()
    train = torch.from_numpy(data.train_x).to(place), torch.from_numpy(data.train_y).to(place)
    return *train, torch.from_numpy(data.test_x).to(place), torch.from_numpy(data.test_y).to(place)


def scores(model: nn.Module, data: tuple[Tensor, ...]) -> dict[str, float]:
    """Mean loss and accuracy in percent on train and test samples, in eval mode; leaves the model in that mode."""
    model.eval()
    x, y, test_x, test_y = data
    (train_loss, train_accuracy), (test_loss, test_accuracy) = evaluate(model, x, y), evaluate(model, test_x, test_y)
    return {
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
    }


@torch.inference_mode()
def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy in percent over all samples, in the model's present mode."""
    loss, hits = torch.zeros(2, device=x.device, dtype=torch.float64)
    for images, labels in zip(torch.split(x, CHUNK), torch.split(y, CHUNK), strict=True):
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        hits += (logits.argmax(1) == labels).sum()
    return float(loss) / len(y), 100.0 * float(hits) / len(y)
