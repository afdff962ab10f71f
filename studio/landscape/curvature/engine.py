"""The interface of the engines of Hessian-vector products, and the rules about networks that they share.

    g: theta -> gradient of L,    H v = dg/dtheta v

An engine linearises the gradient g at B points: it returns g there, and its derivative H as a function of v.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torch import Tensor

from studio.landscape.network.batched import BatchedNetwork
from studio.landscape.network.kernels import MAX_WIDTH
from studio.landscape.network.weight_loss import WeightLoss

CHAIN_POINTS = {"cpu": 16, "cuda": 256}
"""Points of a small chain of linear layers that are differentiated in one batch, on stacked weights."""
CHAIN_WEIGHTS = 2**15
"""Most weights of a chain that counts as small."""
IMAGE_POINTS = 6
"""Points of a network on small images that are differentiated in one batch on a CPU: its many short operations take
less time to run than to launch."""


class LinearizedGradient(Protocol):
    """The gradient of a loss at B points by its M moving weights, and the gradient's derivative, the Hessian."""

    @property
    def gradient(self) -> Sequence[Tensor]:
        """The gradient, tensor by tensor [B, *shape]."""

    def hvp(self, v: Sequence[Tensor], retain_graph: bool) -> Sequence[Tensor]:
        """H v, tensor by tensor, for v [B, *shape]. retain_graph: false frees the graph, so no product may follow."""


class HvpEngine(Protocol):
    """One way to compute gradients and Hessian-vector products of a WeightLoss."""

    @property
    def batch_points(self) -> int:
        """The number of points best differentiated in one batch: a fixed rule by network and device."""

    @property
    def is_cheap(self) -> bool:
        """Whether products cost so little that a warm start from a few samples (`extremes`) saves no time."""

    def linearize(self, named: Mapping[str, Tensor], x: Tensor, loss: Callable[[Tensor], Tensor]) -> LinearizedGradient:
        """The gradient at B points, and its derivative.

        named: the weights [B, *shape] by name; those that require a gradient move. x: samples [N, ...]. loss: outputs
        [B, N, ...] -> the sum of the losses of all points.
        """


def small_chain(weight_loss: WeightLoss) -> BatchedNetwork | None:
    """The network, if it is a chain of linear layers of few weights."""
    network = BatchedNetwork.of(weight_loss.network.module)
    return network if network and network.is_chain and weight_loss.size <= CHAIN_WEIGHTS else None


def has_large_images(x: Tensor) -> bool:
    """Whether samples [N, C, H, W] are so large that channels last and our own second derivatives are quicker."""
    return x.dim() == 4 and max(x.shape[2:]) > MAX_WIDTH


def has_small_images(weight_loss: WeightLoss) -> bool:
    """Whether the network takes small images on a CPU, and may run at several points at once."""
    x = weight_loss.inputs
    small = weight_loss.device_kind == "cpu" and x.dim() == 4 and not has_large_images(x)
    return small and weight_loss.mode != "recalibrated" and not weight_loss.is_random
