"""Optimizers as records, and the learning rate over the run.

    rate(p) = lr * s(p), with p in [0, 1] the finished share of the run

s is 1 (`constant`), (1 + cos(pi p)) / 2 (`cosine`), or 1, 1/10 and 1/100 from p = 0, 1/2 and 3/4 (`step`). A new
optimizer is a record with `rate` and `build`, in the union at the foot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from studio.config.records import BY_KIND, Record
from studio.config.units import NonNegative, Positive

if TYPE_CHECKING:
    import torch

Schedule = Literal["constant", "cosine", "step"]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class _Scheduled(Record):
    lr: Positive
    weight_decay: NonNegative = 0.0
    schedule: Schedule = "constant"

    def rate(self, progress: float) -> float:
        """The learning rate at a share of the run, 0 to 1."""
        match self.schedule:
            case "cosine":
                return self.lr * (1 + math.cos(math.pi * progress)) / 2
            case "step":
                return self.lr * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
        return self.lr


class Sgd(_Scheduled):
    """Stochastic gradient descent with heavy-ball momentum.

    lr: learning rate. momentum: of the heavy ball. weight_decay: added to every gradient, times the weight. schedule:
    learning rate over the run; `cosine` falls to 0, `step` to 1/10 at one half and 1/100 at three quarters.
    """

    kind: Literal["sgd"] = "sgd"
    lr: Positive = 0.1
    momentum: Momentum = 0.9

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimizer of the parameters."""
        import torch

        decay = self.weight_decay
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=decay, fused=True)


class Adam(_Scheduled):
    """AdamW: Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019).

    lr: learning rate. betas: decay of the running means of the gradient and of its square. weight_decay: of the
    weights themselves, apart from the gradient. schedule: learning rate over the run, as for sgd.
    """

    kind: Literal["adam"] = "adam"
    lr: Positive = 1e-3
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimizer of the parameters."""
        import torch

        return torch.optim.AdamW(parameters, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=True)


Optimizer = Annotated[Sgd | Adam, *BY_KIND]
