"""The grade: a plate to the finished picture, by bloom, vignette, a filmic shoulder, a look-up table, type and grain.

A picture is made in full-width bands of rows, so that memory does not bound its size. What reaches beyond a band, the
bloom, is worked out first, from the whole plate, in blocks of pixels. The bands are at fixed places, and the grain of a
row is a function of the frame's number and the row: how the plate was drawn or is stored leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.fft import dctn, idctn
from scipy.interpolate import RegularGridInterpolator

from studio.film.bands import Bands
from studio.film.colour import LUMA, cube, encode, to_linear as linear
from studio.film.frame import Frame
from studio.film.light import MAX_LIGHT as HALF_RANGE, Background, Grade, Lut
from studio.render.linear_frame import FULL, SCALE
from studio.render.text import inked, inks

_ROWS = 64
_STEPS = 8192  # of the shoulder's table, which then stays in the nearest memory
_MIDDLE = 0.18  # the grey that contrast turns around
_NOISE = 1 << 21  # numbers; a row of a picture takes consecutive ones


def picture(plate, frame: Frame, *, bits: int = 8, alpha: bool = False) -> Bands:
    """The finished picture of a plate [H, W, 4] in sRGB codes of 8 or 16 bits, over the background [H, W, 3].

    plate: an array of numbers, or of chunks that are read when they are asked for. alpha: no background but a fourth
    channel, coverage, with which the colours are not multiplied. A glow covers too, as much as its brightest channel
    shines, 1 where the shoulder begins: laid over black in linear light, it is what it was. 8 bits are dithered; 16 are
    fine enough.
    """
    height, width = plate.shape[:2]
    dtype = np.dtype(f"u{bits // 8}")
    return Bands((height, width, 4 if alpha else 3), dtype, lambda: _pictures(plate, frame, bits, alpha))


def shone(plate, frame: Frame, *, alpha: bool = False) -> Bands:
    """The linear light of a plate, before the grade and without type, in half floats, over the background [H, W, 3].

    alpha: no background but a fourth channel, coverage, with which the light is multiplied, as OpenEXR has it.
    """
    height, width = plate.shape[:2]
    return Bands((height, width, 4 if alpha else 3), np.dtype(np.float16), lambda: _lights(plate, frame, alpha))


def _lights(plate, frame: Frame, alpha: bool) -> Iterator[np.ndarray]:
    behind = None if alpha else _behind(frame.background, plate.shape[0])
    for _, planes, _ in _bands(plate, behind):
        yield _woven(planes if alpha else planes[:3], np.float16)


def _pictures(plate, frame: Frame, bits: int, alpha: bool) -> Iterator[np.ndarray]:
    (height, width), grade, full = plate.shape[:2], frame.grade, 2**bits - 1
    behind = None if alpha else _behind(frame.background, height)
    glow = _glow(plate, behind, grade) if grade.bloom else None
    laid = inks(frame.overlays, height)
    dark_y, dark_x = (grade.vignette / 2 * np.linspace(-1, 1, side, dtype=np.float32) ** 2 for side in (height, width))
    grain, dither = (_noise(strength, bits) for strength in (grade.grain, 0.0))
    # without grain a held picture stands still, for dither need not move
    random = np.random.Generator(np.random.SFC64(frame.number if grade.grain else 0))
    starts = random.integers(0, _NOISE - width, (2, height))
    for top, planes, spare in _bands(plate, behind):
        rows = slice(top, top + planes.shape[1])
        light, cover = planes[:3], planes[3] if alpha else None
        if glow is not None:
            _add_glow(light, cover, glow, top, _block(height), spare, grade.shoulder)
        if alpha:
            light /= np.maximum(cover, np.float32(1e-9))
        if grade.vignette:
            light *= np.subtract.outer(1 - dark_y[rows], dark_x, out=spare[0])
        if grade.saturation != 1:
            _saturate(light, grade.saturation)
        shares = _toned(light, grade, bits, spare)
        if grade.lut:
            shares = _looked_up(shares, grade.lut)
        inked(shares, cover, laid, top)
        shares *= full
        _add_noise(shares, grain, starts[0, rows], light[0])
        np.clip(shares, 0, full, out=shares)
        if alpha:
            cover *= full
            _add_noise(cover, dither, starts[1, rows], light[0])
            shares *= cover >= 1  # no grain on nothing
            shares = (*shares, np.minimum(cover, full))
        yield _woven(shares, np.dtype(f"u{bits // 8}"))


def _bands(plate, behind: np.ndarray | None) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """A plate in bands: the first row, linear light and coverage [4, rows, W], and room for more light [3, rows, W].

    The light is over what is behind it, or over nothing. Both arrays are used again for the next band: fresh memory
    would take longer than the arithmetic.
    """
    height, width = plate.shape[:2]
    rows = max(_ROWS, _block(height))
    room = np.empty((7, min(rows, height), width), np.float32)
    for top, codes in _codes(plate, rows):
        planes, spare = room[:4, : len(codes)], room[4:, : len(codes)]
        for plane, channel in zip(planes, np.moveaxis(codes, -1, 0), strict=True):
            plane[:] = channel
        planes *= planes
        planes *= SCALE[:, None, None]
        if behind is not None:
            bare = np.subtract(1, planes[3], out=spare[0])
            for plane, colour in zip(planes[:3], behind, strict=True):
                plane += np.multiply(bare, colour[top : top + len(codes), None], out=spare[1])
        yield top, planes, spare


def _codes(plate, rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """The rows of a plate, so many at a time, whatever its chunks: the first row's number, and codes [rows, W, 4].

    What is stored in chunks is read by whole rows of chunks, each once.
    """
    height = plate.shape[0]
    deep = height if isinstance(plate, np.ndarray) else -(-rows // plate.chunks[0]) * plate.chunks[0]
    slab, start = plate[:deep], 0
    for top in range(0, height, rows):
        stop, end = min(top + rows, height), start + len(slab)
        codes = slab[top - start : stop - start]
        if stop > end:
            codes = codes.copy()  # or the old slab would stay while the new one is read
            del slab
            slab, start = plate[end : end + deep], end
            codes = np.concatenate([codes, slab[: stop - end]])
        yield top, codes


def _behind(background: Background, height: int) -> np.ndarray:
    """Linear light of the background [3, H]."""
    up = np.linspace(1, 0, 2 * height + 1, dtype=np.float32)[1::2]
    bottom, top = (linear(colour)[:, None].astype(np.float32) for colour in (background.bottom, background.top))
    return bottom * (1 - up) + top * up


def _block(height: int) -> int:
    """Pixels along a side of the bloom's blocks: a power of two near a 135th of the picture's height."""
    return 1 << max(0, (height // 135).bit_length() - 1)


def _glow(plate, behind: np.ndarray | None, grade: Grade) -> np.ndarray:
    """The bloom [3, rows of blocks, W]: light above the threshold, spread over three widths."""
    (height, width), block = plate.shape[:2], _block(plate.shape[0])
    tall, wide = -(-height // block), -(-width // block)
    blocks = np.zeros((3, tall, wide), np.float32)
    for top, codes in _codes(plate, max(_ROWS, block)):
        blocks[:, top // block :][:, : -(-len(codes) // block)] = _bright(codes, behind, top, block, grade.threshold)
    sides = (np.minimum(block, side - block * np.arange(n)) for side, n in ((height, tall), (width, wide)))
    blocks *= np.float32(grade.bloom) / np.multiply.outer(*sides).astype(np.float32)
    spread = np.maximum(_spread(blocks, height / 60 / block), 0)
    box = (0, 0, width / block, tall)
    return np.stack([Image.fromarray(c).resize((width, tall), Image.Resampling.BILINEAR, box) for c in spread])


def _bright(codes: np.ndarray, behind: np.ndarray | None, top: int, block: int, threshold: float) -> np.ndarray:
    """The sums [3, n, m] of the light above the threshold in the blocks of a band of a plate."""
    rows, columns = codes.shape[:2]
    if rows % block or columns % block:  # black, and nothing shines through
        whole = np.zeros((rows + -rows % block, columns + -columns % block, 4), np.uint16)
        whole[..., 3] = FULL
        whole[:rows, :columns] = codes
        codes = whole
    tall, wide = len(codes) // block, codes.shape[1] // block
    peaks = codes.reshape(tall, block, -1).max(axis=1).reshape(tall, -1, 4)
    peaks = np.maximum(np.maximum(peaks[..., 0], peaks[..., 1]), peaks[..., 2]).reshape(tall, wide, block).max(axis=2)
    # few blocks have any: the others are not looked at pixel by pixel
    dim = threshold - (0 if behind is None else float(behind.max()))
    row, column = np.nonzero(np.square(peaks, dtype=np.float32) * SCALE[0] > dim)
    chosen = codes.reshape(tall, block, wide, block, 4)[row, :, column]
    shining, (cover,) = np.split(np.moveaxis(chosen, -1, 0).astype(np.float32, order="C"), [3])
    shining *= shining
    shining *= SCALE[0]
    if behind is not None:
        at = np.minimum(top + block * row[:, None] + np.arange(block), behind.shape[1] - 1)
        shining += (1 - SCALE[3] * cover * cover) * behind[:, at, None]
    sums = np.zeros((3, tall, wide), np.float32)
    # above the threshold before it is summed, or a small light would pulse as it crosses the blocks
    shining -= np.float32(threshold)
    sums[:, row, column] = np.maximum(shining, 0, out=shining).sum(axis=(2, 3))
    return sums


def _spread(blocks: np.ndarray, reach: float) -> np.ndarray:
    """The sum of three Gaussian blurs of [3, n, m], reflected at the edges; `reach` is the spread of the second."""
    # a blur is a product in cosines, so that three of them, however wide, cost one transform there and one back
    waves = np.add.outer(*((np.pi * np.arange(n) / n) ** 2 for n in blocks.shape[1:]))
    passed = sum(np.exp(-waves * s**2 / 2) for s in (max(reach / 2, 1), max(reach, 1), max(reach * 3.2, 1)))
    return idctn(dctn(blocks, axes=(1, 2)) * passed.astype(np.float32), axes=(1, 2))


def _add_glow(light, cover, glow: np.ndarray, top: int, block: int, spare: np.ndarray, opaque: float) -> None:
    """Adds the bloom to the light [3, rows, W] of a band, and to its coverage if that is wanted."""
    rows, last = np.arange(top, top + light.shape[1], dtype=np.float32), glow.shape[1] - 1
    at = np.clip((rows + 0.5) / block - 0.5, 0, last)
    near = np.arange(int(at[0]), min(int(at[-1]) + 1, last) + 1, dtype=np.float32)
    tents = np.maximum(1 - np.abs(at[:, None] - near), 0)  # between two rows of blocks, a straight line in each column
    added = np.matmul(tents, glow[:, int(near[0]) : int(near[-1]) + 1], out=spare)
    light += added
    if cover is not None:
        cover += (1 - cover) * np.minimum(added.max(axis=0) / np.float32(opaque), 1)


def _saturate(light: np.ndarray, saturation: float) -> None:
    grey = np.float32(1 - saturation) * sum(np.float32(share) * plane for share, plane in zip(LUMA, light, strict=True))
    light *= np.float32(saturation)
    light += grey
    np.maximum(light, 0, out=light)


def _toned(light: np.ndarray, grade: Grade, bits: int, out: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 of light, from a table as fine as a plate; for sixteen bits with straight lines in between."""
    table = _shoulder(grade.contrast, grade.shoulder)
    roots = np.sqrt(light, out=light)
    roots *= np.float32((_STEPS - 1) / np.sqrt(HALF_RANGE))
    np.minimum(roots, _STEPS - 1, out=roots)
    index = roots.astype(np.uint16)
    shares = table.take(index, out=out, mode="clip")
    if bits > 8:
        roots -= index
        roots *= np.diff(table, append=table[-1:]).take(index)
        shares += roots
    return shares


