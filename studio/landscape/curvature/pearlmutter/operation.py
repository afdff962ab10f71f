"""The operations of a network, each with its derivatives of first and second order, written out.

For y = f(x, w) within a loss whose gradient by y is g, an operation has four passes, the first two once for a point and
the last two for every direction (dx, dw) from it (Pearlmutter 1994):

    forward  y = f(x, w)                    jvp          dy = f_x dx + f_w dw
    vjp      g_x = f_x' g,  g_w = f_w' g    vjp_tangent  dg_x, dg_w: how these change as x, w and g do, by dx, dw and dg

Tensors carry the point first, [B, N, ...], or 1 where all points share them. Images [B, N, C, H, W] lie in memory as
[N, H, W, B, C], so that convolutions at B points are one of B groups. The two halves of a tangent, dx * w + x * dw, are
one convolution of twice the channels: half as many operations, and more for each to do.

An input is active if it depends on a weight that may move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

SAMPLES_AND_PIXELS = (1, 3, 4)
"""Dimensions of images [B, N, C, H, W] that the cotangents of their channels are summed over."""


class Cotangents(NamedTuple):
    """Cotangents of an operation's inputs, None where they are not needed, and by name of its weights, at least."""

    inputs: Sequence[Tensor | None]
    weights: dict[str, Tensor]


class Operation(Protocol):
    """The base of the classes in `linear`, `convolutions`, `norms` and `parameterless`; `program` lists them.

    `forward` stores what the other passes need, so an instance is of one run at one batch of points.
    """

    weights: tuple[str, ...] = ()
    """The names of its weights in the module, in the order of the arguments."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """y, from the inputs and then the weights [B, *shape], None for a weight that the module lacks."""

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g_x, if an input is active, and g_w."""

    def jvp(self, *args: Any, **kwargs: Any) -> Tensor:
        """dy, from the tangents of inputs and weights, in the same order; None for a tangent of zero."""

    def vjp_tangent(self, dg: Tensor, input_active: bool) -> Cotangents:
        """dg_x and dg_w, along the tangents of the last `jvp`; as `vjp` where that does not depend on x and w."""
        return self.vjp(dg, input_active)


class UnknownOperationError(Exception):
    """An operation that is not written out; torch then differentiates the network."""


def points_to_channels(x: Tensor) -> Tensor:
    """Images [B, N, C, H, W] as those of one convolution [N, B C, H, W], channels last."""
    b, n, c, h, w = x.shape
    rows = x.permute(1, 3, 4, 0, 2).reshape(n, h, w, b * c)
    rows = rows if rows.is_contiguous() else rows.contiguous()
    # strides written out: of one channel or one pixel, torch takes either layout for the other
    return rows.as_strided((n, b * c, h, w), (h * w * b * c, 1, w * b * c, b * c))


def channels_to_points(y: Tensor, points: int) -> Tensor:
    """The images [N, B C, H, W] of one convolution as [B, N, C, H, W]."""
    return torch.unflatten(y, 1, (points, -1)).transpose(0, 1)


def per_channel(numbers: Tensor) -> Tensor:
    """Numbers [B, C] for the channels of images, to broadcast over [B, N, C, H, W]."""
    return numbers[:, None, :, None, None]
