"""The grading: from a linear frame to the finished picture.

In order: bloom, vignette, saturation, contrast and a filmic shoulder, a look-up table, overlays, grain.

A picture is made in full-width bands of rows, so that memory does not bound its size. The bloom, which reaches beyond a
band, is computed first, from the whole linear frame, in blocks of pixels. The bands are at fixed places, and the grain
of a row is a function of the frame's number and the row: how the linear frame was drawn or stored makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.fft import dctn, idctn
from scipy.interpolate import RegularGridInterpolator

from studio.errors import SceneError
from studio.field import Array
from studio.film.appearance import Gradient, Grading, Lut
from studio.film.bands import Bands, regroup
from studio.film.colour import LUMA, decode, encode, read_cube
from studio.film.frame import Frame
from studio.film.light import MAX_LIGHT
from studio.render.linear_frame import FULL, SCALE
from studio.render.text import draw_glyphs, glyph_masks

if TYPE_CHECKING:
    from studio.storage.linear_frames import LinearFrame

    Codes = Array | LinearFrame
    """A linear frame [H, W, 4], in memory or stored."""

_ROWS = 64
_STEPS = 8192  # of the shoulder's table, which then stays in the processor's nearest cache
_MIDDLE = 0.18  # the grey that contrast turns around
_NOISE = 1 << 21  # numbers; a row of a picture takes consecutive ones


def picture(linear: Codes, frame: Frame, *, bits: int = 8, alpha: bool = False) -> Bands:
    """The finished picture of a linear frame [H, W, 4] in sRGB codes of 8 or 16 bits, over the background [H, W, 3].

    alpha: instead of the background a fourth channel, coverage, with which the colours are not multiplied. The bloom
    covers by its brightest channel, 1 where the shoulder begins, so that over black in linear light it looks the same.
    8 bits are dithered; 16 are fine enough.
    """
    height, width = linear.shape[:2]
    dtype = np.dtype(f"u{bits // 8}")
    return Bands((height, width, 4 if alpha else 3), dtype, lambda: _picture_bands(linear, frame, bits, alpha))


def linear_picture(linear: Codes, frame: Frame, *, alpha: bool = False) -> Bands:
    """The light of a linear frame in half floats, neither graded nor with overlays, over the background [H, W, 3].

    alpha: instead of the background a fourth channel, coverage, with which the light is multiplied, as in OpenEXR.
    """
    height, width = linear.shape[:2]
    return Bands((height, width, 4 if alpha else 3), np.dtype(np.float16), lambda: _linear_bands(linear, frame, alpha))


def _linear_bands(linear: Codes, frame: Frame, alpha: bool) -> Iterator[Array]:
    background = None if alpha else _background(frame.background, linear.shape[0])
    for _, planes, _ in _bands(linear, background):
        if frame.veil[1]:
            colour, density = frame.veil
            _cover(planes[:3], planes[3], tuple(decode(np.array(colour)).tolist()), density)
        yield _interleave(planes if alpha else planes[:3], np.dtype(np.float16))


def _picture_bands(linear: Codes, frame: Frame, bits: int, alpha: bool) -> Iterator[Array]:
    (height, width), grading, full = linear.shape[:2], frame.grading, 2**bits - 1
    background = None if alpha else _background(frame.background, height)
    bloom = _bloom(linear, background, grading) if grading.bloom else None
    glyphs = glyph_masks(frame.overlays, height)
    dark_y, dark_x = (
        grading.vignette / 2 * np.linspace(-1, 1, side, dtype=np.float32) ** 2 for side in (height, width)
    )
    grain, dither = (_noise(strength, bits) for strength in (grading.grain, 0.0))
    # without grain a held picture stands still: dither need not move
    random = np.random.Generator(np.random.SFC64(frame.number % 2**32 if grading.grain else 0))
    starts = random.integers(0, _NOISE - width, (2, height))
    for top, planes, scratch in _bands(linear, background):
        rows = slice(top, top + planes.shape[1])
        light, cover = planes[:3], planes[3] if alpha else None
        if bloom is not None:
            _add_bloom(light, cover, bloom, top, _block(height), scratch, grading.shoulder)
        if cover is not None:
            light /= np.maximum(cover, np.float32(1e-9))
        if grading.vignette:
            light *= np.subtract.outer(1 - dark_y[rows], dark_x, out=scratch[0])
        if grading.saturation != 1:
            _saturate(light, grading.saturation)
        srgb = _tone(light, grading, bits, scratch)
        if grading.lut:
            toned = _lut(grading.lut)(np.moveaxis(srgb[::-1], 0, -1))  # linear between its entries
            srgb = np.moveaxis(toned, -1, 0).astype(np.float32, order="C")
        if frame.veil[1]:
            _cover(srgb, cover, *frame.veil)
        draw_glyphs(srgb, cover, glyphs, top)
        srgb *= full
        _add_noise(srgb, grain, starts[0, rows], light[0])
        np.clip(srgb, 0, full, out=srgb)
        channels: Sequence[Array] = tuple(srgb)
        if cover is not None:
            cover *= full
            _add_noise(cover, dither, starts[1, rows], light[0])
            srgb *= cover >= 1  # no grain where nothing is covered
            channels = (*srgb, np.minimum(cover, full))
        yield _interleave(channels, np.dtype(f"u{bits // 8}"))


def _cover(picture: Array, cover: Array | None, colour: tuple[float, float, float], density: float) -> None:
    """Lays a colour over a picture [3, rows, W] and its coverage; multiplied light stays so."""
    for plane, value in zip(picture, colour, strict=True):
        plane += np.float32(density) * (np.float32(value) - plane)
    if cover is not None:
        cover += np.float32(density) * (1 - cover)


def _bands(linear: Codes, background: Array | None) -> Iterator[tuple[int, Array, Array]]:
    """A linear frame in bands: the first row, light and coverage [4, rows, W], and scratch space [3, rows, W].

    background: light [3, H] behind the frame, if any. Both arrays are used again for the next band: fresh
    memory would take longer than the arithmetic.
    """
    height, width = linear.shape[:2]
    rows = max(_ROWS, _block(height))
    buffer = np.empty((7, min(rows, height), width), np.float32)
    for top, codes in _codes(linear, rows):
        planes, scratch = buffer[:4, : len(codes)], buffer[4:, : len(codes)]
        for plane, channel in zip(planes, np.moveaxis(codes, -1, 0), strict=True):
            plane[:] = channel
        planes *= planes
        planes *= SCALE[:, None, None]
        if background is not None:
            uncovered = np.subtract(1, planes[3], out=scratch[0])
            for plane, colour in zip(planes[:3], background, strict=True):
                plane += np.multiply(uncovered, colour[top : top + len(codes), None], out=scratch[1])
        yield top, planes, scratch


def _codes(linear: Codes, rows: int) -> Iterator[tuple[int, Array]]:
    """A linear frame, `rows` rows at a time whatever its chunks: the first row's number, and codes [rows, W, 4].

    Chunks are read by whole rows of chunks, each once.
    """
    height = linear.shape[0]
    chunk_rows = height if isinstance(linear, np.ndarray) else -(-rows // linear.chunks[0]) * linear.chunks[0]
    slabs = (linear[top : top + chunk_rows] for top in range(0, height, chunk_rows))
    for number, codes in enumerate(regroup(slabs, rows)):
        yield number * rows, codes


def _background(background: Gradient, height: int) -> Array:
    """Linear light of the background [3, H]."""
    up = np.linspace(1, 0, 2 * height + 1, dtype=np.float32)[1::2]
    bottom, top = (np.array(colour)[:, None].astype(np.float32) for colour in (background.bottom, background.top))
    return np.asarray(bottom * (1 - up) + top * up)


def _block(height: int) -> int:
    """Pixels along a side of the bloom's blocks: a power of two near a 135th of the picture's height.

    >>> _block(135), _block(1080)
    (1, 8)
    """
    return 1 << max(0, (height // 135).bit_length() - 1)


def _bloom(linear: Codes, background: Array | None, grading: Grading) -> Array:
    """The bloom [3, n, W]: light above the threshold, averaged over n rows of blocks and blurred by three widths."""
    (height, width), block = linear.shape[:2], _block(linear.shape[0])
    n, m = -(-height // block), -(-width // block)
    blocks = np.zeros((3, n, m), np.float32)
    for top, codes in _codes(linear, max(_ROWS, block)):
        blocks[:, top // block :][:, : -(-len(codes) // block)] = _sum_bright(
            codes, background, top, block, grading.threshold
        )
    sides = (np.minimum(block, side - block * np.arange(count)) for side, count in ((height, n), (width, m)))
    blocks *= np.float32(grading.bloom) / np.multiply.outer(*sides).astype(np.float32)
    blurred = np.maximum(_blur(blocks, height / 60 / block), 0)
    box = (0, 0, width / block, n)
    resized = (Image.fromarray(c).resize((width, n), Image.Resampling.BILINEAR, box) for c in blurred)
    return np.stack([np.asarray(channel) for channel in resized])


def _sum_bright(codes: Array, background: Array | None, top: int, block: int, threshold: float) -> Array:
    """The light above the threshold in a band, summed over its n x m blocks [3, n, m]. top: the band's first row."""
    rows, columns = codes.shape[:2]
    if rows % block or columns % block:  # filled up with opaque black
        padded = np.zeros((rows + -rows % block, columns + -columns % block, 4), np.uint16)
        padded[..., 3] = FULL
        padded[:rows, :columns] = codes
        codes = padded
    n, m = len(codes) // block, codes.shape[1] // block
    peaks = codes.reshape(n, block, -1).max(axis=1).reshape(n, -1, 4)
    peaks = np.maximum(np.maximum(peaks[..., 0], peaks[..., 1]), peaks[..., 2]).reshape(n, m, block).max(axis=2)
    # few blocks have any; the others are skipped as a whole
    dim = threshold - (0 if background is None else float(background.max()))
    row, column = np.nonzero(np.square(peaks, dtype=np.float32) * SCALE[0] > dim)
    bright = codes.reshape(n, block, m, block, 4)[row, :, column]
    light, (cover,) = np.split(np.moveaxis(bright, -1, 0).astype(np.float32, order="C"), [3])
    light *= light
    light *= SCALE[0]
    if background is not None:
        at = np.minimum(top + block * row[:, None] + np.arange(block), background.shape[1] - 1)
        light += (1 - SCALE[3] * cover * cover) * background[:, at, None]
    sums = np.zeros((3, n, m), np.float32)
    # the threshold first, then the sum: otherwise a small light would pulse as it crosses the blocks
    light -= np.float32(threshold)
    sums[:, row, column] = np.maximum(light, 0, out=light).sum(axis=(2, 3))
    return sums


