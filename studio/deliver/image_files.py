"""Picture files: how pictures become PNG, TIFF, JPEG and EXR, and what such a file really holds, read back from it.

A format writes one picture, band by band where it can; copies a file with the provenance in it; and examines what was
written, without reading the pixels into memory.
"""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from studio.config.records import Record
from studio.config.units import Size
from studio.deliver import colour_spaces, exr, png
from studio.deliver.colour_spaces import Profile
from studio.deliver.media import differences
from studio.deliver.picture_spec import Aov, Picture, PictureSpec
from studio.errors import MachineError
from studio.film.bands import Bands

LAYERED = 8e9
"""Bytes that the layers of one picture may take."""
_BYTES: dict[Aov, int] = {"depth": 4, "normal": 6, "position": 12, "loss": 4, "convexity": 4, "mask": 2}
"""Of a layer, to a pixel."""
Word = Literal["png", "png16", "tiff16", "jpg", "exr", "dcp-source"]


class Finish(Record):
    """How pictures are written: what sequences and stills have in common, who say what it means."""

    former: ClassVar[Mapping[str, str]] = {"layers": "aovs"}

    format: Word = "png"
    profile: Profile = "srgb"
    dpi: Annotated[int, Field(ge=1, le=65535)] | None = None
    alpha: bool = False
    aovs: tuple[Aov, ...] = ()

    @model_validator(mode="after")
    def _can_be_written(self):
        if self.alpha and not FORMATS[self.format].alpha:
            able = ", ".join(word for word, form in FORMATS.items() if form.alpha)
            raise ValueError(f"{self.format} has no alpha; take one of {able}")
        if self.aovs and self.format != "exr":
            raise ValueError(f"{self.format} has no AOVs; take `format: exr`")
        if len(set(self.aovs)) < len(self.aovs):
            raise ValueError("a layer is named twice; name it once")
        if self.format == "dcp-source" and self.profile != "srgb":
            raise ValueError(f"dcp-source is in X'Y'Z', and not in {self.profile}; leave out `profile`")
        return self

    @property
    def wants(self) -> PictureSpec:
        """What pictures it is made of. Codes that are converted have 16 bits, for the steps of 8 would show."""
        bits = FORMATS[self.format].bits if self.profile == "srgb" else 16
        return PictureSpec(None if self.format == "exr" else bits, self.alpha, self.aovs)

    @property
    def suffix(self) -> str:
        """Of a file's name."""
        return FORMATS[self.format].suffix

    def heavy(self, size: Size) -> str | None:
        """What is wrong with the layers of a picture of this size, and the way out; they are kept in memory whole."""
        taken = sum(_BYTES[layer] for layer in self.aovs) * size.width * size.height
        if taken <= LAYERED:
            return None
        return (
            f"{size}: its AOVs ({', '.join(self.aovs)}) would take {taken / 1e9:.0f} GB of memory, and may take "
            f"{LAYERED / 1e9:.0f}; take fewer of them in one file, or a smaller size"
        )

    @property
    def words(self) -> list[str]:
        """What tells it in a file's name from another of the same format."""
        colours = [] if self.profile == "srgb" else [self.profile]
        return [*colours, *(["alpha"] if self.alpha else []), *(["aovs"] if self.aovs else [])]

    def identity(self) -> dict[str, Any]:
        """What the bytes of a file depend on besides its picture: for its key."""
        return {name: getattr(self, name) for name in Finish.model_fields}


@dataclass(frozen=True)
class ImageInfo:
    """What a picture file holds. bits: of a channel; EXR's are half floats. profile: None for none, or a stranger's."""

    size: Size
    bits: int
    channels: int
    profile: Profile | None
    dpi: int | None
    aovs: tuple[Aov, ...] = ()


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
    write: Callable[[Path, Picture, Finish], None]
    inscribe: Callable[[Path, Path, str], None]
    examine: Callable[[Path], ImageInfo]


def write(path: Path, picture: Picture, finish: Finish) -> None:
    """The picture, of what `finish` wants, as a file. Same picture, same bytes."""
    FORMATS[finish.format].write(path, picture, finish)


def inscribe(source: Path, target: Path, finish: Finish, provenance: Mapping[str, Any]) -> None:
    """Copies a picture file, with the provenance as JSON in the comment of its format; the pixels stay as they are."""
    FORMATS[finish.format].inscribe(source, target, json.dumps(provenance, sort_keys=True, default=str))


