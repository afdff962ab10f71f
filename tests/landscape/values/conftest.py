"""Evaluators of small networks on a plane, by a method and by the plain loop in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from studio.landscape.network.weight_loss import WeightLoss
from studio.landscape.values.evaluator import Evaluator

N, CLASSES = 11, 3


@pytest.fixture(scope="session")
def images() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """Makes images [count, 1, 8, 8] and their labels."""
    return _images


@pytest.fixture(scope="session")
def network() -> Callable[[Callable[[], nn.Module]], nn.Module]:
    """Makes a network whose running statistics are not those of its samples."""
    return _net


@pytest.fixture(scope="session")
def plane() -> Callable[..., list[torch.Tensor]]:
    """Makes theta and two small directions, which may leave norms unchanged."""
    return _plane


@pytest.fixture(scope="session")
def evaluators() -> Callable[..., tuple[Evaluator, Evaluator]]:
    """Makes an evaluator by a method, and the plain loop in float64."""

    def make(
        build: Callable[[], nn.Module], method: str, moves_norms: bool = True, **options
    ) -> tuple[Evaluator, Evaluator]:
        model = _net(build)
        weight_loss = WeightLoss(model, {}, *_images(), **options)
        vectors = _plane(weight_loss, model, moves_norms)
        double = weight_loss.with_precision("float64")
        return Evaluator(weight_loss, *vectors, method), Evaluator(double, *(v.double() for v in vectors))

    return make


def _images(count: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 1, 8, 8, generator=generator), torch.randint(CLASSES, (count,), generator=generator)


def _net(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(4)
        model = build()
        for name, tensor in model.named_buffers():
            if "running" in name:
                tensor.add_(0.3 * torch.rand(tensor.shape))
    return model


def _plane(weight_loss: WeightLoss, model: nn.Module, moves_norms: bool = True) -> list[torch.Tensor]:
    named = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def draw(seed: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: 0.1 * torch.randn(p.shape, generator=generator) * (moves_norms or p.dim() > 1)
            for name, p in named.items()
        }

    return [weight_loss.flat(part) for part in (named, draw(5), draw(6))]
