"""Picture files through OpenImageIO, band by band: a picture of any size needs the memory of a few bands.

    bands of rows -> write -> file -> open_image -> header, bands of rows

Decoding is the check: in PNG and EXR it finds every damaged byte of the pixels, in JPEG and TIFF what is cut off.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.config.units import Size
from studio.field import Array

if TYPE_CHECKING:
    from OpenImageIO import ImageInput, ImageOutput, ImageSpec

MAX_JPEG_SIDE = 65500  # pixels, in every library made of libjpeg; the format itself could count to 65535
ROWS = 256  # rows in a band that is written or read at once; a TIFF strip has as many
_TYPES = {"uint8": "uint8", "uint16": "uint16", "float16": "half", "float32": "float"}  # numpy's name: OpenImageIO's
_DTYPES = {theirs: np.dtype(ours) for ours, theirs in _TYPES.items()}


@dataclass(frozen=True)
class OpenImage:
    """A picture file that is open for reading.

    channels: type of each channel by its name, in the order of the bands. profile: its ICC profile. primaries:
    chromaticities of red, green and blue [3, 2]. dpi: pixels to an inch. None where the file does not say.
    """

    size: Size
    channels: Mapping[str, np.dtype[Any]]
    profile: bytes | None
    primaries: Array | None
    dpi: int | None
    _input: ImageInput

    def bands(self) -> Iterator[Array]:
        """The pixels as bands [up to ROWS, width, channels], in the widest channel's type.

        Alpha and colours are as stored. Raises ValueError where the file is damaged.
        """
        spec = self._input.spec()
        for top in range(0, spec.height, ROWS):
            bottom = min(top + ROWS, spec.height)
            band = self._input.read_scanlines(top, bottom, 0, 0, spec.nchannels, spec.format)
            if band is None or self._input.has_error:
                raise ValueError(_first_line(self._input.geterror()))
            yield band


@contextmanager
def open_image(path: Path) -> Iterator[OpenImage]:
    """Opens a picture file and reads its header. Raises ValueError if it is no picture, or damaged."""
    import OpenImageIO

    straight = OpenImageIO.ImageSpec()
    straight.attribute("oiio:UnassociatedAlpha", 1)  # otherwise colours come multiplied with alpha
    image = OpenImageIO.ImageInput.open(str(path), straight)
    if image is None:
        raise ValueError(_first_line(OpenImageIO.geterror()))
    try:
        spec = image.spec()
        formats = spec.channelformats or [spec.format] * spec.nchannels
        profile, chromaticities = spec.getattribute("ICCProfile"), spec.getattribute("chromaticities")
        resolution, unit = spec.getattribute("XResolution"), spec.getattribute("ResolutionUnit")
        yield OpenImage(
            size=Size(spec.width, spec.height),
            channels={name: _DTYPES[str(kind)] for name, kind in zip(spec.channelnames, formats, strict=True)},
            profile=None if profile is None else bytes(profile),
            primaries=None if chromaticities is None else np.array(chromaticities[:6]).reshape(3, 2),
            dpi=round(resolution) if resolution is not None and unit in ("in", "inch") else None,
            _input=image,
        )
    finally:
        image.close()


def write(
    path: Path, size: Size, channels: Mapping[str, np.dtype[Any]], bands: Iterable[Array], attributes: Mapping[str, Any]
) -> None:
    """Writes bands [rows, width, channels], the topmost first, as the format of the path's suffix.

    attributes: OpenImageIO's names and values, compression among them. The same arguments give the same bytes. An
    exception from `bands` passes through; a file that cannot be written is an OSError. Both may leave half a file.
    """
    import OpenImageIO

    output = OpenImageIO.ImageOutput.create(path.suffix[1:])
    if output is None:
        raise OSError(errno.EINVAL, _first_line(OpenImageIO.geterror()))
    _require(output.open(str(path), _spec(size, channels, attributes)), output, path)
    try:
        top = 0
        for band in bands:
            rows = np.ascontiguousarray(band)
            _require(output.write_scanlines(top, top + len(rows), 0, rows), output, path)
            top += len(rows)
    finally:
        closed = output.close()
    _require(closed, output, path)


def write_jpeg(path: Path, pixels: Array, profile: bytes, dpi: int | None) -> None:
    """Writes a picture [height, width, 3] of uint8 at quality 95, colour at full size, with an ICC profile.

    Whole in memory, through imageio: on a full disk the libjpeg of OpenImageIO ends the process.
    """
    import imageio.v3 as iio

    tags = {"icc_profile": profile} if dpi is None else {"icc_profile": profile, "dpi": (dpi, dpi)}
    data = iio.imwrite("<bytes>", pixels, extension=".jpg", plugin="pillow", quality=95, subsampling=0, **tags)
    path.write_bytes(data)


def _spec(size: Size, channels: Mapping[str, np.dtype[Any]], attributes: Mapping[str, Any]) -> ImageSpec:
    import OpenImageIO
    from OpenImageIO import TypeDesc

    kinds = [TypeDesc(_TYPES[dtype.name]) for dtype in channels.values()]
    widest = max(channels.values(), key=lambda dtype: dtype.itemsize)
    spec = OpenImageIO.ImageSpec(size.width, size.height, len(channels), TypeDesc(_TYPES[widest.name]))
    spec.channelnames = tuple(channels)
    spec.channelformats = tuple(kinds)
    spec.attribute("oiio:UnassociatedAlpha", 1)
    spec.attribute("oiio:ColorSpace", "unknown")  # otherwise a PNG claims sRGB beside whatever profile it has
    spec.attribute("tiff:write_exif", 0)  # an unknown colour space makes it fail
    spec.attribute("DateTime", "")  # otherwise it is the time of writing
    for name, value in attributes.items():
        if isinstance(value, bytes):
            spec.attribute(name, TypeDesc(f"uint8[{len(value)}]"), np.frombuffer(value, np.uint8))
        elif isinstance(value, tuple):
            spec.attribute(name, TypeDesc(f"float[{len(value)}]"), value)
        else:
            spec.attribute(name, value)
    return spec


def _require(succeeded: bool, output: ImageOutput, path: Path) -> None:
    """Raises OSError unless the last step succeeded. PNG's steps succeed on a full disk and only leave an error."""
    if succeeded and not output.has_error:
        return
    words = _first_line(output.geterror())
    with open(path, "ab") as file:  # OpenImageIO keeps no errno: the system says why when asked once more
        file.write(bytes(1 << 16))
    raise OSError(errno.EIO, words)


def _first_line(words: str) -> str:
    return words.strip().partition("\n")[0] or "cannot be read"
