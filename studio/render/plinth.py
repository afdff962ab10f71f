"""A cast that stands on the ground instead of a disc that fades: the wall under its round edge, and its soft shadow."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from studio.film.light import Light
from studio.film.surface import fill_holes as filled
from studio.render import bake

AROUND = 1440
"""Vertices around the wall."""
SOFTNESS = 0.22
"""How soft the edge of the shadow on the ground is, as `bake.sunlight` counts it."""
_AXIS = np.linspace(-2.6, 2.6, 167, dtype=np.float32)
REACH = 2.6 * 2**0.5
"""How far the ground reaches from the middle."""


def wall() -> tuple[np.ndarray, np.ndarray]:
    """Directions [AROUND, 2] of the wall's vertices from the middle, and its triangles: rim first, foot second."""
    turn = 2 * np.pi * np.arange(AROUND) / AROUND
    rim = np.arange(AROUND)
    after = (rim + 1) % AROUND
    triangles = [np.stack([rim, after, AROUND + after], axis=1), np.stack([rim, AROUND + after, AROUND + rim], axis=1)]
    return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32), np.concatenate(triangles)


def rim(height: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Heights [n] of the sheet [N, N] at places [n, 2]."""
    at = (places[:, ::-1].T + 1) / 2 * (len(height) - 1)
    return map_coordinates(height, at, order=1, mode="nearest")


def ground() -> tuple[np.ndarray, np.ndarray]:
    """Places [n, 2] of the ground's vertices, and its triangles."""
    x, y = np.meshgrid(_AXIS, _AXIS)
    number = np.arange(x.size).reshape(x.shape)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1).reshape(-1, 4)
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    return places, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def shade(height: np.ndarray, radius: float, depth: float, light: Light, azimuth: float) -> np.ndarray:
    """The light that the ground's vertices get [n], 1 where the cast hides nothing.

    height [N, N]: of the cast over the ground's -depth. radius: of the cast. azimuth: of the key lamp, radians.
    """
    x, y = np.meshgrid(_AXIS, _AXIS)
    under = np.hypot(x, y) <= radius
    land = np.where(under, rim(height, np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape), np.float32(-depth))
    step = float(_AXIS[1] - _AXIS[0])
    lit = bake.sunlight(land, step, azimuth, np.radians(light.key.elevation), SOFTNESS)
    found = (1 - light.shadow * (1 - lit)) * (1 - light.occlusion * (1 - bake.occlusion(land, step)))
    # what lies under the cast must not shine out at its foot, nor its lit top, which the bakes blur over its edge
    free = np.hypot(x, y) > radius + 3 * step
    found = np.where(free, found, gaussian_filter(filled(found, free), 2.0))
    far = np.maximum(np.abs(x), np.abs(y)) / _AXIS[-1]
    return (1 - (1 - found) * np.clip((1 - far) / 0.2, 0, 1)).ravel().astype(np.float32)
