"""Networks of linear layers, batch norms, elementwise functions and shortcuts, at many weights at once.

At P points the features of a layer are one tensor h [P, features, N] with the samples last: a linear layer is one
batched matrix product W h, and a batch norm, whose statistics are over the samples, is one group norm in which every
feature of every point is a group of its own,

    y = weight (h - mean(h)) / sqrt(var(h) + eps) + bias.

The first layer sees the same samples at all points and is linear in the weights: it runs once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.network.graph import has_no_hooks
from studio.training.nets import Residual

POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)
"""Functions that act on each number by itself."""
Statistics = dict[str, tuple[Tensor, Tensor]]
"""By the prefix of a batch norm: the mean and 1 / sqrt(var + eps) of its features [P, features, 1]."""


class Layer(NamedTuple):
    """A layer and the prefix of its weights' names: `{prefix}weight`, `{prefix}bias`."""

    module: nn.Module
    prefix: str


@dataclass(frozen=True)
class Shortcut:
    """activation(branch(h) + h)."""

    branch: Sequence[Step]
    activation: Sequence[Step]


Step = Layer | Shortcut
"""A layer, or a shortcut over several."""


@dataclass(frozen=True, eq=False)
class BatchedNetwork:
    """A linear layer, and the steps after it."""

    first_layer: Layer
    steps: Sequence[Step]

    @classmethod
    def of(cls, model: nn.Module) -> BatchedNetwork | None:
        """A network in its present mode; None if a layer is unknown, or a parameter is frozen or shared."""
        steps = _steps(model, "")
        first = steps[0].module if steps and isinstance(steps[0], Layer) else None
        if type(first) is nn.Flatten and (first.start_dim, first.end_dim) == (1, -1) and has_no_hooks(first):
            steps = steps[1:]
        layers = _layers(steps)
        parameters = [id(p) for layer, _ in layers for p in layer.parameters()]
        is_complete = len({*parameters}) == len(parameters) and all(p.requires_grad for p in model.parameters())
        if not (is_complete and all(map(_is_known, layers)) and (first_layer := _first_linear(steps))):
            return None
        return cls(first_layer, steps[1:])

    @property
    def is_chain(self) -> bool:
        """Whether it is a chain of linear layers and elementwise functions, without batch norms and shortcuts."""
        return not any(isinstance(step, Shortcut) or type(step.module) is nn.BatchNorm1d for step in self.steps)

    @property
    def max_width(self) -> int:
        """The most features a sample has between two layers."""
        layers = (self.first_layer, *_layers(self.steps))
        return max(layer.out_features for layer, _ in layers if isinstance(layer, nn.Linear))

    def run_first_layer(self, named: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The first layer's result [out, N] for samples x [N, ...] at one point's weights: linear in the weights."""
        prefix = self.first_layer.prefix
        return F.linear(x.flatten(1), named[f"{prefix}weight"], named.get(f"{prefix}bias")).mT.contiguous()

    def run_rest(self, named: Mapping[str, Tensor], h: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Outputs [P, N, ...] from the first layer's results h [P, out, N], at weights [P, ...]. Overwrites h.

        statistics: what batch norms use instead of the samples' own. In train mode a norm that is not among them uses
        its samples' and adds them; in eval mode it uses its running ones.
        """
        return _run(self.steps, named, h, {} if statistics is None else statistics).mT


def _run(steps: Sequence[Step], named: Mapping[str, Tensor], h: Tensor, statistics: Statistics) -> Tensor:
    for step in steps:
        if isinstance(step, Shortcut):
            # the branch begins with a linear layer, so it does not overwrite h
            h = _run(step.activation, named, _run(step.branch, named, h, statistics).add_(h), statistics)
            continue
        layer, prefix = step
        bias = named.get(f"{prefix}bias")
        if type(layer) is nn.Linear:
            weight = named[f"{prefix}weight"]
            h = torch.bmm(weight, h) if bias is None else torch.baddbmm(bias[..., None], weight, h)
        elif type(layer) is nn.BatchNorm1d:
            h = _batch_norm(layer, h, named.get(f"{prefix}weight"), bias, statistics, prefix)
        else:
            h = torch.relu_(h) if type(layer) is nn.ReLU else layer(h)
    return h


def _batch_norm(
    norm: nn.BatchNorm1d, h: Tensor, weight: Tensor | None, bias: Tensor | None, statistics: Statistics, prefix: str
) -> Tensor:
    if prefix in statistics:
        mean, r = statistics[prefix]
    elif norm.training or norm.running_mean is None or norm.running_var is None:
        groups, n = h.shape[0] * h.shape[1], h.shape[2]
        scales, shifts = (None if part is None else part.flatten() for part in (weight, bias))
        y, mean, r = torch.native_group_norm(h.reshape(1, groups, n), scales, shifts, 1, groups, n, groups, norm.eps)
        statistics[prefix] = mean.view(*h.shape[:2], 1), r.view(*h.shape[:2], 1)
        return y.view(h.shape)
    else:
        mean, r = norm.running_mean[:, None], (norm.running_var[:, None] + norm.eps).rsqrt()
    scale = r if weight is None else r * weight[..., None]
    shift = -mean * scale if bias is None else bias[..., None] - mean * scale
    return h.mul_(scale).add_(shift)  # addcmul takes four times as long with broadcast factors


def _steps(module: nn.Module, prefix: str) -> list[Step]:
    if type(module) is nn.Sequential and has_no_hooks(module):
        children = [(name, child) for name, child in module._modules.items() if child is not None]
        return [step for name, child in children for step in _steps(child, f"{prefix}{name}.")]
    if type(module) is Residual and has_no_hooks(module):
        branch = _steps(module.branch, f"{prefix}branch.")
        # another first layer might overwrite what is added to it
        if _first_linear(branch):
            return [Shortcut(branch, _steps(module.activation, f"{prefix}activation."))]
    return [Layer(module, prefix)]


def _first_linear(steps: Sequence[Step]) -> Layer | None:
    """The first step, if it is a linear layer."""
    return steps[0] if steps and isinstance(steps[0], Layer) and type(steps[0].module) is nn.Linear else None


def _layers(steps: Sequence[Step]) -> list[Layer]:
    """All layers, those within shortcuts included."""
    nested = ([step] if isinstance(step, Layer) else _layers((*step.branch, *step.activation)) for step in steps)
    return [layer for layers in nested for layer in layers]


def _is_known(layer: Layer) -> bool:
    """Whether a layer is one that `_run` computes; dropout in eval mode returns its input."""
    module = layer.module
    is_idle = type(module) is nn.Dropout and not module.training
    return has_no_hooks(module) and (is_idle or type(module) in (nn.Linear, nn.BatchNorm1d, *POINTWISE))
