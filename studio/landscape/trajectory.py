"""The run's own way, as far as the planes of its slices show it.

    p_jk = G_k^-1 [<theta_j - theta_k, delta_k>, <theta_j - theta_k, eta_k>],  G_k the Gram matrix of delta_k and eta_k

are the alpha and beta of the point of plane k that is nearest to checkpoint j. What is left out is told by `kept`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from studio.field import Trajectory


def projected(coordinates: Sequence[float], planes: Sequence[Mapping[str, np.ndarray]]) -> Trajectory:
    """The way through the centres of some planes, each of theta, delta and eta [P].

    kept: root of the share of all squared distances between centres that lies in the planes. NaN places where a plane
    is none.
    """
    thetas = [np.asarray(plane["theta"], np.float64) for plane in planes]
    places, inside, whole = np.full((len(planes), len(planes), 2), np.nan), 0.0, 0.0
    for k, plane in enumerate(planes):
        span = np.stack([plane["delta"], plane["eta"]], axis=1).astype(np.float64)
        basis, corner = np.linalg.qr(span)
        if np.abs(np.diag(corner)).min() <= 1e-9 * np.abs(corner).max():
            continue
        for j, theta in enumerate(thetas):
            away = theta - thetas[k]
            shown = basis.T @ away
            places[k, j] = np.linalg.solve(corner, shown)
            inside, whole = inside + float(shown @ shown), whole + float(away @ away)
    return Trajectory(tuple(coordinates), places, float(np.sqrt(inside / whole)) if whole > 0 else 1.0)
