"""Records of the curvature a film measures: the Hessian's extreme eigenvalues on a grid, whole spectra at the centres.

    lambda_min, lambda_max of H = d^2 L / d theta^2 at theta + alpha delta + beta eta

`curvature/` computes them. Importing these records loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from studio.config.records import Record
from studio.field import Grid
from studio.landscape.loss import Loss, Subset
from studio.landscape.sweeps.keyframe import Coordinates


class Spectrum(Record):
    """How the spectrum is estimated: by Lanczos runs from random probe vectors.

    probes: number of vectors; the trace's standard error falls as 1 / sqrt(probes).
    steps: Lanczos steps from each vector; more resolve the density more finely.
    seed: of the vectors.
    """

    probes: int = Field(8, ge=2)
    steps: int = Field(40, ge=2)
    seed: int = Field(0, ge=0)


class Convexity(Record):
    """Where the extreme eigenvalues are measured: a grid over the range of the loss's, at some keyframes of the sweep.

    points: along each side, odd; with 1 only the curvature at the middle is measured, which no picture shows.
    at: `all` keyframes, or the coordinates of some.
    subset: a count or a share of the training images that the Hessian is taken over, the first of the loss's shuffle;
    those of the loss if omitted, which gives the Hessian of the very loss that is drawn.
    tol: relative accuracy of each eigenvalue.
    seed: of the random vector that every point starts from.
    ignore: with `bias-and-norm` only tensors of two and more dimensions count as weights, as in Li et al. (2018).
    spectrum: how the whole spectrum at each centre is estimated; left out if omitted.
    """

    former: ClassVar[Mapping[str, str]] = {"keys": "at"}

    points: int = 11
    at: Coordinates = "all"
    subset: Subset | None = None
    tol: float = Field(1e-3, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    ignore: Literal["bias-and-norm", "nothing"] = "nothing"
    spectrum: Spectrum | None = None

    @field_validator("points")
    @classmethod
    def _has_a_centre(cls, points: int) -> int:
        if points < 1 or points % 2 == 0:
            raise ValueError(f"{points} points: expected an odd number, so that the middle is a node")
        return points

    def loss(self, surface_loss: Loss) -> Loss:
        """The loss whose Hessian is measured: the surface's, over this record's subset."""
        return surface_loss if self.subset is None else surface_loss.model_copy(update={"subset": self.subset})

    def grid(self, loss_grid: Grid) -> Grid:
        """The points of the eigenvalues, over the range of the loss's grid."""
        return Grid(range=loss_grid.range, points=self.points) if self.points > 1 else loss_grid.middle
