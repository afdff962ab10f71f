"""Picture files: how frames become PNG, TIFF, JPEG and EXR, and what such a file really holds, read back from it.

A format writes one frame, adds the provenance to a file that is finished otherwise, and examines what was written.
"""

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..errors import MachineError
from ..spec import Size
from . import colour
from .colour import Profile
from .probe import differences

Word = Literal["png", "png16", "tiff16", "jpg", "exr", "dcp-source"]
LEVEL = 4  # of zlib: level 6 takes three times as long for 7 to 16 % fewer bytes
_INCH = 0.0254  # metres


class Finish(NamedTuple):
    """How pictures are written: as which format, in which colours, for how many pixels to an inch of paper."""

    format: Word
    profile: Profile = "srgb"
    dpi: int | None = None


@dataclass(frozen=True)
class Picture:
    """What a picture file holds. bits: of a channel; EXR's are half floats. profile: None for none, or a stranger's."""

    size: Size
    bits: int
    channels: int
    profile: Profile | None
    dpi: int | None


@dataclass(frozen=True)
class Format:
    """A kind of picture file. write: (path, frame, finish); inscribe: (path, provenance as ASCII); examine: path.

    bits: what a channel can hold. alpha: whether there can be one. tagged: whether a profile says what the codes mean.
    """

    suffix: str
    bits: int
    alpha: bool
    tagged: bool
    write: Callable[[Path, np.ndarray, Finish], None]
    inscribe: Callable[[Path, str], None]
    examine: Callable[[Path], Picture]


def checked(frames: Iterable[np.ndarray], size: Size, *, half: bool = False) -> Iterator[np.ndarray]:
    """The same frames, contiguous: uint8 or uint16 [height, width, 3 or 4]; half: or float16 linear light.

    Raises ValueError at another one: it would shear.
    """
    kinds = (np.uint8, np.uint16, np.float16) if half else (np.uint8, np.uint16)
    for frame in frames:
        if frame.shape not in ((*size[::-1], 3), (*size[::-1], 4)) or frame.dtype not in kinds:
            raise ValueError(
                f"a frame of {frame.dtype} {frame.shape}; expected uint8 or uint16 "
                f"({size.height}, {size.width}, 3 or 4)"
            )
        yield np.ascontiguousarray(frame)


def write(path: Path, frame: np.ndarray, finish: Finish) -> None:
    """The frame as a picture file. Same frame, same bytes."""
    FORMATS[finish.format].write(path, frame, finish)


def inscribe(path: Path, finish: Finish, provenance: Mapping[str, Any]) -> None:
    """Adds the provenance to a picture file, as JSON in the comment of its format; the pixels stay as they are."""
    FORMATS[finish.format].inscribe(path, json.dumps(provenance, sort_keys=True, default=str))


def verified(path: Path, finish: Finish, size: Size) -> Picture:
    """What the file holds. Raises MachineError if it is broken, or not what was asked for."""
    form = FORMATS[finish.format]
    try:
        found = form.examine(path)
    except (OSError, ValueError, LookupError, struct.error, zlib.error, RuntimeError) as error:
        raise MachineError(f"{path}: is no whole picture of {size} ({error}); remove it and run again") from error
    channels = found.channels if form.alpha and found.channels == 4 else 3
    wanted = Picture(size, form.bits, channels, finish.profile if form.tagged else None, finish.dpi)
    if wrong := differences(found, wanted):
        raise MachineError(f"{path}: is no whole picture of {size} ({wrong}); remove it and run again")
    return found


# --- PNG -------------------------------------------------------------------------------------------------------------

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = 33  # the signature and the IHDR chunk, which comes first


def _png(path: Path, frame: np.ndarray, finish: Finish) -> None:
    _pillow(path, colour.eight(colour.converted(frame, finish.profile)), finish, compress_level=LEVEL)


def _pillow(path: Path, picture: np.ndarray, finish: Finish, **options: Any) -> None:
    import imageio.v3 as iio

    if finish.dpi is not None:
        options["dpi"] = (finish.dpi, finish.dpi)
    iio.imwrite(path, picture, plugin="pillow", icc_profile=colour.icc(finish.profile), **options)


