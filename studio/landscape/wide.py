"""The same network, quicker on small pictures: the samples of a batch stand side by side in one wide picture.

A library convolution of 128 pictures of 8 x 8 spends its time on borders. With the samples side by side in one row, x
[H, W, N, C], the same sum is one convolution of one wide picture [H, W N] whose taps stand N columns apart,

    y[h, (w, n)] = sum over k, l of weight[k, l] x[h + k, (w, n) + l N],

on pictures of 2 x 2 it is one matrix product, and a batch norm is one pass over a matrix [H W N, C]. Larger pictures go
to the library's kernels with their channels last. This is for loss values only: where a gradient is wanted the
library's own kernels run, whose backward passes are quicker.
"""

from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .graph import bare, channels_last

WIDEST, MOST_CHANNELS = 8, 32
"""Larger pictures and more channels are left to the library's own kernels, which are quicker there."""
FEWEST_NUMBERS, MOST_NUMBERS = 20480, 2**18
"""In the input of a wide convolution: with fewer, torch takes a slow kernel for taps that stand apart; with more, the
picture leaves the cache."""
ONE = (1, 1)


def widen(model: nn.Module) -> None:
    """Makes every plain 2-D convolution, batch norm and max pooling compute the wide way; the same to rounding."""
    for module in filter(bare, model.modules()):
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.forward = partial(_convolution, module)
        elif type(module) is nn.BatchNorm2d:
            module.forward = partial(_batch_norm, module)
        elif type(module) is nn.MaxPool2d:
            module.forward = partial(_max_pool, module)


# --- convolution -----------------------------------------------------------------------------------------------------

def _convolution(conv: nn.Conv2d, x: Tensor) -> Tensor:
    settings = conv.stride, conv.padding, conv.dilation, conv.groups
    if torch.is_grad_enabled():
        return F.conv2d(x, conv.weight, conv.bias, *settings)
    if x.dim() == 4 and conv.stride == ONE and x.shape[1] <= MOST_CHANNELS:
        if max(x.shape[2:]) <= 2 and conv.kernel_size == (3, 3) and settings == (ONE, ONE, ONE, 1):
            return _tiny(x, conv.weight, conv.bias)
        if x.shape[3] <= WIDEST and FEWEST_NUMBERS < x.numel() <= MOST_NUMBERS:
            return _wide(x, conv.weight, conv.bias, *settings[1:])
    return F.conv2d(channels_last(x), conv.weight, conv.bias, *settings)


def _side_by_side(x: Tensor) -> Tensor:
    """x [N, C, H, W] as [H, W, N, C], contiguous."""
    return x.permute(2, 3, 0, 1).contiguous()


def _wide(x: Tensor, weight: Tensor, bias: Tensor | None, padding, dilation, groups) -> Tensor:
    n, c, h, w = x.shape
    row = _side_by_side(x).view(1, h, w * n, c).permute(0, 3, 1, 2)
    y = F.conv2d(row, weight, bias, 1, (padding[0], padding[1] * n), (dilation[0], dilation[1] * n), groups)
    return y.unflatten(3, (-1, n))[0].permute(3, 0, 1, 2)


def _tiny(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 3 x 3 convolution of pictures of 1 or 2 pixels a side as a matrix from all pixels to all pixels."""
    n, c, h, w = x.shape
    outs = weight.shape[0]
    taps = weight.permute(2, 3, 1, 0).reshape(9, c, outs).index_select(0, _taps(h, w).to(x.device))
    matrix = taps.view(h * w, h * w, c, outs).transpose(1, 2).reshape(h * w * c, h * w * outs)
    y = (x.permute(0, 2, 3, 1).reshape(n, -1) @ matrix).view(n, h, w, outs)
    return (y if bias is None else y + bias).permute(0, 3, 1, 2)


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
    groups = _groups(count)
    rows = rows.float() if rows.dtype == torch.bfloat16 else rows
    mean, var = torch.batch_norm_update_stats(rows.view(count // groups, groups * channels), None, None, 0.0)
    mean, var = mean.view(groups, channels), var.view(groups, channels)
    middle = mean.mean(0)
    return middle, (var + (mean - middle).square_()).mean(0)


@cache
def _groups(count: int) -> int:
    """The largest number of equal groups, up to 64, that so many rows can be dealt out to."""
    return next(groups for groups in range(64, 0, -1) if count % groups == 0)


def _max_pool(pool: nn.MaxPool2d, x: Tensor) -> Tensor:
    # the samples go back outside: torch pools only its own layouts quickly
    return nn.MaxPool2d.forward(pool, x if torch.is_grad_enabled() else channels_last(x))