def verified(path: Path, finish: Finish, size: Size) -> ImageInfo:
    """What the file holds. Raises MachineError if it is broken, or not what was asked for."""
    form = FORMATS[finish.format]
    try:
        found = form.examine(path)
    except (OSError, ValueError, LookupError, struct.error, zlib.error) as error:
        raise MachineError(f"{path}: is no whole picture of {size} ({error}); remove it and run again") from error
    profile, layers = finish.profile if form.tagged else None, tuple(sorted(finish.aovs))
    wanted = ImageInfo(size, form.bits, 4 if finish.alpha else 3, profile, finish.dpi, layers)
    if wrong := differences(found, wanted):
        raise MachineError(f"{path}: is no whole picture of {size} ({wrong}); remove it and run again")
    return found


def _grouped(bands: Bands) -> Iterator[np.ndarray]:
    """The same rows in arrays of `colour_spaces.BAND` each, so that the bytes do not depend on how a picture comes."""
    height, *row = bands.shape
    top = held = 0
    group = np.empty((min(colour_spaces.BAND, height), *row), bands.dtype)
    for band in bands:
        while len(band):
            part = band[: len(group) - held]
            group[held : held + len(part)] = part
            held, band = held + len(part), band[len(part) :]
            if held == len(group):
                yield group
                top, held = top + held, 0
                group = np.empty((min(colour_spaces.BAND, height - top), *row), bands.dtype)


def _codes(picture: Bands, finish: Finish) -> Bands:
    """The picture in the finish's colours and bits."""
    bits = FORMATS[finish.format].bits

    def make() -> Iterator[np.ndarray]:
        for band in _grouped(picture):
            codes = colour_spaces.converted(band, finish.profile)
            yield colour_spaces.eight(codes) if bits == 8 else codes

    return Bands(picture.shape, np.dtype(f"u{bits // 8}"), make)


# --- PNG -------------------------------------------------------------------------------------------------------------


def _png(path: Path, shown: Picture, finish: Finish) -> None:
    png.write(path, _codes(shown.picture, finish), colour_spaces.icc(finish.profile), finish.dpi)


def _png_examine(path: Path) -> ImageInfo:
    width, height, bits, channels, profile, dpi = png.examine(path)
    return ImageInfo(Size(width, height), bits, channels, colour_spaces.icc_name(profile), dpi)


# --- JPEG ------------------------------------------------------------------------------------------------------------


def _jpg(path: Path, shown: Picture, finish: Finish) -> None:
    """Put together in memory, four bytes a pixel, as the library keeps it: no JPEG library takes a picture in bands."""
    from PIL import Image

    height, width, _ = shown.picture.shape
    whole, top = np.zeros((height, width, 4), np.uint8), 0
    for band in _codes(shown.picture, finish):
        whole[top : top + len(band), :, :3] = band
        top += len(band)
    dpi = {} if finish.dpi is None else {"dpi": (finish.dpi, finish.dpi)}
    about = {"icc_profile": colour_spaces.icc(finish.profile), "quality": 95, "subsampling": 0} | dpi
    Image.frombuffer("RGBX", (width, height), whole, "raw", "RGBX", 0, 1).save(path, "JPEG", **about)


def _jpg_inscribe(source: Path, target: Path, text: str) -> None:
    """In comment segments after the first one, which is JFIF's own; each holds at most 65533 bytes."""
    data = text.encode("ascii")
    parts = [data[i : i + 65533] for i in range(0, len(data), 65533)]
    with open(source, "rb") as old, open(target, "wb") as new:
        head = old.read(6)
        new.write(head + old.read(int.from_bytes(head[4:6], "big") - 2))
        new.writelines(b"\xff\xfe" + struct.pack(">H", len(part) + 2) + part for part in parts)
        shutil.copyfileobj(old, new, 1 << 20)


