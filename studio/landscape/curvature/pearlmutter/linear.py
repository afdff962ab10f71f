"""Linear layers in the four passes of `operation`: y = x w' + b, g_x = g w, g_w = g' x."""

from __future__ import annotations

import torch
from torch import Tensor

from studio.landscape.curvature.pearlmutter.operation import Cotangents


class Linear:
    """y = x w' + b, for x [B, N, ..., in]; the first layer's x [1, N, in] is multiplied once for all points."""

    weights = ("weight", "bias")

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x w' + b."""
        self.weight, self.x = weight, _rows(x)
        self.shape, self.biased = x.shape[1:-1], bias is not None
        return self._unflatten(_affine(self.x, weight, bias))

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g_x = g w, g_w = g' x."""
        self.g = _rows(g)
        by_x = self._unflatten(self.g @ self.weight) if input_active else None
        return self._cotangents(by_x, self.g.mT @ self.x, self.g)

    def jvp(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """dx w' + x dw' + db."""
        weight = torch.zeros_like(self.weight) if weight is None else weight
        self.dx, self.dw = None if dx is None else _rows(dx), weight
        dy = _affine(self.x, weight, bias)
        return self._unflatten(dy if self.dx is None else dy.baddbmm_(self.dx, self.weight.mT))

    def vjp_tangent(self, dg: Tensor, input_active: bool) -> Cotangents:
        """dg_x = dg w + g dw, dg_w = dg' x + g' dx."""
        dg = _rows(dg)
        by_weight = dg.mT @ self.x
        if self.dx is not None:
            by_weight.baddbmm_(self.g.mT, self.dx)
        by_x = self._unflatten(torch.baddbmm(dg @ self.weight, self.g, self.dw)) if input_active else None
        return self._cotangents(by_x, by_weight, dg)

    def _unflatten(self, rows: Tensor) -> Tensor:
        return torch.unflatten(rows, 1, self.shape) if len(self.shape) > 1 else rows

    def _cotangents(self, by_x: Tensor | None, by_weight: Tensor, g: Tensor) -> Cotangents:
        return Cotangents((by_x,), {"weight": by_weight} | ({"bias": g.sum(1)} if self.biased else {}))


def _rows(x: Tensor) -> Tensor:
    """[B, N, ..., C] as [B, R, C]."""
    return x if x.dim() == 3 else x.flatten(1, -2)


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [B or 1, R, in] times weights [B, out, in], plus the bias."""
    if len(x) < len(weight):
        y = torch.unflatten(x[0] @ weight.flatten(0, 1).mT, 1, weight.shape[:2]).transpose(0, 1)
        return y if bias is None else y + bias[:, None]
    return x @ weight.mT if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)


class SamplesLastLinear:
    """y = x w' + b for x [B, N, in] whose samples lie last in memory, as columns; the first layer's x is [1, N, in].

    The products are quick with batches of small matrices in either order; the batch norms between them, in this one.
    """

    weights = ("weight", "bias")

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x w' + b."""
        self.x, self.weight, self.biased = x.mT, weight, bias is not None
        return self._affine(weight, bias).mT

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g_x = g w, g_w = g' x."""
        self.g = g.mT
        by_x = (self.weight.mT @ self.g).mT if input_active else None
        return self._cotangents(by_x, self._by_weight(self.g), self.g)

    def jvp(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """dx w' + x dw' + db."""
        self.dx, self.dw = None if dx is None else dx.mT, torch.zeros_like(self.weight) if weight is None else weight
        dy = self._affine(self.dw, bias)
        return (dy if self.dx is None else dy.baddbmm_(self.weight, self.dx)).mT

    def vjp_tangent(self, dg: Tensor, input_active: bool) -> Cotangents:
        """dg_x = dg w + g dw, dg_w = dg' x + g' dx."""
        dg = dg.mT
        by_weight = self._by_weight(dg)
        if self.dx is not None:
            by_weight.baddbmm_(self.g, self.dx.mT)
        by_x = torch.bmm(self.weight.mT, dg).baddbmm_(self.dw.mT, self.g).mT if input_active else None
        return self._cotangents(by_x, by_weight, dg)

    def _affine(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[B, out, N]."""
        if len(self.x) < len(weight):
            y = torch.unflatten(weight.flatten(0, 1) @ self.x[0], 0, weight.shape[:2])
        else:
            y = weight @ self.x
        return y if bias is None else y.add_(bias[..., None])

    def _by_weight(self, g: Tensor) -> Tensor:
        """[B, out, in]."""
        if len(self.x) < len(g):
            return torch.unflatten(g.flatten(0, 1) @ self.x[0].mT, 0, g.shape[:2])
        return g @ self.x.mT

    def _cotangents(self, by_x: Tensor | None, by_weight: Tensor, g: Tensor) -> Cotangents:
        return Cotangents((by_x,), {"weight": by_weight} | ({"bias": g.sum(2)} if self.biased else {}))
