"""How convex the loss is at a point: the smallest and the largest eigenvalue of its Hessian, from products alone.

One Lanczos run gives both ends. After k products v -> H v the tridiagonal matrix T = Q' H Q holds their estimates; an
estimate whose residual is r lies within min(r, r^2 / gap) of an eigenvalue. Where a few of the samples tell cheaply
about where the ends lie, the run starts from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from studio.field import FLOOR

if TYPE_CHECKING:
    from torch import Tensor

    from studio.landscape.curvature.lanczos import Krylov

    Product = Callable[[Tensor], Tensor]

MOST = 300
SKETCH = 12
"""Products with the Hessian of a few samples, which find a start."""
RANDOM = 1.0
"""How much of a random vector is added to such a start, lest it be blind to what the few samples do not show."""
DIGITS = 0.35
"""By so many digits an error falls from a product to the next at most: 0.29 in all runs of the benchmark's networks. An
estimate is not looked at again before it can be good."""
TINY = np.finfo(float).tiny
LEFT = 3 / 4
"""With no more than this share of the operators unfinished, the finished ones are left out of the products."""


class Start(NamedTuple):
    """What a start asks of its run before an estimate may count.

    fewest: products, for a residual proves an eigenvalue, not that it is the extreme one. neighbour: a start that is
    nearly blind to an end shows its neighbour first, with a residual that tells of the end only when it is small: at
    least below half this share of the end, however loosely the gap would let it pass.
    """

    fewest: int
    neighbour: float


BLIND, TOLD = Start(fewest=14, neighbour=1e-3), Start(fewest=8, neighbour=2e-3)
"""From a random vector, and from one that a sketch has found."""


@dataclass(frozen=True)
class Extremes:
    """Both ends of a spectrum, after how many products, and whether both are within the tolerance.

    NaN where a product was not finite. vectors: the unit eigenvectors of lambda_min and lambda_max [2, size], if asked.
    """

    lambda_min: float
    lambda_max: float
    products: int
    converged: bool
    vectors: Tensor | None = field(default=None, repr=False, compare=False)


def hessian_extremes(
    product: Product, size: int, seed: int, tol: float, device: str = "cpu", vectors: bool = False
) -> Extremes:
    """Smallest and largest eigenvalue of a symmetric operator v [size] -> H v [size].

    v is float64; a product in float32 is enough. Same seed, same bytes. What has not converged after `MOST` products is
    marked, not guessed.
    """
    return batched_extremes(lambda rows: lambda v: product(v[0])[None], 1, size, seed, tol, device, vectors)[0]


def batched_extremes(
    products: Callable[[Sequence[int]], Product],
    count: int,
    size: int,
    seed: int,
    tol: float,
    device: str = "cpu",
    vectors: bool = False,
    sketch: Product | None = None,
) -> list[Extremes]:
    """The same for `count` operators at once; each stops by its own rule.

    products: the numbers of b operators -> V [b, size] -> H V [b, size]. It is asked again for those that are left when
    a quarter has finished, since a finished one costs as much as another. sketch: V [count, size] -> images by cheap
    operators that resemble them, such as Hessians over a few of the samples; only the starts depend on it.
    """
    import torch

    from studio.landscape.curvature.lanczos import Krylov

    random = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device)
    starts, kinds = random.expand(count, size), [BLIND] * count
    if sketch is not None:
        starts, kinds = _told(sketch, starts)
    krylov, rows, found = Krylov(starts), list(range(count)), {}
    look = np.array([kind.fewest for kind in kinds])  # after how many products each is looked at
    product = products(rows)
    while True:
        krylov.grow(product(krylov.v))
        over = krylov.whole | ~krylov.finite | (krylov.steps == MOST)
        for place in np.flatnonzero(over | (look[rows] <= krylov.steps)):
            row = rows[place]
            if row not in found:
                end, wait = _ended(krylov, place, tol, kinds[row], vectors)
                look[row] += wait
                if end:
                    found[row] = end
        if len(found) == count:
            return [found[row] for row in range(count)]
        left = [place for place, row in enumerate(rows) if row not in found]
        if len(left) <= LEFT * len(rows):
            # the last of them go into the gaps, and the others stay where they are
            last = [place for place in left if place >= len(left)]
            left = [place if place in left else last.pop() for place in range(len(left))]
            krylov.only(left)
            rows = [rows[place] for place in left]
            product = products(rows)


def _told(sketch: Product, random: Tensor) -> tuple[Tensor, list[Start]]:
    """For each operator a start [count, size] between the sketch's two ends, and its kind.

    random [count, size]: what the sketch starts from; it stays where the sketch does not see a spectrum.
    """
    from studio.landscape.curvature.lanczos import Krylov

    krylov, closed = Krylov(random), np.zeros(len(random), bool)
    for _ in range(SKETCH):
        krylov.grow(sketch(krylov.v))
        closed |= krylov.whole
    starts, kinds = random.clone(), [BLIND] * len(random)
    for row in np.flatnonzero(krylov.finite & ~closed):
        _, _, _, ends = _ends(krylov.alphas[row], krylov.betas[row], np.inf, np.inf)
        between = krylov.combined(row, ends.sum(0, keepdims=True))[0]
        starts[row] = between / between.norm() + RANDOM * random[row] / random[row].norm()
        kinds[row] = TOLD
    return starts, kinds


def _ended(krylov: Krylov, place: int, tol: float, start: Start, vectors: bool) -> tuple[Extremes | None, int]:
    """The result of one run if it is over, else None, and after how many more products to ask again."""
    steps, whole = krylov.steps, bool(krylov.whole[place])
    if not krylov.finite[place]:
        return Extremes(np.nan, np.nan, steps, False), 0
    low, high, excess, coefficients = _ends(krylov.alphas[place], krylov.betas[place], tol, start.neighbour)
    converged = excess <= 1 or whole
    if not converged and steps < MOST:
        return None, max(1, int(min(np.log10(excess) / DIGITS, MOST)))
    return Extremes(low, high, steps, converged, krylov.combined(place, coefficients) if vectors else None), 0


def _ends(
    alphas: np.ndarray, betas: np.ndarray, tol: float, neighbour: float
) -> tuple[float, float, float, np.ndarray]:
    """Both ends as k products estimate them, with their vectors [2, k].

    And by how many times their errors may exceed what is allowed; with no more than 1 they lie within `tol`.
    """
    from scipy.linalg.lapack import dstevd

    # LAPACK itself: what scipy's own call adds takes as long again, at these sizes
    values, vectors, _ = dstevd(alphas, betas[: max(1, len(betas) - 1)])
    residuals = betas[-1] * np.abs(vectors[-1, [0, -1]])
    gaps = np.diff(values)[[0, -1]] if len(values) > 1 else np.ones(2)
    errors = np.minimum(residuals, residuals**2 / np.maximum(gaps, TINY))
    ends = values[[0, -1]]
    sizes = np.maximum(np.maximum(np.abs(ends), FLOOR * np.abs(ends).max()), TINY)
    # a third: the gap is itself an estimate
    excess = np.maximum(errors / (tol / 3 * sizes), residuals / (max(tol, neighbour) / 2 * sizes)).max()
    return float(ends[0]), float(ends[1]), float(excess), vectors[:, [0, -1]].T
