"""Picture formats: what PNG, TIFF, JPEG and EXR files are made of, and the check that a file is what was asked for.

A picture is converted and written band by band; when the file is handed over, it is copied with the provenance in it,
and not encoded again.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from studio.config.records import Record
from studio.config.units import Size
from studio.deliver import colour_spaces, comments, image_io
from studio.deliver.colour_spaces import Profile
from studio.deliver.image_io import OpenImage
from studio.deliver.media import differences
from studio.deliver.picture_spec import Aov, Picture, PictureSpec
from studio.errors import MachineError
from studio.field import Array
from studio.film.bands import Bands, regroup

VERSION = 4  # raise it when the same pictures are to be written differently
MAX_AOV_BYTES = 8e9  # memory that the AOVs of one picture may take; they are kept whole
_AOV_CHANNELS: dict[Aov, tuple[str, np.dtype[Any]]] = {
    "depth": ("Z", np.dtype(np.float32)),
    "normal": ("XYZ", np.dtype(np.float16)),
    "position": ("XYZ", np.dtype(np.float32)),
    "loss": ("Y", np.dtype(np.float32)),
    "convexity": ("Y", np.dtype(np.float32)),
    "mask": ("Y", np.dtype(np.float16)),
}
"""Letters of an AOV's channels, as in `normal.X`, and their type."""
FormatName = Literal["png", "png16", "tiff16", "jpg", "exr", "dcp-source"]


class ImageOptions(Record):
    """How pictures are written: the keys that sequences and stills have in common; those two document them."""

    former: ClassVar[Mapping[str, str]] = {"layers": "aovs"}

    format: FormatName = "png"
    profile: Profile = "srgb"
    dpi: Annotated[int, Field(ge=1, le=65535)] | None = None
    alpha: bool = False
    aovs: tuple[Aov, ...] = ()

    @model_validator(mode="after")
    def _can_be_written(self) -> ImageOptions:
        if self.alpha and not FORMATS[self.format].alpha:
            with_alpha = ", ".join(name for name, file_format in FORMATS.items() if file_format.alpha)
            raise ValueError(f"{self.format} has no alpha; take one of {with_alpha}")
        if self.aovs and self.format != "exr":
            raise ValueError(f"{self.format} has no AOVs; take `format: exr`")
        if len(set(self.aovs)) < len(self.aovs):
            raise ValueError("an AOV is named twice; name it once")
        if self.format == "dcp-source" and self.profile != "srgb":
            raise ValueError(f"dcp-source is in X'Y'Z', not in {self.profile}; leave out `profile`")
        return self

    @property
    def picture_spec(self) -> PictureSpec:
        """What pictures it is made of. Codes that are converted have 16 bits: with 8, the steps would show."""
        if self.format == "exr":
            return PictureSpec(None, self.alpha, self.aovs)
        is_8bit = FORMATS[self.format].bits == 8 and self.profile == "srgb"
        return PictureSpec(8 if is_8bit else 16, self.alpha, self.aovs)

    @property
    def suffix(self) -> str:
        """Suffix of a file's name."""
        return FORMATS[self.format].suffix

    def aov_mistake(self, size: Size) -> str | None:
        """What is wrong with AOVs at this picture size, too much memory, and the way out; None if nothing is."""
        channels = (_AOV_CHANNELS[aov] for aov in self.aovs)
        bytes_needed = sum(len(letters) * dtype.itemsize for letters, dtype in channels) * size.width * size.height
        if bytes_needed <= MAX_AOV_BYTES:
            return None
        return (
            f"{size}: its AOVs ({', '.join(self.aovs)}) would take {bytes_needed / 1e9:.0f} GB of memory, and may take "
            f"{MAX_AOV_BYTES / 1e9:.0f}; take fewer of them in one file, or a smaller size"
        )

    @property
    def name_parts(self) -> list[str]:
        """What distinguishes its file name from another of the same format."""
        colours = [] if self.profile == "srgb" else [self.profile]
        return [*colours, *(["alpha"] if self.alpha else []), *(["aovs"] if self.aovs else [])]

    def identity(self) -> dict[str, Any]:
        """What the bytes of a segment depend on besides its pictures, which `at` chooses: part of its digest."""
        return {"version": VERSION, **self.model_dump(exclude={"at", "handles"})}


@dataclass(frozen=True)
class ImageInfo:
    """What a picture file holds. bits: of a colour channel; 16 in EXR are half floats. profile: None if unknown."""

    size: Size
    bits: int
    channels: int
    profile: Profile | None
    dpi: int | None
    aovs: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileFormat:
    """A kind of picture file.

    convert: a band, as the PictureSpec has it, to the band in the file. bits: of a channel. alpha: whether it can have
    one. tagged: whether a profile says what the codes mean. attributes: how OpenImageIO encodes it.
    """

    suffix: str
    bits: int
    convert: Callable[[Array, Profile], Array]
    attributes: Mapping[str, str | int]
    alpha: bool = True
    tagged: bool = True