def _blur(blocks: Array, sigma: float) -> Array:
    """The sum of three Gaussian blurs of [3, n, m], reflected at the edges; sigma: of the second."""
    # in the cosine transform a blur is a product: three blurs of any width cost one transform and its inverse
    waves = np.add.outer(*((np.pi * np.arange(n) / n) ** 2 for n in blocks.shape[1:]))
    widths = max(sigma / 2, 1), max(sigma, 1), max(sigma * 3.2, 1)
    transfer = np.asarray(sum(np.exp(-waves * s**2 / 2) for s in widths))
    return np.asarray(idctn(dctn(blocks, axes=(1, 2)) * transfer.astype(np.float32), axes=(1, 2)))


def _add_bloom(
    light: Array, cover: Array | None, bloom: Array, top: int, block: int, scratch: Array, opaque: float
) -> None:
    """Adds the bloom to the light [3, rows, W] of a band, and to its coverage [rows, W] if there is one.

    opaque: light of the bloom that covers fully.
    """
    rows, last = np.arange(top, top + light.shape[1], dtype=np.float32), bloom.shape[1] - 1
    at = np.clip((rows + 0.5) / block - 0.5, 0, last)
    near = np.arange(int(at[0]), min(int(at[-1]) + 1, last) + 1, dtype=np.float32)
    weights = np.maximum(1 - np.abs(at[:, None] - near), 0)  # linear between two rows of blocks
    added = np.matmul(weights, bloom[:, int(near[0]) : int(near[-1]) + 1], out=scratch)
    light += added
    if cover is not None:
        cover += (1 - cover) * np.minimum(added.max(axis=0) / np.float32(opaque), 1)


