"""A second, finer grid around the centre, for close camera shots."""

from __future__ import annotations

from studio.config.records import Record
from studio.field import Counts, Grid, Sides
from studio.landscape.sweeps.keyframe import Coordinates


class Detail(Record):
    """The loss once more at some keyframes, on a finer grid inside the first; the surface joins both without a seam.

    range, points: as of the grid, inside its range. at: `all` keyframes, or the coordinates of some.
    """

    range: Sides
    points: Counts = 101
    at: Coordinates = "all"

    @property
    def grid(self) -> Grid:
        """The finer grid."""
        return Grid(range=self.range, points=self.points)
