"""Picture files: how pictures become PNG, TIFF, JPEG and EXR, and what such a file really holds, read back from it.

A format writes one picture, band by band where it can; copies a file with the provenance in it; and examines what was
written, without reading the pixels into memory.
"""

import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from pydantic import Field, model_validator

from ..errors import MachineError
from ..film.bands import Bands
from ..spec import Record
from ..units import Size
from . import colour, png
from .colour import Profile
from .probe import differences
from .wants import Layer, Layered, Wants

Word = Literal["png", "png16", "tiff16", "jpg", "exr", "dcp-source"]


class Finish(Record):
    """How pictures are written: what sequences and stills have in common, who say what it means."""

    format: Word = "png"
    profile: Profile = "srgb"
    dpi: Annotated[int, Field(ge=1, le=65535)] | None = None
    alpha: bool = False
    layers: tuple[Layer, ...] = ()

    @model_validator(mode="after")
    def _can_be_written(self):
        if self.alpha and not FORMATS[self.format].alpha:
            able = ", ".join(word for word, form in FORMATS.items() if form.alpha)
            raise ValueError(f"{self.format} has no alpha; take one of {able}")
        if self.layers and self.format != "exr":
            raise ValueError(f"{self.format} has no layers; take `format: exr`")
        if len(set(self.layers)) < len(self.layers):
            raise ValueError("a layer is named twice; name it once")
        if self.format == "dcp-source" and self.profile != "srgb":
            raise ValueError(f"dcp-source is in X'Y'Z', and not in {self.profile}; leave out `profile`")
        return self

    @property
    def wants(self) -> Wants:
        """What pictures it is made of. Codes that are converted have 16 bits, for the steps of 8 would show."""
        bits = FORMATS[self.format].bits if self.profile == "srgb" else 16
        return Wants(None if self.format == "exr" else bits, self.alpha, self.layers)

    @property
    def suffix(self) -> str:
        """Of a file's name."""
        return FORMATS[self.format].suffix

    @property
    def words(self) -> list[str]:
        """What tells it in a file's name from another of the same format."""
        colours = [] if self.profile == "srgb" else [self.profile]
        return [*colours, *(["alpha"] if self.alpha else []), *(["layers"] if self.layers else [])]

    def identity(self) -> dict[str, Any]:
        """What the bytes of a file depend on besides its picture: for its key."""
        return {name: getattr(self, name) for name in Finish.model_fields}


@dataclass(frozen=True)
class Picture:
    """What a picture file holds. bits: of a channel; EXR's are half floats. profile: None for none, or a stranger's."""

    size: Size
    bits: int
    channels: int
    profile: Profile | None
    dpi: int | None
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Format:
    """A kind of picture file.

    write: (path, picture, finish). inscribe: (file, its copy with the provenance, the provenance as ASCII). bits: what
    a channel can hold. alpha: whether there can be one. tagged: whether a profile says what the codes mean.
    """

    suffix: str
    bits: int
    alpha: bool
    tagged: bool
    write: Callable[[Path, Layered, Finish], None]
    inscribe: Callable[[Path, Path, str], None]
    examine: Callable[[Path], Picture]


def write(path: Path, picture: Layered, finish: Finish) -> None:
    """The picture, of what `finish` wants, as a file. Same picture, same bytes."""
    FORMATS[finish.format].write(path, picture, finish)


def inscribe(source: Path, target: Path, finish: Finish, provenance: Mapping[str, Any]) -> None:
    """Copies a picture file, with the provenance as JSON in the comment of its format; the pixels stay as they are."""
    FORMATS[finish.format].inscribe(source, target, json.dumps(provenance, sort_keys=True, default=str))


def verified(path: Path, finish: Finish, size: Size) -> Picture:
    """What the file holds. Raises MachineError if it is broken, or not what was asked for."""
    form = FORMATS[finish.format]
    try:
        found = form.examine(path)
    except (OSError, ValueError, LookupError, struct.error, zlib.error) as error:
        raise MachineError(f"{path}: is no whole picture of {size} ({error}); remove it and run again") from error
    profile, layers = finish.profile if form.tagged else None, tuple(sorted(finish.layers))
    wanted = Picture(size, form.bits, 4 if finish.alpha else 3, profile, finish.dpi, layers)
    if wrong := differences(found, wanted):
        raise MachineError(f"{path}: is no whole picture of {size} ({wrong}); remove it and run again")
    return found


def _grouped(bands: Bands) -> Iterator[np.ndarray]:
    """The same rows in arrays of `colour.BAND` each: however a picture comes, it is written as the same bytes."""
    height, *row = bands.shape
    top = held = 0
    group = np.empty((min(colour.BAND, height), *row), bands.dtype)
    for band in bands:
        while len(band):
            part = band[: len(group) - held]
            group[held : held + len(part)] = part
            held, band = held + len(part), band[len(part) :]
            if held == len(group):
                yield group
                top, held = top + held, 0
                group = np.empty((min(colour.BAND, height - top), *row), bands.dtype)


