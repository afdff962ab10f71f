"""How the weights are moved: optimizers as records, and the learning rate over the run.

rate(p) = lr * s(p) with p in [0, 1] the share of the run that is done; s is 1, (1 + cos(pi p)) / 2, or 1, 1/10, 1/100
from the start, one half and three quarters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from studio.config.records import BY_KIND, Record

if TYPE_CHECKING:
    import torch

Schedule = Literal["constant", "cosine", "step"]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def _scale(schedule: Schedule, progress: float) -> float:
    match schedule:
        case "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        case "step":
            return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
    return 1.0


class Sgd(Record):
    """Stochastic gradient descent with heavy-ball momentum; weight decay is added to every gradient."""

    kind: Literal["sgd"] = "sgd"
    lr: Rate = 0.1
    momentum: Momentum = 0.9
    weight_decay: Decay = 0.0
    schedule: Schedule = "constant"

    def rate(self, progress: float) -> float:
        return self.lr * _scale(self.schedule, progress)

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, fused=True
        )


class Adam(Record):
    """Adam (Kingma & Ba 2015) with weight decay apart from the gradient (Loshchilov & Hutter 2019)."""

    kind: Literal["adam"] = "adam"
    lr: Rate = 1e-3
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    weight_decay: Decay = 0.0
    schedule: Schedule = "constant"

    def rate(self, progress: float) -> float:
        return self.lr * _scale(self.schedule, progress)

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(parameters, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=True)


Optimizer = Annotated[Sgd | Adam, *BY_KIND]
