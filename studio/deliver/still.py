"""Stills: one frame of the film as a picture file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

from studio.config.units import CueTime, Size, Time
from studio.deliver.image_files import ImageOptions, add_metadata, write
from studio.deliver.image_io import MAX_JPEG_SIDE
from studio.deliver.picture_spec import Picture
from studio.field import Array
from studio.film.bands import Bands
from studio.storage.files import atomic_write


class Still(ImageOptions):
    """The picture at one time of the film. at: film time, such as `6s` or `144f`.

    format: png and jpg in 8 bits, png16 and tiff16 in 16; exr, linear light in half floats, before the grade. profile:
    the colours it is converted to and tagged with. dpi: pixels to an inch of paper. alpha: with an alpha channel,
    instead of over the background. aovs: of an exr, for compositors: what lies under the centre of every pixel; in the
    mask 1 is the surface, 2 the marker, 3 the wall of a plinth and 4 the ground.
    """

    kind: Literal["still"] = "still"
    at: CueTime
    format: Literal["png", "png16", "tiff16", "jpg", "exr"] = "png"

    handles: ClassVar[Time] = Time(0)

    @property
    def segment_suffix(self) -> str:
        """Suffix of the one segment."""
        return self.suffix

    def file_name(self, stem: str) -> str:
        """Name of the finished picture of a scene called `stem`."""
        bits = ["16bit"] if self.format == "png16" else []
        return "-".join([stem, "at", str(self.at), *bits, *self.name_parts]) + self.suffix

    def mistake_at(self, size: Size, fps: Fraction | None = None) -> str | None:
        """What is wrong with this picture size, and the way out; only a JPEG and AOVs have a largest one."""
        if self.format == "jpg" and max(size) > MAX_JPEG_SIDE:
            return f"{size}: a JPEG ends at {MAX_JPEG_SIDE} pixels a side; take png, png16 or tiff16, which do not end"
        return self.aov_mistake(size)

    def write_segment(
        self, frames: Iterable[Bands | Array | Picture], path: Path, size: Size, fps: Fraction, first: int = 0
    ) -> None:
        """Writes the one frame, made as `picture_spec` says, as the one segment."""
        [frame] = self.picture_spec.validate(frames, size)
        with atomic_write(path) as temporary:
            write(temporary, frame, self)

    def join(
        self, segments: list[Path], path: Path, *, frames: int, size: Size, fps: Fraction, provenance: Mapping[str, Any]
    ) -> None:
        """Hands over the one segment, with its provenance in it. Raises MachineError if it is not whole."""
        [segment] = segments
        with atomic_write(path) as temporary:
            add_metadata(segment, temporary, self, size, provenance)
