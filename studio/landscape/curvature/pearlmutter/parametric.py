"""Operations with weights: linear layers, convolutions, batch norms, in the four passes of `operation`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.curvature.pearlmutter.operation import Pulled, UnknownOperation, spread, stacked

CONVOLVE, CONVOLVE_BACK = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
BATCH_NORM_BACK = torch.ops.aten.native_batch_norm_backward
TINY = 2
"""Pixels a side up to which a 2-D convolution is a product with the matrix from all pixels to all pixels."""
FEW = 32
"""Numbers under a kernel up to which the first convolution is a product with the matrix of what it sees everywhere."""
ROWS = (1, 3, 4)
"""What a batch norm takes its statistics over."""


class Linear:
    """y = x w' + b, for x [B, N, ..., in]; the first layer's x [1, N, in] is multiplied once for all points."""

    weights = ("weight", "bias")

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        self.weight, self.x = weight, _rows(x)
        self.shape, self.biased = x.shape[1:-1], bias is not None
        return self._as_x(_products(self.x, weight, bias))

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        self.g = _rows(g)
        return self._pulled(self._as_x(self.g @ self.weight) if moves else None, _outer(self.g, self.x), self.g)

    def push(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        weight = torch.zeros_like(self.weight) if weight is None else weight
        self.dx, self.dw = None if dx is None else _rows(dx), weight
        y = _products(self.x, weight, bias)
        return self._as_x(y if dx is None else y.baddbmm_(self.dx, self.weight.mT))

    def pull_back(self, dg: Tensor, moves: bool) -> Pulled:
        dg = _rows(dg)
        by_weight = _outer(dg, self.x)
        if self.dx is not None:
            by_weight.baddbmm_(self.g.mT, self.dx)
        by_x = self._as_x(torch.baddbmm(dg @ self.weight, self.g, self.dw)) if moves else None
        return self._pulled(by_x, by_weight, dg)

    def _as_x(self, rows: Tensor) -> Tensor:
        return rows.unflatten(1, self.shape) if len(self.shape) > 1 else rows

    def _pulled(self, by_x: Tensor | None, by_weight: Tensor, g: Tensor) -> Pulled:
        return Pulled((by_x,), {"weight": by_weight} | ({"bias": g.sum(1)} if self.biased else {}))


def _rows(x: Tensor) -> Tensor:
    """[B, N, ..., C] as [B, R, C]."""
    return x if x.dim() == 3 else x.flatten(1, -2)


def _products(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [B or 1, R, in] times weights [B, out, in]."""
    if len(x) < len(weight):
        y = (x[0] @ weight.flatten(0, 1).mT).unflatten(1, weight.shape[:2]).transpose(0, 1)
        return y if bias is None else y + bias[:, None]
    return x @ weight.mT if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)


def _outer(g: Tensor, x: Tensor) -> Tensor:
    """The sum over rows of g [B, R, out] times x [B or 1, R, in]: [B, out, in]."""
    return g.mT @ x


