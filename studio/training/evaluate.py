"""How good a model is on labelled images, and where and how it is computed.

One thread on a CPU: the same sums in the same order whatever the load, and on a shared machine it is faster too.
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
def repeatable() -> Iterator[None]:
    """Inside, torch computes on one thread and by deterministic float32 kernels; afterwards as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)


def tensors(data: Data) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four arrays of the data, on the device that trains."""
    arrays = data.train_x, data.train_y, data.test_x, data.test_y
    return tuple(torch.from_numpy(array).to(device()) for array in arrays)


def scores(model: nn.Module, data: tuple[Tensor, ...]) -> dict[str, float]:
    """Mean loss and accuracy in percent on the train and the test images, in eval mode. Leaves the model in it."""
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
    """Mean cross-entropy and accuracy in percent over all images, with the model in the mode it is in."""
    loss, hits = torch.zeros(2, device=x.device, dtype=torch.float64)
    for images, labels in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        hits += (logits.argmax(1) == labels).sum()
    return float(loss) / len(y), 100.0 * float(hits) / len(y)
