"""What pictures a deliverable is made of, and their check: bits, channels, and the AOVs that come with them.

An AOV is a name here, channels in `studio.deliver.image_files`, and values in `studio.render.aovs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from studio.config.units import Size
from studio.field import Array
from studio.film.bands import Bands

Aov = Literal["depth", "normal", "position", "loss", "convexity", "mask"]


class Picture(NamedTuple):
    """A picture with the AOVs of its frame, by name: half floats or float32 [height, width, 1 or 3]."""

    picture: Bands
    aovs: Mapping[Aov, Array]


class PictureSpec(NamedTuple):
    """How pictures are graded for a deliverable, and which AOVs come with them.

    bits: of a channel of sRGB codes; None for linear light in half floats, before the grade. alpha: with an alpha
    channel, instead of over the background.
    """

    bits: Literal[8, 16] | None = 8
    alpha: bool = False
    aovs: tuple[Aov, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a channel: uint8, uint16 or float16."""
        return np.dtype({8: np.uint8, 16: np.uint16, None: np.float16}[self.bits])

    def validate(self, frames: Iterable[Bands | Array | Picture], size: Size) -> Iterator[Picture]:
        """The same pictures, in bands. Raises ValueError at one of another shape, type or set of AOVs."""
        shape = (size.height, size.width, 4 if self.alpha else 3)
        for frame in frames:
            picture, aovs = frame if isinstance(frame, Picture) else (frame, {})
            if picture.shape != shape or picture.dtype != self.dtype or set(aovs) != set(self.aovs):
                actual = _describe(picture.shape, picture.dtype, aovs)
                raise ValueError(f"a frame of {actual}; expected {_describe(shape, self.dtype, self.aovs)}")
            yield Picture(Bands.from_array(picture) if isinstance(picture, np.ndarray) else picture, aovs)


def _describe(shape: tuple[int, ...], dtype: np.dtype[Any], aovs: Iterable[str]) -> str:
    return " ".join([str(dtype), str(shape), *(["with", *sorted(aovs)] if aovs else [])])
