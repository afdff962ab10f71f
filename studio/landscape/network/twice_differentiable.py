"""Where torch's second derivative of an operation is wrong, the same operation by others, whose is right.

torch's weight norm is one fused kernel whose double backward is not the derivative of its backward (torch 2.13, by
`torch.autograd.gradgradcheck`): Hessians made of it were off by a quarter, and not symmetric.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm

from studio.errors import SceneError


def twice_differentiable(module: nn.Module) -> nn.Module:
    """A deep copy that computes the same, to rounding, and is differentiable twice.

    Raises SceneError for the old weight norm, of which torch makes no copies.
    """
    if any(type(hook) is WeightNorm for part in module.modules() for hook in part._forward_pre_hooks.values()):
        raise SceneError(
            "the network uses torch.nn.utils.weight_norm, which cannot be copied; use "
            "torch.nn.utils.parametrizations.weight_norm"
        )
    module = copy.deepcopy(module)
    for part in module.modules():
        if type(part) is _WeightNorm:
            part.forward = partial(_normed, part.dim)
    return module


def _normed(dim: int, g: Tensor, v: Tensor) -> Tensor:
    """v as long as g says along every axis but `dim`; as a whole, if that is -1."""
    others = [axis for axis in range(v.dim()) if axis != dim] if dim >= 0 else None
    return v * (g / torch.linalg.vector_norm(v, dim=others, keepdim=dim >= 0))
