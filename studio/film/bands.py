"""Pictures streamed as bands of rows, top to bottom, so that a large one never has to fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.field import Array


@dataclass(frozen=True)
class Bands:
    """A picture of `shape` [H, W, C] and `dtype`; every iteration makes its bands again.

    make: returns fresh bands [rows, W, C], top to bottom, at every call.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[], Iterable[Array]]

    def __iter__(self) -> Iterator[Array]:
        return iter(self.make())

    def to_array(self) -> Array:
        """The complete picture [H, W, C] as one array."""
        picture, row = np.empty(self.shape, self.dtype), 0
        for band in self:
            picture[row : row + len(band)] = band
            row += len(band)
        return picture

    @classmethod
    def from_array(cls, picture: Array) -> Bands:
        """A picture [H, W, C] already in memory, as a single band."""
        return cls(picture.shape, picture.dtype, lambda: (picture,))


def regroup(bands: Iterable[Array], count: int) -> Iterator[Array]:
    """The same rows in bands of `count` rows, the last one of what is left."""
    rest: Array | None = None
    for band in bands:
        start = 0
        if rest is not None:
            start = count - len(rest)
            rest = np.concatenate([rest, band[:start]])
            if len(rest) < count:
                continue
            yield rest
        end = len(band) - (len(band) - start) % count
        for top in range(start, end, count):
            yield band[top : top + count]
        rest = band[end:].copy() if end < len(band) else None  # a copy, so that the whole band can be freed
    if rest is not None:
        yield rest