class Columns:
    """y = x w' + b for x [B, N, in] whose samples lie last in memory, as columns; the first layer's x is [1, N, in].

    The products are quick with batches of small matrices in either order; the batch norms between them, in this one.
    """

    weights = ("weight", "bias")

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        self.x, self.weight, self.biased = x.mT, weight, bias is not None
        return self._image(weight, bias).mT

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        self.g = g.mT
        return self._pulled((self.weight.mT @ self.g).mT if moves else None, self._outer(self.g), self.g)

    def push(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        self.dx, self.dw = None if dx is None else dx.mT, torch.zeros_like(self.weight) if weight is None else weight
        y = self._image(self.dw, bias)
        return (y if dx is None else y.baddbmm_(self.weight, self.dx)).mT

    def pull_back(self, dg: Tensor, moves: bool) -> Pulled:
        dg = dg.mT
        by_weight = self._outer(dg)
        if self.dx is not None:
            by_weight.baddbmm_(self.g, self.dx.mT)
        by_x = torch.bmm(self.weight.mT, dg).baddbmm_(self.dw.mT, self.g).mT if moves else None
        return self._pulled(by_x, by_weight, dg)

    def _image(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[B, out, N]."""
        shared = len(self.x) < len(weight)
        y = (weight.flatten(0, 1) @ self.x[0]).unflatten(0, weight.shape[:2]) if shared else weight @ self.x
        return y if bias is None else y.add_(bias[..., None])

    def _outer(self, g: Tensor) -> Tensor:
        if len(self.x) < len(g):
            return (g.flatten(0, 1) @ self.x[0].mT).unflatten(0, g.shape[:2])
        return g @ self.x.mT

    def _pulled(self, by_x: Tensor | None, by_weight: Tensor, g: Tensor) -> Pulled:
        return Pulled((by_x,), {"weight": by_weight} | ({"bias": g.sum(2)} if self.biased else {}))


class Convolution:
    """y = x * w + b, for pictures that move."""

    weights = ("weight", "bias")

    def __init__(self, layer: nn.Conv2d):
        self.geometry, self.groups = _geometry(layer), layer.groups

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        self.x, self.weight, self.biased = stacked(x.expand(len(weight), *x.shape[1:])), weight, bias is not None
        self.all = len(weight) * self.groups
        self.twice_x = _pair(self.x, self.all, 1)
        return self._convolved(self.x, weight.flatten(0, 1), bias)

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        self.g = stacked(g)
        self.twice_g = _pair(self.g, self.all, 0)
        flat = self.weight.flatten(0, 1)
        by_weight, by_bias = self._by_weight(self.g, self.x, flat, self.all)
        return self._pulled(self._by_x(self.g, flat) if moves else None, by_weight, by_bias)

    def push(self, dx: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        self.dx, self.dw = stacked(dx), torch.zeros_like(self.weight) if weight is None else weight
        _fill(self.twice_x, self.dx, self.all, 0)
        return self._convolved(self.twice_x, torch.cat([self.weight, self.dw], 2).flatten(0, 1), bias)

    def pull_back(self, dg: Tensor, moves: bool) -> Pulled:
        dg = stacked(dg)
        _fill(self.twice_g, dg, self.all, 1)
        grouped = [each.reshape(self.all, -1, *each.shape[2:]) for each in (self.dw, self.weight)]
        both = torch.stack(grouped, 1).flatten(0, 2)
        by_x = self._by_x(self.twice_g, both) if moves else None
        if len(self.weight) == 1:  # one network's few groups are quicker by themselves than as halves of a pair
            flat = self.weight.flatten(0, 1)
            by_weight, by_bias = self._by_weight(dg, self.x, flat, self.all)
            return self._pulled(by_x, by_weight + self._by_weight(self.g, self.dx, flat, self.all)[0], by_bias)
        halves = [
            None if each is None else each.unflatten(0, (self.all, 2, -1))
            for each in self._by_weight(self.twice_g, self.twice_x, both, 2 * self.all)
        ]
        return self._pulled(by_x, halves[0].sum(1), halves[1][:, 1] if self.biased else None)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        bias = None if bias is None else bias.flatten()
        return spread(CONVOLVE(x, weight, bias, *self.geometry, self.all), len(self.weight))

    def _by_x(self, g: Tensor, weight: Tensor) -> Tensor:
        by_x = CONVOLVE_BACK(g, self.x, weight, None, *self.geometry, self.all, [True, False, False])[0]
        return spread(by_x, len(self.weight))

    def _by_weight(self, g: Tensor, x: Tensor, like: Tensor, groups: int) -> tuple[Tensor, Tensor | None]:
        sizes = [len(like)] if self.biased else None
        return CONVOLVE_BACK(g, x, like, sizes, *self.geometry, groups, [False, True, self.biased])[1:]

    def _pulled(self, by_x: Tensor | None, by_weight: Tensor, by_bias: Tensor | None) -> Pulled:
        bias = {} if by_bias is None else {"bias": by_bias.reshape(len(self.weight), -1)}
        return Pulled((by_x,), {"weight": by_weight.view_as(self.weight)} | bias)


def _pair(x: Tensor, groups: int, place: int) -> Tensor:
    """Room for pictures [N, G c, H, W] and as many others, side by side in every group: [N, G 2 c, H, W]."""
    n, channels, h, w = x.shape
    room = x.new_empty(n, h, w, 2 * channels)
    pair = room.as_strided((n, 2 * channels, h, w), (h * w * 2 * channels, 1, w * 2 * channels, 2 * channels))
    _fill(pair, x, groups, place)
    return pair


def _fill(pair: Tensor, x: Tensor, groups: int, place: int) -> None:
    pair.unflatten(1, (groups, 2, -1))[:, :, place].copy_(x.unflatten(1, (groups, -1)))


def _by_channel(each: Tensor) -> Tensor:
    """Numbers for the channels [B, C], to go with pictures."""
    return each[:, None, :, None, None]


class Entrance:
    """y = x * w + b, for pictures that do not move, so that each pass is one half of the others'.

    Under a small kernel there is too little for the library to do: there the convolution is a product with the matrix
    of what the kernel sees at every pixel, made once.
    """

    weights = ("weight", "bias")

    def __init__(self, layer: nn.Conv2d):
        self.geometry, self.groups = _geometry(layer), layer.groups
        self.kernel = layer.kernel_size

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        self.shape, self.biased = weight.shape, bias is not None
        shared = len(x) == 1 and self.groups == 1
        self.all = 1 if shared else len(weight) * self.groups
        self.x = stacked(x if shared else x.expand(len(weight), *x.shape[1:]))
        self.seen = self._seen() if shared and weight[0, 0].numel() <= FEW else None
        return self._image(weight, bias)

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        return self._pulled(g)

    def push(self, dx: None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        weight = bias.new_zeros(self.shape) if weight is None else weight
        return self._image(weight, bias)

    def pull_back(self, dg: Tensor, moves: bool) -> Pulled:
        return self._pulled(dg)

    def _seen(self) -> Tensor:
        """What the kernel sees, for every pixel of the result, and 1 for the bias [N H' W', C k k + 1]."""
        stride, padding, dilation, *_ = self.geometry
        seen = F.unfold(self.x, self.kernel, dilation, padding, stride)
        return F.pad(seen, (0, 0, 0, 1), value=1.0).mT.reshape(-1, seen.shape[1] + 1)

    def _image(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        flat = weight.flatten(0, 1)
        if self.seen is None:
            y = CONVOLVE(self.x, flat, None if bias is None else bias.flatten(), *self.geometry, self.all)
        else:
            shift = flat.new_zeros(len(flat)) if bias is None else bias.flatten()
            rows = self.seen @ torch.cat([flat.flatten(1), shift[:, None]], 1).mT
            y = rows.view(len(self.x), *self._sides(), -1).permute(0, 3, 1, 2)
        return spread(y, len(weight))

    def _sides(self) -> list[int]:
        return [_end(*each) for each in zip(self.x.shape[2:], self.kernel, *self.geometry[:3], strict=True)]

    def _pulled(self, g: Tensor) -> Pulled:
        there = stacked(g)
        if self.seen is None:
            like = g.new_empty(()).expand(self.shape).flatten(0, 1)
            _, by_weight, by_bias = CONVOLVE_BACK(
                there, self.x, like, [len(like)], *self.geometry, self.all, [False, True, True]
            )
        else:
            # the short side first: the library is five times quicker that way round
            by_all = (self.seen.mT @ there.permute(0, 2, 3, 1).flatten(0, 2)).mT
            by_weight, by_bias = by_all[:, :-1], by_all[:, -1]
        bias = {"bias": by_bias.reshape(self.shape[:2])} if self.biased else {}
        return Pulled((None,), {"weight": by_weight.reshape(self.shape)} | bias)


class Tiny:
    """y = x * w + b on the smallest pictures, as a layer from all their numbers to all of the result's."""

    weights = ("weight", "bias")

    def __init__(self, layer: nn.Conv2d):
        self.geometry, self.kernel = _geometry(layer), layer.kernel_size
        self.layer = Linear()

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        self.sides, self.biased, self.shape = x.shape[3:], bias is not None, weight.shape
        stride, padding, dilation, *_ = self.geometry
        self.ends, self.taps = taps(*map(tuple, (self.sides, self.kernel, stride, padding, dilation)))
        self.taps = self.taps.to(x)
        return self._spread(self.layer.forward(self._flat(x), self._matrix(weight), None), bias)

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        return self._pulled(self.layer.pull(self._flat(g), moves), g)

    def push(self, dx: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor:
        dx = None if dx is None else self._flat(dx)
        matrix = None if weight is None else self._matrix(weight)
        return self._spread(self.layer.push(dx, matrix, None), bias)

    def pull_back(self, dg: Tensor, moves: bool) -> Pulled:
        return self._pulled(self.layer.pull_back(self._flat(dg), moves), dg)

    def _flat(self, x: Tensor) -> Tensor:
        """[B, N, C, H, W] as [B, N, H W C]."""
        return x.permute(0, 1, 3, 4, 2).reshape(*x.shape[:2], -1)

    def _spread(self, y: Tensor, bias: Tensor | None) -> Tensor:
        y = y.unflatten(2, (*self.ends, -1)).permute(0, 1, 4, 2, 3)
        return y if bias is None else y.add_(_by_channel(bias))

    def _matrix(self, weight: Tensor) -> Tensor:
        """Weights [B, out, in, k, k] as [B, H' W' out, H W in]."""
        every = (weight.flatten(3).flatten(0, 2) @ self.taps).view(
            *weight.shape[:3], math.prod(self.sides), math.prod(self.ends)
        )
        return every.permute(0, 4, 1, 3, 2).flatten(3, 4).flatten(1, 2)

    def _pulled(self, found: Pulled, g: Tensor) -> Pulled:
        (by_x,) = found.inputs
        if by_x is not None:
            by_x = by_x.unflatten(2, (*self.sides, -1)).permute(0, 1, 4, 2, 3)
        b, outs, ins = self.shape[:3]
        by_matrix = found.weights["weight"].view(b, math.prod(self.ends), outs, math.prod(self.sides), ins)
        by_weight = by_matrix.permute(0, 2, 4, 3, 1).reshape(-1, len(self.taps.mT)) @ self.taps.mT
        return Pulled((by_x,), {"weight": by_weight.view(self.shape)} | ({"bias": g.sum(ROWS)} if self.biased else {}))


@cache
def taps(
    sides: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, ...], Tensor]:
    """The sides of the result, and 1 where a tap [k k] joins a pixel to one of the result's [H W H' W'], else 0."""
    axes = []
    for side, size, step, pad, reach in zip(sides, kernel, stride, padding, dilation, strict=True):
        end = _end(side, size, step, pad, reach)
        here, there, tap = torch.arange(side)[:, None], torch.arange(end), torch.arange(size)[:, None, None]
        axes.append((here - there * step + pad == tap * reach).double())
    joined = torch.einsum("kac,lbd->klabcd", *axes)
    return tuple(axis.shape[2] for axis in axes), joined.reshape(math.prod(kernel), -1)


def convolution(layer: nn.Conv2d, x: Tensor, moves: bool) -> Entrance | Tiny | Convolution:
    """The operation of a layer on such pictures: a fixed rule."""
    if x.dim() != 5:
        raise UnknownOperation
    if not moves:
        return Entrance(layer)
    return Tiny(layer) if max(x.shape[3:]) <= TINY and layer.groups == 1 else Convolution(layer)


def _end(side: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Pixels of a convolution's result along a side."""
    return (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _geometry(layer: nn.Conv2d) -> list:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise UnknownOperation
    return [list(layer.stride), list(layer.padding), list(layer.dilation), False, [0, 0]]


class Norm:
    """y = weight x^ + bias, with x^ = r (x - mean) and r = (var + eps)^(-1/2) of the batch.

    With P u = u - mean(u) - x^ mean(u x^) the tangent is d x^ = r P dx, and the gradient g_x = weight r P g is the same
    operator once more, since P is symmetric. It changes with g, with the factor s = weight r, and with x^ in P itself:

        dg_x = s P dg + ds P g - s r (mean(g x^) P dx + x^ mean(g P dx)),    ds = r (dweight - s mean(x^ dx)).

    lay, back: from numbers at B points to one picture [N, B C, H, W], and back.
    """

    weights = ("weight", "bias")

    def __init__(
        self, eps: float, lay: Callable[[Tensor], Tensor] = stacked, back: Callable[[Tensor, int], Tensor] = spread
    ):
        self.eps, self._lay, self._back = eps, lay, back

    def forward(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        self.points, x = len(x), self._lay(x)
        self.count, self.learnt = x[:, 0].numel(), _present(weight, bias)
        mean = x.mean((0, 2, 3))
        normal = x - _columns(mean)
        self.r = (normal.square().mean((0, 2, 3)) + self.eps).rsqrt()
        self.normal = normal.mul_(_columns(self.r))
        self.scale = self.r if weight is None else self.r * weight.flatten()
        self.still = torch.zeros_like(mean), torch.ones_like(mean)
        return self._back(self._line(self.normal, None if weight is None else weight.flatten(), bias), self.points)

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        self.g, self.q, sums = self._project(self._lay(g), None)
        return self._pulled(self.g * _columns(self.scale) if moves else None, self.q, sums)

    def push(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        self.dx, self.turn, y = None, torch.zeros_like(self.r), None
        if weight is not None:
            self.turn = self.r * weight.flatten()
        if dx is not None:
            self.dx, self.p, _ = self._project(self._lay(dx), None)
            self.turn = self.turn - self.r * self.scale * self.p / self.count
            y = self._line(self.dx, self.scale, bias)
            if weight is not None:
                y.addcmul_(self.normal, _columns(weight.flatten()))
        else:
            y = self._line(self.normal, torch.zeros_like(self.r) if weight is None else weight.flatten(), bias)
        return self._back(y, self.points)

    def pull_back(self, dg: Tensor, moves: bool) -> Pulled:
        by_x, by_weight, sums = self._project(self._lay(dg), self.scale)
        if moves:
            by_x.addcmul_(self.g, _columns(self.turn))
        if self.dx is not None:
            # P g is kept, not g; x^ has a variance of 1 - eps r^2, and what P leaves of it is no part of their product
            shared = (self.g * self.dx).sum((0, 2, 3)) + self.q * self.p * (self.eps / self.count * self.r.square())
            bend = self.scale * self.r / -self.count
            if moves:
                by_x.addcmul_(self.dx, _columns(bend * self.q)).addcmul_(self.normal, _columns(bend * shared))
            by_weight = by_weight + self.r * shared
        return self._pulled(by_x if moves else None, by_weight, sums)

    def _project(self, u: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """scale P u, and the sums of u x^ and u, in two passes: what the library has for its own gradient."""
        return BATCH_NORM_BACK(u, self.normal, scale, None, None, *self.still, True, 0.0, [True, True, True])

    def _line(self, x: Tensor, slope: Tensor | None, shift: Tensor | None) -> Tensor:
        if slope is None:
            return x.clone() if shift is None else x + _columns(shift.flatten())
        if shift is not None and self._lay is stacked:
            return torch.addcmul(_columns(shift.flatten()), x, _columns(slope))
        y = x * _columns(slope)
        # of samples that lie last: addcmul takes twice as long there as both of these
        return y if shift is None else y.add_(_columns(shift.flatten()))

    def _pulled(self, by_x: Tensor | None, by_weight: Tensor, by_bias: Tensor) -> Pulled:
        both = {"weight": by_weight, "bias": by_bias}
        return Pulled(
            (None if by_x is None else self._back(by_x, self.points),),
            {name: both[name].view(self.points, -1) for name in self.learnt},
        )


class FixedNorm:
    """y = weight x^ + bias, with x^ = r (x - mean) by statistics that stay."""

    weights = ("weight", "bias")

    def __init__(self, layer: nn.BatchNorm2d):
        self.mean, self.r = layer.running_mean[None], (layer.running_var[None] + layer.eps).rsqrt()

    def forward(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        self.normal, self.learnt = (x - _by_channel(self.mean)) * _by_channel(self.r), _present(weight, bias)
        self.scale = self.r if weight is None else self.r * weight
        y = self.normal if weight is None else self.normal * _by_channel(weight)
        return y if bias is None else y + _by_channel(bias)

    def pull(self, g: Tensor, moves: bool) -> Pulled:
        self.g = g
        return self._pulled(g * _by_channel(self.scale), (g * self.normal).sum(ROWS), g)

    def push(self, dx: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        self.dx, self.turn = dx, None if weight is None else self.r * weight
        y = torch.zeros_like(self.normal) if dx is None else dx * _by_channel(self.scale)
        y = y if weight is None else y + self.normal * _by_channel(weight)
        return y if bias is None else y + _by_channel(bias)

    def pull_back(self, dg: Tensor, moves: bool) -> Pulled:
        by_x, by_weight = dg * _by_channel(self.scale), (dg * self.normal).sum(ROWS)
        if self.turn is not None:
            by_x = by_x + self.g * _by_channel(self.turn)
        if self.dx is not None:
            by_weight = by_weight + self.r * (self.g * self.dx).sum(ROWS)
        return self._pulled(by_x, by_weight, dg)

    def _pulled(self, by_x: Tensor, by_weight: Tensor, g: Tensor) -> Pulled:
        both = {"weight": by_weight, "bias": g.sum(ROWS)}
        return Pulled((by_x,), {name: both[name] for name in self.learnt})


def column_norm(layer: nn.BatchNorm1d, x: Tensor, moves: bool) -> Norm:
    """The operation of a layer on features [B, N, C], by their own statistics."""
    if x.dim() != 3 or not (layer.training or layer.running_mean is None):
        raise UnknownOperation
    return Norm(layer.eps, _columned, _uncolumned)


def _columned(x: Tensor) -> Tensor:
    """Features [B, N, C] as a picture [1, B C, N, 1]: a view where the samples lie last."""
    return x.mT.reshape(1, -1, x.shape[1], 1)


def _uncolumned(y: Tensor, points: int) -> Tensor:
    return y.view(points, -1, y.shape[2]).mT


def norm(layer: nn.BatchNorm2d, x: Tensor, moves: bool) -> Norm | FixedNorm:
    """The operation of a layer in its mode."""
    return Norm(layer.eps) if layer.training or layer.running_mean is None else FixedNorm(layer)


def _present(weight: Tensor | None, bias: Tensor | None) -> list[str]:
    return [name for name, each in (("weight", weight), ("bias", bias)) if each is not None]


def _columns(each: Tensor) -> Tensor:
    """Numbers for all channels of all points [B C], to go with stacked pictures."""
    return each[:, None, None]
