"""Where networks stand, as planes show it: the points of the planes that are nearest to their weights.

    p_kj = G_k^-1 [<theta_j - theta_k, delta_k>, <theta_j - theta_k, eta_k>],  G_k the Gram matrix of delta_k and eta_k

are alpha and beta of the point of plane k that is nearest to network j.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from studio.field import Array
from studio.landscape.curvature.plane import DEGENERATE


def positions(planes: Sequence[Mapping[str, Array]], networks: Sequence[Array]) -> dict[str, Array]:
    """`places` [K, J, 2], alpha and beta of networks [P] in planes of `theta`, `delta` and `eta` [P].

    `distances` [K, J]: from the planes, and `lengths` [K, J]: from their centres, Euclidean, in weight space. `units`
    [K]: the lengths of delta. NaN in a plane that delta and eta do not span.
    """
    thetas = [np.asarray(network, np.float64) for network in networks]
    places = np.full((len(planes), len(thetas), 2), np.nan)
    distances, lengths = np.full((2, len(planes), len(thetas)), np.nan)
    for k, plane in enumerate(planes):
        q, r = np.linalg.qr(np.stack([plane["delta"], plane["eta"]], axis=1).astype(np.float64))
        if np.abs(np.diag(r)).min() <= DEGENERATE * np.abs(r).max():
            continue
        for j, theta in enumerate(thetas):
            offset = theta - np.asarray(plane["theta"], np.float64)
            projection = q.T @ offset
            places[k, j] = np.linalg.solve(r, projection)
            lengths[k, j] = np.linalg.norm(offset)
            distances[k, j] = np.linalg.norm(offset - q @ projection)
    units = np.array([np.linalg.norm(np.asarray(plane["delta"], np.float64)) for plane in planes])
    return {"places": places, "distances": distances, "lengths": lengths, "units": units}


def share_in_plane(distances: Array, lengths: Array) -> float:
    """The root of the share of all squared lengths that lies in the planes; 1 if all networks stand at the centres."""
    squares = float(np.nansum(lengths**2))
    return float(np.sqrt(max(0.0, 1 - float(np.nansum(distances**2)) / squares))) if squares > 0 else 1.0