def _saturate(light: Array, saturation: float) -> None:
    luminance = sum(np.float32(share) * plane for share, plane in zip(LUMA, light, strict=True))
    grey = np.float32(1 - saturation) * luminance
    light *= np.float32(saturation)
    light += grey
    np.maximum(light, 0, out=light)


def _tone(light: Array, grading: Grading, bits: int, out: Array) -> Array:
    """sRGB in 0..1 of light, from a table; for sixteen bits with linear interpolation."""
    table = _tone_table(grading.contrast, grading.shoulder)
    roots = np.sqrt(light, out=light)
    roots *= np.float32((_STEPS - 1) / np.sqrt(MAX_LIGHT))
    np.minimum(roots, _STEPS - 1, out=roots)
    index = roots.astype(np.uint16)
    srgb = table.take(index, out=out, mode="clip")
    if bits > 8:
        roots -= index
        roots *= np.diff(table, append=table[-1:]).take(index)
        srgb += roots
    return srgb


@lru_cache(maxsize=2)
def _tone_table(contrast: float, start: float) -> Array:
    """sRGB in 0..1 by the square root of light; linear in light up to `start`, then a soft shoulder towards 1."""
    light = MAX_LIGHT * (np.arange(_STEPS) / (_STEPS - 1)) ** 2
    if contrast != 1:
        light = _MIDDLE * (light / _MIDDLE) ** contrast
    rest = 1 - start
    toned = np.where(light < start, light, start + rest * (1 - np.exp(-np.maximum(light - start, 0) / rest)))
    return encode(toned).astype(np.float32)


