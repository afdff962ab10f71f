"""Movies: frames go to ffmpeg in bounded pieces, and the finished pieces are joined without encoding again.

    sRGB frames  ->  what the preset encodes  ->  pieces, each of closed GOPs  ->  one file

A piece is a function of its frames alone: one encoding thread, no rate control across pieces.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from studio.config.records import Record
from studio.config.units import Size
from studio.deliver import animation, colour_spaces, encoder
from studio.deliver.loop import unclosed
from studio.deliver.media import Animation, Media, differences, ends, packets, probe, undecodable
from studio.deliver.picture_spec import PictureSpec
from studio.deliver.presets import PRESETS, Preset, Word
from studio.errors import MachineError, SceneError
from studio.film.bands import Bands
from studio.storage.files import atomic_write

VERSION = 4  # raise it when the same frames are to be encoded differently
_CLEAR = ("prores-4444", "vp9-alpha")
_LAYOUTS = {(8, False): "rgb24", (8, True): "rgba", (16, False): "rgb48le", (16, True): "rgba64le"}


class Movie(Record):
    """A movie, by the name of its preset.

    h264-web: H.264 in 8 bits, hardly to be told from the frames; every browser and player shows it.
    h264-archive: the same, not to be told from the frames, and four times as large.
    hevc-10, av1-10: 10 bits, so that dark slopes show no bands.
    prores-422hq, dnxhr: for editing rooms: 10 bits, every frame a key frame, beginning at 01:00:00:00.
    prores-4444: the same with alpha and all of its colour. ffv1: exactly the frames, RGB in 16 bits, for the vault.
    vp9-alpha: with alpha, for web pages. gif, webp: animated pictures that loop without end; webp with alpha.
    loop: the last frame must lead into the first one; a movie whose last frame does not is refused.
    alpha: of prores-4444, vp9-alpha and webp: nothing stands behind the surface. The first two have it unless it is
    false.
    """

    kind: Literal["movie"] = "movie"
    preset: Word = "h264-web"
    loop: bool = False
    alpha: bool | None = None

    @property
    def piece(self) -> str:
        """Suffix of a piece."""
        return self._preset.piece or self._preset.suffix

    @model_validator(mode="after")
    def _can_be_clear(self):
        if self.alpha and not self._preset.alpha:
            can = ", ".join(word for word, preset in PRESETS.items() if preset.alpha)
            raise ValueError(f"{self.preset} has no alpha; leave out `alpha`, or take one of {can}")
        return self

    @property
    def wants(self) -> PictureSpec:
        """What its pictures are."""
        clear = self.preset in _CLEAR if self.alpha is None else self.alpha
        return PictureSpec(8 if self._preset.bits == 8 else 16, clear)

    @property
    def encoders(self) -> frozenset[str]:
        """Names of the ffmpeg encoders it needs."""
        return frozenset({self._preset.encoder, *animation.ENCODERS.get(self.preset, ())})

    @property
    def _preset(self) -> Preset:
        return PRESETS[self.preset]

    def file(self, stem: str) -> str:
        """Name of the finished movie of a scene."""
        suffix = self._preset.suffix
        return stem + suffix if self.preset in ("h264-web", suffix[1:]) else f"{stem}-{self.preset}{suffix}"

    def mistake(self, size: Size, fps: Fraction | None = None) -> str | None:
        """What is wrong with this picture size, or rate, and the way out; None if nothing is."""
        preset, (across, down) = self._preset, self._preset.steps
        if size.width % across or size.height % down:
            even = Size(size.width + size.width % across, size.height + size.height % down)
            both = "the size of colour, so both sides" if down == 2 else "the width of colour, so the width"
            return f"{size}: {self.preset} halves {both} must be even; the nearest is {even}"
        if preset.largest and _blocks(size) > _blocks(preset.largest):
            return f"{size}: {self.preset} ends at {preset.largest}; deliver a sequence or stills at this size"
        if size.width < preset.smallest.width or size.height < preset.smallest.height:
            return f"{size}: {self.preset} begins at {preset.smallest}; make the film larger, or choose another preset"
        if fps is not None and preset.fastest and fps > preset.fastest:
            return f"{float(fps):g} frames a second: {self.preset} ends at {preset.fastest}; lower `film: {{fps: ...}}`"
        return None

    def identity(self) -> dict[str, Any]:
        """What the bytes of a piece depend on besides its frames, size and rate: for its key."""
        return {
            "kind": self.kind,
            "preset": self.preset,
            "alpha": self.wants.alpha,
            "version": VERSION,
            "ffmpeg": encoder.version(),
        }

    def segment(
        self, frames: Iterable[Bands | np.ndarray], path: Path, size: Size, fps: Fraction, first: int = 0
    ) -> int:
        """Encodes pictures of the kind it `wants` as one piece; returns their number.

        first: number of the first one in the film; a piece of movie is the same wherever it stands. Raises MachineError
        in ffmpeg's own words; an exception from `frames` passes through. Neither leaves a file.
        """
        import ffmpeg

        count = 0

        def pixels() -> Iterator[memoryview]:
            nonlocal count
            for frame in self.wants.checked(frames, size):
                whole = frame.picture.whole()
                yield np.ascontiguousarray(colour_spaces.alphaed(whole) if self._preset.alpha else whole).data
                count += 1

        with atomic_write(path) as beside:
            layout = _LAYOUTS[self.wants.bits, self._preset.alpha]
            source = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt=layout, s=str(size), framerate=str(fps))
            encoder.run(source.output(str(beside), **self._preset.arguments(fps)), pixels())
            if count == 0:
                raise ValueError(f"{path}: a piece of no frames")
        return count

    def join(
        self,
        pieces: Sequence[Path],
        path: Path,
        *,
        frames: int,
        size: Size,
        fps: Fraction,
        provenance: Mapping[str, Any],
    ) -> Media | Animation:
        """Makes the movie of its pieces, in order, with its provenance as JSON in the comment.

        frames: how many it must have. Raises MachineError, and keeps no file, if what was written is something else;
        SceneError if it should loop and does not.
        """
        comment = json.dumps(provenance, sort_keys=True, default=str)
        self.closed(pieces, path)
        with atomic_write(path) as beside:
            if self.preset in animation.ENCODERS:
                found, wrong = animation.write(self.preset, pieces, beside, frames, size, fps, comment)
            else:
                found, wrong = self._copied(pieces, beside, frames, size, fps, comment)
            if wrong:
                raise MachineError(f"{path}: not whole, so not kept: {wrong}")
        return found

    def closed(self, pieces: Sequence[Path], path: Path) -> None:
        """Raises SceneError if it should loop and does not; of the pieces those at both ends are enough."""
        if self.loop and (gap := unclosed(*ends(pieces))):
            raise SceneError(f"{path}: does not loop, so not kept: {gap}")

    def _copied(
        self, pieces: Sequence[Path], path: Path, frames: int, size: Size, fps: Fraction, comment: str
    ) -> tuple[Media, str]:
        """Copies the pieces into one file: what it holds, and what is wrong with that."""
        preset = self._preset
        copied = encoder.joined().output(str(path), metadata=f"comment={comment}", **preset.copying(fps))
        encoder.run(copied, [encoder.listed(pieces)])
        media = probe(path)
        pixels = preset.read if media.pixel_format == preset.read else preset.pixels
        wanted = Media(
            frames,
            fps,
            size,
            preset.codec,
            pixels,
            preset.alpha,
            *preset.tags,
            faststart=preset.suffix in (".mp4", ".mov"),
            steady=True,
            sound="none",
            comment=comment,
        )
        if wrong := differences(media, wanted):
            return media, wrong
        if list(packets(path)) != list(chain.from_iterable(map(packets, pieces))):
            return media, "its packets are not those of its pieces"
        if said := undecodable(path, frames, fps, size):
            return media, f"{said}{self._broken(pieces, fps, size)}"
        return media, ""

    @staticmethod
    def _broken(pieces: Sequence[Path], fps: Fraction, size: Size) -> str:
        """The way out of a movie that cannot be decoded: which of its pieces to make again."""
        broken = [str(piece) for piece in pieces if undecodable(piece, probe(piece).frames, fps, size)]
        return f"; remove {' and '.join(broken)} and run again" if broken else ""


def _blocks(size: Size) -> int:
    """Blocks of 16x16 pixels: what the levels of H.264 and its heirs count."""
    return -(-size.width // 16) * -(-size.height // 16)
