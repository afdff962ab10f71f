"""The grade: linear light to the finished eight-bit picture, by bloom, vignette, a filmic shoulder and grain."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from ..film.colour import LUMA, cube, encode
from ..film.look import Grade, Lut

_CODES = 4096
_BRIGHTEST = 4.0  # the shoulder's table ends here; it is flat long before
_MIDDLE = 0.18  # the grey that contrast turns around


def graded(light: np.ndarray, grade: Grade, number: int) -> np.ndarray:
    """Linear light [H, W, 3], float32, as sRGB codes [H, W, 3], uint8. number: of the frame, which seeds its grain."""
    height, width = light.shape[:2]
    picture = light + grade.bloom * _bloom(light, grade.threshold) if grade.bloom else light.copy()
    picture *= _vignette(height, width, grade.vignette)
    if grade.saturation != 1:
        grey = (picture @ LUMA.astype(np.float32))[..., None]
        picture -= grey
        picture *= np.float32(grade.saturation)
        picture += grey
        np.maximum(picture, 0, out=picture)
    np.sqrt(picture, out=picture)
    picture *= np.float32((_CODES - 1) / np.sqrt(_BRIGHTEST))
    codes = _shoulder(grade.contrast, grade.shoulder).take(picture.astype(np.uint16), mode="clip")
    codes += _grain(height, width, number, 255 * grade.grain)[..., None]
    finished = np.clip(codes, 0, 255, out=codes).astype(np.uint8)
    return np.asarray(Image.fromarray(finished).filter(_filter(grade.lut))) if grade.lut else finished


def _bloom(light: np.ndarray, threshold: float) -> np.ndarray:
    """Light above the threshold, spread over three widths, worked out in blocks of up to eight pixels."""
    height, width = light.shape[:2]
    block = min(8, max(1, height // 100))
    tall, wide = -(-height // block), -(-width // block)
    bright = light - np.float32(
        threshold
    )  # before the blocks are summed, or a small light would pulse as it crosses them
    np.maximum(bright, 0, out=bright)
    rows = np.add.reduceat(bright, np.arange(0, height, block), axis=0)
    blocks = np.add.reduceat(rows, np.arange(0, width, block), axis=1)
    counts = np.minimum(block, height - block * np.arange(tall))[:, None] * np.minimum(
        block, width - block * np.arange(wide)
    )
    blocks /= counts[..., None].astype(np.float32)
    reach = height / 60 / block
    spread = sum(gaussian_filter(blocks, (s, s, 0)) for s in (reach / 2, reach, reach * 3.2))
    channels = (Image.fromarray(np.ascontiguousarray(spread[..., c])) for c in range(3))
    box = (0, 0, width / block, height / block)
    return np.stack([c.resize((width, height), Image.Resampling.BILINEAR, box=box) for c in channels], axis=-1)


@lru_cache(maxsize=2)
def _vignette(height: int, width: int, strength: float) -> np.ndarray:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    return (1 - np.float32(strength) * np.minimum((x * x + y * y) / 2, 1))[..., None]


@lru_cache(maxsize=2)
def _shoulder(contrast: float, start: float) -> np.ndarray:
    """sRGB code in 0..255, plus a half, of light by its square root; straight up to `start`, then softly towards 1."""
    light = _BRIGHTEST * (np.arange(_CODES) / (_CODES - 1)) ** 2
    if contrast != 1:
        light = _MIDDLE * (light / _MIDDLE) ** contrast
    left = 1 - start
    shown = np.where(light < start, light, start + left * (1 - np.exp(-np.maximum(light - start, 0) / left)))
    return (255 * encode(shown) + 0.5).astype(np.float32)


@lru_cache(maxsize=2)
def _filter(lut: Lut) -> ImageFilter.Color3DLUT:
    entries = cube(lut.file)
    return ImageFilter.Color3DLUT(len(entries), entries.reshape(-1, 3))


def _grain(height: int, width: int, number: int, strength: float) -> np.ndarray:
    """Noise [H, W] in codes that is a function of the frame's number alone: grain, and dither against bands."""
    random = np.random.Generator(np.random.SFC64(number))
    dither = random.random((height, width), dtype=np.float32) - np.float32(0.5)
    return (
        dither + np.float32(strength) * random.standard_normal((height, width), dtype=np.float32)
        if strength
        else dither
    )
