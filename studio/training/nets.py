"""Torch modules of the models, and their initial weights.

Convolutions and hidden layers are initialised by the normal distribution of He et al. (2015), var(w) = 2 / fan, which
keeps the variance through ReLU layers. The last layer keeps torch's smaller uniform weights, so that the loss begins
near log(classes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def initialise(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The module that `make` returns, its weights drawn from `seed` alone; restores torch's global generator."""
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
    batch_norm: bool,
    activation: str,
    skip: bool,
    dropout: float = 0.0,
) -> nn.Module:
    """`depth` hidden layers of `width` units on the flattened sample, then one linear layer.

    A hidden layer is linear, optional batch norm, activation with dropout. skip: a shortcut over each pair of layers
    after the first, added before the pair's second activation; an unpaired last layer has none.
    """
    sizes, make = [math.prod(shape), *[width] * depth], ACTIVATIONS[activation]

    def act() -> nn.Module:
        return nn.Sequential(make(), nn.Dropout(dropout)) if dropout else make()

    layers: list[list[nn.Module]] = [
        [_linear(a, b, activation, batch_norm), *([nn.BatchNorm1d(b)] if batch_norm else []), act()]
        for a, b in pairwise(sizes)
    ]
    if skip:
        pairs = zip(layers[1::2], layers[2::2], strict=False)
        blocks: list[nn.Module] = [Residual(nn.Sequential(*first, *second[:-1]), act()) for first, second in pairs]
        hidden: list[list[nn.Module]] = [*layers[:1], blocks, *([] if len(layers) % 2 else layers[-1:])]
    else:
        hidden = layers
    return nn.Sequential(nn.Flatten(), *(module for part in hidden for module in part), nn.Linear(sizes[-1], classes))


class Residual(nn.Module):
    """activation(branch(x) + x): a residual block whose branch keeps the shape of x."""

    def __init__(self, branch: nn.Module, activation: nn.Module):
        super().__init__()
        self.branch, self.activation = branch, activation

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return cast(Tensor, self.activation(self.branch(x) + x))


def _linear(inputs: int, outputs: int, activation: str, batch_norm: bool) -> nn.Linear:
    """A hidden layer; with batch norm, that holds the bias and makes the scale of the weights irrelevant."""
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


def _he(layer: Layer, activation: str = "relu") -> Layer:
    """The layer with bias 0 and weights of variance gain^2 / fan: fan in for a linear layer, fan out for a convolution.

    gain^2: 2, or (5/3)^2 for tanh, as torch recommends.
    """
    mode: Literal["fan_in", "fan_out"] = "fan_in" if isinstance(layer, nn.Linear) else "fan_out"
    nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="tanh" if activation == "tanh" else "relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class GlobalAverage(nn.Module):
    """[N, C, H, W] -> [N, C]. A mean, since the gradient of adaptive pooling is not deterministic on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean of every channel."""
        return x.mean((2, 3))


class Resnet(nn.Module):
    """One convolution, three stages of `blocks` blocks each, a global average and one linear layer."""

    def __init__(self, channels: int, classes: int, blocks: int, width: int, skip: bool, batch_norm: bool):
        super().__init__()
        self.stem = nn.Sequential(*_convolution(channels, width, batch_norm), nn.ReLU())
        inputs = [width] * (blocks + 1) + [2 * width] * blocks + [4 * width] * (blocks - 1)
        outputs = [width] * blocks + [2 * width] * blocks + [4 * width] * blocks
        self.blocks = nn.Sequential(*(Block(a, b, skip, batch_norm) for a, b in zip(inputs, outputs, strict=True)))
        if skip and not batch_norm:
            self._scale_branches()
        self.average = GlobalAverage()
        self.classify = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] -> logits [N, classes]."""
        return cast(Tensor, self.classify(self.average(self.blocks(self.stem(x)))))

    def _scale_branches(self) -> None:
        """Scales each of L branches by 1 / sqrt(L): without a norm, every sum would double the variance."""
        with torch.no_grad():
            for convolutions in (cast(Block, block).convolutions for block in self.blocks):
                cast(nn.Conv2d, convolutions[-1]).weight.mul_(len(self.blocks) ** -0.5)


class Block(nn.Module):
    """ReLU(convolutions(x) + shortcut(x)), or without the shortcut. A wider output has half the side.

    The shortcut has no parameters (He et al.'s option A): every second pixel, and zeros in the new channels.
    """

    def __init__(self, channels: int, width: int, skip: bool, batch_norm: bool):
        super().__init__()
        self.skip, self.stride, self.new_channels = skip, 2 if width > channels else 1, width - channels
        first = _convolution(channels, width, batch_norm, self.stride)
        self.convolutions = nn.Sequential(*first, nn.ReLU(), *_convolution(width, width, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] -> [N, width, H / stride, W / stride]."""
        y = self.convolutions(x)
        return F.relu(y + self.shortcut(x)) if self.skip else F.relu(y)

    def shortcut(self, x: Tensor) -> Tensor:
        """x at every `stride`-th pixel, padded with channels of zeros."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class Transformer(nn.Module):
    """Tokens [N, T], T up to `length`, -> logits [N, T, tokens] of the one after each place, from it and those before.

    Weights are normal with a standard deviation of 0.02, as in Radford et al. (2019).
    """

    def __init__(self, length: int, tokens: int, depth: int, width: int, heads: int, dropout: float):
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, dropout) for _ in range(depth)))
        self.norm, self.classify = nn.LayerNorm(width), nn.Linear(width, tokens)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Embedding):
                nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        h = self.tokens(x) + self.places.weight[: x.shape[1]]
        return cast(Tensor, self.classify(self.norm(self.blocks(h))))


class TransformerBlock(nn.Module):
    """h + attention(norm(h)), then h + down(GELU(up(norm(h)))): [N, T, width], each place from those up to it."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Tensor) -> Tensor:
        """Same shape as h."""
        parts = self.query_key_value(self.attention_norm(h)).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        h = h + self.dropout(self.mix(attended))
        return cast(Tensor, h + self.dropout(self.down(F.gelu(self.up(self.norm(h))))))


class Gan(nn.Module):
    """`generator`: latents [N, *shape] -> samples [N, size]. `critic`: samples [N, ...] -> one number each [N, 1]."""

    def __init__(self, shape: tuple[int, ...], size: int, depth: int, width: int):
        super().__init__()
        make = partial(mlp, depth=depth, width=width, batch_norm=False, activation="silu", skip=False)
        self.generator, self.critic = make(shape, size), make((size,), 1)

    def forward(self, x: Tensor) -> Tensor:
        """The generator's samples."""
        return cast(Tensor, self.generator(x))
