"""Operations without weights, y = f(x), in the four passes of `operation`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from studio.landscape.curvature.pearlmutter.operation import (
    Cotangents,
    Operation,
    UnknownOperationError,
    channels_to_points,
    points_to_channels,
)

MAX_POOL, RELU_BACKWARD = torch.ops.aten.max_pool2d_with_indices, torch.ops.aten.threshold_backward


class ReLU(Operation):
    """y = max(0, x): linear at fixed signs of x, which do not change along a tangent."""

    def forward(self, x: Tensor) -> Tensor:
        """max(0, x)."""
        self.y = torch.relu(x)
        return self.y

    def jvp(self, dx: Tensor) -> Tensor:
        """dx where y > 0, else 0."""
        dy: Tensor = RELU_BACKWARD(dx, self.y, 0)
        return dy

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g where y > 0, else 0."""
        return Cotangents((self.jvp(g),), {})


class Pointwise(Operation):
    """y = f(x), number by number: g_x = f' g, whose change is f' dg + f'' g dx."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """f(x); f' and f'' come from torch."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = self.function(x)
            (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            self.bend = torch.autograd.grad(slope.sum(), x)[0] if slope.requires_grad else None
        self.slope = slope.detach()
        return y.detach()

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """f' g."""
        if self.bend is not None:
            self.bend = self.bend * g
        return Cotangents((self.slope * g,), {})

    def jvp(self, dx: Tensor) -> Tensor:
        """f' dx."""
        self.dx = dx
        return self.slope * dx

    def vjp_tangent(self, dg: Tensor, input_active: bool) -> Cotangents:
        """f' dg + f'' g dx."""
        by_x = self.slope * dg
        return Cotangents((by_x if self.bend is None else by_x.addcmul_(self.bend, self.dx),), {})


class MaxPool(Operation):
    """y = x at the places of the maxima, which do not change along a tangent."""

    def __init__(self, layer: nn.MaxPool2d):
        if layer.return_indices:
            raise UnknownOperationError
        sizes = (layer.kernel_size, layer.stride or layer.kernel_size, layer.padding, layer.dilation)
        self.kernel, self.stride, self.padding, self.dilation = map(_pair, sizes)
        self.ceil_mode = layer.ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """The maxima."""
        images = points_to_channels(x)
        y, places = MAX_POOL(images, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)
        self.points, self.result_shape, (n, channels, h, w) = len(x), y.shape, images.shape
        pixels = places.permute(0, 2, 3, 1) + h * w * torch.arange(n, device=x.device)[:, None, None, None]
        self.places = (pixels * channels + torch.arange(channels, device=x.device)).flatten()
        self.shape = n, h, w, channels
        self.overlap = any(stride < size for stride, size in zip(self.stride, self.kernel, strict=True))
        return channels_to_points(y, self.points)

    def jvp(self, dx: Tensor) -> Tensor:
        """dx at the places of the maxima."""
        n, channels, h, w = self.result_shape
        picked = points_to_channels(dx).permute(0, 2, 3, 1).flatten().index_select(0, self.places)
        return channels_to_points(picked.view(n, h, w, channels).permute(0, 3, 1, 2), self.points)

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g at the places of the maxima, else 0."""
        n, h, w, channels = self.shape
        by_x, g = g.new_zeros(n * h * w * channels), points_to_channels(g).permute(0, 2, 3, 1).flatten()
        # where windows overlap, several may have picked the same number
        by_x = by_x.index_add_(0, self.places, g) if self.overlap else by_x.scatter_(0, self.places, g)
        return Cotangents((channels_to_points(by_x.view(self.shape).permute(0, 3, 1, 2), self.points),), {})


class Sum(Operation):
    """y = a + b, of the same shape; or a alone, as it is."""

    def forward(self, a: Tensor, *b: Tensor) -> Tensor:
        """a + b."""
        if any(a.shape[1:] != term.shape[1:] for term in b):
            raise UnknownOperationError
        self.count = 1 + len(b)
        return sum(b, start=a)

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g for every term."""
        return Cotangents((g,) * self.count, {})

    def jvp(self, *tangents: Tensor | None) -> Tensor:
        """da + db, of which one may be None."""
        first, *rest = (tangent for tangent in tangents if tangent is not None)
        return sum(rest, start=first)


class LinearMap(Operation):
    """y = A x, without weights: reshaping, picking, averaging. The tangent is A dx; torch transposes A.

    function: of tensors without the point.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """A x."""
        with torch.enable_grad():
            self.x = x.detach().requires_grad_()
            self.y = self.jvp(self.x)
        return self.y.detach()

    def jvp(self, dx: Tensor) -> Tensor:
        """A dx."""
        return torch.stack([self.function(point) for point in dx]) if len(dx) > 1 else self.function(dx[0])[None]

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """A' g."""
        return Cotangents(torch.autograd.grad(self.y, self.x, g, retain_graph=True), {})
