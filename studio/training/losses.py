"""The torch functions of objectives: functions of a network's outputs and its targets, a number for each sample.

    (outputs [N, ...], y [N, ...]) -> numbers [N], in float64

A new built-in one is a function here, and the record that names it, in `objectives.py`. In each a sample's number
depends on that sample alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.errors import SceneError

OutputFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs [N, ...], targets [N, ...]) -> one number for each sample [N]."""
SampleNumbers = Callable[[nn.Module, Tensor, Tensor | None], dict[str, Tensor]]
"""(model, x [N, ...], y [N, ...] or None) -> `loss` and other numbers of each sample, float64 [N], by name."""
RESERVED_NAMES = ("losses", "measured", "alpha", "beta", "sample")
"""What a slice calls each sample's loss, a preview its mask, and either its axes."""


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


def mean_squares(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean over a sample's outputs of (output - target)^2 [N].

    >>> mean_squares(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]])).tolist()
    [5.0]
    """
    outputs, y = _alike("mean-squares", outputs, y)
    return (outputs - y).square().mean(1)


def binary_cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean over a sample's outputs of -y log p - (1 - y) log(1 - p), p = 1 / (1 + exp(-output)) [N]."""
    outputs, y = _alike("binary-cross-entropy", outputs, y)
    return F.binary_cross_entropy_with_logits(outputs, y, reduction="none").mean(1)


def binary_accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """The percentage of a sample's outputs on their target's side: above 0 for a target above 1/2 [N]."""
    outputs, y = _alike("binary-cross-entropy", outputs, y)
    return 100 * ((outputs > 0) == (y > 0.5)).double().mean(1)


def _alike(kind: str, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 as rows [N, K]. Raises SceneError unless they are of one shape, or one is a list of numbers."""
    rows, y_rows = outputs.reshape(len(outputs), -1), y.reshape(len(y), -1)
    if rows.shape != y_rows.shape or (outputs.shape != y.shape and min(outputs.dim(), y.dim()) > 2):
        raise SceneError(
            f"run.objective: {kind} compares outputs {list(outputs.shape)} with targets {list(y.shape)}; "
            f"they must be of one shape"
        )
    return rows.double(), y_rows.double()


BUILT_IN: Mapping[str, OutputFunction] = MappingProxyType(
    {
        "cross-entropy": cross_entropy,
        "entropy": entropy,
        "accuracy": accuracy,
        "mean-squares": mean_squares,
        "binary-cross-entropy": binary_cross_entropy,
        "binary-accuracy": binary_accuracy,
    }
)
"""The built-in functions by name."""


def per_sample(key: str, function: OutputFunction, outputs: Tensor, y: Tensor) -> Tensor:
    """The function's number for each sample, float64 [N].

    key: where the scene names the function. Raises SceneError if the function returns another shape.
    """
    return check_shape(key, getattr(function, "__name__", str(function)), function(outputs, y), len(y))


def check_shape(key: str, name: str, values: Any, count: int) -> Tensor:
    """The values in float64, if they are a tensor of one number for each of `count` samples. Raises SceneError."""
    if not isinstance(values, Tensor) or values.shape != (count,):
        shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise SceneError(
            f"{key}: {name} returned {shape} for {count} samples; it must return a tensor of one number for each, "
            f"[{count}]"
        )
    return values.double()


def of_outputs(functions: Mapping[str, OutputFunction]) -> SampleNumbers:
    """The numbers of a built-in objective, from the model's outputs. Without targets outputs are compared with x."""

    def numbers(model: nn.Module, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        outputs, targets = model(x), x if y is None else y
        return {name: per_sample("run.objective", function, outputs, targets) for name, function in functions.items()}

    return numbers


def of_function(name: str, function: Callable[..., Any]) -> SampleNumbers:
    """The numbers of the user's objective, (model, batch) -> losses [N], or a mapping of `loss` and others [N].

    name: of the function, for messages. The numbers raise SceneError for anything else that it returns.
    """

    def numbers(model: nn.Module, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        returned = function(model, x if y is None else (x, y))
        values = returned if isinstance(returned, Mapping) else {"loss": returned}
        if "loss" not in values:
            raise SceneError(f"run.objective: {name} returned {', '.join(map(str, values))}, and no 'loss'")
        if taken := [key for key in values if key in RESERVED_NAMES]:
            raise SceneError(f"run.objective: {name} returned '{taken[0]}', which is studio's own word; rename it")
        named = {str(key): check_shape("run.objective", name, value, len(x)) for key, value in values.items()}
        return {"loss": named["loss"]} | named

    return numbers
