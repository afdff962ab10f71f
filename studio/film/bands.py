"""A picture that need never be whole in memory: bands of rows, the topmost first, made as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bands:
    """A picture of `shape` [H, W, C] and `dtype`. make: makes its bands [rows, W, C], the topmost first, every time."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    make: Callable[[], Iterable[np.ndarray]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.make())

    def whole(self) -> np.ndarray:
        """All of it [H, W, C]."""
        picture, row = np.empty(self.shape, self.dtype), 0
        for band in self:
            picture[row : row + len(band)] = band
            row += len(band)
        return picture

    @classmethod
    def of(cls, picture: np.ndarray) -> Bands:
        """A picture [H, W, C] that is there already, as one band."""
        return cls(picture.shape, picture.dtype, lambda: (picture,))
