"""How convex the loss is at a point: the smallest and the largest eigenvalue of its Hessian, from products alone.

One Lanczos run gives both ends. After k products v -> H v the tridiagonal matrix T = Q' H Q holds their estimates; an
estimate whose residual is r lies within min(r, r^2 / gap) of an eigenvalue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, field_validator

from ..field import Grid
from ..spec import Record
from .objective import Loss, Subset
from .sweeps import Keys

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 14
"""Products before an estimate may count: a residual proves an eigenvalue, not that it is the extreme one."""
MOST = 300
FLOOR = 1e-3
"""An end smaller than this share of the larger one is measured relative to that share: nothing is relative to 0."""


class Convexity(Record):
    """Where the eigenvalues are measured: a grid over the loss's own range, at some keys of the sweep.

    subset: how many of the loss's images the Hessian is taken over, the first of them; all if not given, which is the
    Hessian of the very loss that is drawn. tol: relative accuracy of each end. seed: of the random vector every point
    starts from.
    """

    points: int = 11
    keys: Keys = "all"
    subset: Subset | None = None
    tol: float = Field(1e-3, gt=0, lt=1)
    seed: int = Field(0, ge=0)

    @field_validator("points")
    @classmethod
    def _has_a_centre(cls, points: int) -> int:
        return Grid(points=points).points

    def loss(self, drawn: Loss) -> Loss:
        """The loss whose curvature is measured, given the one that is drawn."""
        return drawn if self.subset is None else drawn.model_copy(update={"subset": self.subset})

    def grid(self, loss: Grid) -> Grid:
        """The points of the eigenvalues, over the range of the loss's."""
        return Grid(range=loss.range, points=self.points)


@dataclass(frozen=True)
class Extremes:
    """Both ends of a spectrum, after how many products, and whether both are within the tolerance.

    NaN where a product was not finite.
    """

    lambda_min: float
    lambda_max: float
    products: int
    converged: bool


def extremes(product: "Callable[[Tensor], Tensor]", size: int, seed: int, tol: float, device: str = "cpu") -> Extremes:
    """Smallest and largest eigenvalue of a symmetric operator v [size] -> H v [size].

    v is float64; a product in float32 is enough. Same seed, same bytes. What has not converged after `MOST` products is
    marked, not guessed. Paige (1972); two passes of Gram-Schmidt as in Parlett (1998), section 6.9.
    """
    import torch
    v = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device)
    v /= v.norm()
    basis = v.new_empty(min(size, 32), size)
    alphas: list[float] = []
    betas: list[float] = []
    for k in range(1, min(size, MOST) + 1):
        basis = basis if k <= len(basis) else torch.cat([basis, torch.empty_like(basis)])
        basis[k - 1] = v
        w = product(v).to(v)
        alphas.append(float(v @ w))
        w = _orthogonal(_orthogonal(w, basis[:k]), basis[:k])
        betas.append(float(w.norm()))
        if not np.isfinite(alphas[-1] + betas[-1]):
            return Extremes(np.nan, np.nan, k, False)
        exhausted = k == size or betas[-1] <= 1e-14 * max(map(abs, alphas + betas))
        if exhausted or k >= FEWEST:
            low, high, close = _ends(np.array(alphas), np.array(betas), tol)
            if exhausted or close:
                return Extremes(low, high, k, True)
        v = w / betas[-1]
    return Extremes(low, high, k, False)


def _orthogonal(w: "Tensor", basis: "Tensor") -> "Tensor":
    """w [size] without its parts along the rows of the basis [k, size]."""
    return w.addmv(basis.T, basis @ w, alpha=-1)


def _ends(alphas: np.ndarray, betas: np.ndarray, tol: float) -> tuple[float, float, bool]:
    """The two ends as k products estimate them, and whether both lie within `tol` of an eigenvalue."""
    from scipy.linalg import eigh_tridiagonal
    values, vectors = eigh_tridiagonal(alphas, betas[:-1])
    residuals = betas[-1] * np.abs(vectors[-1, [0, -1]])
    gaps = np.diff(values)[[0, -1]] if len(values) > 1 else np.ones(2)
    errors = np.minimum(residuals, residuals**2 / np.maximum(gaps, np.finfo(float).tiny))
    ends = values[[0, -1]]
    sizes = np.maximum(np.abs(ends), FLOOR * np.abs(ends).max())
    # a third: the gap is itself an estimate
    return float(ends[0]), float(ends[1]), bool((errors <= tol / 3 * sizes).all())
