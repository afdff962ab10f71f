"""2-D convolutions in the four passes of `operation`: y = x * w + b.

*' is the transposed convolution, *'' the correlation that sums over samples and pixels: g_x = g *' w, g_w = x *'' g.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.curvature.pearlmutter.linear import Linear
from studio.landscape.curvature.pearlmutter.operation import (
    SAMPLES_AND_PIXELS,
    Cotangents,
    Operation,
    UnknownOperationError,
    channels_to_points,
    per_channel,
    points_to_channels,
)

Sizes = tuple[int, ...]
"""Numbers of pixels down and across."""
CONVOLUTION, CONVOLUTION_BACKWARD = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
DENSE_SIDE = 2
"""Pixels per side up to which a convolution is a product with the matrix from all pixels to all pixels."""
UNFOLD_NUMBERS = 32
"""Numbers under a kernel up to which the first convolution is a product with the matrix of what it sees everywhere."""


class Geometry(NamedTuple):
    """The settings of a convolution, in the order that torch's operators take them."""

    stride: Sizes
    padding: Sizes
    dilation: Sizes
    transposed: bool = False
    output_padding: Sizes = (0, 0)


def convolution(layer: nn.Conv2d, x: Tensor, input_active: bool) -> InputConv | DenseConv | Convolution:
    """The operation of a layer on images x [B, N, C, H, W]: a fixed rule. Else raises UnknownOperationError."""
    if x.dim() != 5:
        raise UnknownOperationError
    if not input_active:
        return InputConv(layer)
    return DenseConv(layer) if max(x.shape[3:]) <= DENSE_SIDE and layer.groups == 1 else Convolution(layer)


