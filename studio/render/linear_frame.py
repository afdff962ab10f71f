"""A plate: linear light kept as numbers of sixteen bits, from which every picture is made, now or years later.

Each of its four channels is the square root of a share, code = 65535 sqrt(share): light as a share of HALF_RANGE,
already multiplied by the alpha beside it, which is a share of 1. Roots, for the eye tells dark tones apart more finely.
"""

from __future__ import annotations

import numpy as np

from studio.film.light import MAX_LIGHT as HALF_RANGE

FULL = 65535
SCALE = np.float32([HALF_RANGE, HALF_RANGE, HALF_RANGE, 1.0]) / np.float32(FULL) ** 2
"""What the square of a code is worth, of each channel."""

_ROWS = 16


def coded(light: np.ndarray) -> np.ndarray:
    """The plate [H, W, 4], uint16, of linear light and alpha [H, W, 4]; what is out of range is as bright as can be."""
    codes, worth = np.empty(light.shape, np.uint16), 1 / SCALE
    for top in range(0, len(light), _ROWS):  # in bands that stay in the processor's cache
        squares = light[top : top + _ROWS] * worth
        np.clip(squares, 0, np.float32(FULL) ** 2, out=squares)
        np.sqrt(squares, out=squares)
        codes[top : top + _ROWS] = np.rint(squares, out=squares)
    return codes


def light(plate: np.ndarray) -> np.ndarray:
    """The linear light and alpha [..., 4], float32, that a plate keeps."""
    roots = plate.astype(np.float32)
    roots *= roots
    return roots * SCALE
