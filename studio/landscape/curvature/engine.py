"""The rules about networks that the engines of Hessian-vector products share."""

from __future__ import annotations

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
