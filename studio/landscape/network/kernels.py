"""The same network, quicker on small pictures: the samples of a batch stand side by side in one wide picture.

A library convolution of 128 pictures of 8 x 8 spends its time on borders. With the samples side by side in one row, x
[H, W, N, C], the same sum is one convolution of one wide picture [H, W N] whose taps stand N columns apart,

    y[h, (w, n)] = sum over k, l of weight[k, l] x[h + k, (w, n) + l N],

on pictures of 2 x 2 it is one matrix product, and a batch norm is one pass over a matrix [H W N, C]. Larger pictures go
to the library's kernels with their channels last. This is for loss values only: where a gradient is wanted the
library's own kernels run, whose backward passes are quicker.
"""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.network.graph import bare, channels_last

WIDEST, MOST_CHANNELS = 8, 32
"""Larger pictures and more channels are left to the library's own kernels, which are quicker there."""
FEWEST_NUMBERS, MOST_NUMBERS = 20480, 2**18
"""In the input of a wide convolution: with fewer, torch takes a slow kernel for taps that stand apart; with more, the
picture leaves the cache."""
ONE = (1, 1)


def widen(model: nn.Module) -> None:
    """Makes every plain 2-D convolution, batch norm and max pooling compute the wide way; the same to rounding."""
    for module in filter(bare, model.modules()):
        if is_zero_padded(module):
            module.forward = partial(_convolution, module)
        elif type(module) is nn.BatchNorm2d:
            module.forward = partial(_batch_norm, module)
        elif type(module) is nn.MaxPool2d:
            module.forward = partial(_max_pool, module)


# --- convolution -----------------------------------------------------------------------------------------------------


def is_zero_padded(module: nn.Module) -> bool:
    """Whether a module is a 2-D convolution of the usual kind."""
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def is_tiny(conv: nn.Conv2d, shape: torch.Size) -> bool:
    """Whether for samples of a shape [N, C, H, W] the convolution is a matrix product."""
    settings = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    return settings == ((3, 3), *3 * (ONE,), 1) and (
        len(shape) == 4 and shape[1] <= MOST_CHANNELS and max(shape[2:]) <= 2
    )


def is_wide(conv: nn.Conv2d, shape: torch.Size) -> bool:
    """Whether for samples of a shape [N, C, H, W] the convolution is one of a wide picture."""
    return (
        len(shape) == 4
        and conv.stride == ONE
        and shape[1] <= MOST_CHANNELS
        and (shape[3] <= WIDEST and FEWEST_NUMBERS < shape.numel() <= MOST_NUMBERS)
    )


def _convolution(conv: nn.Conv2d, x: Tensor) -> Tensor:
    settings = conv.stride, conv.padding, conv.dilation, conv.groups
    if torch.is_grad_enabled():
        return F.conv2d(x, conv.weight, conv.bias, *settings)
    if is_tiny(conv, x.shape):
        return tiny(x, matrix(conv.weight, *x.shape[2:])[None], None if conv.bias is None else conv.bias[None])
    if is_wide(conv, x.shape):
        return wide(x, conv.weight, conv.bias, *settings)
    return F.conv2d(channels_last(x), conv.weight, conv.bias, *settings)


