"""Stills: one frame of the film as a picture file, for the wall, the page and the screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from studio.config.units import Duration, Size
from studio.deliver.image_files import Finish, inscribe, verified, write
from studio.deliver.picture_spec import Picture
from studio.film.bands import Bands
from studio.storage.files import atomic_write

VERSION = 3
_JPEG = 65500  # of every library that is made of libjpeg; the format itself could count to 65535


class Still(Finish):
    """The picture at one time of the film. at: film time, such as `6s` or `144f`.

    format: png and jpg in 8 bits, png16 and tiff16 in 16; exr, linear light in half floats, before the grade. profile:
    the colours it is converted to and tagged with. dpi: pixels to an inch of paper. alpha: with it, not over the
    background. aovs: of an exr, for compositors: what lies under the centre of every pixel; in the mask 1 is the
    surface, 2 the marker, 3 the wall of a plinth and 4 the ground.
    """

    kind: Literal["still"] = "still"
    at: Duration
    format: Literal["png", "png16", "tiff16", "jpg", "exr"] = "png"

    @property
    def piece(self) -> str:
        """Suffix of the piece."""
        return self.suffix

    def file(self, stem: str) -> str:
        """Name of the finished picture of a scene."""
        words = ["16bit"] if self.format == "png16" else []
        return "-".join([stem, "at", str(self.at), *words, *self.words]) + self.suffix

    def mistake(self, size: Size, fps: Fraction | None = None) -> str | None:
        """What is wrong with this picture size, and the way out. Only a JPEG has a largest one, and layers do."""
        if self.format == "jpg" and max(size) > _JPEG:
            return f"{size}: a JPEG ends at {_JPEG} pixels a side; take png, png16 or tiff16, which do not end"
        return self.heavy(size)

    def identity(self) -> dict[str, Any]:
        """What the bytes of the piece depend on besides its frame: for its key. Not `at`: that chose the frame."""
        return {"kind": self.kind, "version": VERSION, **super().identity()}

    def segment(
        self, frames: Iterable[Bands | np.ndarray | Picture], path: Path, size: Size, fps: Fraction, first: int = 0
    ) -> int:
        """Writes the one frame, as the still wants it, as the one piece; returns 1."""
        [frame] = self.wants.checked(frames, size)
        with atomic_write(path) as beside:
            write(beside, frame, self)
        return 1

    def join(
        self,
        pieces: Sequence[Path],
        path: Path,
        *,
        frames: int = 1,
        size: Size,
        fps: Fraction,
        provenance: Mapping[str, Any],
    ) -> None:
        """Hands over the one piece, with its provenance in it. Raises MachineError if it is not whole."""
        [piece] = pieces
        verified(piece, self, size)
        with atomic_write(path) as beside:
            inscribe(piece, beside, self, provenance)
