"""Image sequences: a folder of numbered pictures, exactly the frames that were drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from studio.config.units import Duration, Size, Time
from studio.deliver.image_files import ImageOptions, add_metadata, write
from studio.deliver.picture_spec import Picture
from studio.errors import MachineError
from studio.field import Array
from studio.film.bands import Bands
from studio.storage.files import atomic_write

CINEMA_RATES = {
    **dict.fromkeys((Size(1998, 1080), Size(2048, 858), Size(2048, 1080)), (24, 48)),
    **dict.fromkeys((Size(3996, 2160), Size(4096, 1716), Size(4096, 2160)), (24,)),
}
"""Frames a second, by size: 2K and 4K, each flat, scope and full (SMPTE 428-1, 429-2)."""


class Sequence(ImageOptions):
    """A folder of `frame-000000.png`, numbered as the film's frames; for grading, editing and projection elsewhere.

    start_frame: number of the film's first frame, such as 1001. handles: a folder for every shot instead, without its
    transitions, with so many more frames before and after it, in which the camera goes on as it moves. format: png in
    8 bits, png16 and tiff16 in 16; exr, linear light in half floats, before the grade; dcp-source, X'Y'Z' in TIFF
    files of 16 bits, from which any DCP maker makes a DCP. profile: the colours they are converted to and tagged
    with. dpi: pixels to an inch of paper. alpha: with an alpha channel, instead of over the background. aovs: of an
    exr, for compositors: what lies under the centre of every pixel; in the mask 1 is the surface, 2 the marker, 3 the
    wall of a plinth and 4 the ground.
    """

    kind: Literal["sequence"] = "sequence"
    format: Literal["png", "png16", "tiff16", "exr", "dcp-source"] = "png"
    start_frame: Annotated[int, Field(ge=0, le=10**6)] = 0
    handles: Duration = Time(0.0)

    segment_suffix: ClassVar[str] = ".frames"

    def file_name(self, stem: str) -> str:
        """Name of the finished folder of a scene called `stem`."""
        return "-".join([stem, "frames" if self.format == "png" else self.format, *self.name_parts])

    def mistake_at(self, size: Size, fps: Fraction | None = None) -> str | None:
        """What is wrong with this picture size, or rate, and the way out. Only cinemas have set sizes."""
        if fps is not None and self.start_frame < (before := self.handles.frames(fps)):
            return f"handles of {before} frames begin before frame 0; number the film from `start_frame: {before}` on"
        if self.format != "dcp-source":
            return self.aov_mistake(size)
        if size not in CINEMA_RATES:
            return f"{size}: no cinema projects that; dcp-source is one of {', '.join(map(str, CINEMA_RATES))}"
        if fps is not None and fps not in CINEMA_RATES[size]:
            return f"{float(fps):g} frames a second: a DCP of {size} has {' or '.join(map(str, CINEMA_RATES[size]))}"
        return None

    def write_segment(
        self, frames: Iterable[Bands | Array | Picture], path: Path, size: Size, fps: Fraction, first: int = 0
    ) -> None:
        """Writes frames, made as `picture_spec` says, as a folder that is one segment.

        first: number of the first one in the film. An exception from `frames` passes through and leaves no folder.
        """
        with atomic_write(path) as temporary:
            temporary.mkdir()
            for number, frame in enumerate(self.picture_spec.validate(frames, size), first):
                write(temporary / self._frame_name(number), frame, self)

    def join(
        self, segments: list[Path], path: Path, *, frames: int, size: Size, fps: Fraction, provenance: Mapping[str, Any]
    ) -> None:
        """Gathers the segments' pictures in one folder, each with the provenance in it.

        Raises MachineError, and keeps nothing, if the pictures are not `frames` consecutive ones, all whole.
        """
        pictures = sorted((picture for segment in segments for picture in segment.iterdir()), key=lambda p: p.name)
        names = [picture.name for picture in pictures]
        first = int(names[0][6:].partition(".")[0]) - self.start_frame if names else 0
        if names != [self._frame_name(first + i) for i in range(frames)]:
            raise MachineError(f"{path}: not whole, so not kept: {len(names)} pictures, not {frames} consecutive ones")
        with atomic_write(path) as temporary:
            temporary.mkdir()
            for picture in pictures:
                add_metadata(picture, temporary / picture.name, self, size, provenance)

    def _frame_name(self, number: int) -> str:
        return f"frame-{number + self.start_frame:06d}{self.suffix}"
