"""A second, finer grid around the centre, for close camera shots."""

from __future__ import annotations

from pydantic import model_validator

from studio.config.records import Record
from studio.field import Counts, Grid, Sides
from studio.landscape.sweeps import Coordinates


class Detail(Record):
    """The loss once more at some keyframes, on a finer grid inside the first; the surface joins both without a seam.

    range, points: as of the grid, inside its range. at: `all` keyframes, or the coordinates of some.
    """

    range: Sides
    points: Counts = 101
    at: Coordinates = "all"

    @model_validator(mode="after")
    def _is_a_grid(self) -> Detail:
        _ = self.grid  # raises ValueError
        return self

    @property
    def grid(self) -> Grid:
        """The finer grid. Raises ValueError for a range that is empty, or too few points."""
        return Grid(range=self.range, points=self.points)
