"""Colour spaces that pictures are delivered in, and the ICC profiles that name them.

    code --curve--> light --matrix--> light of the other space --curve--> code

Frames come as sRGB codes. The profiles are files in `assets`: a matrix of primaries and one curve, as in ICC.1:2010.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from studio.field import Array
from studio.film.colour import decode, encode
from studio.film.look import assets_folder

Profile = Literal["srgb", "display-p3", "adobe-rgb"]

D65 = (0.3127, 0.3290)
_NOISE_ROWS = 256  # the dither repeats after so many rows

PEAK = 48 / 52.37  # cd/m2 of projected white over the code range of SMPTE 428-1


@dataclass(frozen=True)
class Space:
    """A colour space. primaries: CIE (x, y) of red, green and blue; the white is D65. gamma: None for sRGB's curve."""

    primaries: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    gamma: float | None = None

    @property
    def to_xyz(self) -> Array:
        """Matrix from linear light [r, g, b] to CIE XYZ [3, 3], with white at Y = 1."""
        columns = np.stack([_xyz(xy) for xy in self.primaries], axis=1)
        return np.asarray(columns * np.linalg.solve(columns, _xyz(D65)))

    def codes(self, light: Array) -> Array:
        """Linear light in 0..1 to codes in 0..1."""
        return encode(light) if self.gamma is None else np.power(light, 1 / self.gamma)


SPACES: dict[Profile, Space] = {
    "srgb": Space(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))),
    "display-p3": Space(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))),
    "adobe-rgb": Space(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 563 / 256),
}


def _xyz(xy: tuple[float, float]) -> Array:
    x, y = xy
    return np.array([x / y, 1, (1 - x - y) / y])


def to_8bit(frame: Array) -> Array:
    """The picture in 8 bits [up to 256 rows, W, C]. From 16 bits it is dithered, so that a slope has no steps."""
    if frame.dtype == np.uint8:
        return frame
    rows, width = frame.shape[:2]
    return np.clip(frame / np.float32(257) + _noise(width)[:rows], 0, 255).astype(np.uint8)


@lru_cache(maxsize=2)
def _noise(width: int) -> npt.NDArray[np.float32]:
    """Noise in 0..1 [256, width, 1]; the same in every picture, so that a held shot stays still."""
    return np.random.Generator(np.random.SFC64(1)).random((_NOISE_ROWS, width, 1), dtype=np.float32)


def add_alpha(frame: Array) -> Array:
    """The picture with an alpha channel [H, W, 4]: opaque if it had none."""
    if frame.shape[2] == 4:
        return frame
    opaque = np.full((*frame.shape[:2], 1), np.iinfo(frame.dtype).max, frame.dtype)
    return np.concatenate([frame, opaque], axis=2)


def to_light(frame: Array) -> npt.NDArray[np.float32]:
    """sRGB codes of 16 bits as linear light in 0..1. Not for alpha, which is a share and no light."""
    return _light_of_codes()[frame]


@lru_cache(maxsize=1)
def _light_of_codes() -> npt.NDArray[np.float32]:
    return decode(np.arange(65536) / 65535).astype(np.float32)


def convert(frame: Array, profile: Profile) -> Array:
    """sRGB codes of 16 bits as codes of another space; alpha stays. Each space here contains all of sRGB."""
    if profile == "srgb":
        return frame
    light = np.clip(to_light(frame[..., :3]) @ _between(profile).T, 0, 1)
    codes = frame.copy()
    codes[..., :3] = np.rint(SPACES[profile].codes(light) * np.float32(65535))
    return codes


def convert_linear(linear: Array, profile: Profile) -> Array:
    """Linear light, float16, in sRGB's primaries as that in another space's; alpha stays."""
    if profile == "srgb":
        return linear
    converted = linear.copy()
    converted[..., :3] = linear[..., :3].astype(np.float32) @ _between(profile).T
    return converted


def to_dcp(frame: Array) -> npt.NDArray[np.uint16]:
    """sRGB codes of 16 bits as X'Y'Z' of SMPTE 428-1: 12 bits in the upper end of 16, the lowest four are 0.

    X' = 4095 (48 X / 52.37)^(1/2.6). White stays D65: it is not adapted to the projector's own.
    """
    matrix = (SPACES["srgb"].to_xyz * PEAK).astype(np.float32)
    twelve_bits = np.rint(4095 * np.clip(to_light(frame) @ matrix.T, 0, 1) ** np.float32(1 / 2.6))
    codes: npt.NDArray[np.uint16] = twelve_bits.astype(np.uint16)
    codes <<= 4
    return codes


def _between(profile: Profile) -> npt.NDArray[np.float32]:
    """Matrix from sRGB's light to that of another space [3, 3]."""
    return np.linalg.solve(SPACES[profile].to_xyz, SPACES["srgb"].to_xyz).astype(np.float32)


@lru_cache(maxsize=len(SPACES))
def icc(profile: Profile) -> bytes:
    """A space's profile as the bytes of an ICC v4 file."""
    return (assets_folder() / "profiles" / f"{profile}.icc").read_bytes()


def icc_name(data: bytes | None) -> Profile | None:
    """Name of a profile of `assets`; None for no profile, or another one."""
    return next((name for name in SPACES if icc(name) == data), None)
