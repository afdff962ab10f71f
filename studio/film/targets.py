"""Targets: what a camera looks at, by name, as a place of the plane, or as a point; and blends of them.

Places of the land are those of the shot's end, so that a target does not jump while the land changes; the height there
follows the land.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Discriminator, Tag

from studio.config.records import FrozenDict
from studio.config.units import Positive
from studio.field import Array
from studio.film.pose import Point
from studio.film.surface import window_radius

Landmark = Literal["lowest", "highest", "saddle"]
Named = Literal["minimiser", "start", "end", "lowest", "highest", "saddle", "centre", "land", "trajectory"]
OF_TRAJECTORY = ("start", "end", "trajectory")
"""Targets that take the places of the run's checkpoints."""
Place = tuple[float, float]
Target = Named | Place | Point
LookAt = Annotated[
    Annotated[Named, Tag("target")]
    | Annotated[Place, Tag("place")]
    | Annotated[Point, Tag("point")]
    | Annotated[dict[Named, Positive], AfterValidator(FrozenDict), Tag("blend")],
    Discriminator(lambda value: _kind(value)),
]
"""What a camera looks at: a target's name, [alpha, beta], a point in scene units, or weights by names."""


def _kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return "place" if len(value) == 2 else "point"
    return "blend" if isinstance(value, dict) else "target"


def weights(look_at: LookAt) -> Mapping[Target, float]:
    """The targets of a camera, with weights that sum to 1."""
    if not isinstance(look_at, dict):
        return {look_at: 1.0}
    total = sum(look_at.values())
    return {name: weight / total for name, weight in look_at.items()}


def landmark(height: Array, name: Landmark, sides: tuple[float, float], reach: float) -> Place:
    """The place of the lowest or highest point, or of the main saddle, of a surface [N, N], in scene units.

    sides: half of the window's, scene units. reach: share of them that counts. Raises ValueError without a saddle.
    """
    axis = np.linspace(-1, 1, len(height))
    inside = window_radius(np.stack(np.meshgrid(axis, axis), axis=-1), sides) <= reach
    known = np.where(inside & np.isfinite(height), height, np.nan)
    if name == "saddle":
        index = _saddle(known)
    else:
        index = int(np.nanargmin(known) if name == "lowest" else np.nanargmax(known))
    row, column = divmod(index, len(height))
    return float(axis[column]), float(axis[row])


def _saddle(height: Array) -> int:
    """The vertex [N, N], by number, on which the deepest basin but one joins a deeper one, as water rises.

    Of all such joins it is the one of largest persistence: highest over the bottom of the shallower basin. Basins are
    found by union and find over the vertices in rising order (Edelsbrunner, Letscher and Zomorodian, 2002).
    """
    side, values = len(height), height.ravel()
    order = [int(i) for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    parent, best, found = dict[int, int](), 0.0, -1

    def root(vertex: int) -> int:
        while parent[vertex] != vertex:
            parent[vertex] = vertex = parent[parent[vertex]]
        return vertex

    for vertex in order:
        row, column = divmod(vertex, side)
        around = [(row + dy) * side + column + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if 0 <= column + dx < side]
        basins = {root(other) for other in around if other in parent}
        parent[vertex] = lowest = min(basins, key=lambda bottom: values[bottom], default=vertex)
        for bottom in basins - {lowest}:
            if values[vertex] - values[bottom] > best:
                best, found = values[vertex] - values[bottom], vertex
            parent[bottom] = lowest
    if found < 0:
        raise ValueError("the land has a single basin, and so no saddle; look at another target")
    return found
