"""Layers whose kernel is chosen once and whose weights are read from a packed vector, for `CompiledForward`.

Several points pass side by side, in batch slots: x is [N slots, C, H, W], the slots of one sample next to each other,
and a layer's weights are [slots, ...].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.network import kernels
from studio.landscape.network.graph import channels_last

LayerFunction = Callable[[Tensor], Tensor]
"""A layer as a function of its input, at the weights that its slots hold."""
Transform = Callable[[Tensor], Tensor]
"""A weight -> the weight as a kernel reads it; linear, so that a direction of weights transforms alike."""


class CompiledLayer(NamedTuple):
    """The tensors that a layer reads, each with its transform, and a function of them that returns the LayerFunction.

    build: takes the transformed tensors, [slots, ...] each, None for one that the layer lacks.
    """

    reads: list[tuple[Tensor | None, Transform]]
    build: Callable[..., LayerFunction]


def linear(layer: nn.Linear) -> CompiledLayer:
    """A linear layer on features [N slots, in]."""
    return CompiledLayer([(layer.weight, identity), (layer.bias, identity)], _linear)


def first_convolution(conv: nn.Conv2d, channels: int) -> CompiledLayer:
    """The convolution of samples padded to `channels`, which are the same for all slots."""
    return CompiledLayer(
        [(conv.weight, lambda weight: _by_taps(pad_channels(weight, channels))), (conv.bias, identity)],
        partial(_wide_convolution, conv, shared=True),
    )


def convolution(conv: nn.Conv2d, shape: torch.Size, slots: int) -> CompiledLayer:
    """The convolution of features of a shape [N, C, H, W] at each slot's point."""
    if kernels.is_tiny(conv, shape):
        return CompiledLayer(
            [(conv.weight, partial(kernels.tiny_conv2d_matrix, h=shape[2], w=shape[3])), (conv.bias, identity)],
            lambda matrix, bias: lambda x: kernels.tiny_conv2d(x, matrix, bias),
        )
    # chosen here, for fewer samples too: another kernel would round otherwise
    build = _wide_convolution if slots > 1 or kernels.is_wide(conv, shape) else _library_convolution
    return CompiledLayer([(conv.weight, _by_taps), (conv.bias, identity)], partial(build, conv))


def batch_norm(norm: nn.BatchNorm2d, in_place: bool, dtype: torch.dtype) -> CompiledLayer:
    """A batch norm by each slot's own batch statistics. in_place: it may overwrite its input."""
    c = norm.num_features
    weight = norm.weight if norm.affine else torch.ones(c, dtype=dtype)
    bias = norm.bias if norm.affine else torch.zeros(c, dtype=dtype)
    return CompiledLayer([(weight, identity), (bias, identity)], partial(_batch_norm, norm.eps, in_place))


def max_pool(pool: nn.MaxPool2d) -> CompiledLayer:
    """A max pooling; torch's kernel is quick only in its own layouts."""
    return CompiledLayer([], lambda: lambda x: pool(channels_last(x)))


def identity(weight: Tensor) -> Tensor:
    """The weight as it is."""
    return weight


def pad_channels(x: Tensor, channels: int) -> Tensor:
    """x [N, C, ...] with channels of zeros added."""
    return F.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))


def _by_taps(weight: Tensor) -> Tensor:
    """[O, C, kh, kw] as [O, kh, kw, C]."""
    return weight.permute(0, 2, 3, 1)


def _linear(weight: Tensor, bias: Tensor | None) -> LayerFunction:
    def function(x: Tensor) -> Tensor:
        rows, matrix = torch.unflatten(x, 0, (-1, len(weight))).transpose(0, 1), weight.transpose(1, 2)
        y = torch.bmm(rows, matrix) if bias is None else torch.baddbmm(bias[:, None], rows, matrix)
        return y.transpose(0, 1).flatten(0, 1)

    return function


def _library_convolution(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> LayerFunction:
    """weight: [1, O, kh, kw, C]."""
    kernel, offset = weight[0].permute(0, 3, 1, 2), None if bias is None else bias[0]
    stride, padding, dilation, groups = conv.stride, conv.padding, conv.dilation, conv.groups
    return lambda x: F.conv2d(channels_last(x), kernel, offset, stride, padding, dilation, groups)


def _wide_convolution(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None, shared: bool = False) -> LayerFunction:
    """weight: [slots, O, kh, kw, C]."""
    slots = len(weight)
    return lambda x: kernels.wide_conv2d(
        conv, x, weight.flatten(0, 1).permute(0, 3, 1, 2), None if bias is None else bias.flatten(), slots, shared
    )


def _batch_norm(eps: float, in_place: bool, weight: Tensor, bias: Tensor) -> LayerFunction:
    """y = scale x + shift by each slot's own statistics."""
    slots, c = weight.shape
    epsilon = torch.full_like(weight, eps)

    @cache
    def buffers(parts: int, groups: int) -> tuple[Tensor, ...]:
        """Scale, shift and both together; then room to repeat them for all groups, and its halves, flat."""
        pair, tiles = weight.new_empty(2, slots, c), weight.new_empty(2, parts, groups, slots * c // parts)
        return *pair, pair.view(2, parts, 1, -1), tiles, *tiles.view(2, -1)

    def function(x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        by_sample = x.stride() == (h * w * c, 1, w * c, c)
        if not by_sample and x.stride() != (c, 1, w * n * c, n * c):
            x = kernels.to_hwnc(x)
        # groups of one slot must lie apart by whole rows: the pixels of a sample do not, with several slots
        split_slots = by_sample and slots > 1
        parts, groups = (slots, h * w) if split_slots else (1, kernels.group_count(n // slots * h * w))
        width = groups * slots * c
        rows = x.as_strided((x.numel() // width, width), (width, 1))
        mean, var = kernels.grouped_statistics(rows, parts, groups)
        scale, shift, pair, tiles, scales, shifts = buffers(parts, groups)
        torch.mul(var.view_as(epsilon).add_(epsilon).rsqrt_(), weight, out=scale)
        torch.addcmul(bias, mean.view_as(epsilon), scale, value=-1, out=shift)
        tiles.copy_(pair)
        if not in_place:
            return torch.addcmul(shifts, rows, scales).as_strided(x.shape, x.stride())
        torch.addcmul(shifts, rows, scales, out=rows)
        return x

    return function
