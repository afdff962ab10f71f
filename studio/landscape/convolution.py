"""The plane convolution with a second derivative that is quick on a CPU.

For y = x * w with g = dL/dy, the gradient is (g *' w, x *'' g); pulled back along cotangents (a, b) it needs

    d/dg: a * w + x * b,    d/dx: g *' b,    d/dw: a *'' g,

all of them convolutions that the library has tuned kernels for. torch's own second derivative writes the last one as
a convolution with kernels as large as the pictures.
"""


import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

FORWARD, BACKWARD = torch.ops.aten.convolution, torch.ops.aten.convolution_backward


class quick_convolutions(TorchFunctionMode):
    """Inside, `conv2d` is the one of this file wherever a network calls it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return (_conv2d if function is torch.conv2d else function)(*args, **(kwargs or {}))


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    if isinstance(padding, str) or x.dim() != 4 or torch.is_autocast_enabled(x.device.type):
        return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)
    stride, padding, dilation = ([each] * 2 if isinstance(each, int) else list(each)
                                 for each in (stride, padding, dilation))
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
        terms = [FORWARD(*pair, None, *ctx.settings) for pair in ((a, weight), (x, b))
                 if need_g and pair[0] is not None and pair[1] is not None]
        by_g = sum(terms[1:], terms[0]) if terms else None
        by_x = BACKWARD(g, x, b, None, *ctx.settings, [True, False, False])[0] if need_x and b is not None else None
        by_weight = (BACKWARD(g, a, weight, None, *ctx.settings, [False, True, False])[1]
                     if need_weight and a is not None else None)
        return by_g, by_x, by_weight, None, None
