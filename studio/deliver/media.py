"""Inspection of movies and animations: what a file holds is read from the file, not from the encoder's options.

Every packet is counted and compared with that of the segment it was copied from. Pictures are decoded: all of a short
film, and of a long one the first, the last and some in between. How much damage a decoder notices depends on the codec:
FFV1 and this HEVC, which carry checksums, show all of it, ProRes and DNxHR most, H.264 half, VP9 some, AV1 hardly any.
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
from studio.field import Array

_MAX_DECODED = 1e9  # pixels of a film that are decoded: 480 frames of 1080p
_SPANS = 8  # of a longer film, so many spans are decoded

# By the numbers of ITU-T H.273, which ffmpeg uses too.
_PRIMARIES = {1: "bt709", 2: "unknown"}
_TRANSFER = {1: "bt709", 2: "unknown", 13: "iec61966-2-1"}
_MATRIX = {0: "gbr", 1: "bt709", 2: "unknown"}
_RANGE = {0: "unknown", 1: "tv", 2: "pc"}


@dataclass(frozen=True)
class Media:
    """One video stream. constant_rate: whether frame n is shown at n / fps, to the resolution of the file.

    sound: codec of the sound, "none" as long as films are silent. comment: the file's own.
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
    constant_rate: bool
    sound: str
    comment: str


@dataclass(frozen=True)
class Animation:
    """An animated picture. frames: those that differ from the one before. loops: 0 is without end."""

    frames: int
    seconds: float
    size: Size
    codec: str
    loops: int
    comment: str


def probe(path: str | Path) -> Media:
    """Properties of a movie; counts its frames without decoding. Raises MachineError if it is none, or a broken one.

    A rate that was estimated from times in whole milliseconds is read as the nearest NTSC rate.
    """
    import av

    try:
        with av.open(encoder.file_url(Path(path))) as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise MachineError(f"{path}: is no whole movie (of no known codec)")
            tick = stream.time_base or Fraction(0)
            times = sorted(p.pts * tick for p in container.demux(stream) if p.pts is not None)
            context, rate = stream.codec_context, _rate(Fraction(stream.average_rate or 0))
            return Media(
                frames=len(times),
                fps=rate,
                size=Size(context.width, context.height),
                codec=context.codec.canonical_name,
                pixel_format=context.pix_fmt or "unknown",
                alpha=_alpha(stream),
                primaries=_name(_PRIMARIES, context.color_primaries),
                transfer=_name(_TRANSFER, context.color_trc),
                matrix=_name(_MATRIX, context.colorspace),
                range=_name(_RANGE, context.color_range),
                faststart=_faststart(path),
                constant_rate=rate > 0 and all(abs(time - n / rate) <= tick / 2 for n, time in enumerate(times)),
                sound=next((audio.codec_context.name for audio in container.streams.audio), "none"),
                comment=_lower_keys(container.metadata).get("comment", ""),
            )
    except (av.FFmpegError, IndexError, UnicodeDecodeError) as error:
        raise MachineError(f"{path}: is no whole movie ({error})") from error


def decoding_error(path: Path, frames: int, fps: Fraction, size: Size) -> str:
    """What the decoder complains of in a movie, and in which frames; empty if of nothing."""
    import ffmpeg

    for start, stop in _spans(frames, size):
        source = ffmpeg.input(
            encoder.file_url(path), ss=float(start / fps), err_detect="crccheck+bitstream+buffer+explode"
        )
        try:
            complaint = encoder.run(source.output("-", format="null", vframes=stop - start), ())
        except MachineError as error:
            complaint = str(error)
        if complaint:
            return f"frames {start} to {stop - 1} cannot be decoded: {complaint}"
    return ""


def _spans(frames: int, size: Size) -> list[tuple[int, int]]:
    """Spans [start, stop) of frames that are decoded: all of them, or some from the first frame to the last."""
    most = max(_SPANS, int(_MAX_DECODED / (size.width * size.height)))
    if frames <= most:
        return [(0, frames)]
    starts = np.linspace(0, frames - most // _SPANS, _SPANS).round().astype(int).tolist()
    return [(start, start + most // _SPANS) for start in starts]


def packet_checksums(path: Path) -> Iterator[int]:
    """A checksum of each packet of a movie, in the order of the file; 0 of a key frame of H.264.

    Copying writes the stream's parameters into those anew. Raises MachineError if the movie is broken.
    """
    import av

    try:
        with av.open(encoder.file_url(Path(path))) as container:
            rewritten = container.streams.video[0].codec_context.codec.canonical_name == "h264"
            for packet in container.demux(video=0):
                if packet.size:
                    yield 0 if rewritten and packet.is_keyframe else zlib.crc32(packet)
    except (av.FFmpegError, IndexError) as error:
        raise MachineError(f"{path}: is no whole movie ({error}); remove it and run again") from error


def probe_animation(path: str | Path) -> Animation:
    """Decodes a whole GIF or WebP. Raises MachineError if it is neither, or a broken one."""
    import imageio.v3 as iio

    try:
        with iio.imopen(path, "r", plugin="pillow") as file:
            header = file.metadata(index=0, exclude_applied=False)
            shape = file.properties(index=0).shape
            durations = [file.metadata(index=n)["duration"] for n, _ in enumerate(file.iter())]
    except (OSError, KeyError, EOFError, SyntaxError) as error:
        raise MachineError(f"{path}: is no whole animation ({error})") from error
    return Animation(
        frames=len(durations),
        seconds=sum(durations) / 1000,  # milliseconds
        size=Size(shape[1], shape[0]),
        codec="gif" if "version" in header else "webp",
        loops=header.get("loop", 1),
        comment=(header.get("xmp") or header.get("comment") or b"").decode(),
    )


def end_frames(segments: Sequence[Path]) -> tuple[Array, Array, Array, Array]:
    """First, second, second to last and last frame of a film in segments, decoded, uint8 [height, width, 3]."""
    first = list(islice(chain.from_iterable(map(_pictures, segments)), 2))
    last = deque(chain.from_iterable(map(_pictures, segments[-2:])), maxlen=2)
    return first[0], first[-1], last[0], last[-1]


def _pictures(path: Path) -> Iterator[Array]:
    import av

    with av.open(encoder.file_url(Path(path))) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def differences(actual: Any, expected: Any) -> str:
    """Says in which fields two dataclasses of one type differ; empty if in none."""
    pairs = ((name, value, asdict(expected)[name]) for name, value in asdict(actual).items())
    return ", ".join(f"{name} is {value}, not {right}" for name, value, right in pairs if value != right)


def _alpha(stream: Any) -> bool:
    """Whether there is alpha: as a plane, or, in WebM, beside the pictures of a stream whose metadata says so."""
    format_ = stream.codec_context.format
    planes = format_ is not None and any(component.is_alpha for component in format_.components)
    return planes or _lower_keys(stream.metadata).get("alpha_mode") == "1"


def _rate(estimate: Fraction) -> Fraction:
    ntsc = Fraction(1000 * round(estimate * Fraction(1001, 1000)), 1001)
    return ntsc if estimate.denominator > 1 and abs(estimate - ntsc) < ntsc / 50_000 else estimate


def _lower_keys(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata with keys in lower case: Matroska writes them in capitals."""
    return {name.lower(): text for name, text in metadata.items()}


def _name(names: dict[int, str], code: int) -> str:
    return names.get(int(code), f"code {int(code)}")


def _faststart(path: str | Path) -> bool:
    """Whether the index of an mp4 (`moov`) comes before its pictures (`mdat`), so that it plays while it loads."""
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
