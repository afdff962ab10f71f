"""What a node of a network's graph does: the operations without weights, in the four passes of `operation`, and the
tables of all that are written out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.curvature.pearlmutter.operation import Pulled, UnknownOperation, spread, stacked
from studio.landscape.curvature.pearlmutter.parametric import Linear, column_norm, convolution, norm
from studio.landscape.network.linear_chain import POINTWISE

POOL, RECTIFY_BACK = torch.ops.aten.max_pool2d_with_indices, torch.ops.aten.threshold_backward


class Rectifier:
    """y = max(0, x): g where y > 0."""

    weights = ()

    def forward(self, x: Tensor) -> Tensor:
        self.y = torch.relu(x)
        return self.y

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        return Pulled((self.push(g),), {})

    def push(self, dx: Tensor) -> Tensor:
        return RECTIFY_BACK(dx, self.y, 0)

    pull_back = pull


class Pointwise:
    """y = f(x), number by number: g_x = f' g, whose change is f' dg + f'' g dx."""

    weights = ()

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = self.function(x)
            (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            self.bend = torch.autograd.grad(slope.sum(), x)[0] if slope.requires_grad else None
        self.slope = slope.detach()
        return y.detach()

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        if self.bend is not None:
            self.bend = self.bend * g
        return Pulled((self.slope * g,), {})

    def push(self, dx: Tensor) -> Tensor:
        self.dx = dx
        return self.slope * dx

    def pull_back(self, dg: Tensor, moves: bool) -> Pulled:
        by_x = self.slope * dg
        return Pulled((by_x if self.bend is None else by_x.addcmul_(self.bend, self.dx),), {})


class Largest:
    """Max pooling: the numbers at given places."""

    weights = ()

    def __init__(self, layer: nn.MaxPool2d):
        if layer.return_indices:
            raise UnknownOperation
        self.settings = [
            [each] * 2 if isinstance(each, int) else list(each)
            for each in (layer.kernel_size, layer.stride or layer.kernel_size, layer.padding, layer.dilation)
        ] + [layer.ceil_mode]

    def forward(self, x: Tensor) -> Tensor:
        there = stacked(x)
        y, places = POOL(there, *self.settings)
        self.points, self.shape, (n, channels, h, w) = len(x), y.shape, there.shape
        pixels = places.permute(0, 2, 3, 1) + h * w * torch.arange(n, device=x.device)[:, None, None, None]
        self.places = (pixels * channels + torch.arange(channels, device=x.device)).flatten()
        self.size, self.wide = there.numel(), there.permute(0, 2, 3, 1).shape
        kernel, stride, *_ = self.settings
        self.apart = all(step >= size for step, size in zip(stride, kernel, strict=True))
        return spread(y, self.points)

    def push(self, dx: Tensor) -> Tensor:
        n, channels, h, w = self.shape
        picked = stacked(dx).permute(0, 2, 3, 1).flatten().index_select(0, self.places)
        return spread(picked.view(n, h, w, channels).permute(0, 3, 1, 2), self.points)

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        by_x, g = g.new_zeros(self.size), stacked(g).permute(0, 2, 3, 1).flatten()
        # where windows overlap, several may have picked the same number
        by_x = by_x.scatter_(0, self.places, g) if self.apart else by_x.index_add_(0, self.places, g)
        return Pulled((spread(by_x.view(self.wide).permute(0, 3, 1, 2), self.points),), {})

    pull_back = pull


class Sum:
    """y = a + b, of the same shape."""

    weights = ()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if a.shape[1:] != b.shape[1:]:
            raise UnknownOperation
        return a + b

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        return Pulled((g, g), {})

    def push(self, da: Tensor | None, db: Tensor | None) -> Tensor:
        return db if da is None else da if db is None else da + db

    pull_back = pull


class Same:
    """y = x."""

    weights = ()

    def forward(self, x: Tensor) -> Tensor:
        return x

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        return Pulled((g,), {})

    def push(self, dx: Tensor) -> Tensor:
        return dx

    pull_back = pull


class Moved:
    """What moves, picks and averages numbers, without weights: linear, so its tangent is itself. torch transposes it.

    function: of tensors without the point.
    """

    weights = ()

    def __init__(self, function: Callable[..., Tensor]):
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            self.x = x.detach().requires_grad_()
            self.y = self.push(self.x)
        return self.y.detach()

    def push(self, dx: Tensor) -> Tensor:
        return torch.stack([self.function(one) for one in dx]) if len(dx) > 1 else self.function(dx[0])[None]

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        return Pulled(torch.autograd.grad(self.y, self.x, g, retain_graph=True), {})

    pull_back = pull


# --- the table -------------------------------------------------------------------------------------------------------

SMOOTH = (*POINTWISE, nn.SELU, nn.CELU, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Softsign, nn.LogSigmoid)
STILL = (nn.Flatten, nn.Unflatten, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ZeroPad2d)

LAYERS: dict[type, Callable] = {
    nn.Conv2d: convolution,
    nn.Linear: lambda layer, x, moves: Linear(),
    nn.BatchNorm1d: column_norm,
    nn.BatchNorm2d: norm,
    nn.MaxPool2d: lambda layer, x, moves: Largest(layer),
    **dict.fromkeys(SMOOTH, lambda layer, x, moves: Pointwise(layer)),
    **dict.fromkeys(STILL, lambda layer, x, moves: Moved(layer)),
    nn.Identity: lambda layer, x, moves: Same(),
    nn.ReLU: lambda layer, x, moves: Rectifier(),
}
"""Of modules: (module, its input, whether that moves) -> the operation."""

RECTIFIERS = {F.relu, torch.relu, torch.relu_, "relu", "relu_"}
ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}
CURVES = {
    F.gelu,
    F.silu,
    F.mish,
    F.elu,
    F.selu,
    F.celu,
    F.leaky_relu,
    F.softplus,
    F.hardswish,
    F.relu6,
    F.tanh,
    F.sigmoid,
    torch.tanh,
    torch.sigmoid,
    "tanh",
    "sigmoid",
}
MOVES = {
    torch.flatten,
    torch.mean,
    torch.sum,
    torch.reshape,
    torch.permute,
    torch.transpose,
    torch.squeeze,
    torch.unsqueeze,
    operator.getitem,
    operator.neg,
    torch.neg,
    F.avg_pool2d,
    F.adaptive_avg_pool2d,
    F.pad,
    "flatten",
    "mean",
    "sum",
    "reshape",
    "view",
    "permute",
    "transpose",
    "squeeze",
    "unsqueeze",
    "contiguous",
    "neg",
    "movedim",
}
WRITES = {operator.iadd, torch.relu_, "add_", "relu_"}
"""Functions, and methods by name; the last write into what they are given."""
