"""Samples whose batches are more than x and y: dicts and tuples of tensors, however nested.

    {"tokens": [N, T], "mask": [N, T]}  <->  one structured array [N] with the fields `tokens` and `mask`

So whatever takes, saves and hashes samples [N, ...] takes these. A tuple's fields are called `[0]`, `[1]` and so on.
Only the user's own objective reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map


@dataclass(frozen=True, eq=False)
class Batch:
    """N samples as tensors [N, ...] in dicts and tuples. content: what the user's objective gets."""

    content: Any

    @property
    def tensors(self) -> list[Tensor]:
        """All of its tensors."""
        leaves: list[Tensor] = tree_leaves(self.content)
        return leaves

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.tensors[0].device

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor changed."""
        return Batch(tree_map(change, self.content))

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return self.map(lambda tensor: tensor.to(device))

    def __getitem__(self, indices: Tensor | slice) -> Batch:
        return self.map(lambda tensor: tensor[indices])

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __str__(self) -> str:
        return f"of {', '.join(self.content) if isinstance(self.content, Mapping) else f'{len(self.content)} parts'}"


X = Tensor | Batch
"""Samples [N, ...]."""


def to_tensors(array: np.ndarray) -> Any:
    """An array as a tensor; a structured one as a `Batch`."""
    return Batch(_content(array)) if array.dtype.names else torch.from_numpy(array)


def to_array(content: Any) -> np.ndarray:
    """A tensor or array [N, ...] as an array, floats as float32; dicts and tuples of such as one structured array.

    Raises ValueError unless N is the same for all, and TypeError for what are no numbers.
    """
    if not isinstance(content, Mapping | tuple | list):
        is_real = isinstance(content, Tensor) and content.is_floating_point()
        array = np.asarray(content.detach().cpu().float() if is_real else content)
        if array.dtype.kind not in "fiub" or not array.ndim:
            raise TypeError(f"a batch holds {array.dtype} {list(array.shape)}, expected numbers [N, ...]")
        return array.astype(np.float32) if array.dtype.kind == "f" else array
    named = content if isinstance(content, Mapping) else {f"[{i}]": part for i, part in enumerate(content)}
    parts = {str(name): to_array(part) for name, part in named.items()}
    if len(counts := {len(part) for part in parts.values()}) != 1:
        shapes = ", ".join(f"{name} {list(part.shape)}" for name, part in parts.items())
        raise ValueError(f"its parts have other numbers of samples: {shapes}")
    packed = np.empty(counts.pop(), [(name, part.dtype, part.shape[1:]) for name, part in parts.items()])
    for name, part in parts.items():
        packed[name] = part
    return packed


def _content(array: np.ndarray) -> Any:
    if not array.dtype.names:
        return torch.from_numpy(array.copy())  # a field's numbers lie apart
    parts = {name: _content(array[name]) for name in array.dtype.names}
    return tuple(parts.values()) if all(re.fullmatch(r"\[\d+\]", name) for name in parts) else parts