def write(path: Path, picture: Picture, options: ImageOptions) -> None:
    """Writes a picture, made as `options.picture_spec` says, as a file. Same picture, same bytes."""
    height, width, colours = picture.picture.shape
    size, bands = Size(width, height), _converted_bands(picture, options)
    if options.format == "jpg":
        pixels = Bands(picture.picture.shape, np.dtype(np.uint8), lambda: bands).to_array()
        image_io.write_jpeg(path, pixels, colour_spaces.icc(options.profile), options.dpi)
        return
    kind = "f" if options.format == "exr" else "u"
    channels = {letter: np.dtype(f"{kind}{FORMATS[options.format].bits // 8}") for letter in "RGBA"[:colours]}
    for name in picture.aovs:
        letters, dtype = _AOV_CHANNELS[name]
        channels |= {f"{name}.{letter}": dtype for letter in letters}
    image_io.write(path, size, channels, bands, _attributes(options))


def add_metadata(source: Path, target: Path, options: ImageOptions, size: Size, provenance: Mapping[str, Any]) -> None:
    """Copies a picture file, with the provenance as JSON in the comment of its format; its pixels stay as they are.

    Raises MachineError if the source is damaged, or not what was asked for.
    """
    text, file_format = json.dumps(provenance, sort_keys=True, default=str), FORMATS[options.format]
    with _open_expected(source, options, size) as image:
        if file_format.suffix == ".tif":  # uncompressed: nothing is encoded
            attributes = {**_attributes(options), "ImageDescription": text}
            image_io.write(target, size, image.channels, image.bands(), attributes)
            return
        if file_format.suffix != ".png":  # whose chunks are checked as they are copied; else decoding is the check
            deque(image.bands(), maxlen=0)
        comments.BY_SUFFIX[file_format.suffix](source, target, text)


@contextmanager
def _open_expected(path: Path, options: ImageOptions, size: Size) -> Iterator[OpenImage]:
    """Opens a picture file that has the properties asked for. What it raises as ValueError becomes a MachineError."""
    file_format = FORMATS[options.format]
    profile, aovs = options.profile if file_format.tagged else None, tuple(sorted(options.aovs))
    expected = ImageInfo(size, file_format.bits, 4 if options.alpha else 3, profile, options.dpi, aovs)
    try:
        with image_io.open_image(path) as image:
            if difference := differences(_info(image), expected):
                raise ValueError(difference)
            yield image
    except ValueError as error:
        raise MachineError(f"{path}: is no whole picture of {size} ({error}); remove it and run again") from error


def _info(image: OpenImage) -> ImageInfo:
    colours = {name: dtype for name, dtype in image.channels.items() if "." not in name}
    bits = max(8 * dtype.itemsize for dtype in colours.values())
    aovs = sorted({name.partition(".")[0] for name in image.channels if "." in name})
    profile, spaces = colour_spaces.icc_name(image.profile), colour_spaces.SPACES.items()
    if image.primaries is not None:
        profile = next((name for name, space in spaces if np.allclose(image.primaries, space.primaries)), None)
    return ImageInfo(image.size, bits, len(colours), profile, image.dpi, tuple(aovs))


def _attributes(options: ImageOptions) -> dict[str, Any]:
    """OpenImageIO's attributes of a file with these options."""
    attributes: dict[str, Any] = {**FORMATS[options.format].attributes}
    if options.dpi is not None:
        attributes |= {"XResolution": float(options.dpi), "YResolution": float(options.dpi), "ResolutionUnit": "in"}
    if options.format == "exr":
        primaries = colour_spaces.SPACES[options.profile].primaries
        attributes["chromaticities"] = (*(number for xy in primaries for number in xy), *colour_spaces.D65)
    elif FORMATS[options.format].tagged:
        attributes["ICCProfile"] = colour_spaces.icc(options.profile)
    return attributes


def _converted_bands(picture: Picture, options: ImageOptions) -> Iterator[Array]:
    """Bands [up to ROWS, W, channels] as the file holds them, AOVs behind the colours in float32 with them.

    However a picture comes, it is dithered and written in the same bands.
    """
    convert, top = FORMATS[options.format].convert, 0
    for band in regroup(picture.picture, image_io.ROWS):
        pixels = convert(band, options.profile)
        if picture.aovs:
            aovs = (values[top : top + len(band)] for values in picture.aovs.values())
            pixels = np.concatenate([pixels, *aovs], axis=-1, dtype=np.float32)
        yield pixels
        top += len(band)


def _codes_8bit(band: Array, profile: Profile) -> Array:
    return colour_spaces.to_8bit(colour_spaces.convert(band, profile))


# Of what the PNG library offers: the average filter, one pass of run lengths. With grain, other strategies take up to
# eight times as long for files at most a tenth smaller.
_PNG: Mapping[str, str | int] = {"compression": "rle", "png:compressionLevel": 1, "png:filter": 0x40}
# Uncompressed: every grading room, printer and DCP maker reads it, and nothing is read faster.
_TIFF: Mapping[str, str | int] = {"compression": "none", "tiff:RowsPerStrip": image_io.ROWS}

FORMATS: dict[FormatName, FileFormat] = {
    "png": FileFormat(".png", 8, _codes_8bit, _PNG),
    "png16": FileFormat(".png", 16, colour_spaces.convert, _PNG),
    "tiff16": FileFormat(".tif", 16, colour_spaces.convert, _TIFF),
    "jpg": FileFormat(".jpg", 8, _codes_8bit, {}, alpha=False),
    "exr": FileFormat(".exr", 16, colour_spaces.convert_linear, {"compression": "zip"}),
    "dcp-source": FileFormat(".tif", 16, lambda band, _: colour_spaces.to_dcp(band), _TIFF, tagged=False),
}
