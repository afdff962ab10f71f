"""Samples whose batches are more than x and y: dicts and tuples of tensors, however nested.

    {"tokens": [N, T], "mask": [N, T]}  <->  one structured array [N] with the fields `tokens` and `mask`

So whatever takes, saves and hashes samples [N, ...] takes these. A tuple's fields are called `[0]`, `[1]` and so on.
Only the user's own objective reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """N samples as tensors [N, ...] in dicts and tuples. content: what the user's objective gets."""

    content: Any

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor changed."""
        return Batch(_mapped(self.content, change))

    def to(self, *place: Any) -> Batch:
        """The batch on a device."""
        return self.map(lambda tensor: tensor.to(*place))

    def __getitem__(self, indices: Tensor | slice) -> Batch:
        return self.map(lambda tensor: tensor[indices])

    def __len__(self) -> int:
        return len(next(self.tensors()))

    def tensors(self) -> Iterator[Tensor]:
        """All of its tensors, in their order."""
        yield from _leaves(self.content)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next(self.tensors()).device

    @property
    def dtype(self) -> str:
        """Its names, for messages."""
        return f"of {', '.join(self.content) if isinstance(self.content, Mapping) else f'{len(self.content)} parts'}"

    @property
    def shape(self) -> tuple[int]:
        """The number of its samples."""
        return (len(self),)


X = Tensor | Batch
"""Samples [N, ...]."""


def to_tensors(array: np.ndarray) -> Any:
    """An array as a tensor; a structured one as a `Batch`."""
    return Batch(_content(array)) if array.dtype.names else torch.from_numpy(array)


def to_array(content: Any) -> np.ndarray:
    """Arrays [N, ...] in dicts and tuples as one structured array. Raises ValueError unless N is the same for all."""
    if not isinstance(content, Mapping | tuple | list):
        return np.asarray(content)
    named = content if isinstance(content, Mapping) else {f"[{i}]": part for i, part in enumerate(content)}
    parts = {str(name): to_array(part) for name, part in named.items()}
    if len(counts := {part.shape[0] if part.ndim else 1 for part in parts.values()}) != 1:
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


def _leaves(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    else:
        for part in content.values() if isinstance(content, Mapping) else content:
            yield from _leaves(part)


def _mapped(content: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(content, Mapping):
        return {name: _mapped(part, change) for name, part in content.items()}
    return tuple(_mapped(part, change) for part in content) if isinstance(content, tuple) else change(content)
