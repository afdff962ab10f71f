"""The torch modules and functions that are written out, and the operation of each.

A new operation is a class with the methods of `operation.Operation`, and a line here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.landscape.curvature.pearlmutter.convolutions import convolution
from studio.landscape.curvature.pearlmutter.norms import feature_norm, image_norm
from studio.landscape.curvature.pearlmutter.operation import Operation
from studio.landscape.curvature.pearlmutter.parameterless import LinearMap, MaxPool, Pointwise, ReLU, Sum
from studio.landscape.network.batched import POINTWISE

CURVES = (*POINTWISE, nn.SELU, nn.CELU, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Softsign, nn.LogSigmoid)
MAPS = (nn.Flatten, nn.Unflatten, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ZeroPad2d)

MODULES: Mapping[type[nn.Module], Callable[[Any, Tensor, bool], Operation]] = {
    nn.Conv2d: convolution,
    nn.BatchNorm1d: feature_norm,
    nn.BatchNorm2d: image_norm,
    nn.MaxPool2d: lambda layer, x, input_active: MaxPool(layer),
    **dict.fromkeys(CURVES, lambda layer, x, input_active: Pointwise(layer)),
    **dict.fromkeys(MAPS, lambda layer, x, input_active: LinearMap(layer)),
    nn.Identity: lambda layer, x, input_active: Sum(),
    nn.ReLU: lambda layer, x, input_active: ReLU(),
}
"""(module, its input [B, N, ...], whether that is active) -> the operation; `program` makes the linear layers."""

# functions, and methods by name
RELU_CALLS = {F.relu, torch.relu, torch.relu_, "relu", "relu_"}
SUM_CALLS = {operator.add, operator.iadd, torch.add, "add", "add_"}
CURVE_CALLS = {
    *(F.gelu, F.silu, F.mish, F.elu, F.selu, F.celu, F.leaky_relu, F.softplus, F.hardswish, F.relu6),
    *(F.tanh, F.sigmoid, torch.tanh, torch.sigmoid, "tanh", "sigmoid"),
}
MAP_CALLS = {
    *(torch.flatten, torch.mean, torch.sum, torch.reshape, torch.permute, torch.transpose, torch.squeeze),
    *(torch.unsqueeze, torch.neg, operator.neg, operator.getitem, F.avg_pool2d, F.adaptive_avg_pool2d, F.pad),
    *("flatten", "mean", "sum", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous"),
    *("neg", "movedim"),
}
INPLACE_CALLS = {operator.iadd, torch.relu_, "add_", "relu_"}
"""Those that write into their first argument."""
