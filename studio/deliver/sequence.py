"""Image sequences: a folder of numbered PNG files, exactly the frames that were drawn."""

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Listed
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import MachineError
from ..files import atomic
from ..spec import Record, Size
from .pictures import checked, inscribed, measured, png

VERSION = 1


class Sequence(Record):
    """A folder of `frame-000000.png`, 8 bit sRGB, numbered as the film's frames; for grading and editing elsewhere."""

    kind: Literal["sequence"] = "sequence"

    piece: ClassVar[str] = ".frames"

    def file(self, stem: str) -> str:
        """Name of the finished folder of a scene."""
        return f"{stem}-frames"

    def mistake(self, size: Size) -> str | None:
        """None: pictures may have any size."""
        return None

    def identity(self) -> dict[str, Any]:
        """What the bytes of a piece depend on besides its frames: for its key."""
        return {"kind": self.kind, "version": VERSION}

    def segment(self, frames: Iterable[np.ndarray], path: Path, size: Size, fps: Fraction, first: int = 0) -> int:
        """Writes frames, uint8 sRGB [height, width, 3], as a folder that is one piece; returns their number.

        first: number of the first one in the film. An exception from `frames` passes through and leaves no folder.
        """
        count = 0
        with atomic(path) as beside:
            beside.mkdir()
            for count, frame in enumerate(checked(frames, size), start=1):
                (beside / _name(first + count - 1)).write_bytes(png(frame))
            if count == 0:
                raise ValueError(f"{path}: a piece of no frames")
        return count

    def join(self, pieces: Listed[Path], path: Path, *, frames: int, size: Size, fps: Fraction,
             provenance: Mapping[str, Any]) -> None:
        """Gathers the pieces' pictures in one folder, each with the provenance in a text chunk.

        Raises MachineError, and keeps nothing, if the pictures are not `frames` consecutive ones of this size.
        """
        found = sorted((picture for piece in pieces for picture in Path(piece).glob("*.png")), key=lambda p: p.name)
        _whole(path, [picture.name for picture in found], frames)
        with atomic(path) as beside:
            beside.mkdir()
            for picture in found:
                (beside / picture.name).write_bytes(inscribed(_read(picture, size), provenance))


def _name(number: int) -> str:
    return f"frame-{number:06d}.png"


def _whole(path: Path, names: list[str], frames: int) -> None:
    first = int(names[0][6:-4]) if names else 0
    if names != [_name(first + i) for i in range(frames)]:
        raise MachineError(f"{path}: not whole, so not kept: {len(names)} pictures, not {frames} consecutive ones")


def _read(picture: Path, size: Size) -> bytes:
    data = picture.read_bytes()
    if measured(data) != size:
        raise MachineError(f"{picture}: is no whole picture of {size}; remove it and run again")
    return data
