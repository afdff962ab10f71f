"""Movies: frames go to ffmpeg in bounded pieces, and the finished pieces are joined without encoding again.

    8-bit sRGB frames  ->  BT.709 YUV, limited range  ->  H.264 pieces, each of closed GOPs  ->  one mp4

A piece is a function of its frames alone: one encoding thread, no rate control across pieces.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import MachineError
from ..files import atomic
from ..spec import Record, Size
from . import encoder
from .pictures import checked
from .probe import Media, probe

VERSION = 1                     # raise it when the same frames are to be encoded differently
_LARGEST = 139_264              # blocks of 16x16 pixels in a frame at H.264's last level, 6.2

# The input is named full-range RGB and the output BT.709 inside the filter graph: flags on the output alone leave the
# file untagged and the conversion BT.601, which turns pure red into (255, 25, 0). Chroma is sited left, as in H.264;
# the filter's own default is between the pixels.
_COLOUR = ",".join([
    "setparams=range=pc:color_primaries=bt709:color_trc=bt709:colorspace=gbr",
    "scale=out_color_matrix=bt709:out_range=tv:out_h_chr_pos=0:out_v_chr_pos=128:flags=bicubic+accurate_rnd+full_chroma_int",
    "format=yuv420p",
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709",
])


class Movie(Record):
    """An mp4 that every browser and player shows.

    h264-web: H.264 8 bit 4:2:0, near-transparent (crf 15), a key frame at least every two seconds, index in front. The
    numbers of the frames are sRGB, under BT.709 tags: the convention of the web, not of cinema projection (BT.1886).
    """

    kind: Literal["movie"] = "movie"
    preset: Literal["h264-web"] = "h264-web"

    piece: ClassVar[str] = ".mp4"

    def file(self, stem: str) -> str:
        """Name of the finished movie of a scene."""
        return f"{stem}.mp4"

    def mistake(self, size: Size) -> str | None:
        """What is wrong with this picture size, and the way out; None if nothing is."""
        if size.width % 2 or size.height % 2:
            even = Size(size.width + size.width % 2, size.height + size.height % 2)
            return f"{size}: {self.preset} halves the size of colour, so both sides must be even; the nearest is {even}"
        if -(-size.width // 16) * -(-size.height // 16) > _LARGEST:
            return f"{size}: {self.preset} ends at 8192x4352; deliver a sequence or stills at this size"
        return None

    def identity(self) -> dict[str, Any]:
        """What the bytes of a piece depend on besides its frames, size and rate: for its key."""
        return {"kind": self.kind, "preset": self.preset, "version": VERSION, "ffmpeg": encoder.version()}

    def segment(self, frames: Iterable[np.ndarray], path: Path, size: Size, fps: Fraction, first: int = 0) -> int:
        """Encodes frames, uint8 sRGB [height, width, 3], as one piece of the movie; returns their number.

        first: number of the first one in the film; a piece of movie is the same wherever it stands.
        Raises MachineError in ffmpeg's own words; an exception from `frames` passes through. Neither leaves a file.
        """
        import ffmpeg

        count = 0

        def pixels():
            nonlocal count
            for frame in checked(frames, size):
                yield frame.data
                count += 1

        with atomic(path) as beside:
            source = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt="rgb24", s=str(size), framerate=str(fps))
            encoder.run(source.output(str(beside), **_h264_web(fps)), pixels())
            if count == 0:
                raise ValueError(f"{path}: a piece of no frames")
        return count

    def join(self, pieces: Sequence[Path], path: Path, *, frames: int, size: Size, fps: Fraction,
             provenance: Mapping[str, Any]) -> Media:
        """Makes the movie of its pieces, in order, with its provenance as JSON in the comment.

        frames: how many it must have. Raises MachineError, and keeps no file, if what was written is something else.
        """
        import ffmpeg

        comment = json.dumps(provenance, sort_keys=True, default=str)
        with atomic(path) as beside:
            source = ffmpeg.input("pipe:0", format="concat", safe=0, protocol_whitelist="file,pipe,fd")
            encoder.run(source.output(str(beside), format="mp4", c="copy", movflags="+faststart",
                                      metadata=f"comment={comment}"), [_listed(pieces)])
            media = probe(beside)
            wanted = Media(frames, fps, size, "h264", "yuv420p", "bt709", "bt709", "bt709", "tv",
                           faststart=True, steady=True, comment=comment)
            if media != wanted:
                raise MachineError(f"{path}: not whole, so not kept: {_difference(media, wanted)}")
        return media


def _h264_web(fps: Fraction) -> dict[str, Any]:
    return {
        # veryfast: a quarter of medium's time on grained 1080p frames, the same SSIM for no more bits; on faint grain
        # up to two thirds more bits, for a higher SSIM.
        "format": "mp4", "vf": _COLOUR, "vcodec": "libx264", "preset": "veryfast", "crf": 15, "profile:v": "high",
        "g": round(2 * fps), "threads": 1,
        "x264-params": "open-gop=0",
    }


def _listed(pieces: Sequence[Path]) -> bytes:
    """The pieces as a list for ffmpeg's concat demuxer, in which a quote ends the quotation."""
    paths = (str(Path(piece).resolve()).replace("'", r"'\''") for piece in pieces)
    return "".join(f"file 'file:{path}'\n" for path in paths).encode()


def _difference(found: Media, wanted: Media) -> str:
    pairs = ((name, value, asdict(wanted)[name]) for name, value in asdict(found).items())
    return ", ".join(f"{name} is {value}, not {right}" for name, value, right in pairs if value != right)
