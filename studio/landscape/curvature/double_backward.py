"""2-D convolutions, ReLU and max pooling with second derivatives that are quick on a CPU.

For y = x * w with g = dL/dy, the gradient is (g *' w, x *'' g): *' is the transposed convolution and *'' the
correlation that sums over samples and pixels. Its vector-Jacobian product with cotangents (a, b) is

    by g: a * w + x * b,    by x: g *' b,    by w: a *'' g,

all of them convolutions that the library has tuned kernels for. torch's own second derivative computes the last one as
a convolution with kernels as large as the images. ReLU and max pooling pick numbers out: their second derivative by x
is zero, which torch computes, adds and sends back through all layers before; here it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

CONVOLUTION, CONVOLUTION_BACKWARD = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
MAX_POOL, MAX_POOL_BACKWARD = torch.ops.aten.max_pool2d_with_indices, torch.ops.aten.max_pool2d_with_indices_backward
Sizes = int | Sequence[int]
"""One number for both sides of an image, or one for each."""


class QuickLayers(TorchFunctionMode):
    """A context in which every network calls the functions of this module instead of torch's (`REPLACEMENTS`)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return REPLACEMENTS.get(func, func)(*args, **(kwargs or {}))


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    if isinstance(padding, str) or x.dim() != 4 or torch.is_autocast_enabled(x.device.type):
        return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)
    y: Tensor = _convolution(x, weight, (_pair(stride), _pair(padding), _pair(dilation), False, [0, 0], groups))
    return y if bias is None else y + bias[:, None, None]


class _Convolution(Function):
    """x * w. settings: torch's stride, padding, dilation, transposed, output padding and groups."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, settings: tuple[Any, ...]) -> Any:
        ctx.save_for_backward(x, weight)
        ctx.settings = settings
        return CONVOLUTION(x, weight, None, *settings)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return *_convolution_gradient(g, *ctx.saved_tensors, ctx.settings, ctx.needs_input_grad[:2]), None


class _ConvolutionGradient(Function):
    """(dL/dx, dL/dw) from g = dL/dy; None where not needed."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, settings: tuple[Any, ...], needed: tuple[bool, ...]
    ) -> Any:
        ctx.save_for_backward(g, x, weight)
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        return CONVOLUTION_BACKWARD(g, x, weight, None, *settings, [*needed, False])[:2]

    @staticmethod
    def backward(ctx: Any, a: Tensor | None, b: Tensor | None) -> Any:
        g, x, weight = ctx.saved_tensors
        need_g, need_x, need_weight = ctx.needs_input_grad[:3]
        terms = [
            CONVOLUTION(*pair, None, *ctx.settings)
            for pair in ((a, weight), (x, b))
            if need_g and pair[0] is not None and pair[1] is not None
        ]
        by_g, by_x, by_weight = sum(terms[1:], terms[0]) if terms else None, None, None
        if need_x and b is not None:
            by_x = CONVOLUTION_BACKWARD(g, x, b, None, *ctx.settings, [True, False, False])[0]
        if need_weight and a is not None:
            by_weight = CONVOLUTION_BACKWARD(g, a, weight, None, *ctx.settings, [False, True, False])[1]
        return by_g, by_x, by_weight, None, None


_convolution_gradient: Callable[..., tuple[Tensor | None, Tensor | None]] = _ConvolutionGradient.apply
_convolution: Callable[..., Tensor] = _Convolution.apply


def _relu(x: Tensor, inplace: bool = False) -> Tensor:
    return F.relu(x, True) if inplace else relu(x)


class _ReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        y = torch.relu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return _relu_gradient(g, y.detach())


class _ReLUGradient(Function):
    """g where y > 0, else 0: linear in g at fixed y."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, y: Tensor) -> Any:
        ctx.save_for_backward(y)
        return torch.ops.aten.threshold_backward(g, y, 0)

    @staticmethod
    def backward(ctx: Any, a: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(a, y, 0), None


relu: Callable[[Tensor], Tensor] = _ReLU.apply
"""max(0, x), differentiable twice."""
_relu_gradient: Callable[[Tensor, Tensor], Tensor] = _ReLUGradient.apply


def _max_pool2d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    kernel, strides, pads, gaps = (_pair(sizes) for sizes in (kernel_size, stride or kernel_size, padding, dilation))
    if return_indices:
        return F.max_pool2d_with_indices(x, kernel, strides, pads, gaps, ceil_mode)
    return _max_pool(x, (kernel, strides, pads, gaps, ceil_mode))


class _MaxPool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: tuple[Any, ...]) -> Any:
        y, indices = MAX_POOL(x, *settings)
        ctx.save_for_backward(x, indices)
        ctx.settings = settings
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, indices = ctx.saved_tensors
        return _unpool(g, x.detach(), indices, ctx.settings), None


class _Unpool(Function):
    """g at the places of the maxima, else 0: linear in g at fixed places."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, indices: Tensor, settings: tuple[Any, ...]) -> Any:
        ctx.save_for_backward(indices)
        return MAX_POOL_BACKWARD(g, x, *settings, indices)

    @staticmethod
    def backward(ctx: Any, a: Tensor) -> Any:
        (indices,) = ctx.saved_tensors
        picked = a.flatten(-2).gather(-1, indices.flatten(-2)).view_as(indices)
        return picked, None, None, None


_unpool: Callable[..., Tensor] = _Unpool.apply
_max_pool: Callable[..., Tensor] = _MaxPool.apply

REPLACEMENTS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.conv2d: _conv2d,
    torch.relu: relu,
    torch.Tensor.relu: relu,
    F.relu: _relu,
    torch.max_pool2d: _max_pool2d,
    F.max_pool2d: _max_pool2d,
}
"""The function that a network calls -> the one that runs in its place."""