def _png16(path: Path, frame: np.ndarray, finish: Finish) -> None:
    """By hand, a band of rows at a time: Pillow has no pictures of three channels of 16 bits."""
    picture = colour.sixteen(colour.converted(frame, finish.profile))
    height, width, channels = picture.shape
    packer = zlib.compressobj(LEVEL)
    with open(path, "wb") as file:
        file.write(_SIGNATURE)
        file.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)))
        file.write(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(colour.icc(finish.profile))))
        if finish.dpi is not None:
            file.write(_chunk(b"pHYs", struct.pack(">IIB", *2 * [round(finish.dpi / _INCH)], 1)))
        for band in _filtered(picture):
            file.write(_chunk(b"IDAT", packer.compress(band.data)))
        file.write(_chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b""))


def _filtered(picture: np.ndarray) -> Iterator[np.ndarray]:
    """The rows as PNG's filter leaves them, in bands of bytes: each less its left neighbours, or less the row above.

    Of the two, a row takes the one whose bytes, read as signed, have the smaller sum: that one packs better.
    """
    height, width, channels = picture.shape
    step, above = 2 * channels, np.zeros((1, 2 * channels * width), np.uint8)
    for top in range(0, height, 256):
        rows = picture[top : top + 256].astype(">u2").view(np.uint8).reshape(-1, step * width)
        left = rows.copy()
        left[:, step:] -= rows[:, :-step]
        up = rows - np.concatenate([above, rows[:-1]])
        above = rows[-1:]
        choice = (_weight(up) < _weight(left))[:, None]
        yield np.concatenate([np.where(choice, 2, 1).astype(np.uint8), np.where(choice, up, left)], axis=1)


def _weight(rows: np.ndarray) -> np.ndarray:
    return np.minimum(rows, 0 - rows).sum(axis=1, dtype=np.int64)


def _png_inscribe(path: Path, text: str) -> None:
    picture = path.read_bytes()
    path.write_bytes(picture[:_HEADER] + _chunk(b"tEXt", b"provenance\0" + text.encode("ascii")) + picture[_HEADER:])


def _png_examine(path: Path) -> Picture:
    chunks = dict(_chunks(path.read_bytes()))
    if b"IEND" not in chunks:
        raise ValueError("cut off")
    width, height, bits, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    dpi = round(struct.unpack(">I", chunks[b"pHYs"][:4])[0] * _INCH) if b"pHYs" in chunks else None
    profile = zlib.decompress(chunks[b"iCCP"].partition(b"\0")[2][1:]) if b"iCCP" in chunks else None
    return Picture(Size(width, height), bits, {2: 3, 6: 4}[kind], colour.icc_name(profile), dpi)


def _chunk(name: bytes, data: bytes) -> bytes:
    """Length, name, data, and the CRC-32 of name and data."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of every chunk. Raises ValueError at one whose sum is wrong."""
    place = len(_SIGNATURE)
    while place < len(picture):
        length = int.from_bytes(picture[place : place + 4], "big")
        whole = picture[place : place + 12 + length]
        name, data = whole[4:8], whole[8:-4]
        if whole != _chunk(name, data):
            raise ValueError("cut off, or changed")
        yield name, data
        place += len(whole)


# --- JPEG ------------------------------------------------------------------------------------------------------------


def _jpg(path: Path, frame: np.ndarray, finish: Finish) -> None:
    picture = colour.eight(colour.converted(colour.opaque(frame), finish.profile))
    _pillow(path, picture, finish, quality=95, subsampling=0)


def _jpg_inscribe(path: Path, text: str) -> None:
    """In comment segments after the first one, which is JFIF's own; each holds at most 65533 bytes."""
    picture, data = path.read_bytes(), text.encode("ascii")
    place = 4 + int.from_bytes(picture[4:6], "big")
    parts = [data[i : i + 65533] for i in range(0, len(data), 65533)]
    comment = b"".join(b"\xff\xfe" + struct.pack(">H", len(part) + 2) + part for part in parts)
    path.write_bytes(picture[:place] + comment + picture[place:])


def _jpg_examine(path: Path) -> Picture:
    picture = path.read_bytes()
    if not picture.endswith(b"\xff\xd9"):
        raise ValueError("cut off")
    segments = dict(_segments(picture))
    bits, height, width, channels = struct.unpack(">BHHB", segments[0xC0][:6])
    unit, density = struct.unpack(">BH", segments[0xE0][7:10])
    profile = colour.icc_name(segments[0xE2].removeprefix(b"ICC_PROFILE\0\1\1"))
    return Picture(Size(width, height), bits, channels, profile, density if unit == 1 else None)


