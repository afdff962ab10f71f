"""Stills: one frame of the film as a PNG file."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import MachineError
from ..files import atomic
from ..spec import Duration, Record, Size
from .pictures import checked, inscribed, measured, png

VERSION = 1


class Still(Record):
    """The picture at one time of the film, 8 bit sRGB. at: film time, such as `6s` or `144f`."""

    kind: Literal["still"] = "still"
    at: Duration

    piece: ClassVar[str] = ".png"

    def file(self, stem: str) -> str:
        """Name of the finished picture of a scene."""
        return f"{stem}-at-{self.at}.png"

    def mistake(self, size: Size) -> str | None:
        """None: a picture may have any size."""
        return None

    def identity(self) -> dict[str, Any]:
        """What the bytes of the piece depend on besides its frame: for its key. Not `at`: that chose the frame."""
        return {"kind": self.kind, "version": VERSION}

    def segment(self, frames: Iterable[np.ndarray], path: Path, size: Size, fps: Fraction, first: int = 0) -> int:
        """Writes the one frame, uint8 sRGB [height, width, 3], as the one piece; returns 1."""
        [frame] = checked(frames, size)
        with atomic(path) as beside:
            beside.write_bytes(png(frame))
        return 1

    def join(self, pieces: Sequence[Path], path: Path, *, frames: int = 1, size: Size, fps: Fraction,
             provenance: Mapping[str, Any]) -> None:
        """Hands over the one piece, with its provenance in a text chunk. Raises MachineError if it is not whole."""
        [piece] = pieces
        data = Path(piece).read_bytes()
        if measured(data) != size:
            raise MachineError(f"{piece}: is no whole picture of {size}; remove it and run again")
        with atomic(path) as beside:
            beside.write_bytes(inscribed(data, provenance))
