"""The linear frame: a drawn frame as codes of sixteen bits, from which every picture is made, now or years later.

    code = 65535 sqrt(share)

Each of its four channels is a share: red, green and blue of MAX_LIGHT, multiplied by alpha, and alpha of 1. Square
roots, because the eye distinguishes dark tones more finely.
"""

from __future__ import annotations

import numpy as np

from studio.field import Array
from studio.film.light import MAX_LIGHT

FULL = 65535  # the largest code
SCALE = np.array([MAX_LIGHT, MAX_LIGHT, MAX_LIGHT, 1.0], np.float32) / np.float32(FULL) ** 2
"""Factor of each channel from the square of a code to light or alpha."""

_ROWS = 16


def encode(light: Array) -> Array:
    """The linear frame [H, W, 4], uint16, of linear light and alpha [H, W, 4]; what is out of range is clipped."""
    codes, factor = np.empty(light.shape, np.uint16), 1 / SCALE
    for top in range(0, len(light), _ROWS):  # in bands that stay in the processor's cache
        squares = light[top : top + _ROWS] * factor
        np.clip(squares, 0, np.float32(FULL) ** 2, out=squares)
        np.sqrt(squares, out=squares)
        codes[top : top + _ROWS] = np.rint(squares, out=squares)
    return codes
