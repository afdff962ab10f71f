"""Batch norms in the four passes of `operation`: y = weight x^ + bias, with x^ = r (x - mean)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from studio.landscape.curvature.pearlmutter.operation import (
    SAMPLES_AND_PIXELS,
    Cotangents,
    Operation,
    UnknownOperationError,
    channels_to_points,
    per_channel,
    points_to_channels,
)

BATCH_NORM_BACKWARD = torch.ops.aten.native_batch_norm_backward


class BatchNorm(Operation):
    """y = weight x^ + bias, with x^ = r (x - mean) and r = (var + eps)^(-1/2) of the batch.

    With P u = u - mean(u) - x^ mean(u x^) the tangent is d x^ = r P dx, and the gradient g_x = weight r P g is the same
    operator once more, since P is symmetric. It changes with g, with the factor s = weight r, and with x^ in P itself:

        dg_x = s P dg + ds P g - s r (mean(g x^) P dx + x^ mean(g P dx)),    ds = r (dweight - s mean(x^ dx)).

    to_images, from_images: from numbers at B points to one batch of images [N, B C, H, W], and back.
    """

    weights = ("weight", "bias")

    def __init__(
        self,
        eps: float,
        to_images: Callable[[Tensor], Tensor] = points_to_channels,
        from_images: Callable[[Tensor, int], Tensor] = channels_to_points,
    ):
        self.eps, self._to_images, self._from_images = eps, to_images, from_images

    def forward(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """weight x^ + bias."""
        self.points, x = len(x), self._to_images(x)
        self.count = x[:, 0].numel()
        mean = x.mean((0, 2, 3))
        normal = x - _per_grouped_channel(mean)
        self.r = (normal.square().mean((0, 2, 3)) + self.eps).rsqrt()
        self.normal = normal.mul_(_per_grouped_channel(self.r))
        self.scale = self.r if weight is None else self.r * weight.flatten()
        self.unit = torch.zeros_like(mean), torch.ones_like(mean)
        y = self._affine(self.normal, None if weight is None else weight.flatten(), bias)
        return self._from_images(y, self.points)

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g_x = s P g, g_weight = sum(g x^)."""
        self.g, self.sum_g_normal, sums = self._project(self._to_images(g), None)
        by_x = self.g * _per_grouped_channel(self.scale) if input_active else None
        return self._cotangents(by_x, self.sum_g_normal, sums)

    def jvp(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """s P dx + dweight x^ + dbias."""
        self.dx: Tensor | None = None
        self.dscale = torch.zeros_like(self.r) if weight is None else self.r * weight.flatten()
        if dx is not None:
            self.dx, self.sum_dx_normal, _ = self._project(self._to_images(dx), None)
            self.dscale = self.dscale - self.r * self.scale * self.sum_dx_normal / self.count
            dy = self._affine(self.dx, self.scale, bias)
            if weight is not None:
                dy.addcmul_(self.normal, _per_grouped_channel(weight.flatten()))
        else:
            dy = self._affine(self.normal, torch.zeros_like(self.r) if weight is None else weight.flatten(), bias)
        return self._from_images(dy, self.points)

    def vjp_tangent(self, dg: Tensor, input_active: bool) -> Cotangents:
        """dg_x as above; dg_weight = sum(dg x^) + r sum(g P dx)."""
        by_x, by_weight, sums = self._project(self._to_images(dg), self.scale)
        if input_active:
            by_x.addcmul_(self.g, _per_grouped_channel(self.dscale))
        if self.dx is not None:
            # P g is kept, not g; x^ has a variance of 1 - eps r^2, and what P leaves of it is no part of their product
            rest = self.sum_g_normal * self.sum_dx_normal * (self.eps / self.count * self.r.square())
            sum_g_dx = (self.g * self.dx).sum((0, 2, 3)) + rest
            factor = self.scale * self.r / -self.count
            if input_active:
                by_x.addcmul_(self.dx, _per_grouped_channel(factor * self.sum_g_normal))
                by_x.addcmul_(self.normal, _per_grouped_channel(factor * sum_g_dx))
            by_weight = by_weight + self.r * sum_g_dx
        return self._cotangents(by_x if input_active else None, by_weight, sums)

    def _project(self, u: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """scale P u, and the sums of u x^ and u, in two passes: the library's kernel for its own gradient."""
        settings = scale, None, None, *self.unit, True, 0.0, [True, True, True]
        projected, sum_normal, sums = BATCH_NORM_BACKWARD(u, self.normal, *settings)
        return projected, sum_normal, sums

    def _affine(self, x: Tensor, slope: Tensor | None, shift: Tensor | None) -> Tensor:
        if slope is None:
            return x.clone() if shift is None else x + _per_grouped_channel(shift.flatten())
        if shift is not None and self._to_images is points_to_channels:
            return torch.addcmul(_per_grouped_channel(shift.flatten()), x, _per_grouped_channel(slope))
        y = x * _per_grouped_channel(slope)
        # samples lie last here: addcmul takes twice as long as a product and a sum
        return y if shift is None else y.add_(_per_grouped_channel(shift.flatten()))

    def _cotangents(self, by_x: Tensor | None, by_weight: Tensor, by_bias: Tensor) -> Cotangents:
        by_x = None if by_x is None else self._from_images(by_x, self.points)
        return Cotangents((by_x,), {"weight": by_weight.view(self.points, -1), "bias": by_bias.view(self.points, -1)})


class FixedNorm(Operation):
    """y = weight x^ + bias, with x^ = r (x - mean) by running statistics, which do not move."""

    weights = ("weight", "bias")

    def __init__(self, mean: Tensor, var: Tensor, eps: float):
        self.mean, self.r = mean[None], (var[None] + eps).rsqrt()

    def forward(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """weight x^ + bias."""
        self.normal = (x - per_channel(self.mean)) * per_channel(self.r)
        self.biased, self.scale = bias is not None, self.r if weight is None else self.r * weight
        y = self.normal if weight is None else self.normal * per_channel(weight)
        return y if bias is None else y + per_channel(bias)

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g_x = weight r g, g_weight = sum(g x^)."""
        self.g = g
        by_x, by_weight = g * per_channel(self.scale), (g * self.normal).sum(SAMPLES_AND_PIXELS)
        return self._cotangents(by_x, by_weight, g)

    def jvp(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """weight r dx + dweight x^ + dbias."""
        self.dx, self.dscale = dx, None if weight is None else self.r * weight
        dy = torch.zeros_like(self.normal) if dx is None else dx * per_channel(self.scale)
        dy = dy if weight is None else dy + self.normal * per_channel(weight)
        return dy if bias is None else dy + per_channel(bias)

    def vjp_tangent(self, dg: Tensor, input_active: bool) -> Cotangents:
        """dg_x = weight r dg + dweight r g, dg_weight = sum(dg x^) + r sum(g dx)."""
        by_x, by_weight = dg * per_channel(self.scale), (dg * self.normal).sum(SAMPLES_AND_PIXELS)
        if self.dscale is not None:
            by_x = by_x + self.g * per_channel(self.dscale)
        if self.dx is not None:
            by_weight = by_weight + self.r * (self.g * self.dx).sum(SAMPLES_AND_PIXELS)
        return self._cotangents(by_x, by_weight, dg)

    def _cotangents(self, by_x: Tensor, by_weight: Tensor, g: Tensor) -> Cotangents:
        return Cotangents((by_x,), {"weight": by_weight} | ({"bias": g.sum(SAMPLES_AND_PIXELS)} if self.biased else {}))


def batch_norm(layer: _BatchNorm, x: Tensor, input_active: bool) -> BatchNorm | FixedNorm:
    """The operation of a layer on images x [B, N, C, H, W], in its present mode; on features [B, N, C] in train mode.

    Else raises UnknownOperationError.
    """
    of_images = isinstance(layer, nn.BatchNorm2d)
    if layer.training or layer.running_mean is None or layer.running_var is None:
        if of_images or x.dim() == 3:
            if of_images:
                return BatchNorm(layer.eps)
            return BatchNorm(layer.eps, _as_image, lambda y, points: y.view(points, -1, y.shape[2]).mT)
    elif of_images:
        return FixedNorm(layer.running_mean, layer.running_var, layer.eps)
    raise UnknownOperationError


def _as_image(x: Tensor) -> Tensor:
    """Features [B, N, C] as an image [1, B C, N, 1]: a view where the samples lie last."""
    return x.mT.reshape(1, -1, x.shape[1], 1)


def _per_grouped_channel(numbers: Tensor) -> Tensor:
    """Numbers for all channels of all points [B C], to broadcast over [N, B C, H, W]."""
    return numbers[:, None, None]
