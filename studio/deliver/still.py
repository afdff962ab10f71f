"""Stills: one frame of the film as a picture file, for the wall, the page and the screen."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ..files import atomic
from ..spec import Duration, Record, Size
from .colour import Profile
from .pictures import FORMATS, Finish, checked, inscribe, verified, write

VERSION = 2


class Still(Record):
    """The picture at one time of the film. at: film time, such as `6s` or `144f`.

    format: png and jpg in 8 bits, png16 and tiff16 in 16; exr, linear light in half floats. profile: the colours it is
    converted to and tagged with. dpi: pixels to an inch of paper.
    """

    kind: Literal["still"] = "still"
    at: Duration
    format: Literal["png", "png16", "tiff16", "jpg", "exr"] = "png"
    profile: Profile = "srgb"
    dpi: Annotated[int, Field(ge=1, le=65535)] | None = None

    @property
    def finish(self) -> Finish:
        return Finish(self.format, self.profile, self.dpi)

    @property
    def piece(self) -> str:
        """Suffix of the piece."""
        return FORMATS[self.format].suffix

    @property
    def bits(self) -> int:
        """Of a channel of the frame it can make use of: 8 or 16."""
        return FORMATS[self.format].bits

    @property
    def alpha(self) -> bool:
        """Whether it keeps the alpha of its frame."""
        return FORMATS[self.format].alpha

    def file(self, stem: str) -> str:
        """Name of the finished picture of a scene."""
        words = ["16bit"] if self.format == "png16" else []
        words += [] if self.profile == "srgb" else [self.profile]
        return "-".join([stem, "at", str(self.at), *words]) + self.piece

    def mistake(self, size: Size, fps: Fraction | None = None) -> str | None:
        """None: a picture may have any size."""
        return None

    def identity(self) -> dict[str, Any]:
        """What the bytes of the piece depend on besides its frame: for its key. Not `at`: that chose the frame."""
        return {"kind": self.kind, "version": VERSION, **self.finish._asdict()}

    def segment(self, frames: Iterable[np.ndarray], path: Path, size: Size, fps: Fraction, first: int = 0) -> int:
        """Writes the one frame as the one piece; returns 1.

        frames: sRGB in uint8 or uint16 [height, width, 3 or 4]; for exr also linear light in float16.
        """
        [frame] = checked(frames, size, half=self.format == "exr")
        with atomic(path) as beside:
            write(beside, frame, self.finish)
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
        verified(piece, self.finish, size)
        with atomic(path) as beside:
            shutil.copyfile(piece, beside)
            inscribe(beside, self.finish, provenance)
