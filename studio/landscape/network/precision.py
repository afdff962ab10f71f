"""The precision that a scene asks for, in networks whose weights, casts or autocasts have fewer digits.

A weight of bf16 is exact in float32; what is computed from it is not the same in both.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CASTS = {Tensor.half: torch.float16, Tensor.bfloat16: torch.bfloat16, Tensor.float: torch.float32}


def lift(tensor: Tensor) -> Tensor:
    """The tensor in float32, if it is of floats with fewer digits."""
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor


class MinimumPrecision(TorchFunctionMode):
    """A context in which casts to floats of fewer digits lead to `dtype`, and autocast is off; `found`: if any was."""

    def __init__(self, dtype: torch.dtype, device_kind: str):
        super().__init__()
        self._dtype, self._device_kind, self.found = dtype, device_kind, False

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in CASTS:
            func, args, kwargs = Tensor.to, (args[0], CASTS[func]), {}
        is_autocast = torch.is_autocast_enabled(self._device_kind)
        args, named = tuple(map(self._lift, args)), {name: self._lift(value) for name, value in (kwargs or {}).items()}
        self.found |= is_autocast
        with torch.autocast(self._device_kind, enabled=False) if is_autocast else nullcontext():
            return func(*args, **named)

    def _lift(self, value: Any) -> Any:
        if not isinstance(value, torch.dtype) or not value.is_floating_point or value.itemsize >= self._dtype.itemsize:
            return value
        self.found = True
        return self._dtype