def _segments(picture: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and data of every segment of a JPEG before its pixels."""
    place, marker = 2, 0
    while marker != 0xDA:
        marker, length = struct.unpack(">xBH", picture[place : place + 4])
        yield marker, picture[place + 4 : place + 2 + length]
        place += 2 + length


# --- TIFF ------------------------------------------------------------------------------------------------------------


def _tiff16(path: Path, frame: np.ndarray, finish: Finish) -> None:
    picture = colour.sixteen(colour.converted(frame, finish.profile))
    _tiff(path, picture, finish.dpi, iccprofile=colour.icc(finish.profile))


def _dcp(path: Path, frame: np.ndarray, finish: Finish) -> None:
    _tiff(path, colour.projected(colour.opaque(frame)), finish.dpi)


def _tiff(path: Path, picture: np.ndarray, dpi: int | None, **tags: Any) -> None:
    """Uncompressed: every grading room, printer and DCP maker reads that, and nothing else is read as fast."""
    import tifffile

    if dpi is not None:
        tags |= {"resolution": (dpi, dpi), "resolutionunit": "inch"}
    if picture.shape[2] == 4:
        tags["extrasamples"] = ["unassalpha"]
    about = {"description": "no provenance", "software": "studio", "metadata": None}
    tifffile.imwrite(path, picture, byteorder="<", photometric="rgb", **about, **tags)


def _tiff_inscribe(path: Path, text: str) -> None:
    import tifffile

    tifffile.tiffcomment(path, text)


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


def _exr(path: Path, frame: np.ndarray, finish: Finish) -> None:
    """Linear light in half floats; from codes, decoded, with alpha multiplied in as EXR has it."""
    import OpenEXR

    shone = frame if frame.dtype == np.float16 else colour.shone(frame)
    space = colour.SPACES[finish.profile]
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": (*(number for xy in space.primaries for number in xy), *colour.D65),
        **({} if finish.dpi is None else {"xDensity": float(finish.dpi)}),
    }
    channels = {"RGBA"[: frame.shape[2]]: colour.relit(shone, finish.profile)}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


def _exr_inscribe(path: Path, text: str) -> None:
    """As the first attribute of the header; the table behind it, of where the pixels are, moves with them."""
    picture = path.read_bytes()
    end = _MAGIC
    while picture[end]:  # name, type, size, value, until an empty name
        start = picture.index(b"\0", picture.index(b"\0", end) + 1) + 1
        end = start + 4 + int.from_bytes(picture[start : start + 4], "little")
    table = end + 1
    pixels = int.from_bytes(picture[table : table + 8], "little")
    comment = b"comments\0string\0" + struct.pack("<I", len(text)) + text.encode("ascii")
    places = np.frombuffer(picture[table:pixels], "<u8") + np.uint64(len(comment))
    path.write_bytes(picture[:_MAGIC] + comment + picture[_MAGIC:table] + places.tobytes() + picture[pixels:])


def _exr_examine(path: Path) -> Picture:
    import OpenEXR

    with OpenEXR.File(str(path)) as file:
        [(name, channel)] = file.channels().items()
        height, width = channel.pixels.shape[:2]
        header = file.header()
        stated = np.reshape(header["chromaticities"][:6], (3, 2))
        profile = next((word for word, space in colour.SPACES.items() if np.allclose(stated, space.primaries)), None)
        dpi = round(header["xDensity"]) if "xDensity" in header else None
        return Picture(Size(width, height), 8 * channel.pixels.itemsize, len(name), profile, dpi)


FORMATS: dict[Word, Format] = {
    "png": Format(".png", 8, True, True, _png, _png_inscribe, _png_examine),
    "png16": Format(".png", 16, True, True, _png16, _png_inscribe, _png_examine),
    "tiff16": Format(".tif", 16, True, True, _tiff16, _tiff_inscribe, _tiff_examine),
    "jpg": Format(".jpg", 8, False, True, _jpg, _jpg_inscribe, _jpg_examine),
    "exr": Format(".exr", 16, True, True, _exr, _exr_inscribe, _exr_examine),
    "dcp-source": Format(".tif", 16, False, False, _dcp, _tiff_inscribe, _tiff_examine),
}
