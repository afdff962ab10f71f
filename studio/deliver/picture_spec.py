"""What a deliverable wants to be made of: the bits and channels of its pictures, and the layers beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np

from studio.config.units import Size
from studio.film.bands import Bands

Aov = Literal["depth", "normal", "position", "loss", "convexity", "mask"]


class Picture(NamedTuple):
    """A picture with the layers of its frame, by their names: half floats or float32 [height, width, 1 or 3]."""

    picture: Bands
    aovs: Mapping[Aov, np.ndarray]


class PictureSpec(NamedTuple):
    """What pictures are made for a deliverable: how they are graded, and which layers come with them.

    bits: of a channel of sRGB codes; None for linear light in half floats, before the grade. alpha: with it, or over
    the background.
    """

    bits: Literal[8, 16] | None = 8
    alpha: bool = False
    aovs: tuple[Aov, ...] = ()

    @property
    def dtype(self) -> np.dtype:
        return np.dtype({8: np.uint8, 16: np.uint16, None: np.float16}[self.bits])

    def checked(self, frames: Iterable[Bands | np.ndarray | Picture], size: Size) -> Iterator[Picture]:
        """The same pictures, in bands. Raises ValueError at one that is not what is wanted: it would shear."""
        shape = (size.height, size.width, 4 if self.alpha else 3)
        for frame in frames:
            picture, layers = frame if isinstance(frame, Picture) else (frame, {})
            if isinstance(picture, np.ndarray):
                picture = Bands.of(picture)
            if picture.shape != shape or picture.dtype != self.dtype or set(layers) != set(self.aovs):
                found = _words(picture.shape, picture.dtype, layers)
                raise ValueError(f"a frame of {found}; expected {_words(shape, self.dtype, self.aovs)}")
            yield Picture(picture, layers)


def _words(shape: tuple[int, ...], dtype: np.dtype, layers: Iterable[str]) -> str:
    return " ".join([str(np.dtype(dtype)), str(shape), *(["with", *sorted(layers)] if layers else [])])
