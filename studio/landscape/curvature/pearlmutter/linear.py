"""Linear layers in the four passes of `operation`: y = x w' + b, g_x = g w, g_w = g' x."""

from __future__ import annotations

import torch
from torch import Tensor

from studio.landscape.curvature.pearlmutter.operation import Cotangents, Operation


class Linear(Operation):
    """y = x w' + b, for x [B, N, ..., in]; the first layer's x [1, N, in] is multiplied once for all points.

    samples_last: the samples of x [B, N, in] lie last in memory, as columns. Products of batches of small matrices are
    quick in either order; the batch norms between them, in this one.
    """

    weights = ("weight", "bias")

    def __init__(self, samples_last: bool = False):
        self.samples_last = samples_last

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x w' + b."""
        self.weight, self.x = weight, _rows(x)
        self.shape, self.biased = x.shape[1:-1], bias is not None
        return self._unflatten(self._affine(weight, bias))

    def vjp(self, g: Tensor, input_active: bool) -> Cotangents:
        """g_x = g w, g_w = g' x."""
        self.g = _rows(g)
        by_x = self._product(self.g, self.weight) if input_active else None
        return self._cotangents(by_x, self._by_weight(self.g), self.g)

    def jvp(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """dx w' + x dw' + db."""
        self.dx, self.dw = (
            None if dx is None else _rows(dx),
            torch.zeros_like(self.weight) if weight is None else weight,
        )
        dy = self._affine(self.dw, bias)
        return self._unflatten(dy if self.dx is None else self._add_product(dy, self.dx, self.weight.mT))

    def vjp_tangent(self, dg: Tensor, input_active: bool) -> Cotangents:
        """dg_x = dg w + g dw, dg_w = dg' x + g' dx."""
        dg = _rows(dg)
        by_weight = self._by_weight(dg)
        if self.dx is not None:
            by_weight.baddbmm_(self.g.mT, self.dx)
        by_x = self._add_product(self._product(dg, self.weight), self.g, self.dw) if input_active else None
        return self._cotangents(by_x, by_weight, dg)

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        """a b, with its rows last in memory if samples are."""
        return (b.mT @ a.mT).mT if self.samples_last else a @ b

    def _add_product(self, sums: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Adds a b in place."""
        return sums.mT.baddbmm_(b.mT, a.mT).mT if self.samples_last else sums.baddbmm_(a, b)

    def _affine(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x [B or 1, R, in] times weights [B, out, in], plus the bias."""
        shared, x = len(self.x) < len(weight), self.x
        if self.samples_last:
            columns = weight.flatten(0, 1) @ x[0].mT if shared else weight @ x.mT
            columns = torch.unflatten(columns, 0, weight.shape[:2]) if shared else columns
            return (columns if bias is None else columns.add_(bias[..., None])).mT
        if shared:
            y = torch.unflatten(x[0] @ weight.flatten(0, 1).mT, 1, weight.shape[:2]).transpose(0, 1)
            return y if bias is None else y + bias[:, None]
        return x @ weight.mT if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)

    def _by_weight(self, g: Tensor) -> Tensor:
        """[B, out, in]."""
        if self.samples_last and len(self.x) < len(g):
            return torch.unflatten(g.mT.flatten(0, 1) @ self.x[0], 0, (len(g), -1))
        return g.mT @ self.x

    def _unflatten(self, rows: Tensor) -> Tensor:
        return torch.unflatten(rows, 1, self.shape) if len(self.shape) > 1 else rows

    def _cotangents(self, by_x: Tensor | None, by_weight: Tensor, g: Tensor) -> Cotangents:
        by_x = None if by_x is None else self._unflatten(by_x)
        return Cotangents((by_x,), {"weight": by_weight} | ({"bias": g.sum(1)} if self.biased else {}))


def _rows(x: Tensor) -> Tensor:
    """[B, N, ..., C] as [B, R, C]."""
    return x if x.dim() == 3 else x.flatten(1, -2)