class Convolution(Operation):
    """y = x * w + b, for images that are active.

    dy = dx * w + x * dw is one convolution of the pair (dx, x); dg_x and dg_w come from the pair (g, dg) likewise.
    """

    weights = ("weight", "bias")

    def __init__(self, layer: nn.Conv2d):
        self.geometry, self.groups = _geometry(layer), layer.groups

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x * w + b."""
        self.x, self.weight = points_to_channels(x.expand(len(weight), *x.shape[1:])), weight
        self.biased, self.all_groups = bias is not None, len(weight) * self.groups
        self.x_pair = _pair(self.x, self.all_groups, 1)
        return self._convolve(self.x, weight.flatten(0, 1), bias)

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g_x = g *' w, g_w = x *'' g, the library's own transposes."""
        self.g = points_to_channels(g)
        self.g_pair = _pair(self.g, self.all_groups, 0)
        weight = self.weight.flatten(0, 1)
        by_weight, by_bias = self._by_weight(self.g, self.x, weight, self.all_groups)
        return self._cotangents(self._by_x(self.g, weight) if input_active else None, by_weight, by_bias)

    def jvp(self, dx: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """dx * w + x * dw + db."""
        self.dx, self.dw = points_to_channels(dx), torch.zeros_like(self.weight) if weight is None else weight
        _fill(self.x_pair, self.dx, self.all_groups, 0)
        return self._convolve(self.x_pair, torch.cat([self.weight, self.dw], 2).flatten(0, 1), bias)

    def vjp_tangent(self, dg: Tensor, input_active: bool) -> Cotangents:
        """dg_x = dg *' w + g *' dw, dg_w = x *'' dg + dx *'' g."""
        dg = points_to_channels(dg)
        _fill(self.g_pair, dg, self.all_groups, 1)
        grouped = [kernel.reshape(self.all_groups, -1, *kernel.shape[2:]) for kernel in (self.dw, self.weight)]
        weight_pair = torch.stack(grouped, 1).flatten(0, 2)
        by_x = self._by_x(self.g_pair, weight_pair) if input_active else None
        if len(self.weight) == 1:  # one network's few groups are quicker by themselves than as halves of a pair
            weight = self.weight.flatten(0, 1)
            by_weight, by_bias = self._by_weight(dg, self.x, weight, self.all_groups)
            by_weight = by_weight + self._by_weight(self.g, self.dx, weight, self.all_groups)[0]
            return self._cotangents(by_x, by_weight, by_bias)
        by_weight, by_bias = self._by_weight(self.g_pair, self.x_pair, weight_pair, 2 * self.all_groups)
        by_weight = torch.unflatten(by_weight, 0, (self.all_groups, 2, -1)).sum(1)
        by_bias = None if by_bias is None else torch.unflatten(by_bias, 0, (self.all_groups, 2, -1))[:, 1]
        return self._cotangents(by_x, by_weight, by_bias)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        bias = None if bias is None else bias.flatten()
        return channels_to_points(CONVOLUTION(x, weight, bias, *self.geometry, self.all_groups), len(self.weight))

    def _by_x(self, g: Tensor, weight: Tensor) -> Tensor:
        by_x = CONVOLUTION_BACKWARD(g, self.x, weight, None, *self.geometry, self.all_groups, [True, False, False])[0]
        return channels_to_points(by_x, len(self.weight))

    def _by_weight(self, g: Tensor, x: Tensor, like: Tensor, groups: int) -> tuple[Tensor, Tensor | None]:
        _, by_weight, by_bias = CONVOLUTION_BACKWARD(
            g, x, like, [len(like)] if self.biased else None, *self.geometry, groups, [False, True, self.biased]
        )
        return by_weight, by_bias if self.biased else None

    def _cotangents(self, by_x: Tensor | None, by_weight: Tensor, by_bias: Tensor | None) -> Cotangents:
        bias = {} if by_bias is None else {"bias": by_bias.reshape(len(self.weight), -1)}
        return Cotangents((by_x,), {"weight": by_weight.view_as(self.weight)} | bias)


def _pair(x: Tensor, groups: int, half: int) -> Tensor:
    """Room for images [N, G c, H, W] and as many others, side by side in every group: [N, G 2 c, H, W]."""
    n, channels, h, w = x.shape
    room = x.new_empty(n, h, w, 2 * channels)
    pair = room.as_strided((n, 2 * channels, h, w), (h * w * 2 * channels, 1, w * 2 * channels, 2 * channels))
    _fill(pair, x, groups, half)
    return pair


def _fill(pair: Tensor, x: Tensor, groups: int, half: int) -> None:
    torch.unflatten(pair, 1, (groups, 2, -1))[:, :, half].copy_(torch.unflatten(x, 1, (groups, -1)))


class InputConv(Operation):
    """y = x * w + b, for images that are not active: jvp is forward with dw, and vjp_tangent is vjp with dg.

    Under a small kernel there is too little for the library to do: there the convolution is a product with the matrix
    of what the kernel sees at every pixel, built once.
    """

    weights = ("weight", "bias")

    def __init__(self, layer: nn.Conv2d):
        self.geometry, self.groups, self.kernel = _geometry(layer), layer.groups, layer.kernel_size

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x * w + b."""
        self.like, self.biased = weight, bias is not None
        shared = len(x) == 1 and self.groups == 1
        self.all_groups = 1 if shared else len(weight) * self.groups
        self.x = points_to_channels(x if shared else x.expand(len(weight), *x.shape[1:]))
        self.patches = self._unfold() if shared and weight[0, 0].numel() <= UNFOLD_NUMBERS else None
        return self._convolve(weight, bias)

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g_w = x *'' g."""
        images = points_to_channels(g)
        if self.patches is None:
            like = g.new_empty(()).expand(self.like.shape).flatten(0, 1)
            _, by_weight, by_bias = CONVOLUTION_BACKWARD(
                images, self.x, like, [len(like)], *self.geometry, self.all_groups, [False, True, True]
            )
        else:
            # the short side first: the library is five times quicker that way round
            by_both = (self.patches.mT @ images.permute(0, 2, 3, 1).flatten(0, 2)).mT
            by_weight, by_bias = by_both[:, :-1], by_both[:, -1]
        bias = {"bias": by_bias.reshape(self.like.shape[:2])} if self.biased else {}
        return Cotangents((None,), {"weight": by_weight.reshape(self.like.shape)} | bias)

    def jvp(self, dx: None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """x * dw + db."""
        return self._convolve(torch.zeros_like(self.like) if weight is None else weight, bias)

    def _unfold(self) -> Tensor:
        """What the kernel sees, for every pixel of the result, and 1 for the bias [N H' W', C k k + 1]."""
        geometry = self.geometry
        patches = F.unfold(self.x, self.kernel, geometry.dilation, geometry.padding, geometry.stride)
        return F.pad(patches, (0, 0, 0, 1), value=1.0).mT.reshape(-1, patches.shape[1] + 1)

    def _convolve(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        kernels = weight.flatten(0, 1)
        if self.patches is None:
            y = CONVOLUTION(self.x, kernels, None if bias is None else bias.flatten(), *self.geometry, self.all_groups)
        else:
            shift = kernels.new_zeros(len(kernels)) if bias is None else bias.flatten()
            rows = self.patches @ torch.cat([kernels.flatten(1), shift[:, None]], 1).mT
            sides = _result_sides(self.x.shape[2:], self.kernel, self.geometry)
            y = rows.view(len(self.x), *sides, -1).permute(0, 3, 1, 2)
        return channels_to_points(y, len(weight))


class DenseConv(Operation):
    """y = x * w + b on the smallest images, as a linear layer from all their numbers to all of the result's."""

    weights = ("weight", "bias")

    def __init__(self, layer: nn.Conv2d):
        self.geometry, self.kernel, self.layer = _geometry(layer), layer.kernel_size, Linear()

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x * w + b."""
        self.biased, self.shape = bias is not None, weight.shape
        self.sides = x.shape[3], x.shape[4]
        self.result_sides = _result_sides(self.sides, self.kernel, self.geometry)
        self.taps = taps(self.sides, self.kernel, *self.geometry[:3]).to(x)
        return self._to_images(self.layer.forward(self._flatten(x), self._matrix(weight), None), bias)

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """The linear layer's cotangents; g_w sums its matrix's over the places of each tap."""
        return self._cotangents(self.layer.vjp(self._flatten(g), input_active), g)

    def jvp(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """dx * w + x * dw + db."""
        dx = None if dx is None else self._flatten(dx)
        matrix = None if weight is None else self._matrix(weight)
        return self._to_images(self.layer.jvp(dx, matrix, None), bias)

    def vjp_tangent(self, dg: Tensor, input_active: bool) -> Cotangents:
        """The linear layer's cotangents, g_w likewise."""
        return self._cotangents(self.layer.vjp_tangent(self._flatten(dg), input_active), dg)

    def _flatten(self, x: Tensor) -> Tensor:
        """[B, N, C, H, W] as [B, N, H W C]."""
        return x.permute(0, 1, 3, 4, 2).reshape(*x.shape[:2], -1)

    def _to_images(self, y: Tensor, bias: Tensor | None) -> Tensor:
        y = torch.unflatten(y, 2, (*self.result_sides, -1)).permute(0, 1, 4, 2, 3)
        return y if bias is None else y.add_(per_channel(bias))

    def _matrix(self, weight: Tensor) -> Tensor:
        """Weights [B, out, in, k, k] as [B, H' W' out, H W in]."""
        by_pixels = (weight.flatten(3).flatten(0, 2) @ self.taps).view(
            *weight.shape[:3], math.prod(self.sides), math.prod(self.result_sides)
        )
        return by_pixels.permute(0, 4, 1, 3, 2).flatten(3, 4).flatten(1, 2)

    def _cotangents(self, linear: Cotangents, g: Tensor) -> Cotangents:
        (by_x,) = linear.inputs
        if by_x is not None:
            by_x = torch.unflatten(by_x, 2, (*self.sides, -1)).permute(0, 1, 4, 2, 3)
        b, outs, ins = self.shape[:3]
        pixels, result_pixels = math.prod(self.sides), math.prod(self.result_sides)
        by_matrix = linear.weights["weight"].view(b, result_pixels, outs, pixels, ins)
        by_weight = by_matrix.permute(0, 2, 4, 3, 1).reshape(-1, len(self.taps.mT)) @ self.taps.mT
        bias = {"bias": g.sum(SAMPLES_AND_PIXELS)} if self.biased else {}
        return Cotangents((by_x,), {"weight": by_weight.view(self.shape)} | bias)


@cache
def taps(sides: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Tensor:
    """1 where a tap of the kernel connects a pixel to one of the result's, else 0: float64 [k k, H W H' W']."""
    axes = []
    for side, *settings in zip(sides, kernel, stride, padding, dilation, strict=True):
        size, step, pad, gap = settings
        result = torch.arange(_result_side(side, *settings))
        pixel, tap = torch.arange(side)[:, None], torch.arange(size)[:, None, None]
        axes.append((pixel - result * step + pad == tap * gap).double())
    return torch.einsum("kac,lbd->klabcd", *axes).reshape(math.prod(kernel), -1)


def _result_sides(sides: Sequence[int], kernel: Sizes, geometry: Geometry) -> list[int]:
    return [_result_side(*settings) for settings in zip(sides, kernel, *geometry[:3], strict=True)]


def _result_side(side: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Pixels of a convolution's result along a side."""
    return (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _geometry(layer: nn.Conv2d) -> Geometry:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise UnknownOperationError
    return Geometry(layer.stride, layer.padding, layer.dilation)
