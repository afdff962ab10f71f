"""The plane's Hessian: the second derivatives of the loss within the plane of the picture, 2 x 2 at each point.

    kappa_min, kappa_max: eigenvalues of E' H E, with E an orthonormal basis [M, 2] of the plane of delta and eta

By Cauchy's interlacing lambda_min <= kappa_min <= kappa_max <= lambda_max, whatever the plane, which checks the whole
computation. A surface that curves upwards all around in the picture may still fall in directions outside its plane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from studio.field import MIN_EIGENVALUE_SCALE, Array, hidden_curvature, negative_share

if TYPE_CHECKING:
    from torch import Tensor

Centre = Literal["minimum", "saddle", "maximum", "not stationary", "unknown"]
ROUNDING = 1e-5
"""Error of float32 products, relative to the largest eigenvalue: interlacing is checked up to this."""
DEGENERATE = 1e-9
"""delta and eta span no plane if a diagonal entry of R, in their QR, is at most this share of its largest."""


def plane_curvatures(product: Callable[[Tensor], Tensor], delta: Tensor, eta: Tensor, count: int) -> Array:
    """kappa_min and kappa_max at `count` points [count, 2], exact, from two products V [count, M] -> H V [count, M].

    NaN if delta and eta [M] span no plane, or where a product is not finite.
    """
    import torch

    basis, r = torch.linalg.qr(torch.stack([delta, eta], 1).double())
    if float(r.diagonal().abs().min()) <= DEGENERATE * float(r.abs().max()):
        return np.full((count, 2), np.nan)
    images = torch.stack([product(axis.expand(count, -1)).double() for axis in basis.T], 2)
    a, b, c, d = (basis.T @ images).flatten(1).cpu().numpy().T
    # the closed form of a 2 x 2 matrix, symmetric but for rounding: it lets NaN through
    radius = np.hypot((a - d) / 2, (b + c) / 2)
    return np.stack([(a + d) / 2 - radius, (a + d) / 2 + radius], 1)


def interlaces(lambda_min: Array, lambda_max: Array, kappa_min: Array, kappa_max: Array, tol: float) -> Array:
    """Whether the plane's curvatures lie between the Hessian's, as they must, at each point; bool.

    True where one of them is NaN. tol: the relative accuracy of the lambdas.
    """
    largest = np.maximum(np.abs(lambda_min), np.abs(lambda_max))
    low, high = (
        tol * np.maximum(np.abs(end), MIN_EIGENVALUE_SCALE * largest) + ROUNDING * largest
        for end in (lambda_min, lambda_max)
    )
    return ~np.asarray((kappa_min < lambda_min - low) | (kappa_max > lambda_max + high))


def rank_correlation(plane: Array, space: Array) -> float:
    """Spearman's rank correlation where both are finite; NaN for fewer than 3 points, or if one is constant."""
    from scipy.stats import spearmanr

    known = np.isfinite(plane) & np.isfinite(space)
    plane, space = plane[known], space[known]
    if len(plane) < 3 or np.ptp(plane) == 0 or np.ptp(space) == 0:
        return float("nan")
    return float(spearmanr(plane, space).statistic)


def compare_curvatures(
    lambda_min: Array, lambda_max: Array, kappa_min: Array, kappa_max: Array, tol: float
) -> dict[str, float]:
    """How well a keyframe's picture shows its curvature: `rank_correlation`, `hidden_share` and `interlacing_share`.

    Over the points where all are known; NaN if there are none. tol: the relative accuracy of the lambdas.
    """
    known = np.isfinite(lambda_min + kappa_min)
    lambdas, kappas = (lambda_min[known], lambda_max[known]), (kappa_min[known], kappa_max[known])
    return {
        "rank_correlation": rank_correlation(negative_share(*kappas), negative_share(*lambdas)),
        "hidden_share": _mean(hidden_curvature(*lambdas, *kappas)),
        "interlacing_share": _mean(interlaces(*lambdas, *kappas, tol)),
    }


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def classify_centre(gradient_norm: float, loss: float, lambda_min: float, lambda_max: float, tol: float) -> Centre:
    """The kind of point the centre is, by the loss's gradient and the extreme eigenvalues of its Hessian there.

    The centre is stationary if one gradient step, of the length that the largest curvature allows, lowers the loss by
    at most `tol` of itself: |g|^2 / (2 max |lambda|) <= tol loss. Weights or losses in other units give the same
    answer; a bound on |g| alone would not. An eigenvalue counts as negative, or positive, beyond `tol` of the larger
    one. `unknown` if a number is not finite.

    >>> classify_centre(gradient_norm=0.0, loss=0.1, lambda_min=-1.0, lambda_max=9.0, tol=1e-3)
    'saddle'
    """
    if not np.isfinite([gradient_norm, loss, lambda_min, lambda_max]).all():
        return "unknown"
    largest = max(abs(lambda_min), abs(lambda_max))
    if gradient_norm**2 > 2 * largest * tol * loss:
        return "not stationary"
    if lambda_min >= -tol * largest:
        return "minimum"
    return "saddle" if lambda_max > tol * largest else "maximum"