def wide(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride,
    padding,
    dilation,
    groups: int,
    lanes: int = 1,
    shared: bool = False,
) -> Tensor:
    """The convolution of x [N, C, H, W] as one of a picture as wide as all samples together.

    lanes: networks that pass side by side, x [N lanes, C, H, W] with those of one sample together; weight
    [lanes O, C, ...], bias [lanes O], lane after lane. shared: they all convolve the same x [N, C, H, W].
    """
    side = 1 if shared else lanes
    n = len(x) // side
    y = torch.conv2d(
        _picture(x, side),
        weight,
        bias,
        (stride[0], 1),
        (padding[0], padding[1] * n),
        (dilation[0], dilation[1] * n),
        groups * side,
    )
    y = y.view(lanes, -1, y.shape[2], y.shape[3] // n, n).permute(4, 0, 1, 2, 3).flatten(0, 1)
    return y if stride[1] == 1 else beside(y[..., :: stride[1]])


def beside(x: Tensor) -> Tensor:
    """x [N, C, H, W] laid out as [H, W, N, C]."""
    n, c, h, w = x.shape
    x = x.permute(2, 3, 0, 1).contiguous()
    # strides written out: of sizes of one, torch keeps whatever it finds
    return x.as_strided((n, c, h, w), (c, 1, w * n * c, n * c))


def _picture(x: Tensor, lanes: int) -> Tensor:
    """x [N lanes, C, H, W] as one picture [1, lanes C, H, W N], its channels last."""
    n, c, h, w = x.shape
    if x.stride() != (c, 1, w * n * c, n * c):
        x = beside(x)
    return x.as_strided((1, lanes * c, h, w * n // lanes), (h * w * n * c, 1, w * n * c, lanes * c))


def tiny(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of x [N lanes, C, H, W], those of one sample together, by its `matrix` for each lane.

    matrix: [lanes, H W C, H W O], bias [lanes, O]; the outputs are [N lanes, O, H, W].
    """
    lanes, (n, _, h, w) = len(matrix), x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n // lanes, lanes, -1)
    y = x.new_empty(n // lanes, lanes, matrix.shape[2], dtype=matrix.dtype)
    torch.bmm(rows.transpose(0, 1), matrix, out=y.transpose(0, 1))
    y = y.view(n // lanes, lanes, h * w, -1)
    return (y if bias is None else y.add_(bias[:, None])).view(n, h, w, -1).permute(0, 3, 1, 2)


def matrix(weight: Tensor, h: int, w: int) -> Tensor:
    """A 3 x 3 convolution on pictures of 1 or 2 pixels a side: from all pixels' channels to all pixels' outputs."""
    outs, c = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).reshape(9, c, outs).index_select(0, _taps(h, w).to(weight.device))
    return taps.view(h * w, h * w, c, outs).transpose(1, 2).reshape(h * w * c, h * w * outs)


@cache
def _taps(h: int, w: int) -> Tensor:
    """For every pair of pixels (from, to), row by row, the number 0 to 8 of the tap that joins them."""
    down, across = torch.arange(h), torch.arange(w)
    down, across = (down[:, None] - down + 1)[:, None, :, None], (across[:, None] - across + 1)[None, :, None, :]
    return (3 * down + across).reshape(-1)


# --- batch norm ------------------------------------------------------------------------------------------------------


def _batch_norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    if torch.is_grad_enabled() or not norm.training:
        return type(norm).forward(norm, x)
    small = x.shape[-1] <= WIDEST
    rows = x.permute(2, 3, 0, 1) if small else x.permute(0, 2, 3, 1)
    rows = rows.contiguous()
    mean, var = statistics(rows.view(-1, x.shape[1]))
    if not small:
        return F.batch_norm(channels_last(x), mean, var, norm.weight, norm.bias, False, 0.0, norm.eps)
    y = F.batch_norm(rows.view(-1, x.shape[1]), mean, var, norm.weight, norm.bias, False, 0.0, norm.eps)
    return y.view(rows.shape).permute(2, 3, 0, 1)


def statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] over rows [R, C].

    torch's own kernel for this layout adds up all rows one after the other, and in float32 200,000 rows then carry an
    error of 1e-4. Here rows are dealt out to groups, whose means and variances are put together: as quick, and exact to
    1e-7. Chan, Golub & LeVeque (1983).
    """
    count, channels = rows.shape
    groups = dealt(count)
    rows = rows.float() if rows.dtype == torch.bfloat16 else rows
    mean, var = grouped(rows.view(count // groups, groups * channels), 1, groups)
    return mean.view(-1), var.view(-1)


def grouped(rows: Tensor, lanes: int, groups: int) -> tuple[Tensor, Tensor]:
    """The same of rows that are dealt out already, [R, lanes groups C]: for each lane over its groups [lanes, 1, C]."""
    mean, var = torch.batch_norm_update_stats(rows, None, None, 0.0)
    mean = mean.view(lanes, groups, -1)
    middle = _mean(mean)
    away = mean - middle
    return middle, _mean(torch.addcmul(var.view(lanes, groups, -1), away, away))


def _mean(groups: Tensor) -> Tensor:
    """The mean [L, 1, C] of [L, G, C]."""
    if groups.is_cuda or torch.is_autocast_enabled("cpu"):
        return groups.mean(1, keepdim=True)
    # of so few numbers, torch's own mean takes four times as long
    return torch.bmm(_share(*groups.shape[:2], groups.dtype), groups)


@cache
def _share(lanes: int, groups: int, dtype: torch.dtype) -> Tensor:
    return torch.full((lanes, 1, groups), 1 / groups, dtype=dtype)


@cache
def dealt(count: int) -> int:
    """The largest number of equal groups, up to 64, that so many rows can be dealt out to."""
    return next(groups for groups in range(64, 0, -1) if count % groups == 0)


def _max_pool(pool: nn.MaxPool2d, x: Tensor) -> Tensor:
    # the samples go back outside: torch pools only its own layouts quickly
    return nn.MaxPool2d.forward(pool, x if torch.is_grad_enabled() else channels_last(x))