def _codes(picture: Bands, finish: Finish) -> Bands:
    """The picture in the finish's colours and bits."""
    bits = FORMATS[finish.format].bits

    def make() -> Iterator[np.ndarray]:
        for band in _grouped(picture):
            codes = colour.converted(band, finish.profile)
            yield colour.eight(codes) if bits == 8 else codes

    return Bands(picture.shape, np.dtype(f"u{bits // 8}"), make)


# --- PNG -------------------------------------------------------------------------------------------------------------


def _png(path: Path, shown: Layered, finish: Finish) -> None:
    png.write(path, _codes(shown.picture, finish), colour.icc(finish.profile), finish.dpi)


def _png_examine(path: Path) -> Picture:
    width, height, bits, channels, profile, dpi = png.examine(path)
    return Picture(Size(width, height), bits, channels, colour.icc_name(profile), dpi)


# --- JPEG ------------------------------------------------------------------------------------------------------------


def _jpg(path: Path, shown: Layered, finish: Finish) -> None:
    import imageio.v3 as iio

    dpi = {} if finish.dpi is None else {"dpi": (finish.dpi, finish.dpi)}
    about = {"icc_profile": colour.icc(finish.profile), "quality": 95, "subsampling": 0} | dpi
    iio.imwrite(path, _codes(shown.picture, finish).whole(), plugin="pillow", **about)


def _jpg_inscribe(source: Path, target: Path, text: str) -> None:
    """In comment segments after the first one, which is JFIF's own; each holds at most 65533 bytes."""
    data = text.encode("ascii")
    parts = [data[i : i + 65533] for i in range(0, len(data), 65533)]
    with open(source, "rb") as old, open(target, "wb") as new:
        head = old.read(6)
        new.write(head + old.read(int.from_bytes(head[4:6], "big") - 2))
        new.writelines(b"\xff\xfe" + struct.pack(">H", len(part) + 2) + part for part in parts)
        shutil.copyfileobj(old, new, 1 << 20)


def _jpg_examine(path: Path) -> Picture:
    with open(path, "rb") as file:
        file.seek(-2, 2)
        if file.read() != b"\xff\xd9":
            raise ValueError("cut off")
        segments = dict(_segments(file))
    bits, height, width, channels = struct.unpack(">BHHB", segments[0xC0][:6])
    unit, density = struct.unpack(">BH", segments[0xE0][7:10])
    profile = colour.icc_name(segments[0xE2].removeprefix(b"ICC_PROFILE\0\1\1"))
    return Picture(Size(width, height), bits, channels, profile, density if unit == 1 else None)


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and data of every segment of a JPEG before its pixels."""
    file.seek(2)
    marker = 0
    while marker != 0xDA:
        marker, length = struct.unpack(">xBH", file.read(4))
        yield marker, file.read(length - 2)


# --- TIFF ------------------------------------------------------------------------------------------------------------

_CLASSIC = 2**32 - 2**25  # bytes of pixels; a file of more needs places of 64 bits, as BigTIFF has them


def _tiff16(path: Path, shown: Layered, finish: Finish) -> None:
    _tiff(path, _codes(shown.picture, finish), finish.dpi, iccprofile=colour.icc(finish.profile))


def _dcp(path: Path, shown: Layered, finish: Finish) -> None:
    picture = shown.picture
    projected = Bands(picture.shape, np.dtype(np.uint16), lambda: map(colour.projected, _grouped(picture)))
    _tiff(path, projected, finish.dpi)


def _tiff(path: Path, picture: Bands, dpi: int | None, **tags: Any) -> None:
    """Uncompressed: every grading room, printer and DCP maker reads that, and nothing else is read as fast."""
    import tifffile

    if dpi is not None:
        tags |= {"resolution": (dpi, dpi), "resolutionunit": "inch"}
    if picture.shape[2] == 4:
        tags["extrasamples"] = ["unassalpha"]
    about = {"description": "no provenance", "software": "studio", "metadata": None, "photometric": "rgb"}
    big = np.prod(picture.shape, dtype=np.int64) * picture.dtype.itemsize > _CLASSIC
    with tifffile.TiffWriter(path, byteorder="<", bigtiff=big) as file:
        strips = (band.astype("<u2", copy=False).tobytes() for band in picture)
        file.write(strips, shape=picture.shape, dtype=picture.dtype, rowsperstrip=colour.BAND, **about, **tags)


def _tiff_inscribe(source: Path, target: Path, text: str) -> None:
    import tifffile

    shutil.copyfile(source, target)
    tifffile.tiffcomment(target, text)


def _tiff_examine(path: Path) -> Picture:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        if page.dataoffsets[-1] + page.databytecounts[-1] > path.stat().st_size:
            raise ValueError("cut off")
        dpi = round(page.get_resolution("inch")[0]) if page.tags["ResolutionUnit"].value == 2 else None
        size, profile = Size(page.imagewidth, page.imagelength), colour.icc_name(page.iccprofile)
        return Picture(size, page.bitspersample, page.samplesperpixel, profile, dpi)


# --- EXR -------------------------------------------------------------------------------------------------------------

_MAGIC = 8  # bytes that say it is an EXR, and of which version
_LETTERS: dict[Layer, str] = {
    "depth": "Z",
    "normal": "XYZ",
    "position": "XYZ",
    "loss": "Y",
    "convexity": "Y",
    "mask": "Y",
}
"""Channels of a layer, as in `normal.X`."""


def _exr(path: Path, shown: Layered, finish: Finish) -> None:
    """Linear light in half floats, with alpha multiplied in as EXR has it, and the layers in channels of their own."""
    import OpenEXR

    space = colour.SPACES[finish.profile]
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": (*(number for xy in space.primaries for number in xy), *colour.D65),
        **({} if finish.dpi is None else {"xDensity": float(finish.dpi)}),
    }
    picture = shown.picture
    lit = Bands(picture.shape, picture.dtype, lambda: (colour.relit(b, finish.profile) for b in _grouped(picture)))
    channels = {"RGBA"[: picture.shape[2]]: lit.whole()}
    for name, values in shown.layers.items():
        for index, letter in enumerate(_LETTERS[name]):
            channels[f"{name}.{letter}"] = np.ascontiguousarray(values[..., index])  # the library knows no strides
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


def _exr_inscribe(source: Path, target: Path, text: str) -> None:
    """As the first attribute of the header; the table behind it, of where the pixels are, moves with them."""
    comment = b"comments\0string\0" + struct.pack("<I", len(text)) + text.encode("ascii")
    with open(source, "rb") as old, open(target, "wb") as new:
        _exr_header(old)
        table, places = old.tell(), _exr_places(old)
        old.seek(0)
        new.write(old.read(_MAGIC) + comment + old.read(table - _MAGIC))
        new.write((places + np.uint64(len(comment))).tobytes())
        old.seek(places.nbytes, 1)
        shutil.copyfileobj(old, new, 1 << 20)


def _exr_header(file: BinaryIO) -> dict[bytes, bytes]:
    """Values of the header's attributes; leaves the file at the table behind it."""
    file.seek(_MAGIC)
    attributes = {}
    while name := _word(file):  # name, type, size, value, until an empty name
        _word(file)
        attributes[name] = file.read(int.from_bytes(file.read(4), "little"))
    return attributes


