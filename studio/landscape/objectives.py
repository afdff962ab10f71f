"""Criteria and fields: functions of a network's outputs and its targets, with one number for each sample.

A new built-in one is a function here, a name in `BUILT_IN`, and a word of `Criterion` or `ExtraField` in `loss.py`.
"""

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
    """-log p(y) of each sample [N]; for outputs of more dimensions [N, C, ...], the mean over them."""
    # float64: a loss beyond float32's exp stays finite, and the sum rounds no more than the network did
    values = F.cross_entropy(outputs.double(), y.double() if y.is_floating_point() else y, reduction="none")
    return values.flatten(1).mean(1) if values.dim() > 1 else values


def entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """The entropy, in nats, of the predicted class probabilities [N].

    >>> round(float(entropy(torch.zeros(1, 4), torch.zeros(1)).exp()), 9)  # four equal probabilities
    4.0
    """
    p = F.softmax(outputs.double(), 1)
    values = -torch.xlogy(p, p).sum(1)
    return values.flatten(1).mean(1) if values.dim() > 1 else values


def accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """100 for each sample whose largest output is its class's, else 0 [N]; NaN if the targets are not classes."""
    if y.is_floating_point() or outputs.dim() < 2 or outputs.shape[:1] + outputs.shape[2:] != y.shape:
        return outputs.new_full((len(y),), torch.nan, dtype=torch.float64)
    values = 100 * (outputs.argmax(1) == y).double()
    return values.flatten(1).mean(1) if values.dim() > 1 else values


BUILT_IN: Mapping[str, Criterion] = MappingProxyType(
    {"cross-entropy": cross_entropy, "entropy": entropy, "accuracy": accuracy}
)
"""The functions by their names in a scene. In each a sample's number depends on that sample alone."""


def per_sample(key: str, function: Criterion, outputs: Tensor, y: Tensor) -> Tensor:
    """The function's number for each sample, float64 [N].

    key: where the scene names the function, under `loss`. Raises SceneError if the function returns another shape.
    """
    values = function(outputs, y)
    if not isinstance(values, Tensor) or values.shape != (len(y),):
        shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise SceneError(
            f"loss.{key}: {getattr(function, '__name__', function)} returned {shape} for {len(y)} "
            f"samples; it must return a tensor of one number for each, [{len(y)}]"
        )
    return values.double()
