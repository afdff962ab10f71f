"""Kernels for many small pictures, and batch statistics that are exact in float32.

A library convolution of 128 pictures of 8 x 8 spends its time on borders. In the layout HWNC the samples lie side by
side in one wide picture x [H, W, N, C], and the same sum is one convolution whose taps lie N columns apart,

    y[h, (w, n)] = sum over k, l of weight[k, l] x[h + k, (w, n) + l N];

on pictures of 2 x 2 it is one matrix product, and a batch norm is one pass over a matrix [H W N, C]. Several networks
may run side by side, in slots: their inputs are x [N slots, C, H, W], the slots of one sample next to each other.
Larger pictures go to the library's kernels with their channels last. These kernels are for loss values only: the
library's own have quicker backward passes.
"""

from __future__ import annotations

from functools import cache
from typing import TypeGuard

import torch
from torch import Tensor, nn

MAX_WIDTH, MAX_CHANNELS = 8, 32
"""Of the pictures that these kernels convolve: beyond, the library's own are quicker."""
MIN_INPUT_SIZE, MAX_INPUT_SIZE = 20480, 2**18
"""Numbers in the input of a convolution in HWNC: with fewer, torch takes a slow kernel for dilated taps; with more, the
picture no longer fits into the cache."""
ONE = (1, 1)


def is_zero_padded(module: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a plain 2-D convolution, padded with zeros by numbers of pixels."""
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def is_tiny(conv: nn.Conv2d, shape: torch.Size) -> bool:
    """Whether the convolution of samples of a shape [N, C, H, W] is quicker as a matrix product (`tiny_conv2d`)."""
    settings = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    fits = len(shape) == 4 and shape[1] <= MAX_CHANNELS and max(shape[2:]) <= 2
    return fits and settings == ((3, 3), *3 * (ONE,), 1)


def is_wide(conv: nn.Conv2d, shape: torch.Size) -> bool:
    """Whether the convolution of samples of a shape [N, C, H, W] is quicker in HWNC (`wide_conv2d`)."""
    fits = len(shape) == 4 and shape[1] <= MAX_CHANNELS and shape[3] <= MAX_WIDTH
    return fits and conv.stride == ONE and MIN_INPUT_SIZE < shape.numel() <= MAX_INPUT_SIZE


def wide_conv2d(
    conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None, slots: int = 1, shared: bool = False
) -> Tensor:
    """The convolution of x [N slots, C, H, W] as one of a picture as wide as all samples together.

    weight: [slots O, C, ...] and bias: [slots O], slot after slot; conv has the other settings. shared: all slots
    convolve the same x [N, C, H, W].
    """
    (down, across), padding, dilation = conv.stride, conv.padding, conv.dilation
    assert not isinstance(padding, str)
    inputs = 1 if shared else slots
    n = len(x) // inputs
    paddings, dilations = (padding[0], padding[1] * n), (dilation[0], dilation[1] * n)
    y = torch.conv2d(_wide_picture(x, inputs), weight, bias, (down, 1), paddings, dilations, conv.groups * inputs)
    y = y.view(slots, -1, y.shape[2], y.shape[3] // n, n).permute(4, 0, 1, 2, 3).flatten(0, 1)
    return y if across == 1 else to_hwnc(y[..., ::across])


def to_hwnc(x: Tensor) -> Tensor:
    """x [N, C, H, W] laid out as [H, W, N, C]."""
    n, c, h, w = x.shape
    x = x.permute(2, 3, 0, 1).contiguous()
    # explicit strides: torch keeps arbitrary ones for sizes of one
    return x.as_strided((n, c, h, w), (c, 1, w * n * c, n * c))


def _wide_picture(x: Tensor, slots: int) -> Tensor:
    """x [N slots, C, H, W] as one picture [1, slots C, H, W N], its channels last."""
    n, c, h, w = x.shape
    if x.stride() != (c, 1, w * n * c, n * c):
        x = to_hwnc(x)
    return x.as_strided((1, slots * c, h, w * n // slots), (h * w * n * c, 1, w * n * c, slots * c))


def tiny_conv2d(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """x [N slots, C, H, W] convolved by each slot's `tiny_conv2d_matrix` and bias [slots, O]: [N slots, O, H, W]."""
    slots, (n, _, h, w) = len(matrix), x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n // slots, slots, -1)
    y = x.new_empty(n // slots, slots, matrix.shape[2], dtype=matrix.dtype)
    torch.bmm(rows.transpose(0, 1), matrix, out=y.transpose(0, 1))
    y = y.view(n // slots, slots, h * w, -1)
    return (y if bias is None else y.add_(bias[:, None])).view(n, h, w, -1).permute(0, 3, 1, 2)


def tiny_conv2d_matrix(weight: Tensor, h: int, w: int) -> Tensor:
    """The matrix [H W C, H W O] of a 3 x 3 convolution on pictures of 1 or 2 pixels a side."""
    outputs, c = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).reshape(9, c, outputs).index_select(0, _taps(h, w).to(weight.device))
    return taps.view(h * w, h * w, c, outputs).transpose(1, 2).reshape(h * w * c, h * w * outputs)


@cache
def _taps(h: int, w: int) -> Tensor:
    """For every pair of pixels (from, to), row by row, the number 0 to 8 of the tap between them."""
    down, across = torch.arange(h), torch.arange(w)
    down, across = (down[:, None] - down + 1)[:, None, :, None], (across[:, None] - across + 1)[None, :, None, :]
    return (3 * down + across).reshape(-1)


def batch_statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] over rows [R, C].

    torch's own kernel for this layout adds up all rows one after the other, and in float32 200,000 rows then have an
    error of 1e-4. Here means and variances of groups of rows are combined: as quick, and exact to 1e-7. Chan, Golub &
    LeVeque (1983).
    """
    count, channels = rows.shape
    groups = group_count(count)
    rows = rows.float() if rows.dtype == torch.bfloat16 else rows
    mean, var = grouped_statistics(rows.view(count // groups, groups * channels), 1, groups)
    return mean.view(-1), var.view(-1)


def grouped_statistics(rows: Tensor, slots: int, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [slots, 1, C] over all rows and groups of rows [R, slots groups C]."""
    group_mean, group_var = torch.batch_norm_update_stats(rows, None, None, 0.0)
    group_mean = group_mean.view(slots, groups, -1)
    mean = _mean_over_groups(group_mean)
    offset = group_mean - mean
    return mean, _mean_over_groups(torch.addcmul(group_var.view(slots, groups, -1), offset, offset))


def _mean_over_groups(values: Tensor) -> Tensor:
    """The mean [slots, 1, C] of [slots, groups, C]."""
    if values.is_cuda or torch.is_autocast_enabled("cpu"):
        return values.mean(1, keepdim=True)
    # of so few numbers, torch's own mean takes four times as long
    return torch.bmm(_averaging_matrix(*values.shape[:2], values.dtype), values)


@cache
def _averaging_matrix(slots: int, groups: int, dtype: torch.dtype) -> Tensor:
    return torch.full((slots, 1, groups), 1 / groups, dtype=dtype)


@cache
def group_count(rows: int) -> int:
    """The largest number of equal groups, at most 64, that rows can be divided into."""
    return next(groups for groups in range(64, 0, -1) if rows % groups == 0)
