"""Krylov spaces of many symmetric operators, grown together one product a step.

    H Q = Q T + beta q e'

T is tridiagonal. The basis Q is kept, in float64 whatever the products' own precision, and every new vector is freed of
all of it, in a second pass too where the first leaves little. Paige (1972); Parlett (1998), section 6.9.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLOCK = 16
"""Vectors that memory is taken for at a time."""
MUCH = 0.1
"""A pass that leaves less than this share of a vector's length, and so one digit less of it orthogonal to the rest, is
repeated; twice is enough (Kahan, in Parlett)."""


class Krylov:
    """The spaces of B operators on [M], each from its own start.

    v: the unit vectors [B, M] whose images are wanted next. alphas, betas: the diagonals of T and what stands below
    them [B, steps], numpy; the last beta is the norm of what did not fit into the space.
    """

    def __init__(self, starts: Tensor):
        starts = starts.double()
        self._blocks: list[Tensor] = []
        self.alphas, self.betas = np.empty((2, len(starts), 0))
        self.v = self._place(starts)
        torch.div(starts, starts.norm(dim=1, keepdim=True), out=self.v)

    @property
    def steps(self) -> int:
        """How many products each space holds."""
        return self.alphas.shape[1]

    @property
    def whole(self) -> np.ndarray:
        """Where a space is closed under its operator, so that its eigenvalues are those of T exactly [B]."""
        sizes = np.maximum(np.abs(self.alphas), self.betas).max(1)
        return (self.betas[:, -1] <= 1e-14 * sizes) | (self.steps == self.v.shape[1])

    @property
    def finite(self) -> np.ndarray:
        """Whose products were all finite [B]."""
        return np.isfinite(self.alphas + self.betas).all(1)

    def grow(self, images: Tensor) -> None:
        """Takes H v [B, M] and moves on to the next v."""
        w = images.to(self.v, copy=True)
        alpha, taken = self._free(w)
        beta = w.norm(dim=1)
        if (beta < MUCH * taken).any():
            alpha += self._free(w)[0]
            beta = w.norm(dim=1)
        column = torch.stack([alpha, beta]).cpu().numpy()[:, :, None]
        self.alphas, self.betas = (
            np.concatenate(pair, 1) for pair in zip((self.alphas, self.betas), column, strict=True)
        )
        # a closed space has no next vector: zeros then add nothing to it
        self.v = self._place(w)
        torch.mul(w, torch.where(beta > 0, beta.reciprocal(), 0)[:, None], out=self.v)

    def only(self, these: Sequence[int]) -> None:
        """Goes on with these of the operators alone: n numbers, of which those below n stay in their places."""
        for place, which in enumerate(these):
            for block in self._blocks if which != place else ():
                block[place] = block[which]  # in place: the bases are most of the memory
        self.v, *self._blocks = (tensor[: len(these)] for tensor in (self.v, *self._blocks))
        self.alphas, self.betas = self.alphas[these], self.betas[these]

    def combined(self, which: int, coefficients: np.ndarray) -> Tensor:
        """Q s [n, M] for coefficients s [n, steps] in the basis of one operator."""
        parts = torch.from_numpy(coefficients).to(self.v).split(BLOCK, dim=1)
        return sum(part @ block[which, : part.shape[1]] for part, block in zip(parts, self._blocks, strict=False))

    def _place(self, like: Tensor) -> Tensor:
        """Where the next vectors of the bases stand [B, M]."""
        if self.steps % BLOCK == 0:
            self._blocks.append(like.new_empty(len(like), BLOCK, like.shape[1]))
        return self._blocks[-1][:, self.steps % BLOCK]

    def _free(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Takes away from w [B, M], in place, its parts along the basis.

        How long the one along the last v was, and how long all of them together [B].
        """
        rows, taken = w[:, None], 0
        for number, block in enumerate(self._blocks):
            held = block[:, : self.steps + 1 - number * BLOCK]
            # as rows, not columns: the library is three to five times quicker that way round
            parts = rows @ held.mT
            rows.baddbmm_(parts, held, alpha=-1)
            taken = taken + parts.square().sum((1, 2))
        return parts[:, 0, -1], taken.sqrt()
