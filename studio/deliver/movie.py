"""Movies: ffmpeg encodes frames in bounded segments, and the finished segments are joined without encoding again.

    sRGB frames  ->  pixels as the preset encodes them  ->  segments, each of closed GOPs  ->  one file

A segment is a function of its frames alone: one encoding thread, no rate control across segments.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from studio.config.records import Record
from studio.config.units import Duration, Size, Time
from studio.deliver import animation, colour_spaces, encoder
from studio.deliver.loop import loop_gap
from studio.deliver.media import Animation, Media, decoding_error, differences, end_frames, packet_checksums, probe
from studio.deliver.picture_spec import Picture, PictureSpec
from studio.deliver.presets import PRESETS, Preset, PresetName
from studio.errors import MachineError, SceneError
from studio.field import Array
from studio.film.bands import Bands
from studio.storage.files import atomic_write

VERSION = 4  # raise it when the same frames are to be encoded differently
Timecode = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d:[0-5]\d[:;]\d\d$")]
"""Hours, minutes, seconds and frames: `01:00:00:00`; before the frames of drop-frame counting stands a semicolon."""
_ALPHA_BY_DEFAULT = ("prores-4444", "vp9-alpha")


class Movie(Record):
    """A movie.

    preset: format, codec and quality, by name.
    h264-web: H.264 in 8 bits, hardly distinguishable from the frames; every browser and player shows it.
    h264-archive: the same, indistinguishable from the frames, and four times as large.
    hevc-10, av1-10: 10 bits, so that dark slopes show no bands.
    prores-422hq, dnxhr: for editing rooms: 10 bits, every frame a key frame, beginning at 01:00:00:00.
    prores-4444: the same with alpha and colour at full size. ffv1: exactly the frames, RGB in 16 bits, for archives.
    vp9-alpha: with alpha, for web pages. gif, webp: animated pictures that loop without end; webp with alpha.
    loop: the last frame must lead into the first one; a movie whose last frame does not is refused.
    alpha: of prores-4444, vp9-alpha and webp: an alpha channel instead of the background. The first two have it unless
    it is false. timecode: of the first frame, such as `01:00:00:00`, in the .mov files of editing rooms. handles: a
    movie for every shot instead, without its transitions, with so much more before and after it, in which the camera
    goes on as it moves.
    """

    kind: Literal["movie"] = "movie"
    preset: PresetName = "h264-web"
    loop: bool = False
    alpha: bool | None = None
    timecode: Timecode | None = None
    handles: Duration = Time(0.0)

    @property
    def segment_suffix(self) -> str:
        """Suffix of a segment."""
        return self._preset.segment_suffix or self._preset.suffix

    @model_validator(mode="after")
    def _can_have_timecode(self) -> Movie:
        if self.timecode and "timecode" not in self._preset.join_options:
            with_timecode = ", ".join(name for name, preset in PRESETS.items() if "timecode" in preset.join_options)
            raise ValueError(f"{self.preset} keeps no timecode; leave it out, or take one of {with_timecode}")
        return self

    @model_validator(mode="after")
    def _can_have_alpha(self) -> Movie:
        if self.alpha and not self._preset.alpha:
            with_alpha = ", ".join(name for name, preset in PRESETS.items() if preset.alpha)
            raise ValueError(f"{self.preset} has no alpha; leave out `alpha`, or take one of {with_alpha}")
        return self

    @property
    def picture_spec(self) -> PictureSpec:
        """What pictures it is made of."""
        alpha = self.preset in _ALPHA_BY_DEFAULT if self.alpha is None else self.alpha
        return PictureSpec(8 if self._preset.bits == 8 else 16, alpha)

    @property
    def encoders(self) -> frozenset[str]:
        """Names of the ffmpeg encoders it needs."""
        return frozenset({self._preset.encoder, *animation.ENCODERS.get(self.preset, ())})

    @property
    def _preset(self) -> Preset:
        return PRESETS[self.preset]

    def file_name(self, stem: str) -> str:
        """Name of the finished movie of a scene called `stem`."""
        suffix = self._preset.suffix
        return stem + suffix if self.preset in ("h264-web", suffix[1:]) else f"{stem}-{self.preset}{suffix}"

    def mistake_at(self, size: Size, fps: Fraction | None = None) -> str | None:
        """What is wrong with this picture size, or rate, and the way out; None if nothing is."""
        preset, (across, down) = self._preset, self._preset.multiples
        if size.width % across or size.height % down:
            nearest = Size(size.width + size.width % across, size.height + size.height % down)
            chroma = "the size of colour, so both sides" if down == 2 else "the width of colour, so the width"
            return f"{size}: {self.preset} halves {chroma} must be even; the nearest is {nearest}"
        if preset.max_size and _blocks(size) > _blocks(preset.max_size):
            return f"{size}: {self.preset} ends at {preset.max_size}; deliver a sequence or stills at this size"
        if size.width < preset.min_size.width or size.height < preset.min_size.height:
            return f"{size}: {self.preset} begins at {preset.min_size}; make the film larger, or choose another preset"
        if fps is not None and self.timecode and int(self.timecode[-2:]) >= fps:
            return (
                f"timecode {self.timecode}: frames count from 00 to {math.ceil(fps) - 1:02} at {float(fps):g} a second"
            )
        if fps is not None and preset.max_fps and fps > preset.max_fps:
            return f"{float(fps):g} frames a second: {self.preset} ends at {preset.max_fps}; lower `film: {{fps: ...}}`"
        return None

    def identity(self) -> dict[str, Any]:
        """What the bytes of a segment depend on besides its frames, size and rate: part of its digest."""
        return {
            "kind": self.kind,
            "preset": self.preset,
            "alpha": self.picture_spec.alpha,
            "version": VERSION,
            "ffmpeg": encoder.version(),
        }

    def write_segment(
        self, frames: Iterable[Bands | Array | Picture], path: Path, size: Size, fps: Fraction, first: int = 0
    ) -> None:
        """Encodes frames, made as `picture_spec` says, as one segment.

        first: number of the first one in the film; a movie's segment does not depend on it. Raises MachineError with
        ffmpeg's own words; an exception from `frames` passes through. Neither leaves a file.
        """
        import ffmpeg

        alpha, spec = self._preset.alpha, self.picture_spec
        counted = itertools.count()
        pictures = (frame.picture.to_array() for frame, _ in zip(spec.validate(frames, size), counted, strict=False))
        pixels = (np.ascontiguousarray(colour_spaces.add_alpha(p) if alpha else p).data for p in pictures)
        with atomic_write(path) as temporary:
            layouts = ("rgb24", "rgba") if spec.bits == 8 else ("rgb48le", "rgba64le")
            source = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt=layouts[alpha], s=str(size), framerate=str(fps))
            encoder.run(source.output(encoder.file_url(temporary), **self._preset.encode_options(fps)), pixels)
            if (written := probe(temporary).frames) != (count := next(counted)):
                raise MachineError(f"{path}: {encoder.program()} wrote {written} of {count} frames, and no error")

    def join(
        self, segments: list[Path], path: Path, *, frames: int, size: Size, fps: Fraction, provenance: Mapping[str, Any]
    ) -> Media | Animation:
        """Joins the segments, in order, into the movie, with its provenance as JSON in the comment.

        frames: how many it must have. Raises MachineError, and keeps no file, if the file holds something else;
        SceneError if it should loop and does not.
        """
        comment = json.dumps(provenance, sort_keys=True, default=str)
        self.check_loop(segments, path)
        with atomic_write(path) as temporary:
            if self.preset in animation.ENCODERS:
                media: Media | Animation
                media, defect = animation.write(self.preset, segments, temporary, frames, size, fps, comment)
            else:
                media, defect = self._copy(segments, temporary, frames, size, fps, comment)
            if defect:
                raise MachineError(f"{path}: not whole, so not kept: {defect}")
        return media

    def check_loop(self, segments: Sequence[Path], path: Path) -> None:
        """Raises SceneError if it should loop and does not; the segments at both ends are enough."""
        if self.loop and (gap := loop_gap(*end_frames(segments))):
            raise SceneError(f"{path}: does not loop, so not kept: {gap}")

    def _copy(
        self, segments: Sequence[Path], path: Path, frames: int, size: Size, fps: Fraction, comment: str
    ) -> tuple[Media, str]:
        """Copies the segments into one file; returns what it holds, and what is wrong with it, empty if nothing."""
        options = self._preset.copy_options(fps) | ({"timecode": self.timecode} if self.timecode else {})
        output = encoder.concat_input().output(encoder.file_url(path), metadata=f"comment={comment}", **options)
        encoder.run(output, [encoder.concat_list(segments)], segments[0].parent)
        media = probe(path)
        if difference := differences(media, self._expected(media.pixel_format, frames, size, fps, comment)):
            return media, difference
        if list(packet_checksums(path)) != list(chain.from_iterable(map(packet_checksums, segments))):
            return media, "its packets are not those of its segments"
        if complaint := decoding_error(path, frames, fps, size):
            broken = [str(segment) for segment in segments if decoding_error(segment, probe(segment).frames, fps, size)]
            return media, complaint + (f"; remove {' and '.join(broken)} and run again" if broken else "")
        return media, ""

    def _expected(self, pixel_format: str, frames: int, size: Size, fps: Fraction, comment: str) -> Media:
        """What the file must hold. pixel_format: as a decoder names it, which may be another name for the preset's."""
        preset = self._preset
        name = pixel_format if pixel_format == preset.decoded_format else preset.pixel_format
        stream = frames, fps, size, preset.codec, name, preset.alpha, *preset.tags
        faststart = preset.suffix in (".mp4", ".mov")
        return Media(*stream, faststart=faststart, constant_rate=True, sound="none", comment=comment)


def _blocks(size: Size) -> int:
    """Number of 16x16 blocks: the levels of H.264 and its successors count these."""
    return -(-size.width // 16) * -(-size.height // 16)
