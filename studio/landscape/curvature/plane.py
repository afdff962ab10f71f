"""What the picture shows of the curvature, beside what there is: the loss's second derivatives within its own plane.

    kappa_min, kappa_max: eigenvalues of E' H E, with E an orthonormal basis of the plane of delta and eta [M, 2]

By Cauchy's interlacing lambda_min <= kappa_min <= kappa_max <= lambda_max, whatever the plane: a check of the whole
chain. A surface that curves upwards all around in the picture may still fall in directions that the picture lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from studio.field import FLOOR, hidden, negative_share

if TYPE_CHECKING:
    from torch import Tensor

Centre = Literal["minimum", "saddle", "maximum", "not stationary", "unknown"]
ROUNDING = 1e-5
"""Of products in float32, relative to the largest eigenvalue: what interlacing cannot be held to."""


def plane_curvatures(product: Callable[[Tensor], Tensor], delta: Tensor, eta: Tensor, count: int) -> np.ndarray:
    """kappa_min and kappa_max at `count` points [count, 2], exact, from two products V [count, M] -> H V [count, M].

    NaN if delta and eta [M] span no plane, or where a product is not finite.
    """
    import torch

    basis, r = torch.linalg.qr(torch.stack([delta, eta], 1).double())
    if float(r.diagonal().abs().min()) <= 1e-9 * float(r.abs().max()):
        return np.full((count, 2), np.nan)
    images = torch.stack([product(axis.expand(count, -1)).double() for axis in basis.T], 2)
    a, b, c, d = (basis.T @ images).flatten(1).cpu().numpy().T
    # the closed form of a 2 x 2 matrix, symmetric but for rounding: it lets NaN through
    reach = np.hypot((a - d) / 2, (b + c) / 2)
    return np.stack([(a + d) / 2 - reach, (a + d) / 2 + reach], 1)


def interlaces(
    lambda_min: np.ndarray, lambda_max: np.ndarray, kappa_min: np.ndarray, kappa_max: np.ndarray, tol: float
) -> np.ndarray:
    """Where the plane's curvatures lie between the space's, as they must; bool. True where one of them is unknown.

    tol: that the lambdas were found with.
    """
    largest = np.maximum(np.abs(lambda_min), np.abs(lambda_max))
    below, above = (
        tol * np.maximum(np.abs(end), FLOOR * largest) + ROUNDING * largest for end in (lambda_min, lambda_max)
    )
    return ~((kappa_min < lambda_min - below) | (kappa_max > lambda_max + above))


def rank_correlation(plane: np.ndarray, space: np.ndarray) -> float:
    """Spearman's, between the shares of negative curvature in the plane and in the space, where both are known.

    NaN for fewer than 3 points, or if one of the two is the same everywhere.
    """
    from scipy.stats import spearmanr

    known = np.isfinite(plane) & np.isfinite(space)
    plane, space = plane[known], space[known]
    if len(plane) < 3 or np.ptp(plane) == 0 or np.ptp(space) == 0:
        return float("nan")
    return float(spearmanr(plane, space).statistic)


def compared(
    lambda_min: np.ndarray, lambda_max: np.ndarray, kappa_min: np.ndarray, kappa_max: np.ndarray, tol: float
) -> dict[str, float]:
    """What a key's points say of its picture: `rank_correlation`, `hidden_share` and `interlacing_share`.

    Over the points that are known; NaN if none is.
    """
    known = np.isfinite(lambda_min + kappa_min)
    ends = [array[known] for array in (lambda_min, lambda_max, kappa_min, kappa_max)]
    shares = [negative_share(*pair) for pair in (ends[2:], ends[:2])]
    return {
        "rank_correlation": rank_correlation(*shares),
        "hidden_share": _mean(hidden(*ends)),
        "interlacing_share": _mean(interlaces(*ends, tol)),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def centre(gradient_norm: float, loss: float, lambda_min: float, lambda_max: float, tol: float) -> Centre:
    """What kind of point the centre is, by the loss's gradient and the ends of its Hessian there.

    Stationary is where one step down the gradient, at the length that the largest curvature allows, lowers the loss by
    no more than `tol` of itself: |g|^2 / (2 max |lambda|) <= tol loss. Weights or losses in other units give the same
    answer; a bound on |g| alone would not. An end counts as negative, or positive, beyond `tol` of the larger one.
    `unknown` if a number is not finite.
    """
    if not np.isfinite([gradient_norm, loss, lambda_min, lambda_max]).all():
        return "unknown"
    largest = max(abs(lambda_min), abs(lambda_max))
    if gradient_norm**2 > 2 * largest * tol * loss:
        return "not stationary"
    if lambda_min >= -tol * largest:
        return "minimum"
    return "saddle" if lambda_max > tol * largest else "maximum"
