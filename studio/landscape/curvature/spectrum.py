"""The whole spectrum of a Hessian, estimated from random probe vectors: its trace and its density of eigenvalues.

Each probe z starts a Lanczos run, whose Ritz values t and weights w (squared first components of T's eigenvectors) are
a Gauss quadrature of z's spectral measure. On average over probes,

    trace f(H) = M sum_i w_i f(t_i),

for any function f: f(t) = t gives the trace, a narrow Gaussian the density. Golub & Meurant (1994); Ubaru et al.
(2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from studio.field import Array
from studio.landscape.convexity import Spectrum

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def stochastic_lanczos_quadrature(
    product: Callable[[Tensor], Tensor], size: int, spectrum: Spectrum, device: str = "cpu", probes: range | None = None
) -> dict[str, Array]:
    """Quadrature nodes `ritz` and weights `weight`, float64 [probes, steps], of an operator V [1, size] -> H V.

    probes: numbers of the record's probes to run; None runs all. Each has a random stream of its own, so that they may
    run apart and in any order. Steps beyond `size` are zeros of weight 0. NaN where a product is not finite.
    """
    runs = [_probe(product, size, spectrum, device, number) for number in probes or range(spectrum.probes)]
    return {name: np.stack([run[i] for run in runs]) for i, name in enumerate(("ritz", "weight"))}


def _probe(product: Callable[[Tensor], Tensor], size: int, spectrum: Spectrum, device: str, number: int) -> Array:
    """Ritz values and weights [2, steps] of one probe."""
    import torch
    from scipy.linalg import eigh_tridiagonal

    from studio.landscape.curvature.lanczos import Krylov

    # signs, not normal numbers: every probe then has the same length, and the trace of a diagonal matrix is exact
    signs = np.random.default_rng([spectrum.seed, number]).choice([-1.0, 1.0], size=(1, size))
    krylov = Krylov(torch.from_numpy(signs).to(device))
    for _ in range(min(spectrum.steps, size)):
        krylov.step(product(krylov.v))
        if krylov.closed[0]:
            break
    quadrature = np.zeros((2, spectrum.steps))
    alphas, betas = krylov.alphas[0], krylov.betas[0, :-1]
    if not np.isfinite(alphas.sum() + betas.sum()):
        return np.full_like(quadrature, np.nan)
    values, vectors = eigh_tridiagonal(alphas, betas)
    quadrature[:, : len(values)] = values, vectors[0] ** 2
    return quadrature


def trace(ritz: Array, weight: Array, size: int) -> tuple[float, float]:
    """The trace and its standard error, from a quadrature [probes, steps] of a Hessian of `size` rows.

    >>> trace(np.array([[2.0, 5.0], [2.0, 5.0]]), np.array([[0.5, 0.5], [0.5, 0.5]]), size=2)
    (7.0, 0.0)
    """
    traces = size * (ritz * weight).sum(1)
    return float(traces.mean()), float(traces.std(ddof=1) / np.sqrt(len(traces)))


def density(ritz: Array, weight: Array, axis: Array, width: float) -> Array:
    """Share of eigenvalues per unit at each value of `axis` [n]: the spectrum convolved with a Gaussian.

    ritz, weight: a quadrature [probes, steps]. width: the Gaussian's standard deviation. The density's integral is 1.
    """
    distance = (axis[:, None, None] - ritz) / width
    gaussians = np.exp(-0.5 * distance**2) / (width * np.sqrt(2 * np.pi))
    shares: Array = (gaussians * weight).sum(2).mean(1)
    return shares