def _jpg_examine(path: Path) -> ImageInfo:
    with open(path, "rb") as file:
        file.seek(-2, 2)
        if file.read() != b"\xff\xd9":
            raise ValueError("cut off")
        segments = dict(_segments(file))
    bits, height, width, channels = struct.unpack(">BHHB", segments[0xC0][:6])
    unit, density = struct.unpack(">BH", segments[0xE0][7:10])
    profile = colour_spaces.icc_name(segments[0xE2].removeprefix(b"ICC_PROFILE\0\1\1"))
    return ImageInfo(Size(width, height), bits, channels, profile, density if unit == 1 else None)


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and data of every segment of a JPEG before its pixels."""
    file.seek(2)
    marker = 0
    while marker != 0xDA:
        marker, length = struct.unpack(">xBH", file.read(4))
        yield marker, file.read(length - 2)


# --- TIFF ------------------------------------------------------------------------------------------------------------

_CLASSIC = 2**32 - 2**25  # bytes of pixels; a file of more needs places of 64 bits, as BigTIFF has them


def _tiff16(path: Path, shown: Picture, finish: Finish) -> None:
    _tiff(path, _codes(shown.picture, finish), finish.dpi, iccprofile=colour_spaces.icc(finish.profile))


def _dcp(path: Path, shown: Picture, finish: Finish) -> None:
    picture = shown.picture
    projected = Bands(picture.shape, np.dtype(np.uint16), lambda: map(colour_spaces.projected, _grouped(picture)))
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
        file.write(strips, shape=picture.shape, dtype=picture.dtype, rowsperstrip=colour_spaces.BAND, **about, **tags)


def _tiff_inscribe(source: Path, target: Path, text: str) -> None:
    import tifffile

    shutil.copyfile(source, target)
    tifffile.tiffcomment(target, text)


def _tiff_examine(path: Path) -> ImageInfo:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        if page.dataoffsets[-1] + page.databytecounts[-1] > path.stat().st_size:
            raise ValueError("cut off")
        dpi = round(page.get_resolution("inch")[0]) if page.tags["ResolutionUnit"].value == 2 else None
        size, profile = Size(page.imagewidth, page.imagelength), colour_spaces.icc_name(page.iccprofile)
        return ImageInfo(size, page.bitspersample, page.samplesperpixel, profile, dpi)


# --- EXR -------------------------------------------------------------------------------------------------------------

_LETTERS: dict[Aov, str] = {
    "depth": "Z",
    "normal": "XYZ",
    "position": "XYZ",
    "loss": "Y",
    "convexity": "Y",
    "mask": "Y",
}
"""Channels of a layer, as in `normal.X`."""


def _exr(path: Path, shown: Picture, finish: Finish) -> None:
    """Linear light in half floats, with alpha multiplied in as EXR has it, and the layers in channels of their own."""
    picture, space = shown.picture, colour_spaces.SPACES[finish.profile]
    lit = Bands(
        picture.shape, picture.dtype, lambda: (colour_spaces.relit(b, finish.profile) for b in _grouped(picture))
    )
    layers = {
        f"{name}.{letter}": values[..., index]
        for name, values in shown.aovs.items()
        for index, letter in enumerate(_LETTERS[name])
    }
    chromaticities = *(number for xy in space.primaries for number in xy), *colour_spaces.D65
    exr.write(path, lit, layers, chromaticities, finish.dpi)


def _exr_examine(path: Path) -> ImageInfo:
    width, height, channels, primaries, dpi = exr.examine(path)
    [bits] = {bits for name, bits in channels.items() if "." not in name}
    near = (word for word, space in colour_spaces.SPACES.items() if np.allclose(primaries, space.primaries))
    layers = sorted({name.partition(".")[0] for name in channels if "." in name})
    own = sum("." not in name for name in channels)
    return ImageInfo(Size(width, height), bits, own, next(near, None), dpi, tuple(layers))


FORMATS: dict[Word, Format] = {
    "png": Format(".png", 8, True, True, _png, png.inscribe, _png_examine),
    "png16": Format(".png", 16, True, True, _png, png.inscribe, _png_examine),
    "tiff16": Format(".tif", 16, True, True, _tiff16, _tiff_inscribe, _tiff_examine),
    "jpg": Format(".jpg", 8, False, True, _jpg, _jpg_inscribe, _jpg_examine),
    "exr": Format(".exr", 16, True, True, _exr, exr.inscribe, _exr_examine),
    "dcp-source": Format(".tif", 16, False, False, _dcp, _tiff_inscribe, _tiff_examine),
}
