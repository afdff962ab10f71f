"""Runs that nobody trained, on a shelf, and their resolved slices."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.field import Grid
from studio.landscape import tasks
from studio.landscape.directions import Directions, Random
from studio.landscape.loss import Loss
from studio.landscape.slices import Slice, SliceResolver
from studio.storage.mapped_arrays import save_arrays
from studio.storage.shelf import Shelf
from studio.training import checkpoints
from studio.training.evaluate import scores, tensors
from studio.training.models import Mlp, Model, Resnet
from studio.training.recipe import Recipe, Run

GRID = Grid(range=(-1.5, 1.5), points=5)
LOSS = Loss(subset=48, mode="train")
DIRECTIONS = Random(seed=3)


@dataclass(frozen=True)
class PlantedRun:
    """A run of epochs 0, 1 and 2 on a shelf."""

    shelf: Shelf
    run: Run

    @property
    def folder(self) -> Path:
        return self.shelf.run("planted")

    def resolve(
        self,
        quantity: str = "loss",
        *,
        epoch: float = 2.0,
        grid: Grid = GRID,
        loss: Loss = LOSS,
        directions: Directions = DIRECTIONS,
        direction_loss: Loss | None = None,
        **convexity: Any,
    ) -> Slice:
        """A resolved slice. direction_loss: `loss` if None."""
        resolver = SliceResolver(self.shelf, self.run, "planted", directions, direction_loss or loss)
        return resolver.resolve(quantity, epoch, grid, loss, **convexity)

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
    planted = PlantedRun(Shelf(root), Run(recipe=recipe))
    data = recipe.data.load()
    checkpoints.write_run_file(planted.folder, planted.run, data.digest)
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
