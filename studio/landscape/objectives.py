"""What is counted of a network's outputs: one number for each sample, by built-in functions and the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from studio.errors import SceneError

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(outputs [N, ...], targets [N, ...]) -> one number for each sample [N]."""


def cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """-log of the probability of the right class [N]; with more dimensions [N, C, ...], their mean for each sample."""
    # float64: a loss beyond float32's exp stays finite, and the sum rounds no more than the network did
    each = F.cross_entropy(outputs.double(), y.double() if y.is_floating_point() else y, reduction="none")
    return each.flatten(1).mean(1) if each.dim() > 1 else each


def entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """The entropy, in nats, of the probabilities that the network gives to the classes [N]."""
    p = F.softmax(outputs.double(), 1)
    each = -torch.xlogy(p, p).sum(1)
    return each.flatten(1).mean(1) if each.dim() > 1 else each


def accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """100 for each sample whose class is the right one, else 0 [N]; NaN where the targets are no classes."""
    if y.is_floating_point() or outputs.dim() < 2 or outputs.shape[:1] + outputs.shape[2:] != y.shape:
        return outputs.new_full((len(y),), torch.nan, dtype=torch.float64)
    each = 100 * (outputs.argmax(1) == y).double()
    return each.flatten(1).mean(1) if each.dim() > 1 else each


BUILT_IN: Mapping[str, Criterion] = MappingProxyType(
    {"cross-entropy": cross_entropy, "entropy": entropy, "accuracy": accuracy}
)
"""What has a name in a scene. In each of them a sample's number depends on that sample alone."""


def per_sample(key: str, function: Criterion, outputs: Tensor, y: Tensor) -> Tensor:
    """The function's number for each sample, float64 [N]. Raises SceneError, naming the key, for another shape."""
    found = function(outputs, y)
    if not isinstance(found, Tensor) or found.shape != (len(y),):
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise SceneError(
            f"loss.{key}: {getattr(function, '__name__', function)} returned {shape} for {len(y)} "
            f"samples; it must return a tensor of one number for each, [{len(y)}]"
        )
    return found.double()
