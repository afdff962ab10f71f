"""What a movie file really holds, read back from the file itself and not from what was asked of the encoder."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..errors import MachineError
from ..spec import Size

_COLOUR = {1: "bt709", 2: "unknown"}
_RANGE = {0: "unknown", 1: "tv", 2: "pc"}


@dataclass(frozen=True)
class Media:
    """One video stream. steady: frame n stands at exactly n / fps, the first at 0. comment: the file's own."""

    frames: int
    fps: Fraction
    size: Size
    codec: str
    pixel_format: str
    primaries: str
    transfer: str
    matrix: str
    range: str
    faststart: bool
    steady: bool
    comment: str


def probe(path: str | Path) -> Media:
    """Counts every frame of the file, without decoding them. Raises MachineError if it is no movie, or a broken one."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            times = sorted(p.pts * p.time_base for p in container.demux(stream) if p.pts is not None)
            context, rate = stream.codec_context, Fraction(stream.average_rate or 0)
            return Media(
                frames=len(times),
                fps=rate,
                size=Size(context.width, context.height),
                codec=context.codec.canonical_name,
                pixel_format=context.pix_fmt,
                primaries=_named(_COLOUR, context.color_primaries),
                transfer=_named(_COLOUR, context.color_trc),
                matrix=_named(_COLOUR, context.colorspace),
                range=_named(_RANGE, context.color_range),
                faststart=_faststart(path),
                steady=all(time * rate == n for n, time in enumerate(times)),
                comment=container.metadata.get("comment", ""),
            )
    except (av.FFmpegError, IndexError) as error:
        raise MachineError(f"{path}: is no whole movie ({error})") from error


def _named(names: dict[int, str], code: int) -> str:
    return names.get(int(code), f"code {int(code)}")


def _faststart(path: str | Path) -> bool:
    """Whether the index of an mp4 (`moov`) stands before its pictures (`mdat`), so that it plays while it loads."""
    with open(path, "rb") as file:
        while len(header := file.read(8)) == 8:
            size, name = int.from_bytes(header[:4], "big"), header[4:]
            if name in (b"moov", b"mdat"):
                return name == b"moov"
            if size == 1:                                  # the size follows, in 64 bits
                size = int.from_bytes(file.read(8), "big") - 8
            if size < 8:
                break
            file.seek(size - 8, 1)
    return False
