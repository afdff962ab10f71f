"""Eval, train and recalibrated mode: which batch statistics a network uses, and which buffers it writes.

    y = weight (x - mean) / sqrt(var + eps) + bias

eval: mean and var are the running statistics. train: those of the batch; running ones stay as they are. recalibrated:
those of a calibration pass at the same weights.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from studio.landscape.network import kernels
from studio.landscape.network.graph import has_no_hooks, replace_forward

Calibration = dict[nn.Module, list[tuple[Tensor, Tensor]]]
"""By batch norm: mean and biased variance [C] of each of its calibration passes."""
MutableBuffers = dict[str, tuple[nn.Module, str, Tensor, Tensor]]
"""By full name: a buffer's owner, its name there, its tensor and its value."""


def set_mode(module: nn.Module, mode: str) -> Calibration:
    """Sets the module's mode; returns the dictionary in which its batch norms store recalibrated statistics.

    mode: "eval", "train" or "recalibrated"; for the last, run the calibration pass in train mode.
    """
    calibration: Calibration = {}
    module.train(mode == "train")
    for part in module.modules():
        if mode == "train" and isinstance(part, _NormBase):
            part.track_running_stats = False  # running statistics are neither used nor updated
        if mode == "recalibrated" and isinstance(part, _BatchNorm):
            replace_forward(part, partial(_recalibrated_batch_norm, part, calibration))
    return calibration


def mutable_buffers(module: nn.Module) -> MutableBuffers:
    """Every buffer that a pass might write, with a copy of its value. Batch norms write none in `set_mode`'s modes."""
    return {
        f"{prefix}.{name}" if prefix else name: (part, name, tensor, tensor.clone())
        for prefix, part in module.named_modules()
        if not isinstance(part, _BatchNorm)
        for name, tensor in part.named_buffers(recurse=False)
    }


def use_exact_statistics(module: nn.Module) -> None:
    """Gives 2-D batch norms in train mode the exact `kernels.batch_statistics`; for values, not for gradients."""
    for part in module.modules():
        if type(part) is nn.BatchNorm2d and has_no_hooks(part):
            replace_forward(part, partial(_exact_batch_norm, part))


def _exact_batch_norm(norm: _BatchNorm, x: Tensor) -> Tensor:
    return F.batch_norm(x, *_channel_statistics(x), norm.weight, norm.bias, False, 0.0, norm.eps)


def _recalibrated_batch_norm(norm: _BatchNorm, calibration: Calibration, x: Tensor) -> Tensor:
    """Batch norm that stores its batch's statistics in train mode, and uses the stored ones in eval mode."""
    mean, var = norm.running_mean, norm.running_var
    if norm.training:
        mean, var = _channel_statistics(x)
        calibration.setdefault(norm, []).append((mean, var))
    elif norm in calibration:
        # a norm that is passed more than once has one pair of running statistics: the mean of its passes
        mean, var = (torch.stack(parts).mean(0) for parts in zip(*calibration[norm], strict=True))
    if not torch.is_grad_enabled() or mean is None or var is None:
        return F.batch_norm(x, mean, var, norm.weight, norm.bias, False, 0.0, norm.eps)
    # written out: torch's own batch norm does not differentiate by its running statistics
    scale = (var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    shape = (1, -1, *(1,) * (x.dim() - 2))
    return x * scale.view(shape) + shift.view(shape)


def _channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] of x [N, C, ...]."""
    # under autocast x may be bf16; its statistics are not, as in torch's own batch norm
    x = x.float() if x.dtype == torch.bfloat16 else x
    rows = x.movedim(1, -1)
    if x.dim() > 2 and rows.is_contiguous() and not torch.is_grad_enabled():
        return kernels.batch_statistics(rows.flatten(0, -2))
    var, mean = torch.var_mean(x, [d for d in range(x.dim()) if d != 1], correction=0)
    return mean, var
