"""The torch modules of the models, and their initial weights.

Convolutions and hidden layers start from the normal distribution of He et al. (2015), which keeps the variance through
rectified layers: var(w) = 2 / fan. The last layer keeps torch's smaller uniform start, so that training begins near
log(classes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def initialised(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The module that `make` returns, drawn from `seed` alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed: that would reseed the GPUs too
        return make()


ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU, "elu": nn.ELU}


def mlp(
    shape: tuple[int, ...],
    classes: int,
    depth: int,
    width: int,
    *,
    batch_norm: bool = False,
    activation: str = "relu",
    skip: bool = False,
) -> nn.Module:
    """`depth` hidden layers of `width` on the flattened sample, then one linear layer.

    A hidden layer is linear, batch norm if wanted, activation. skip: a shortcut over each pair of layers after the
    first; it joins before the second activation of the pair. A layer left over has none.
    """
    sizes, act = [math.prod(shape), *[width] * depth], ACTIVATIONS[activation]
    layers = [
        [_linear(a, b, activation, batch_norm), *([nn.BatchNorm1d(b)] if batch_norm else []), act()]
        for a, b in pairwise(sizes)
    ]
    if skip:
        pairs = zip(layers[1::2], layers[2::2], strict=False)
        blocks = [Residual(nn.Sequential(*first, *second[:-1]), act()) for first, second in pairs]
        hidden = [*layers[:1], blocks, *([] if len(layers) % 2 else layers[-1:])]
    else:
        hidden = layers
    return nn.Sequential(nn.Flatten(), *(module for part in hidden for module in part), nn.Linear(sizes[-1], classes))


class Residual(nn.Module):
    """activation(branch(x) + x): a residual block whose branch keeps the shape of x."""

    def __init__(self, branch: nn.Module, activation: nn.Module):
        super().__init__()
        self.branch, self.activation = branch, activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.branch(x) + x)


def _linear(inputs: int, outputs: int, activation: str, batch_norm: bool) -> nn.Linear:
    """A hidden layer; batch norm has the bias, and makes the start scale-free."""
    return nn.Linear(inputs, outputs, bias=False) if batch_norm else _he(nn.Linear(inputs, outputs), activation)


def vgg(shape: tuple[int, int, int], classes: int, widths: Sequence[int], batch_norm: bool) -> nn.Module:
    """A 3x3 convolution, norm, ReLU and max pooling for each width, then a global average and one linear layer."""
    layers: list[nn.Module] = []
    channels, side = shape[0], min(shape[1:])
    for width in widths:
        layers += [*_convolution(channels, width, batch_norm), nn.ReLU()]
        if side >= 2:
            layers.append(nn.MaxPool2d(2))
        channels, side = width, max(1, side // 2)
    return nn.Sequential(*layers, GlobalAverage(), nn.Linear(channels, classes))


def _convolution(channels: int, width: int, batch_norm: bool, stride: int = 1) -> list[nn.Module]:
    conv = _he(nn.Conv2d(channels, width, 3, stride, padding=1, bias=not batch_norm))
    return [conv, nn.BatchNorm2d(width)] if batch_norm else [conv]


def _he(layer: nn.Module, activation: str = "relu") -> nn.Module:
    """The layer with weights of variance gain^2 / fan: fan in for a linear layer, fan out for a convolution; no bias.

    gain^2: 2, or (5/3)^2 for tanh, as torch recommends.
    """
    mode = "fan_in" if isinstance(layer, nn.Linear) else "fan_out"
    nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="tanh" if activation == "tanh" else "relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class GlobalAverage(nn.Module):
    """[N, C, H, W] -> [N, C]. A mean, not adaptive pooling: the gradient of that is not deterministic on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Resnet(nn.Module):
    """The first convolution, three stages of `blocks` blocks, a global average and one linear layer."""

    def __init__(self, channels: int, classes: int, blocks: int, width: int, skip: bool, batch_norm: bool):
        super().__init__()
        self.stem = nn.Sequential(*_convolution(channels, width, batch_norm), nn.ReLU())
        inputs = [width] * (blocks + 1) + [2 * width] * blocks + [4 * width] * (blocks - 1)
        outputs = [width] * blocks + [2 * width] * blocks + [4 * width] * blocks
        self.blocks = nn.Sequential(*(Block(a, b, skip, batch_norm) for a, b in zip(inputs, outputs, strict=True)))
        if skip and not batch_norm:
            self._calm()
        self.average = GlobalAverage()
        self.classify = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.average(self.blocks(self.stem(x))))

    def _calm(self) -> None:
        """Starts each of L branches at 1 / sqrt(L) of its size: without a norm, every sum would double the variance."""
        with torch.no_grad():
            for block in self.blocks:
                block.convolutions[-1].weight.mul_(len(self.blocks) ** -0.5)


class Block(nn.Module):
    """ReLU(convolutions(x) + shortcut(x)), or without the shortcut. A wider output means half the side.

    The shortcut has no parameters (He et al.'s option A): every second pixel, and zeros in the new channels.
    """

    def __init__(self, channels: int, width: int, skip: bool, batch_norm: bool):
        super().__init__()
        self.skip, self.stride, self.added = skip, 2 if width > channels else 1, width - channels
        first = _convolution(channels, width, batch_norm, self.stride)
        self.convolutions = nn.Sequential(*first, nn.ReLU(), *_convolution(width, width, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolutions(x)
        return F.relu(y + self.shortcut(x)) if self.skip else F.relu(y)

    def shortcut(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
