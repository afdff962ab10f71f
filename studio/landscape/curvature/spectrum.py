"""The whole spectrum of the Hessian at a centre, from random probes: its trace, and how densely eigenvalues lie where.

Each probe z is the start of a Lanczos run, whose Ritz values t and weights w (squared first components of their
vectors) are a Gauss quadrature of z's spectral measure. On average over probes,

    trace f(H) = M sum_i w_i f(t_i),

for any function f: f(t) = t gives the trace, a narrow Gaussian the density. Golub & Meurant (1994); Ubaru et al.
(2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from studio.landscape.convexity import Spectrum

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def stochastic_lanczos_quadrature(
    product: Callable[[Tensor], Tensor],
    size: int,
    spectrum: Spectrum,
    device: str = "cpu",
    probes: range | None = None,
) -> dict[str, np.ndarray]:
    """`ritz` and `weight`, float64 [probes, steps], of an operator V [1, size] -> H V [1, size].

    probes: some of the record's, by number; all by default. Each has a stream of its own, so that they may be measured
    apart and in any order. Steps beyond `size` are zeros of weight 0. NaN where a product is not finite.
    """
    runs = [_probe(product, size, spectrum, device, number) for number in probes or range(spectrum.probes)]
    return {name: np.stack([run[i] for run in runs]) for i, name in enumerate(("ritz", "weight"))}


def _probe(product: Callable[[Tensor], Tensor], size: int, spectrum: Spectrum, device: str, number: int) -> np.ndarray:
    """Ritz values and weights [2, steps] of one probe."""
    import torch
    from scipy.linalg import eigh_tridiagonal

    from studio.landscape.curvature.lanczos import Krylov

    # signs, not normal numbers: every probe then has the same length, and the trace of a diagonal matrix is exact
    signs = np.random.default_rng([spectrum.seed, number]).choice([-1.0, 1.0], size=(1, size))
    krylov = Krylov(torch.from_numpy(signs).to(device))
    for _ in range(min(spectrum.steps, size)):
        krylov.grow(product(krylov.v))
        if krylov.whole[0]:
            break
    found = np.zeros((2, spectrum.steps))
    diagonal, below = krylov.alphas[0], krylov.betas[0, :-1]
    if not np.isfinite(diagonal.sum() + below.sum()):
        return np.full_like(found, np.nan)
    values, vectors = eigh_tridiagonal(diagonal, below)
    found[:, : len(values)] = values, vectors[0] ** 2
    return found


def trace(ritz: np.ndarray, weight: np.ndarray, size: int) -> tuple[float, float]:
    """The Hessian's trace and its standard error, from [probes, steps] at a Hessian of `size` rows."""
    each = size * (ritz * weight).sum(1)
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


def density(ritz: np.ndarray, weight: np.ndarray, axis: np.ndarray, width: float) -> np.ndarray:
    """Share of eigenvalues per unit, at each value of the axis [n]: the spectrum seen through a Gaussian of `width`.

    Its integral over all values is 1.
    """
    distance = (axis[:, None, None] - ritz) / width
    bells = np.exp(-0.5 * distance**2) / (width * np.sqrt(2 * np.pi))
    return (bells * weight).sum(2).mean(1)
