"""A second, finer grid around the centre, for what a camera sees from near."""

from __future__ import annotations

from pydantic import model_validator

from studio.config.records import Record
from studio.field import Grid
from studio.landscape.sweeps import EpochList


class Detail(Record):
    """The loss once more, on a finer grid of its own, at some keyframes; the sheet joins both without a seam.

    range: from the centre, inside that of the first grid. points: along each side. at: epochs out of the sweep's.
    """

    range: tuple[float, float]
    points: int = 101
    at: EpochList = "all"

    @model_validator(mode="after")
    def _is_a_grid(self) -> Detail:
        self.grid  # noqa: B018
        return self

    @property
    def grid(self) -> Grid:
        """Raises ValueError if it is none."""
        return Grid(range=self.range, points=self.points)
