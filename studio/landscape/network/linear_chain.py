"""Networks that are a chain of linear layers with functions of single numbers between them, at many weights at once.

At G points the weights of a layer are one tensor [G, out, in], and the layer is one batched matrix product. The first
layer sees the same samples at all points, and is linear in the weights:

    W(theta + alpha delta + beta eta) x = W(theta) x + alpha W(delta) x + beta W(eta) x.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.network.graph import bare

POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)


@dataclass(frozen=True, eq=False)
class Chain:
    """Linear layers and functions, in order, with the full names of the layers' weights and biases."""

    layers: tuple[tuple[nn.Module, str], ...]

    @classmethod
    def of(cls, model: nn.Module) -> Chain | None:
        """The chain that a network is, on flattened samples or not; None if it is anything else."""
        layers = list(_unrolled(model))
        if layers and flattens(layers[0][0]):
            layers.pop(0)
        linear = [layer for layer, _ in layers if type(layer) is nn.Linear]
        known = all((bare(layer) and type(layer) in (nn.Linear, *POINTWISE)) or is_idle(layer) for layer, _ in layers)
        own = {id(p) for layer in linear for p in layer.parameters()}
        whole = len(own) == sum(1 for layer in linear for _ in layer.parameters()) and all(
            p.requires_grad for p in model.parameters()
        )
        return cls(tuple(layers)) if linear and known and whole and type(layers[0][0]) is nn.Linear else None

    @property
    def widest(self) -> int:
        """The most numbers a sample has between two layers."""
        return max(layer.out_features for layer, _ in self.layers if type(layer) is nn.Linear)

    def first(self, named: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The first layer's result [N, out] for samples x at one point's weights: linear in them."""
        _, name = self.layers[0]
        return F.linear(x.flatten(1), named[f"{name}weight"], named.get(f"{name}bias"))

    def rest(self, named: Mapping[str, Tensor], h: Tensor) -> Tensor:
        """Outputs [G, N, classes] from the first layer's results h [G, N, out], which are used up; weights [G, ...]."""
        for layer, name in self.layers[1:]:
            if type(layer) is nn.ReLU:
                h = torch.relu_(h)
            elif type(layer) is not nn.Linear:
                h = layer(h)
            elif (bias := named.get(f"{name}bias")) is not None:
                h = torch.baddbmm(bias[:, None], h, named[f"{name}weight"].transpose(1, 2))
            else:
                h = torch.bmm(h, named[f"{name}weight"].transpose(1, 2))
        return h


def _unrolled(model: nn.Module, prefix: str = "") -> Iterator[tuple[nn.Module, str]]:
    if type(model) is not nn.Sequential or not bare(model):
        yield model, prefix
        return
    for name, child in model._modules.items():  # named_children would name a shared ReLU once
        yield from _unrolled(child, f"{prefix}{name}.")


def flattens(layer: nn.Module) -> bool:
    """Whether a layer makes one vector of each sample."""
    return type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1) and bare(layer)


def is_idle(layer: nn.Module) -> bool:
    """Whether a layer returns what it is given, in its present mode."""
    return type(layer) is nn.Dropout and not layer.training and bare(layer)
