"""Baked light, one value a vertex, independent of the eye: the sky's occlusion and the key lamp's soft shadow.

Both sweep over the height field in numpy. They depend on heights and lamp alone, so they are the same in every tile,
frame order and process.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from studio.field import Array

DIRECTIONS = 16
REACH = 0.26  # distance up to which occlusion looks, in scene units
_OUTSIDE = -1e9  # height beyond the edge: nothing rises from there
_RAYS = 12  # rays that stand for a soft lamp, one above the other
_EDGE = 2.0  # width of the edge of each ray's shadow on level ground, in vertices
_BLUR = 0.009  # final blur of the light, scene units: with less, crests would show the vertices as beads
_STEEPEST = 100.0  # tangent of a lamp's elevation above which shadows are too short to be seen


def occlusion(height: Array, spacing: float) -> Array:
    """Share of the sky that each vertex sees [N, N] in 0..1: 1 - the mean sine of its horizon's elevation.

    The horizon is searched in 16 directions. height [N, N] and spacing in the same unit.
    """
    steps = np.unique(np.round(np.geomspace(1.0, REACH / spacing, 9))).astype(int).tolist()
    # padded and flattened, so that a neighbour in any direction is a fixed number of elements away
    side, margin = len(height), steps[-1] + 1
    padded = np.pad(height, ((margin, margin), (0, margin)), constant_values=_OUTSIDE)
    width, padded = padded.shape[1], padded.ravel()
    first, last = margin * width, padded.size - margin * width
    inner = padded[first:last]
    sky, rise, forward = (np.zeros_like(inner) for _ in range(3))
    backward = np.zeros_like(padded)
    for number in range(DIRECTIONS // 2):
        angle = 2 * math.pi * (number + 0.5) / DIRECTIONS
        forward.fill(0)
        backward.fill(0)
        for step in steps:
            dx, dy = round(math.cos(angle) * step), round(math.sin(angle) * step)
            if dx or dy:
                neighbours = slice(first + dy * width + dx, last + dy * width + dx)
                np.subtract(padded[neighbours], inner, out=rise)
                rise *= 1 / (math.hypot(dx, dy) * spacing)
                np.maximum(forward, rise, out=forward)
                np.minimum(backward[neighbours], rise, out=backward[neighbours])  # a rise forward is a fall backward
        for slope in (forward, backward[first:last]):
            np.multiply(slope, slope, out=rise)
            rise += 1
            np.sqrt(rise, out=rise)
            slope /= rise
        sky -= forward
        sky += backward[first:last]
    return np.asarray(gaussian_filter(sky.reshape(-1, width)[:, :side] / DIRECTIONS + 1, 0.8))


def sunlight(height: Array, spacing: float, azimuth: float, elevation: float, softness: float = 0.10) -> Array:
    """Share of a soft lamp that each vertex sees [N, N] in 0..1, float32: the mean over rays around its elevation.

    azimuth, elevation: of the lamp, radians. softness: the rays' tangents differ from the lamp's by up to so much.
    """
    # on a lattice turned to the lamp, its first row nearest to it, the shadow's edge is a running maximum along each
    # column: no peak is missed, however far away
    c, s, middle = math.cos(azimuth), math.sin(azimuth), (len(height) - 1) / 2
    rotation = np.array([[-s, c], [-c, -s]])
    rotated = _rotate(height.astype(np.float32), rotation, middle)
    distance = (spacing * np.arange(len(height), dtype=np.float32))[:, None]
    tangent = min(math.tan(elevation), _STEEPEST)
    sharpness = np.float32(1 / (_EDGE * spacing * max(tangent, 0.2)))
    light, ray, highest = np.zeros_like(rotated), np.empty_like(rotated), np.empty_like(rotated)
    for slope in tangent + softness * np.linspace(-1, 1, 2 * _RAYS + 1)[1::2]:
        np.add(rotated, np.float32(slope) * distance, out=ray)
        np.maximum.accumulate(ray, axis=0, out=highest)
        ray -= highest  # depth below the shadow's edge, negative
        ray *= sharpness
        light += np.maximum(ray, -1, out=ray)
    soft = gaussian_filter(_rotate(1 + light / _RAYS, rotation.T, middle), max(0.8, _BLUR / spacing))
    return np.asarray(np.clip(soft, 0, 1))


def _rotate(values: Array, rotation: Array, middle: float) -> Array:
    """Values [N, N] on a lattice rotated about the middle, linear between the points; beyond the edge as at it."""
    centre = np.array([middle, middle])
    return np.asarray(affine_transform(values, rotation, centre - rotation @ centre, order=1, mode="nearest"))
