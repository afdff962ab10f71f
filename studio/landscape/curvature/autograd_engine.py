"""Hessian-vector products by torch's double backward: for every network, mode and device.

    H v = sum over tensors i of v_i dg_i/dtheta

The graph of the gradient g is built once; each product is one vector-Jacobian product through it, which is H v because
H is symmetric. In eval mode batch norms are folded into the layers before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property

import torch
from torch import Tensor

from studio.landscape.curvature import engine
from studio.landscape.curvature.double_backward import QuickLayers
from studio.landscape.network.weight_loss import WeightLoss


class AutogradGradient:
    """A gradient, tensor by tensor [B, *shape], as part of torch's graph, and its leaves: the moving weights."""

    def __init__(self, gradient: tuple[Tensor, ...], leaves: list[Tensor]):
        self.gradient, self._leaves = gradient, leaves

    def hvp(self, v: Sequence[Tensor], retain_graph: bool) -> Sequence[Tensor]:
        """H v, tensor by tensor, for v [B, *shape]. retain_graph: false frees the graph, so no product may follow.

        A part of the gradient that depends on no weight adds nothing.
        """
        parts = [(part, vector) for part, vector in zip(self.gradient, v, strict=True) if part.requires_grad]
        if not parts:
            return [torch.zeros_like(leaf) for leaf in self._leaves]
        outputs, vectors = zip(*parts, strict=True)
        return torch.autograd.grad(outputs, self._leaves, vectors, retain_graph=retain_graph, materialize_grads=True)


class AutogradEngine:
    """Double backward through the network that a WeightLoss runs."""

    def __init__(self, weight_loss: WeightLoss):
        self._weight_loss, self._chain = weight_loss, engine.small_chain(weight_loss)

    @property
    def is_cheap(self) -> bool:
        """Whether products cost so little that a warm start (`extremes`) saves no time: in a small chain of layers."""
        return self._chain is not None

    @cached_property
    def batch_points(self) -> int:
        """The number of points best differentiated in one batch; 1 if the network cannot run with stacked weights."""
        if self._chain:
            return engine.CHAIN_POINTS[self._weight_loss.device_kind]
        stacks_images = engine.has_small_images(self._weight_loss) and self._takes_stacked_weights()
        return engine.IMAGE_POINTS if stacks_images else 1

    def linearize(self, named: Mapping[str, Tensor], x: Tensor, loss: Callable[[Tensor], Tensor]) -> AutogradGradient:
        """The gradient at B points with its graph.

        named: the weights [B, *shape] by name; those that require a gradient move. x: samples [N, ...]. loss: outputs
        [B, N, ...] -> the sum of the losses of all points.
        """
        leaves = [leaf for leaf in named.values() if leaf.requires_grad]
        with torch.enable_grad():
            total = self._total(named, x, loss)
        return AutogradGradient(torch.autograd.grad(total, leaves, create_graph=True, materialize_grads=True), leaves)

    def _total(self, named: Mapping[str, Tensor], x: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        if len(next(iter(named.values()))) > 1:
            return loss(self._batched_outputs(named, x))
        with QuickLayers() if engine.has_large_images(x) else nullcontext():
            single = {name: tensor[0] for name, tensor in named.items()}
            return loss(self._weight_loss.outputs(single, x, folded=True)[None])

    def _batched_outputs(self, named: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Outputs [B, N, classes] at stacked weights [B, ...] for samples x [N, ...]."""
        if self._chain:
            chain = self._chain
            with self._weight_loss.forward_context():
                h = torch.func.vmap(lambda single: chain.run_first_layer(single, x))(dict(named))
                return chain.run_rest(named, h)
        outputs: Tensor = torch.func.vmap(lambda single: self._weight_loss.outputs(single, x, folded=True))(dict(named))
        return outputs

    def _takes_stacked_weights(self) -> bool:
        """False for a network whose operations depend on its data."""
        weight_loss, x = self._weight_loss, self._weight_loss.inputs[:2]
        weights = x.new_zeros(2, weight_loss.size)
        with torch.no_grad():
            # whatever the network builds at its first pass, it builds here
            weight_loss.outputs(weight_loss.split(weights[0]), x, folded=True)
            try:
                self._batched_outputs(weight_loss.split(weights), x)
            except RuntimeError:
                return False
        return True
