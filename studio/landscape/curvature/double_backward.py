"""Plane convolutions, rectifiers and max pooling with second derivatives that are quick on a CPU.

For y = x * w with g = dL/dy, the gradient is (g *' w, x *'' g); pulled back along cotangents (a, b) it needs

    d/dg: a * w + x * b,    d/dx: g *' b,    d/dw: a *'' g,

all of them convolutions that the library has tuned kernels for. torch's own second derivative writes the last one as
a convolution with kernels as large as the pictures. A rectifier and a max pooling pick numbers out: their second
derivative by x is zero, which torch makes, adds and sends back through all layers before, and here is nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

FORWARD, BACKWARD = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
POOL, UNPOOL = torch.ops.aten.max_pool2d_with_indices, torch.ops.aten.max_pool2d_with_indices_backward


class quick_layers(TorchFunctionMode):
    """Inside, these layers are those of this file wherever a network calls them."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return QUICK.get(function, function)(*args, **(kwargs or {}))


# --- convolution -----------------------------------------------------------------------------------------------------


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    if isinstance(padding, str) or x.dim() != 4 or torch.is_autocast_enabled(x.device.type):
        return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)
    stride, padding, dilation = (
        [each] * 2 if isinstance(each, int) else list(each) for each in (stride, padding, dilation)
    )
    y = _Convolution.apply(x, weight, (stride, padding, dilation, False, [0, 0], groups))
    return y if bias is None else y + bias[:, None, None]


class _Convolution(Function):
    @staticmethod
    def forward(ctx, x, weight, settings):
        ctx.save_for_backward(x, weight)
        ctx.settings = settings
        return FORWARD(x, weight, None, *settings)

    @staticmethod
    def backward(ctx, g):
        return *_Gradient.apply(g, *ctx.saved_tensors, ctx.settings, ctx.needs_input_grad[:2]), None


class _Gradient(Function):
    """(dL/dx, dL/dw) from g = dL/dy; None where it is not needed."""

    @staticmethod
    def forward(ctx, g, x, weight, settings, needed):
        ctx.save_for_backward(g, x, weight)
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        return BACKWARD(g, x, weight, None, *settings, [*needed, False])[:2]

    @staticmethod
    def backward(ctx, a, b):
        g, x, weight = ctx.saved_tensors
        need_g, need_x, need_weight = ctx.needs_input_grad[:3]
        terms = [
            FORWARD(*pair, None, *ctx.settings)
            for pair in ((a, weight), (x, b))
            if need_g and pair[0] is not None and pair[1] is not None
        ]
        by_g = sum(terms[1:], terms[0]) if terms else None
        by_x = BACKWARD(g, x, b, None, *ctx.settings, [True, False, False])[0] if need_x and b is not None else None
        by_weight = (
            BACKWARD(g, a, weight, None, *ctx.settings, [False, True, False])[1]
            if need_weight and a is not None
            else None
        )
        return by_g, by_x, by_weight, None, None


# --- rectifier -------------------------------------------------------------------------------------------------------


def _relu(x: Tensor, inplace: bool = False) -> Tensor:
    return F.relu(x, True) if inplace else rectified(x)


class _Rectifier(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.relu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return _Passed.apply(g, y.detach())


class _Passed(Function):
    """g where y > 0, else 0: for a given y linear in g."""

    @staticmethod
    def forward(ctx, g, y):
        ctx.save_for_backward(y)
        return torch.ops.aten.threshold_backward(g, y, 0)

    @staticmethod
    def backward(ctx, a):
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(a, y, 0), None


rectified: Callable[[Tensor], Tensor] = _Rectifier.apply
"""max(0, x), which may be differentiated twice."""


# --- max pooling -----------------------------------------------------------------------------------------------------


def _max_pool2d(
    x: Tensor, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False, return_indices: bool = False
) -> Tensor:
    if return_indices:
        return F.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, True)
    sizes = [
        [each] * 2 if isinstance(each, int) else list(each)
        for each in (kernel_size, stride or kernel_size, padding, dilation)
    ]
    return _MaxPool.apply(x, (*sizes, ceil_mode))


class _MaxPool(Function):
    @staticmethod
    def forward(ctx, x, settings):
        y, indices = POOL(x, *settings)
        ctx.save_for_backward(x, indices)
        ctx.settings = settings
        return y

    @staticmethod
    def backward(ctx, g):
        x, indices = ctx.saved_tensors
        return _Unpooled.apply(g, x.detach(), indices, ctx.settings), None


class _Unpooled(Function):
    """g at the places that the maxima came from, else 0: for given places linear in g."""

    @staticmethod
    def forward(ctx, g, x, indices, settings):
        ctx.save_for_backward(indices)
        return UNPOOL(g, x, *settings, indices)

    @staticmethod
    def backward(ctx, a):
        (indices,) = ctx.saved_tensors
        picked = a.flatten(-2).gather(-1, indices.flatten(-2)).view_as(indices)
        return picked, None, None, None


QUICK: dict[Callable, Callable] = {
    torch.conv2d: _conv2d,
    torch.relu: rectified,
    torch.Tensor.relu: rectified,
    F.relu: _relu,
    torch.max_pool2d: _max_pool2d,
    F.max_pool2d: _max_pool2d,
}
"""What a network calls, and what runs in its place."""
