"""Lanczos iteration on many symmetric operators at once, one product of each per step.

    H Q = Q T + beta q e'

Q is an orthonormal basis of the Krylov space, T tridiagonal. Q is kept in float64 whatever the products' own precision,
and every new vector is orthogonalised against all of it, after the recurrence has taken out its two large parts: errors
of a single pass would grow from product to product, to a false eigenvalue near 0 after some 150. Paige (1972); Parlett
(1998), section 6.9.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from studio.field import Array

BLOCK = 16
"""Vectors that memory is allocated for at a time."""
CANCELLATION = 0.1
"""A pass that leaves less than this share of a vector's length leaves one digit less of it orthogonal to the basis, and
is repeated; twice is enough (Kahan, in Parlett)."""
CLOSED = 1e-14
"""A remainder of at most this share of T's largest entry is rounding: the space is closed under its operator."""


class Krylov:
    """The Krylov spaces of B operators on [M], one start vector each: `starts` [B, M], of any norm but zero.

    v: the unit vectors [B, M] whose images the next step needs. alphas, betas: the diagonals of T and the entries below
    them [B, steps], numpy; the last beta is the norm of the remainder outside the space.
    """

    def __init__(self, starts: Tensor):
        starts = starts.double()
        self._blocks: list[Tensor] = []
        self.alphas, self.betas = np.empty((2, len(starts), 0))
        self.v = self._allocate(starts)
        torch.div(starts, starts.norm(dim=1, keepdim=True), out=self.v)

    @property
    def steps(self) -> int:
        """Number of products in each space."""
        return int(self.alphas.shape[1])

    @property
    def closed(self) -> Array:
        """Whether each space is closed under its operator, so that the eigenvalues of T are exact; bool [B]."""
        largest = np.maximum(np.abs(self.alphas), self.betas).max(1)
        return np.asarray((self.betas[:, -1] <= CLOSED * largest) | (self.steps == self.v.shape[1]))

    @property
    def finite(self) -> Array:
        """Whether all products of each operator were finite; bool [B]."""
        return np.asarray(np.isfinite(self.alphas + self.betas).all(1))

    def step(self, images: Tensor) -> None:
        """Extends every space by the images H v [B, M] of the present `v`, and moves on to the next `v`."""
        w = images.to(self.v, copy=True)
        alpha = self._subtract_recurrence(w)
        correction, projected = self._reorthogonalize(w)
        alpha += correction
        beta = w.norm(dim=1)
        if (beta < CANCELLATION * projected).any():
            alpha += self._reorthogonalize(w)[0]
            beta = w.norm(dim=1)
        column = torch.stack([alpha, beta]).cpu().numpy()[:, :, None]
        self.alphas, self.betas = (
            np.concatenate(pair, 1) for pair in zip((self.alphas, self.betas), column, strict=True)
        )
        # a closed space has no next vector: zeros then add nothing to it
        self.v = self._allocate(w)
        torch.mul(w, torch.where(beta > 0, beta.reciprocal(), 0)[:, None], out=self.v)

    def keep(self, operators: Sequence[int]) -> None:
        """Drops all operators but these n, in their new order; those with numbers below n must keep their places."""
        for place, operator in enumerate(operators):
            for block in self._blocks if operator != place else ():
                block[place] = block[operator]  # in place: the bases are most of the memory
        self.v, *self._blocks = (tensor[: len(operators)] for tensor in (self.v, *self._blocks))
        self.alphas, self.betas = self.alphas[operators], self.betas[operators]

    def combine(self, operator: int, coefficients: Array) -> Tensor:
        """s Q' [n, M]: vectors from coefficients s [n, steps] in the basis of one operator."""
        combined = self.v.new_zeros(len(coefficients), self.v.shape[1])
        parts = torch.split(torch.from_numpy(coefficients).to(self.v), BLOCK, dim=1)
        for part, block in zip(parts, self._blocks, strict=False):
            combined += part @ block[operator, : part.shape[1]]
        return combined

    def _subtract_recurrence(self, w: Tensor) -> Tensor:
        """Subtracts alpha v and beta times the v before it from w [B, M], in place; returns alpha [B].

        What remains is orthogonal to the basis but for rounding, so that one more pass over all of it is the second.
        """
        alpha: Tensor = torch.linalg.vecdot(w, self.v)
        w.addcmul_(alpha[:, None], self.v, value=-1)
        if self.steps:
            number, place = divmod(self.steps - 1, BLOCK)
            w.addcmul_(torch.from_numpy(self.betas[:, -1:]).to(w), self._blocks[number][:, place], value=-1)
        return alpha

    def _allocate(self, like: Tensor) -> Tensor:
        """Room for the next vectors of the bases [B, M]."""
        if self.steps % BLOCK == 0:
            self._blocks.append(like.new_empty(len(like), BLOCK, like.shape[1]))
        return self._blocks[-1][:, self.steps % BLOCK]

    def _reorthogonalize(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Subtracts from w [B, M], in place, its projections on the basis.

        Returns the length of the one on the last v, and the length of all of them together [B].
        """
        rows, squares = w[:, None], w.new_zeros(len(w))
        for number, block in enumerate(self._blocks):
            basis = block[:, : self.steps + 1 - number * BLOCK]
            # as rows, not columns: the library is three to five times quicker that way round
            projections = rows @ basis.mT
            rows.baddbmm_(projections, basis, alpha=-1)
            squares = squares + projections.square().sum((1, 2))
        return projections[:, 0, -1], squares.sqrt()
