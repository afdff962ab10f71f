"""Image sequences: a folder of numbered pictures, exactly the frames that were drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Listed
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from studio.config.units import Size
from studio.deliver.image_files import Finish, inscribe, verified, write
from studio.deliver.picture_spec import Picture
from studio.errors import MachineError
from studio.film.bands import Bands
from studio.storage.files import atomic_write

VERSION = 3
CINEMA = {
    size: rates
    for rates, sizes in {
        (24, 48): (Size(1998, 1080), Size(2048, 858), Size(2048, 1080)),
        (24,): (Size(3996, 2160), Size(4096, 1716), Size(4096, 2160)),
    }.items()
    for size in sizes
}
"""Frames a second, by size: 2K and 4K, each flat, scope and full (SMPTE 428-1, 429-2)."""


class Sequence(Finish):
    """A folder of `frame-000000.png`, numbered as the film's frames; for grading, editing and projection elsewhere.

    format: png in 8 bits, png16 and tiff16 in 16; exr, linear light in half floats, before the grade; dcp-source,
    X'Y'Z' in TIFF files of 16 bits, from which any DCP maker makes a DCP. profile: the colours they are converted to
    and tagged with. dpi: pixels to an inch of paper. alpha: with it, not over the background. aovs: of an exr, for
    compositors: what lies under the centre of every pixel; in the mask 1 is the surface, 2 the marker, 3 the wall of a
    plinth and 4 the ground.
    """

    kind: Literal["sequence"] = "sequence"
    format: Literal["png", "png16", "tiff16", "exr", "dcp-source"] = "png"

    piece: ClassVar[str] = ".frames"

    def file(self, stem: str) -> str:
        """Name of the finished folder of a scene."""
        return "-".join([stem, "frames" if self.format == "png" else self.format, *self.words])

    def mistake(self, size: Size, fps: Fraction | None = None) -> str | None:
        """What is wrong with this picture size, or rate, and the way out. Only cinemas have set sizes."""
        if self.format != "dcp-source":
            return self.heavy(size)
        if size not in CINEMA:
            return f"{size}: no cinema projects that; dcp-source is one of {', '.join(map(str, CINEMA))}"
        if fps is not None and fps not in CINEMA[size]:
            return f"{float(fps):g} frames a second: a DCP of {size} has {' or '.join(map(str, CINEMA[size]))}"
        return None

    def identity(self) -> dict[str, Any]:
        """What the bytes of a piece depend on besides its frames: for its key."""
        return {"kind": self.kind, "version": VERSION, **super().identity()}

    def segment(
        self, frames: Iterable[Bands | np.ndarray | Picture], path: Path, size: Size, fps: Fraction, first: int = 0
    ) -> int:
        """Writes frames, as the sequence wants them, as a folder that is one piece; returns their number.

        first: number of the first one in the film. An exception from `frames` passes through and leaves no folder.
        """
        count = 0
        with atomic_write(path) as beside:
            beside.mkdir()
            for count, frame in enumerate(self.wants.checked(frames, size), start=1):
                write(beside / self._name(first + count - 1), frame, self)
            if count == 0:
                raise ValueError(f"{path}: a piece of no frames")
        return count

    def join(
        self, pieces: Listed[Path], path: Path, *, frames: int, size: Size, fps: Fraction, provenance: Mapping[str, Any]
    ) -> None:
        """Gathers the pieces' pictures in one folder, each with the provenance in it.

        Raises MachineError, and keeps nothing, if the pictures are not `frames` consecutive ones, all whole.
        """
        found = sorted((picture for piece in pieces for picture in Path(piece).iterdir()), key=lambda p: p.name)
        self._consecutive(path, [picture.name for picture in found], frames)
        with atomic_write(path) as beside:
            beside.mkdir()
            for picture in found:
                verified(picture, self, size)
                inscribe(picture, beside / picture.name, self, provenance)

    def _name(self, number: int) -> str:
        return f"frame-{number:06d}{self.suffix}"

    def _consecutive(self, path: Path, names: list[str], frames: int) -> None:
        first = int(names[0][6:].partition(".")[0]) if names else 0
        if names != [self._name(first + i) for i in range(frames)]:
            raise MachineError(f"{path}: not whole, so not kept: {len(names)} pictures, not {frames} consecutive ones")