@lru_cache(maxsize=2)
def _shoulder(contrast: float, start: float) -> np.ndarray:
    """sRGB in 0..1 of light by its square root; straight up to `start`, then softly towards 1."""
    light = HALF_RANGE * (np.arange(_STEPS) / (_STEPS - 1)) ** 2
    if contrast != 1:
        light = _MIDDLE * (light / _MIDDLE) ** contrast
    left = 1 - start
    shown = np.where(light < start, light, start + left * (1 - np.exp(-np.maximum(light - start, 0) / left)))
    return encode(shown).astype(np.float32)


def _looked_up(shares: np.ndarray, lut: Lut) -> np.ndarray:
    """sRGB [3, ...] by a look-up table, with straight lines between its entries."""
    return np.moveaxis(_table(lut)(np.moveaxis(shares[::-1], 0, -1)), -1, 0).astype(np.float32, order="C")


@lru_cache(maxsize=2)
def _table(lut: Lut) -> RegularGridInterpolator:
    entries = cube(lut.file)
    return RegularGridInterpolator(3 * [np.linspace(0, 1, len(entries))], entries)


@lru_cache(maxsize=4)
def _noise(grain: float, bits: int) -> np.ndarray:
    """What is added to codes before they are cut to whole numbers: grain, and dither, or a half if that is enough."""
    dither, normal = (np.random.Generator(np.random.SFC64(seed)) for seed in (0, 1))
    noise = dither.random(_NOISE, np.float32) if bits == 8 else np.full(_NOISE, 0.5, np.float32)
    if grain:
        noise += np.float32(grain * (2**bits - 1)) * normal.standard_normal(_NOISE, np.float32)
    return noise


def _add_noise(codes: np.ndarray, noise: np.ndarray, starts: np.ndarray, spare: np.ndarray) -> None:
    """Adds noise to codes [..., rows, W], the same to all channels; starts: where a row's noise begins."""
    for row, start in zip(spare, starts, strict=True):
        row[:] = noise[start : start + len(row)]
    codes += spare


def _woven(planes, dtype) -> np.ndarray:
    """Planes [rows, W] as a band [rows, W, C]; numbers are cut, not rounded."""
    band = np.empty((*planes[0].shape, len(planes)), dtype)
    for channel, plane in enumerate(planes):
        band[..., channel] = plane.astype(dtype)  # first in one piece, then apart: the quicker way
    return band
