"""Networks with replacements for operations of torch whose second derivative is wrong.

    weight norm: w = g v / |v|

torch's weight norm is one fused kernel whose double backward is not the derivative of its backward (torch 2.13, by
`torch.autograd.gradgradcheck`): Hessians made with it were off by a quarter, and not symmetric.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm

from studio.errors import SceneError
from studio.landscape.network.graph import replace_forward


def twice_differentiable(module: nn.Module) -> nn.Module:
    """A deep copy that computes the same, to rounding, and whose second derivatives are right.

    Raises SceneError for the old weight norm, which torch cannot copy.
    """
    if any(type(hook) is WeightNorm for part in module.modules() for hook in part._forward_pre_hooks.values()):
        raise SceneError(
            "the network uses torch.nn.utils.weight_norm, which cannot be copied; use "
            "torch.nn.utils.parametrizations.weight_norm"
        )
    module = copy.deepcopy(module)
    for part in module.modules():
        if type(part) is _WeightNorm:
            replace_forward(part, partial(_weight_norm, part.dim))
    return module


def _weight_norm(dim: int, g: Tensor, v: Tensor) -> Tensor:
    """v scaled to norm g along every axis but `dim`; as a whole, if that is -1."""
    others = [axis for axis in range(v.dim()) if axis != dim] if dim >= 0 else None
    norm: Tensor = torch.linalg.vector_norm(v, dim=others, keepdim=dim >= 0)
    return v * (g / norm)
