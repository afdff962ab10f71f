"""What a movie file really holds, read back from the file itself and not from what was asked of the encoder.

Every packet is counted and compared with that of the piece it was copied from. Pictures are decoded: all of a short
film, of a long one the first, the last and some in between. How much a decoder notices is its format's: FFV1 and our
HEVC, which carry checksums, show all that is damaged, ProRes and DNxHR most, H.264 half, VP9 some, AV1 next to nothing.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from studio.config.units import Size
from studio.deliver import encoder
from studio.errors import MachineError

_DECODED, _SPANS = 1e9, 8  # pixels of a film that are decoded, 480 frames of 1080p; the spans in which, if it has more

# By the numbers of ITU-T H.273, of which ffmpeg's are the same.
_PRIMARIES = {1: "bt709", 2: "unknown"}
_TRANSFER = {1: "bt709", 2: "unknown", 13: "iec61966-2-1"}
_MATRIX = {0: "gbr", 1: "bt709", 2: "unknown"}
_RANGE = {0: "unknown", 1: "tv", 2: "pc"}


@dataclass(frozen=True)
class Media:
    """One video stream. steady: frame n stands at n / fps, as near as the file can say it. comment: the file's own.

    sound: the codec of what is heard; "none" as long as films are silent, and then there is no loudness to check.
    """

    frames: int
    fps: Fraction
    size: Size
    codec: str
    pixel_format: str
    alpha: bool
    primaries: str
    transfer: str
    matrix: str
    range: str
    faststart: bool
    steady: bool
    sound: str
    comment: str


@dataclass(frozen=True)
class Animation:
    """An animated picture. frames: as many as differ from the one before. loops: 0 is without end."""

    frames: int
    seconds: float
    size: Size
    codec: str
    loops: int
    comment: str


def probe(path: str | Path) -> Media:
    """Counts every frame of the file, without decoding them. Raises MachineError if it is no movie, or a broken one.

    A rate that was guessed from times in whole milliseconds is read as the NTSC one it is nearest to.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise MachineError(f"{path}: is no whole movie (of no known codec)")
            tick = stream.time_base
            times = sorted(p.pts * tick for p in container.demux(stream) if p.pts is not None)
            context, rate = stream.codec_context, _rate(Fraction(stream.average_rate or 0))
            return Media(
                frames=len(times),
                fps=rate,
                size=Size(context.width, context.height),
                codec=context.codec.canonical_name,
                pixel_format=context.pix_fmt,
                alpha=_alpha(stream),
                primaries=_named(_PRIMARIES, context.color_primaries),
                transfer=_named(_TRANSFER, context.color_trc),
                matrix=_named(_MATRIX, context.colorspace),
                range=_named(_RANGE, context.color_range),
                faststart=_faststart(path),
                steady=rate > 0 and all(abs(time - n / rate) <= tick / 2 for n, time in enumerate(times)),
                sound=next((one.codec_context.name for one in container.streams.audio), "none"),
                comment=_lowered(container.metadata).get("comment", ""),
            )
    except (av.FFmpegError, IndexError, UnicodeDecodeError) as error:
        raise MachineError(f"{path}: is no whole movie ({error})") from error


def undecodable(path: Path, frames: int, fps: Fraction, size: Size) -> str:
    """What the decoder complains of in a movie, and where; empty if of nothing."""
    import ffmpeg

    for start, stop in _stretches(frames, size):
        source = ffmpeg.input(f"file:{path}", ss=float(start / fps), err_detect="crccheck+bitstream+buffer+explode")
        try:
            said = encoder.run(source.output("-", format="null", vframes=stop - start), ())
        except MachineError as error:
            said = str(error)
        if said:
            return f"frames {start} to {stop - 1} cannot be decoded: {said}"
    return ""


def _stretches(frames: int, size: Size) -> list[tuple[int, int]]:
    """Which frames are decoded, as spans: all of them, or some spans from the first frame to the last."""
    most = max(_SPANS, int(_DECODED / (size.width * size.height)))
    if frames <= most:
        return [(0, frames)]
    starts = np.linspace(0, frames - most // _SPANS, _SPANS).round().astype(int).tolist()
    return [(start, start + most // _SPANS) for start in starts]


def packets(path: Path) -> Iterator[int]:
    """A checksum of each packet of a movie, in the order of the file; 0 of a key frame of H.264.

    Into those the parameters of the stream are written anew as they are copied. Raises MachineError if it is broken.
    """
    import av

    try:
        with av.open(str(path)) as container:
            changed = container.streams.video[0].codec_context.codec.canonical_name == "h264"
            for packet in container.demux(video=0):
                if packet.size:
                    yield 0 if changed and packet.is_keyframe else zlib.crc32(packet)
    except (av.FFmpegError, IndexError) as error:
        raise MachineError(f"{path}: is no whole movie ({error}); remove it and run again") from error


def animation(path: str | Path) -> Animation:
    """Decodes the whole animated picture. Raises MachineError if it is none, or a broken one."""
    from PIL import Image, ImageSequence

    try:
        with Image.open(path) as image:
            pauses = [frame.info["duration"] for frame in ImageSequence.Iterator(image) if frame.load()]
            comment = image.info.get("xmp") or image.info.get("comment") or b""
            size, loops = Size(*image.size), image.info.get("loop", 1)
            return Animation(len(pauses), sum(pauses) / 1000, size, image.format.lower(), loops, comment.decode())
    except (OSError, KeyError, EOFError, SyntaxError) as error:
        raise MachineError(f"{path}: is no whole animation ({error})") from error


def ends(pieces: Sequence[Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First, second, second to last and last frame of a film in pieces, decoded, uint8 [height, width, 3]."""
    first = list(islice(chain.from_iterable(map(_pictures, pieces)), 2))
    last = deque(chain.from_iterable(map(_pictures, pieces[-2:])), maxlen=2)
    return first[0], first[-1], last[0], last[-1]


def _pictures(path: Path) -> Iterator[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def differences(found: Any, wanted: Any) -> str:
    """What two findings differ in, in words; empty if in nothing."""
    pairs = ((name, value, asdict(wanted)[name]) for name, value in asdict(found).items())
    return ", ".join(f"{name} is {value}, not {right}" for name, value, right in pairs if value != right)


def _alpha(stream: Any) -> bool:
    """Whether there is alpha: as a plane, or, in WebM, beside the pictures of a stream that says so."""
    format_ = stream.codec_context.format
    planes = format_ is not None and any(component.is_alpha for component in format_.components)
    return planes or _lowered(stream.metadata).get("alpha_mode") == "1"


def _rate(guessed: Fraction) -> Fraction:
    ntsc = Fraction(1000 * round(guessed * Fraction(1001, 1000)), 1001)
    return ntsc if guessed.denominator > 1 and abs(guessed - ntsc) < ntsc / 50_000 else guessed


def _lowered(words: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case: Matroska writes them in capitals."""
    return {name.lower(): text for name, text in words.items()}


def _named(names: dict[int, str], code: int) -> str:
    return names.get(int(code), f"code {int(code)}")


def _faststart(path: str | Path) -> bool:
    """Whether the index of an mp4 (`moov`) stands before its pictures (`mdat`), so that it plays while it loads."""
    with open(path, "rb") as file:
        while len(header := file.read(8)) == 8:
            size, name = int.from_bytes(header[:4], "big"), header[4:]
            if name in (b"moov", b"mdat"):
                return name == b"moov"
            if size == 1:  # the size follows, in 64 bits
                size = int.from_bytes(file.read(8), "big") - 8
            if size < 8:
                break
            file.seek(size - 8, 1)
    return False
