"""The networks that every benchmark measures, trained a little, with their images and a plane through their weights.

A perceptron of 9k parameters and a deep one with batch norm of 32k on 8 x 8 digits; a convolutional net with batch norm
of 57k and a ResNet-20 of 270k on 28 x 28 pictures: MNIST's if the package that carries 5000 of them is installed, else
the same digits enlarged.
"""

from dataclasses import dataclass
from functools import cache, partial

import torch
from scipy.ndimage import zoom
from torch import Tensor, nn
from torch.nn import functional as F

from studio.errors import RunError
from studio.landscape.centres import AtCheckpoint
from studio.landscape.directions import Plane, Random, WeightSource
from studio.training.data import Data, Digits, Mnist5k
from studio.training.device import deterministic
from studio.training.models import Mlp, Model, Resnet, Vgg

MODELS: dict[str, Model] = {
    "mlp": Mlp(depth=2, width=64),
    "cnn": Vgg(widths=(32, 64, 64)),
    "resnet20": Resnet(depth=20, width=16),
    "deep": Mlp(depth=28, width=32, norm="batch"),
}
STEPS = {"mlp": 300, "cnn": 100, "resnet20": 60, "deep": 300}
"""Of gradient descent on 64 images each: enough to leave the start behind, few enough to be done in seconds."""


@dataclass(frozen=True, eq=False)
class Net:
    """A trained network in eval mode with the images it learned from, x [N, C, H, W] and labels y [N]."""

    record: Model
    model: nn.Module
    x: Tensor
    y: Tensor

    def samples(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` images with their labels."""
        return self.x[:count].clone(), self.y[:count].clone()

    @property
    def weights(self) -> dict[str, Tensor]:
        """Copies of the trainable tensors, by name."""
        return {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def plane(self, seed: int = 0) -> Plane:
        """Random directions, normalised filter by filter; biases and norms stay unchanged."""
        return Random(seed=seed).plane(WeightSource((AtCheckpoint(0.0),), lambda _: self.weights), AtCheckpoint(0.0))


@cache
def net(name: str) -> Net:
    """The network of `MODELS`, trained once per process on one thread; the same bytes every time."""
    data, record = _data(name), MODELS[name]
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    model = record.build(data.shape, data.classes)
    with deterministic():
        _train(model, x, y, STEPS[name])
    return Net(record, model.eval(), x, y)


@cache
def _data(name: str) -> Data:
    if isinstance(MODELS[name], Mlp):
        return Digits().load()
    try:
        return Mnist5k().load()
    except RunError:
        return _enlarge(Digits().load())


def _enlarge(digits: Data) -> Data:
    """The 8 x 8 digits as pictures of 28 x 28."""
    enlarge = partial(zoom, zoom=(1, 1, 3.5, 3.5), order=1)
    return Data(enlarge(digits.train_x), digits.train_y, enlarge(digits.test_x), digits.test_y, digits.classes)


def _train(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(len(y), (64,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()
