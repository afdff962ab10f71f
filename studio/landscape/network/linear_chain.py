"""Chains of linear layers with elementwise functions between them, at many weights at once.

At G points the weights of a layer are one tensor [G, out, in], and the layer is one batched matrix product. The first
layer sees the same samples at all points, and is linear in the weights:

    W(theta + alpha delta + beta eta) x = W(theta) x + alpha W(delta) x + beta W(eta) x.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.network.graph import has_no_hooks

POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)
"""Functions that act on each number by itself."""


class Layer(NamedTuple):
    """A layer and the prefix of its weights' names: `{prefix}weight`, `{prefix}bias`."""

    module: nn.Module
    prefix: str


@dataclass(frozen=True, eq=False)
class LinearChain:
    """Linear layers and elementwise functions, in order; the first is linear."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, model: nn.Module) -> LinearChain | None:
        """A network as a chain, with or without a leading flatten.

        None if it is no chain, or a parameter is frozen or shared.
        """
        layers = list(_unroll(model))
        if layers and flattens(layers[0].module):
            layers.pop(0)
        linear = [layer.module for layer in layers if type(layer.module) is nn.Linear]
        is_known = all(
            (has_no_hooks(layer) and type(layer) in (nn.Linear, *POINTWISE)) or is_idle(layer) for layer, _ in layers
        )
        parameters = [id(p) for layer in linear for p in layer.parameters()]
        is_complete = len({*parameters}) == len(parameters) and all(p.requires_grad for p in model.parameters())
        if not (linear and is_known and is_complete and type(layers[0].module) is nn.Linear):
            return None
        return cls(tuple(layers))

    @property
    def max_width(self) -> int:
        """The most features a sample has between two layers."""
        return max(layer.out_features for layer, _ in self.layers if isinstance(layer, nn.Linear))

    def run_first_layer(self, named: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The first layer's result [N, out] for samples x [N, ...] at one point's weights: linear in the weights."""
        prefix = self.layers[0].prefix
        return F.linear(x.flatten(1), named[f"{prefix}weight"], named.get(f"{prefix}bias"))

    def run_rest(self, named: Mapping[str, Tensor], h: Tensor) -> Tensor:
        """Outputs [G, N, classes] from the first layer's results h [G, N, out], at weights [G, ...]. Overwrites h."""
        for layer, prefix in self.layers[1:]:
            if type(layer) is nn.ReLU:
                h = torch.relu_(h)
            elif type(layer) is not nn.Linear:
                h = layer(h)
            elif (bias := named.get(f"{prefix}bias")) is not None:
                h = torch.baddbmm(bias[:, None], h, named[f"{prefix}weight"].transpose(1, 2))
            else:
                h = torch.bmm(h, named[f"{prefix}weight"].transpose(1, 2))
        return h


def _unroll(model: nn.Module, prefix: str = "") -> Iterator[Layer]:
    if type(model) is not nn.Sequential or not has_no_hooks(model):
        yield Layer(model, prefix)
        return
    for name, child in model._modules.items():  # named_children would name a shared ReLU once
        if child is not None:
            yield from _unroll(child, f"{prefix}{name}.")


def flattens(layer: nn.Module) -> bool:
    """Whether a layer turns each sample into one vector."""
    return type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1) and has_no_hooks(layer)


def is_idle(layer: nn.Module) -> bool:
    """Whether a layer returns its input unchanged in its present mode."""
    return type(layer) is nn.Dropout and not layer.training and has_no_hooks(layer)
