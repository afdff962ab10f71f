"""Networks of linear layers, batch norms, functions of single numbers and shortcuts, at many weights at once.

At P points the features of a layer are one tensor h [P, features, N] with the samples last: a linear layer is one
batched matrix product W h, and a batch norm, whose statistics are over the samples, is one group norm in which every
feature of every point is a group of its own,

    y = weight (h - mean(h)) / sqrt(var(h) + eps) + bias.

The first layer sees the same samples at all points and is linear in the weights: it is passed once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.network.graph import bare
from studio.landscape.network.linear_chain import POINTWISE, flattens, is_idle
from studio.training.nets import Residual

Statistics = dict[str, tuple[Tensor, Tensor]]
"""By the name of a batch norm: the mean and 1 / sqrt(var + eps) of its features [P, features, 1]."""


@dataclass(frozen=True)
class Shortcut:
    """activation(branch(h) + h)."""

    branch: Sequence[Step]
    activation: Sequence[Step]


Step = tuple[nn.Module, str] | Shortcut
"""A layer with the prefix of its weights' names, or a shortcut over several."""


@dataclass(frozen=True, eq=False)
class BatchedNetwork:
    """The steps of a network, the first of which is a linear layer."""

    steps: Sequence[Step]

    @classmethod
    def of(cls, model: nn.Module) -> BatchedNetwork | None:
        """The steps of a network in its present mode, on flattened samples or not; None if it has others."""
        steps = _steps(model, "")
        if steps and isinstance(steps[0], tuple) and flattens(steps[0][0]):
            steps = steps[1:]
        layers = list(_layers(steps))
        owned = [p for layer, _ in layers for p in layer.parameters()]
        fits = _begins_with_linear(steps) and all(map(_is_known, layers)) and len({*map(id, owned)}) == len(owned)
        return cls(steps) if fits and all(p.requires_grad for p in model.parameters()) else None

    @property
    def widest(self) -> int:
        """The most numbers a sample has between two layers."""
        return max(layer.out_features for layer, _ in _layers(self.steps) if type(layer) is nn.Linear)

    def first(self, named: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The first layer's result [out, N] for samples x [N, ...] at one point's weights: linear in them."""
        _, name = self.steps[0]
        return F.linear(x.flatten(1), named[f"{name}weight"], named.get(f"{name}bias")).mT.contiguous()

    def rest(self, named: Mapping[str, Tensor], h: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Outputs [P, N, ...] from the first layer's results h [P, out, N], which are used up; weights [P, ...].

        statistics: what batch norms use instead of the samples' own. A norm that is not there takes its own, and notes
        them, if it is in train mode; in eval mode it uses its running ones.
        """
        return self._run(self.steps[1:], named, h, {} if statistics is None else statistics).mT

    def _run(self, steps: Sequence[Step], named: Mapping[str, Tensor], h: Tensor, statistics: Statistics) -> Tensor:
        for step in steps:
            if isinstance(step, Shortcut):
                # the branch begins with a linear layer, so that it does not write into h
                h = self._run(step.activation, named, self._run(step.branch, named, h, statistics).add_(h), statistics)
                continue
            layer, name = step
            weight, bias = named.get(f"{name}weight"), named.get(f"{name}bias")
            if type(layer) is nn.Linear:
                h = torch.bmm(weight, h) if bias is None else torch.baddbmm(bias[..., None], weight, h)
            elif type(layer) is nn.BatchNorm1d:
                h = _norm(layer, h, weight, bias, statistics, name)
            else:
                h = torch.relu_(h) if type(layer) is nn.ReLU else layer(h)
        return h


def _norm(
    layer: nn.BatchNorm1d, h: Tensor, weight: Tensor | None, bias: Tensor | None, statistics: Statistics, name: str
) -> Tensor:
    if name in statistics:
        mean, r = statistics[name]
    elif layer.training or layer.running_mean is None:
        groups, n = h.shape[0] * h.shape[1], h.shape[2]
        affine = (None if part is None else part.flatten() for part in (weight, bias))
        y, mean, r = torch.native_group_norm(h.reshape(1, groups, n), *affine, 1, groups, n, groups, layer.eps)
        statistics[name] = tuple(each.view(*h.shape[:2], 1) for each in (mean, r))
        return y.view(h.shape)
    else:
        mean, r = layer.running_mean[:, None], (layer.running_var[:, None] + layer.eps).rsqrt()
    scale = r if weight is None else r * weight[..., None]
    shift = -mean * scale if bias is None else bias[..., None] - mean * scale
    return h.mul_(scale).add_(shift)  # addcmul takes four times as long with factors that are spread out


# --- what a network consists of --------------------------------------------------------------------------------------


def _steps(module: nn.Module, prefix: str) -> list[Step]:
    if type(module) is nn.Sequential and bare(module):
        return [step for name, child in module._modules.items() for step in _steps(child, f"{prefix}{name}.")]
    if type(module) is Residual and bare(module):
        branch = _steps(module.branch, f"{prefix}branch.")
        # another branch might write into what is added to it
        if _begins_with_linear(branch):
            return [Shortcut(branch, _steps(module.activation, f"{prefix}activation."))]
    return [(module, prefix)]


def _begins_with_linear(steps: Sequence[Step]) -> bool:
    return bool(steps) and isinstance(steps[0], tuple) and type(steps[0][0]) is nn.Linear


def _layers(steps: Sequence[Step]) -> list[tuple[nn.Module, str]]:
    inner = (_layers((*step.branch, *step.activation)) if isinstance(step, Shortcut) else [step] for step in steps)
    return [layer for some in inner for layer in some]


def _is_known(step: tuple[nn.Module, str]) -> bool:
    layer, _ = step
    return is_idle(layer) or (bare(layer) and type(layer) in (nn.Linear, nn.BatchNorm1d, *POINTWISE))
