"""The run's trajectory: its checkpoints, projected onto the planes of the slices.

    p_jk = G_k^-1 [<theta_j - theta_k, delta_k>, <theta_j - theta_k, eta_k>],  G_k the Gram matrix of delta_k and eta_k

are alpha and beta of the point of plane k that is nearest to checkpoint j.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.field import Trajectory
from studio.landscape.curvature.plane import DEGENERATE


def project_trajectory(coordinates: Sequence[float], planes: Sequence[Mapping[str, npt.NDArray[Any]]]) -> Trajectory:
    """The trajectory through the centres theta of K planes, each with `theta`, `delta` and `eta` [P].

    coordinates: of the K keyframes, ascending. share_in_plane is the root of the share of all squared distances between
    centres that lies in the planes; 1 if all centres are one point. NaN in a plane that delta and eta do not span.
    """
    thetas = [np.asarray(plane["theta"], np.float64) for plane in planes]
    places, squares_in_plane, squares = np.full((len(planes), len(planes), 2), np.nan), 0.0, 0.0
    for k, plane in enumerate(planes):
        q, r = np.linalg.qr(np.stack([plane["delta"], plane["eta"]], axis=1).astype(np.float64))
        if np.abs(np.diag(r)).min() <= DEGENERATE * np.abs(r).max():
            continue
        for j, theta in enumerate(thetas):
            distance = theta - thetas[k]
            projection = q.T @ distance
            places[k, j] = np.linalg.solve(r, projection)
            squares_in_plane += float(projection @ projection)
            squares += float(distance @ distance)
    return Trajectory(tuple(coordinates), places, float(np.sqrt(squares_in_plane / squares)) if squares > 0 else 1.0)
