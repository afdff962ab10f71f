"""The operations of a network, each with its derivatives of first and second order, written out.

For y = f(x, w) within a loss whose gradient by y is g, an operation has four passes, the first two for a point and the
last two for every direction (dx, dw) from it (Pearlmutter 1994):

    forward  y = f(x, w)                    push       dy = f_x dx + f_w dw
    pull     g_x = f_x' g,  g_w = f_w' g    pull_back  dg_x, dg_w: how they change as x, w and g do, by dx, dw and dg

Tensors carry the point first, [B, N, ...], or 1 where all points share them. Pictures [B, N, C, H, W] lie in memory as
[N, H, W, B, C], so that convolutions at B points are one of B groups. The two halves of a tangent, dx * w + x * dw, are
one convolution of twice the channels: half as many operations, and more for each to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor


class Pulled(NamedTuple):
    """Cotangents of an operation's inputs, and of its weights by their names in the module."""

    inputs: Sequence[Tensor | None]
    weights: dict[str, Tensor]


class Operation(Protocol):
    """What every class of `weighted` and `nodes` is.

    weights: the names of its weights in the module, in the order it takes them.
    """

    weights: tuple[str, ...]

    def forward(self, *given: Tensor | None) -> Tensor:
        """y, from the inputs and the weights [B, *shape]."""

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        """From g; of the inputs only if they move."""

    def push(self, *tangents: Tensor | None) -> Tensor:
        """dy, from the tangents of inputs and weights; None for what stays."""

    def pull_back(self, dg: Tensor, moves: bool) -> Pulled:
        """How what was pulled changes, along what was pushed last."""


class UnknownOperation(Exception):
    """What is not written out; the network is then differentiated by torch."""


def stacked(x: Tensor) -> Tensor:
    """Pictures [B, N, C, H, W] as those of one convolution [N, B C, H, W], channels last."""
    b, n, c, h, w = x.shape
    rows = x.permute(1, 3, 4, 0, 2).reshape(n, h, w, b * c)
    rows = rows if rows.is_contiguous() else rows.contiguous()
    # strides written out: of one channel or one pixel, torch takes either layout for the other
    return rows.as_strided((n, b * c, h, w), (h * w * b * c, 1, w * b * c, b * c))


def spread(y: Tensor, points: int) -> Tensor:
    """The pictures [N, B C, H, W] of one convolution as [B, N, C, H, W]."""
    return y.unflatten(1, (points, -1)).transpose(0, 1)
