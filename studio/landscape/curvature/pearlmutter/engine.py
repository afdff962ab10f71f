"""Hessian-vector products by two passes through the network, one forward and one backward (Pearlmutter 1994).

For every point and chunk of samples the activations and the cotangents of the gradient are computed once. Along a
direction v the tangents of the activations go forward, then the changes of the cotangents go back: what arrives at the
weights is H v.

In eval mode the network has folded weights W(theta), products of theta's tensors. With the Jacobian J = dW/dtheta and
G = dL/dW the gradient is J' G, and H v = J' dG + (dJ)' G: dG along J v, dJ along v.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from studio.landscape.curvature.engine import CHAIN_POINTS, IMAGE_POINTS, has_small_images, small_chain
from studio.landscape.curvature.pearlmutter.operation import UnknownOperationError
from studio.landscape.curvature.pearlmutter.program import HvpProgram, Named
from studio.landscape.curvature.pearlmutter.tape import Tape
from studio.landscape.network.batched import BatchedNetwork
from studio.landscape.network.weight_loss import WeightLoss

AGREEMENT = 1e-3
"""Largest difference from the network's own outputs, relative to the largest one: rounding never makes as much."""
PERCEPTRON_POINTS, PERCEPTRON_WEIGHTS = 32, 2**20
"""Most points in one batch of a perceptron with batch norms or shortcuts, and weights of all of them together."""


class PearlmutterEngine:
    """The written-out passes of one network, on a CPU: with the methods of `AutogradEngine`."""

    def __init__(self, program: HvpProgram, weight_loss: WeightLoss):
        self._program, self._weight_loss = program, weight_loss
        self._is_small_chain = small_chain(weight_loss) is not None
        network = BatchedNetwork.of(weight_loss.network.module)
        self._is_perceptron = network is not None and not network.is_chain

    @classmethod
    def of(cls, weight_loss: WeightLoss) -> PearlmutterEngine | None:
        """The engine for a network all of whose operations are known, in its present mode; None for another."""
        program = HvpProgram.of(weight_loss)
        return cls(program, weight_loss) if program is not None and _agrees(program, weight_loss) else None

    @property
    def is_cheap(self) -> bool:
        """True for perceptrons: chains of few weights, and those with batch norms or shortcuts."""
        return self._is_small_chain or self._is_perceptron

    @property
    def batch_points(self) -> int:
        """By the kind of network and its size."""
        if self._is_small_chain:
            return CHAIN_POINTS[self._weight_loss.device_kind]
        if self._is_perceptron:
            return min(PERCEPTRON_POINTS, max(IMAGE_POINTS, PERCEPTRON_WEIGHTS // self._weight_loss.size))
        return IMAGE_POINTS if has_small_images(self._weight_loss) else 1

    def linearize(
        self, named: Mapping[str, Tensor], x: Tensor, loss: Callable[[Tensor], Tensor]
    ) -> PearlmutterGradient:
        """The gradient with the tape of the network's run."""
        return PearlmutterGradient(self._program, named, x, loss)


def _agrees(program: HvpProgram, weight_loss: WeightLoss) -> bool:
    """Whether the operations return for a few samples what the network returns, at its own weights."""
    x = weight_loss.inputs[:2]
    named = {name: p.detach() for name, p in weight_loss.network.parameters.items()}
    with torch.no_grad():
        try:
            weights = program.weights({name: p[None] for name, p in named.items()})
            actual = Tape(program, weights, set(), x).outputs[0]
        except (UnknownOperationError, RuntimeError, TypeError, ValueError):
            return False
        expected = weight_loss.outputs(named, x)
    tolerance = AGREEMENT * float(expected.abs().max())
    return actual.shape == expected.shape and torch.allclose(actual, expected, rtol=0, atol=tolerance, equal_nan=True)


class PearlmutterGradient:
    """The gradient of a loss over samples x at B points, and products with its Hessian.

    named: theta's tensors [B, *shape]; those that require a gradient move, in their order. loss: outputs [B, N, ...] ->
    a number. gradient: tensor by tensor.
    """

    def __init__(self, program: HvpProgram, named: Mapping[str, Tensor], x: Tensor, loss: Callable[[Tensor], Tensor]):
        self._leaves = [leaf for leaf in named.values() if leaf.requires_grad]
        with torch.enable_grad():
            weights = program.weights(named)
        self._weights = {name: weight for name, weight in weights.items() if weight.requires_grad}
        with torch.no_grad():
            self._tape = Tape(program, {name: w.detach() for name, w in weights.items()}, set(self._weights), x)
        outputs = self._tape.outputs
        self._outputs = outputs.expand(len(next(iter(named.values()))), *outputs.shape[1:]).detach().requires_grad_()
        with torch.enable_grad():
            (self._g,) = torch.autograd.grad(loss(self._outputs), self._outputs, create_graph=True)
        with torch.no_grad():
            gradient = self._in_order(self._tape.vjp(self._g.detach()))
        self._folds = program.folds
        if self._folds:
            with torch.enable_grad():
                self._by_weights = [part.requires_grad_() for part in gradient]
                self._by_leaves = self._to_leaves(self._by_weights, create_graph=True)
            gradient = [part.detach() for part in self._by_leaves]
        self.gradient = tuple(gradient)

    def hvp(self, v: Sequence[Tensor], retain_graph: bool) -> Sequence[Tensor]:
        """H v, tensor by tensor, for v by the leaves' shapes. The tape stays in memory, whatever retain_graph says."""
        if not self._folds:
            return self._change(v)
        changes = torch.autograd.grad(
            self._by_leaves, [*self._leaves, *self._by_weights], v, retain_graph=True, materialize_grads=True
        )
        by_jacobian, along = changes[: len(v)], changes[len(v) :]  # (dJ)' G, and J v
        by_gradient = self._to_leaves(self._change(along))  # J' dG
        return [first + second for first, second in zip(by_jacobian, by_gradient, strict=True)]

    def _change(self, along: Sequence[Tensor]) -> list[Tensor]:
        """The change dG of the gradient by the network's weights along directions of these weights."""
        with torch.no_grad():
            tangent = self._tape.jvp(dict(zip(self._weights, along, strict=True)))
        if tangent is None or not self._g.requires_grad:
            dg = torch.zeros_like(self._outputs)
        else:
            (dg,) = torch.autograd.grad(self._g, self._outputs, tangent, retain_graph=True)
        with torch.no_grad():
            return self._in_order(self._tape.vjp_tangent(dg))

    def _in_order(self, by_name: Named) -> list[Tensor]:
        """A list with one tensor for every weight that moves; zeros if the outputs do not depend on it."""
        return [by_name[name] if name in by_name else torch.zeros_like(w) for name, w in self._weights.items()]

    def _to_leaves(self, by_weights: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
        """Cotangents G of the network's weights as those of theta's tensors: J' G."""
        weights = list(self._weights.values())
        return torch.autograd.grad(
            weights, self._leaves, by_weights, retain_graph=True, create_graph=create_graph, materialize_grads=True
        )
