"""Runs that nobody trained, on a shelf, and their resolved slices; and small networks."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.field import Grid
from studio.landscape import tasks
from studio.landscape.centres import AtCheckpoint, Centre
from studio.landscape.directions import Directions, Random
from studio.landscape.loss import Loss
from studio.landscape.slices import Slice, SliceResolver
from studio.landscape.sweeps.keyframe import Keyframe
from studio.storage.mapped_arrays import save_arrays
from studio.storage.shelf import Shelf
from studio.training import checkpoints
from studio.training.evaluate import scores, tensors
from studio.training.models import Mlp, Model, Resnet
from studio.training.recipe import Recipe
from studio.training.runs import RecipeRun

GRID = Grid(range=(-1.5, 1.5), points=5)
LOSS = Loss(subset=48, mode="train")
DIRECTIONS = Random(seed=3)


@dataclass(frozen=True)
class PlantedRun:
    """A run of epochs 0, 1 and 2 on a shelf."""

    shelf: Shelf
    run: RecipeRun

    @property
    def folder(self) -> Path:
        return self.shelf.run("planted")

    def resolve(
        self,
        quantity: str = "loss",
        *,
        epoch: float = 2.0,
        centre: Centre | None = None,
        grid: Grid = GRID,
        loss: Loss = LOSS,
        directions: Directions = DIRECTIONS,
        direction_loss: Loss | None = None,
        **convexity: Any,
    ) -> Slice:
        """A resolved slice. centre: at the epoch's checkpoint if None. direction_loss: `loss` if None."""
        resolver = SliceResolver(self.shelf, (self.run,), ("planted",), direction_loss or loss)
        keyframe = Keyframe(epoch, centre or AtCheckpoint(epoch), directions, grid, None)
        return resolver.resolve(quantity, keyframe, grid, loss, **convexity)

    def slice(self, quantity: str = "loss", **options: Any) -> Slice:
        """A resolved slice with its samples and its plane on the shelf, as workers find it."""
        slice_ = self.resolve(quantity, **options)
        for digest, loss in slice_.losses_by_samples.items():
            if not self.shelf.samples(digest).is_dir():
                save_arrays(self.shelf.samples(digest), *tasks.make_samples(slice_.data, loss))
        if not self.shelf.plane(slice_.plane_digest).is_dir():
            save_arrays(self.shelf.plane(slice_.plane_digest), *tasks.make_plane(self.shelf, slice_))
        return slice_


def planted(root: Path, model: Model) -> PlantedRun:
    """A run whose weights and running statistics numpy draws: they are the same on every machine."""
    recipe, random = Recipe(model=model, epochs=2), np.random.default_rng(0)
    planted = PlantedRun(Shelf(root), RecipeRun(recipe=recipe))
    data = recipe.data.load()
    checkpoints.write_run_file(planted.folder, recipe, data.digest, "planted")
    for epoch in (0.0, 1.0, 2.0):
        net = model.build(data.shape, data.classes)
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                # He's variance; norms and biases a tenth around what they start from
                deviation = (2 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.1
                middle = tensor.mean().round() if tensor.dim() == 1 and not name.endswith("bias") else 0
                tensor.copy_(torch.from_numpy(random.normal(float(middle), deviation, tensor.shape)))
        checkpoints.save(planted.folder, checkpoints.snapshot(epoch, net), scores(net, tensors(data)))
    return planted


@pytest.fixture(scope="session")
def conv(tmp_path_factory) -> PlantedRun:
    """A small residual network."""
    return planted(tmp_path_factory.mktemp("conv"), Resnet(depth=8, width=4))


@pytest.fixture(scope="session")
def mlp(tmp_path_factory) -> PlantedRun:
    """A small perceptron."""
    return planted(tmp_path_factory.mktemp("mlp"), Mlp(depth=1, width=6))


@pytest.fixture(scope="session")
def deep(tmp_path_factory) -> PlantedRun:
    """A deep perceptron without kinks, at which float32 and float64 might stand on two sides."""
    model = Mlp(depth=4, width=5, norm="batch", activation="tanh", skip=True)
    return planted(tmp_path_factory.mktemp("deep"), model)


# --- small networks --------------------------------------------------------------------------------------------------

CLASSES = 3


class TiedWeights(nn.Module):
    """Two layers that share one weight, between two that do not."""

    def __init__(self):
        super().__init__()
        sizes = (8, 5, 5, 5, CLASSES)
        self.enter, self.first, self.second, self.leave = (nn.Linear(a, b) for a, b in pairwise(sizes))
        self.second.weight = self.first.weight

    def forward(self, x):
        x = torch.tanh(self.first(torch.tanh(self.enter(x.flatten(1)))))
        return self.leave(torch.tanh(self.second(x)))


class UnusedLayer(nn.Module):
    """Calls dropout as a function and has a layer that no pass uses."""

    def __init__(self):
        super().__init__()
        self.layer, self.unused = nn.Linear(8, CLASSES), nn.Linear(8, 2)

    def forward(self, x):
        return self.layer(F.dropout(x.flatten(1), 0.5, self.training))


class Number(nn.Module):
    """Has a parameter of a single number, without dimensions."""

    def __init__(self):
        super().__init__()
        self.layer, self.scale = nn.Linear(8, CLASSES), nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.layer(x.flatten(1)) * self.scale


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Softplus(), nn.Flatten(), nn.Linear(12, CLASSES)
    )


def layer_norm() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(8, 6), nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.3), nn.Linear(6, CLASSES)
    )


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(8, CLASSES, bias=False))


def in_place() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )


NETWORKS = {
    "convolution": convolution,
    "layer norm": layer_norm,
    "linear": linear,
    "tied weights": TiedWeights,
    "unused layer": UnusedLayer,
    "number": Number,
    "in place": in_place,
}
"""For samples [N, 2, 2, 2]; that in place for [N, 2, 6, 6]."""


@pytest.fixture(scope="session")
def net() -> Callable[[str | Callable[[], nn.Module]], nn.Module]:
    """Makes a network, by a name in `NETWORKS` or by a function: doubles, whose norms are not fresh."""

    def make(network: str | Callable[[], nn.Module]) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(3)
            model = (NETWORKS[network] if isinstance(network, str) else network)().double()
            for module in model.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.track_running_stats:
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2.0)
                    for p in module.parameters():
                        p.data.add_(0.3 * torch.randn(p.shape))
        return model

    return make


@pytest.fixture(scope="session")
def theta() -> Callable[[nn.Module], torch.Tensor]:
    """The weights of a network that may move [P]."""

    def flatten(model: nn.Module) -> torch.Tensor:
        return nn.utils.parameters_to_vector(p.detach() for p in model.parameters() if p.requires_grad)

    return flatten


@pytest.fixture(scope="session")
def near(theta) -> Callable[[nn.Module, int], torch.Tensor]:
    """Makes points [count, P] around the weights of a network."""

    def draw(model: nn.Module, count: int) -> torch.Tensor:
        start, generator = theta(model), torch.Generator().manual_seed(5)
        return start + 0.1 * torch.randn(count, len(start), dtype=torch.float64, generator=generator)

    return draw
