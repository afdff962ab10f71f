"""Chains of linear layers with elementwise functions between them, at many weights at once.

At G points the weights of a layer are one tensor [G, out, in], and the layer is one batched matrix product. The first
layer sees the same samples at all points, and is linear in the weights:

    W(theta + alpha delta + beta eta) x = W(theta) x + alpha W(delta) x + beta W(eta) x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.network.batched import BatchedNetwork, Layer


@dataclass(frozen=True, eq=False)
class LinearChain:
    """Linear layers and elementwise functions, in order; the first is linear."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, model: nn.Module) -> LinearChain | None:
        """A `BatchedNetwork` without batch norms and shortcuts; None for any other network."""
        network = BatchedNetwork.of(model)
        steps = (network.first_layer, *network.steps) if network else ()
        layers = tuple(step for step in steps if isinstance(step, Layer) and type(step.module) is not nn.BatchNorm1d)
        return cls(layers) if layers and len(layers) == len(steps) else None

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
