"""A second, finer grid around the centre, for close camera shots."""

from __future__ import annotations

from pydantic import model_validator

from studio.config.records import Record
from studio.field import Grid
from studio.landscape.sweeps import Coordinates


class Detail(Record):
    """The loss once more at some keyframes, on a finer grid inside the first; the surface joins both without a seam.

    range: around the centre, within that of the first grid. points: along each side, odd. at: `all` keyframes, or the
    coordinates of some.
    """

    range: tuple[float, float]
    points: int = 101
    at: Coordinates = "all"

    @model_validator(mode="after")
    def _is_a_grid(self) -> Detail:
        _ = self.grid  # raises ValueError
        return self

    @property
    def grid(self) -> Grid:
        """The finer grid. Raises ValueError for a range that is empty or not centred on 0, or an even `points`."""
        return Grid(range=self.range, points=self.points)