@lru_cache(maxsize=2)
def _lut(lut: Lut) -> RegularGridInterpolator:
    entries, sha256 = read_cube(lut.path)
    if sha256 != lut.sha256:
        raise SceneError(f"look.grade.lut: {lut.path} changed while the film was made; run again")
    return RegularGridInterpolator(3 * [np.linspace(0, 1, len(entries))], entries)


@lru_cache(maxsize=4)
def _noise(grain: float, bits: int) -> Array:
    """The noise that codes get before they are truncated: grain and dither; without dither, a half that rounds."""
    dither, normal = (np.random.Generator(np.random.SFC64(seed)) for seed in (0, 1))
    noise = dither.random(_NOISE, np.float32) if bits == 8 else np.full(_NOISE, 0.5, np.float32)
    if grain:
        noise += np.float32(grain * (2**bits - 1)) * normal.standard_normal(_NOISE, np.float32)
    return noise


def _add_noise(codes: Array, noise: Array, starts: Array, scratch: Array) -> None:
    """Adds noise to codes [..., rows, W], the same to all channels. starts: first index into the noise, by row."""
    for row, start in zip(scratch, starts, strict=True):
        row[:] = noise[start : start + len(row)]
    codes += scratch


def _interleave(planes: Sequence[Array] | Array, dtype: np.dtype[Any]) -> Array:
    """A band [rows, W, C] of its planes [rows, W]; values are truncated, not rounded."""
    band = np.empty((*planes[0].shape, len(planes)), dtype)
    for channel, plane in enumerate(planes):
        band[..., channel] = plane.astype(dtype)  # converting first is faster than converting into strided memory
    return band
