"""The mesh of the drawn disc: its vertices and triangles, and values at its vertices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from studio.field import Array
from studio.film.surface import fill_holes, mesh_half

DIAGONALS = [0, 1, 2, 0, 2, 3], [0, 1, 3, 1, 2, 3]
"""Corners of the two triangles of a quad, anticlockwise, cut along either diagonal."""
_BLOCK = 16  # vertices along a side of the blocks in which quads are ordered


@dataclass(frozen=True)
class Disc:
    """The vertices of a square lattice inside an ellipse, and the quads between them.

    places [n, 2]: scene units. vertices [n]: their indices in the flat lattice. quads [m, 4]: corners, as indices of
    places, anticlockwise. cells [m]: indices of the quads in the flat lattice of cells. spacing: scene units.
    """

    places: Array
    vertices: Array
    quads: Array
    cells: Array
    spacing: float


def disc(side: int, sides: tuple[float, float] = (1.0, 1.0)) -> Disc:
    """The disc of a lattice with `side` vertices along a side. sides: half of the window's, scene units."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = np.meshgrid(*(axis / np.float32(mesh_half(half, side)) for half in sides))
    inside = x * x + y * y <= 1.0
    x, y = np.meshgrid(axis, axis)
    number = np.full(x.shape, -1)
    number[inside] = np.arange(inside.sum())
    corners = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1).reshape(-1, 4)
    quads = corners[(corners >= 0).all(axis=1)]
    row, column = (index[quads[:, 0]] for index in inside.nonzero())
    # in blocks, so that GL shades a vertex once, while it is still in its cache
    order = np.lexsort((column % _BLOCK, row % _BLOCK, column // _BLOCK, row // _BLOCK))
    places = np.stack([x[inside], y[inside]], axis=1)
    cells = row * (side - 1) + column
    return Disc(places, np.flatnonzero(inside), quads[order], cells[order], float(axis[1] - axis[0]))


def fill_all_holes(height: Array) -> Array:
    """Heights [N, N] whose holes are as high as their rims, so that the light on a rim is right; 0 if all is hole."""
    known = np.isfinite(height)
    return fill_holes(height, known) if known.any() else np.zeros_like(height)


def upsample(coarse: Array, side: int) -> Array:
    """Values [side, side] on a lattice twice as fine as `coarse`, linear between its own; side is odd."""
    fine = np.empty((side, side), coarse.dtype)
    fine[::2, ::2] = coarse
    fine[1::2, ::2] = (coarse[1:] + coarse[:-1]) / 2
    fine[:, 1::2] = (fine[:, :-1:2] + fine[:, 2::2]) / 2
    return fine


def slopes(height: Array, spacing: float) -> tuple[Array, Array, Array]:
    """Slopes of heights [N, N] along x and y, and the length of the normal (-x, -y, 1), each [N, N]."""
    slope_y, slope_x = np.gradient(height, spacing)
    return slope_x, slope_y, np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)


def second_diagonal(
    height: Array, slopes: tuple[Array, Array, Array], sun: Array, azimuth: float, elevation: float
) -> Array:
    """Whether light and height change less along the second diagonal of each cell [(N - 1)^2], flat.

    Quads that are cut along the diagonal of less change have no saw-toothed edges. slopes: of `slopes`. sun [N, N]:
    share of the key lamp. azimuth, elevation: of the lamp, radians.
    """
    slope_x, slope_y, length = slopes
    x, y, z = math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)
    light = np.float32(z) - np.float32(x) * slope_x - np.float32(y) * slope_y
    np.maximum(light, 0, out=light)
    light /= length
    light *= sun
    light += 2 * height
    second = np.abs(light[:-1, 1:] - light[1:, :-1]) < np.abs(light[:-1, :-1] - light[1:, 1:])
    return np.asarray(second.ravel())
