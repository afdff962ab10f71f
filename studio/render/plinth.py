"""The plinth of a cast: the wall under the surface's round edge, and the ground with the cast's soft shadow."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from studio.field import Array
from studio.film.appearance import Lighting
from studio.film.surface import fill_holes, height_at, window_radius
from studio.render import bake

AROUND = 1440  # vertices around the wall
SOFTNESS = 0.22  # softness of the shadow's edge on the ground, as `bake.sunlight` has it
_AXIS = np.linspace(-2.6, 2.6, 167, dtype=np.float32)
REACH = 2.6 * 2**0.5  # distance from the middle to the ground's corners


def wall() -> tuple[Array, Array]:
    """Directions [AROUND, 2] from the middle to the wall's vertices, and its triangles: rim first, foot second."""
    turn = 2 * np.pi * np.arange(AROUND) / AROUND
    rim = np.arange(AROUND)
    after = (rim + 1) % AROUND
    triangles = [np.stack([rim, after, AROUND + after], axis=1), np.stack([rim, AROUND + after, AROUND + rim], axis=1)]
    return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32), np.concatenate(triangles)


def ground() -> tuple[Array, Array]:
    """Places [n, 2] of the ground's vertices, and its triangles."""
    x, y = np.meshgrid(_AXIS, _AXIS)
    number = np.arange(x.size).reshape(x.shape)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1).reshape(-1, 4)
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    return places, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def ground_light(
    height: Array, radius: float, depth: float, lighting: Lighting, sides: tuple[float, float] = (1.0, 1.0)
) -> Array:
    """The share of light at the ground's vertices [n], float32; 1 where the cast hides nothing.

    height [N, N]: of the cast; the ground lies at -depth. radius: of the cast, in the window. sides: half of the
    window's, scene units.
    """
    x, y = np.meshgrid(_AXIS, _AXIS)
    from_middle = window_radius(np.stack([x, y], axis=-1), sides)
    under = from_middle <= radius
    cast = height_at(height, np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)
    scene = np.where(under, cast, np.float32(-depth))
    step, key = float(_AXIS[1] - _AXIS[0]), lighting.key
    sun = bake.sunlight(scene, step, key.azimuth, key.elevation, SOFTNESS)
    light = (1 - lighting.shadow * (1 - sun)) * (1 - lighting.occlusion * (1 - bake.occlusion(scene, step)))
    # neither the ground under the cast nor its lit top, which the bakes blur over its edge, may shine at the foot
    free = from_middle > radius + 3 * step / min(sides)
    light = np.where(free, light, gaussian_filter(fill_holes(light, free), 2.0))
    outwards = np.maximum(np.abs(x), np.abs(y)) / _AXIS[-1]
    light = 1 - (1 - light) * np.clip((1 - outwards) / 0.2, 0, 1)
    return np.asarray(light.ravel().astype(np.float32))