def _exr_places(file: BinaryIO) -> np.ndarray:
    """Reads the table: where in the file its blocks of rows lie, in order. The first begins where the table ends."""
    table, first = file.tell(), file.read(8)
    length = int.from_bytes(first, "little") - table
    return np.frombuffer(first + file.read(length - 8), "<u8")


def _word(file: BinaryIO) -> bytes:
    word = b""
    while (letter := file.read(1)) != b"\0":
        if not letter:
            raise ValueError("cut off")
        word += letter
    return word


def _exr_channels(data: bytes) -> Iterator[tuple[str, int]]:
    """Name and bits of every channel: a name, its end, and 16 bytes of which the first says what kind of number."""
    place = 0
    while data[place]:
        end = data.index(b"\0", place)
        yield data[place:end].decode("ascii"), {1: 16, 2: 32}[data[end + 1]]
        place = end + 17


def _exr_examine(path: Path) -> Picture:
    with open(path, "rb") as file:
        header = _exr_header(file)
        last = int(_exr_places(file)[-1])
        file.seek(last + 4)
        if last + 8 + int.from_bytes(file.read(4), "little") != path.stat().st_size:
            raise ValueError("cut off")
    channels = dict(_exr_channels(header[b"channels"]))
    [bits] = {bits for name, bits in channels.items() if "." not in name}
    left, top, right, bottom = struct.unpack("<4i", header[b"dataWindow"])
    stated = np.frombuffer(header[b"chromaticities"], "<f4")[:6].reshape(3, 2)
    profile = next((word for word, space in colour.SPACES.items() if np.allclose(stated, space.primaries)), None)
    dpi = round(struct.unpack("<f", header[b"xDensity"])[0]) if b"xDensity" in header else None
    layers = {name.partition(".")[0] for name in channels if "." in name}
    own = sum("." not in name for name in channels)
    return Picture(Size(right - left + 1, bottom - top + 1), bits, own, profile, dpi, tuple(sorted(layers)))


FORMATS: dict[Word, Format] = {
    "png": Format(".png", 8, True, True, _png, png.inscribe, _png_examine),
    "png16": Format(".png", 16, True, True, _png, png.inscribe, _png_examine),
    "tiff16": Format(".tif", 16, True, True, _tiff16, _tiff_inscribe, _tiff_examine),
    "jpg": Format(".jpg", 8, False, True, _jpg, _jpg_inscribe, _jpg_examine),
    "exr": Format(".exr", 16, True, True, _exr, _exr_inscribe, _exr_examine),
    "dcp-source": Format(".tif", 16, False, False, _dcp, _tiff_inscribe, _tiff_examine),
}
