"""How convex the loss is at a point: the smallest and largest eigenvalue of its Hessian, from products v -> H v.

One Lanczos run finds both. After k products v -> H v the tridiagonal matrix T = Q' H Q holds their estimates; an
estimate whose residual is r lies within min(r, r^2 / gap) of an eigenvalue (Parlett 1998). Where the Hessian of a few
samples shows cheaply where the ends of the spectrum lie, the run starts from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from studio.field import MIN_EIGENVALUE_SCALE, Array

if TYPE_CHECKING:
    from torch import Tensor

    from studio.landscape.curvature.lanczos import Krylov

    Product = Callable[[Tensor], Tensor]


MAX_PRODUCTS = 300
"""Of one run; what has not converged then is marked."""
SKETCH_PRODUCTS = 12
"""With the Hessian of a few samples, to find a warm start."""
RANDOM_SHARE = 1.0
"""Length of the random vector that is added to a warm start of length 1: the few samples may miss an end entirely."""
DIGITS_PER_PRODUCT = 0.35
"""Most digits an error loses from one product to the next: 0.29 in all runs of the benchmark's networks. An estimate is
not checked again before it can have converged."""
TINY = np.finfo(float).tiny
COMPACT_BELOW = 3 / 4
"""With at most this share of the operators unfinished, the finished ones are dropped from the products."""


class Start(NamedTuple):
    """What a run must reach before an estimate may count, by the kind of its start vector.

    min_products: a small residual proves an eigenvalue, not that it is the extreme one. max_residual: a start that
    hardly overlaps with the extreme eigenvector shows its neighbour first, with a residual that reveals the extreme one
    only when small. It must fall below half this share of the estimate, even where the gap allows more.
    """

    min_products: int
    max_residual: float


COLD_START, WARM_START = Start(min_products=14, max_residual=1e-3), Start(min_products=8, max_residual=2e-3)
"""From a random vector, and from a sketch's."""


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest eigenvalue, the products they took, and whether both are within the tolerance.

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

    v is float64; a product in float32 is enough. tol: relative accuracy of each eigenvalue, or of
    `MIN_EIGENVALUE_SCALE` times the larger one if that is more. Same seed, same bytes. What has not converged after
    `MAX_PRODUCTS` is marked, not guessed. Paige (1972); Parlett (1998).
    """
    return batched_extremes(lambda operators: lambda v: product(v[0])[None], 1, size, seed, tol, device, vectors)[0]


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
    """`hessian_extremes` of `count` operators, one product of each per step; each stops by its own rule.

    products: numbers of b operators -> their product V [b, size] -> H V [b, size]. It is called again for the rest when
    a quarter has finished, since a finished operator costs as much as another. sketch: V [count, size] -> images by
    cheap operators that resemble these, such as Hessians over a few of the samples; only the starts depend on it.
    """
    import torch

    from studio.landscape.curvature.lanczos import Krylov

    random = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device)
    starts, kinds = random.expand(count, size), [COLD_START] * count
    if sketch is not None:
        starts, kinds = _warm_starts(sketch, starts)
    krylov, running, results = Krylov(starts), list(range(count)), dict[int, Extremes]()
    next_check = np.array([kind.min_products for kind in kinds])  # in products, for each operator
    product = products(running)
    while True:
        krylov.step(product(krylov.v))
        must_end = krylov.closed | ~krylov.finite | (krylov.steps == MAX_PRODUCTS)
        for place in np.flatnonzero(must_end | (next_check[running] <= krylov.steps)).tolist():
            operator = running[place]
            if operator not in results:
                result, wait = _check(krylov, place, tol, kinds[operator], vectors)
                next_check[operator] += wait
                if result:
                    results[operator] = result
        if len(results) == count:
            return [results[operator] for operator in range(count)]
        unfinished = [place for place, operator in enumerate(running) if operator not in results]
        if len(unfinished) <= COMPACT_BELOW * len(running):
            places = _compact(unfinished)
            krylov.keep(places)
            running = [running[place] for place in places]
            product = products(running)


def _compact(places: list[int]) -> list[int]:
    """The places, ascending, such that the last ones fill the gaps and the others stay where they are."""
    last = [place for place in places if place >= len(places)]
    return [place if place in places else last.pop() for place in range(len(places))]


def _warm_starts(sketch: Product, random: Tensor) -> tuple[Tensor, list[Start]]:
    """A start between the sketch's two ends for each operator [count, size], and its kind.

    random [count, size]: what the sketch starts from; it remains the start where the sketch shows no spectrum.
    """
    from studio.landscape.curvature.lanczos import Krylov

    krylov, closed = Krylov(random), np.zeros(len(random), bool)
    for _ in range(SKETCH_PRODUCTS):
        krylov.step(sketch(krylov.v))
        closed |= krylov.closed
    starts, kinds = random.clone(), [COLD_START] * len(random)
    for operator in np.flatnonzero(krylov.finite & ~closed).tolist():
        estimate = _estimate(krylov.alphas[operator], krylov.betas[operator], np.inf, np.inf)
        between = krylov.combine(operator, estimate.coefficients.sum(0, keepdims=True))[0]
        starts[operator] = between / between.norm() + RANDOM_SHARE * random[operator] / random[operator].norm()
        kinds[operator] = WARM_START
    return starts, kinds


def _check(krylov: Krylov, place: int, tol: float, start: Start, vectors: bool) -> tuple[Extremes | None, int]:
    """(the result of one run, or None if it goes on; the number of products until the next check)."""
    steps = krylov.steps
    if not krylov.finite[place]:
        return Extremes(np.nan, np.nan, steps, False), 0
    estimate = _estimate(krylov.alphas[place], krylov.betas[place], tol, start.max_residual)
    converged = estimate.excess <= 1 or bool(krylov.closed[place])
    if not converged and steps < MAX_PRODUCTS:
        return None, max(1, int(min(np.log10(estimate.excess) / DIGITS_PER_PRODUCT, MAX_PRODUCTS)))
    eigenvectors = krylov.combine(place, estimate.coefficients) if vectors else None
    return Extremes(estimate.low, estimate.high, steps, converged, eigenvectors), 0


class _Estimate(NamedTuple):
    """Both ends of the spectrum after k products, with T's eigenvectors [2, k].

    excess: the largest factor by which an error may exceed what is allowed; up to 1 both ends are within `tol`.
    """

    low: float
    high: float
    excess: float
    coefficients: Array


def _estimate(alphas: Array, betas: Array, tol: float, max_residual: float) -> _Estimate:
    from scipy.linalg.lapack import dstevd

    # LAPACK itself: what scipy's own call adds takes as long again, at these sizes
    values, vectors, _ = dstevd(alphas, betas[: max(1, len(betas) - 1)])
    residuals = betas[-1] * np.abs(vectors[-1, [0, -1]])
    gaps = np.diff(values)[[0, -1]] if len(values) > 1 else np.ones(2)
    errors = np.minimum(residuals, residuals**2 / np.maximum(gaps, TINY))
    ends = values[[0, -1]]
    sizes = np.maximum(np.maximum(np.abs(ends), MIN_EIGENVALUE_SCALE * np.abs(ends).max()), TINY)
    # a third: the gap is itself an estimate
    excess = np.maximum(errors / (tol / 3 * sizes), residuals / (max(tol, max_residual) / 2 * sizes)).max()
    return _Estimate(float(ends[0]), float(ends[1]), float(excess), vectors[:, [0, -1]].T)
