"""Optimizers as records, and the learning rate over the run.

    rate(p) = lr * s(p), with p in [0, 1] the finished share of the run

s is 1 (`constant`), (1 + cos(pi p)) / 2 (`cosine`), 1, 1/10 and 1/100 from p = 0, 1/2 and 3/4 (`step`), or what the
recipe says from some shares on. A new optimizer is a record with `rate`, `build` and `step`, in the union at the foot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema

from studio.config.records import BY_KIND, FrozenDict, Record
from studio.config.units import NonNegative, Percent, Positive

if TYPE_CHECKING:
    import torch


def _check_drops(drops: dict[float, float]) -> FrozenDict[float, float]:
    if not drops or not all(0 < share < 100 for share in drops) or list(drops) != sorted(drops):
        raise ValueError("a schedule's shares of the run rise between 0% and 100%; write it like {60%: 0.1, 80%: 0.01}")
    return FrozenDict(drops)


_DROPS = WithJsonSchema({"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}})
Drops = Annotated[dict[Percent, Positive], AfterValidator(_check_drops), _DROPS]
"""Shares of the run, and the factor of the rate from there on."""
Schedule = Annotated[
    Annotated[Literal["constant", "cosine", "step"], Tag("word")] | Annotated[Drops, Tag("drops")],
    Discriminator(lambda value: "drops" if isinstance(value, dict) else "word"),
]
WORDS: Mapping[str, Mapping[float, float]] = {"constant": {}, "step": {50.0: 0.1, 75.0: 0.01}}
"""Schedules of drops that have a name."""
Momentum = Annotated[float, Field(ge=0, lt=1)]
TINY = 1e-12
"""Added to the norm of a gradient, which may be 0."""


class _Scheduled(Record):
    lr: Positive
    weight_decay: NonNegative = 0.0
    schedule: Schedule = "constant"
    averages_from: ClassVar[float | None] = None

    def rate(self, progress: float) -> float:
        """The learning rate at a share of the run, 0 to 1."""
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * progress)) / 2
        drops = WORDS[self.schedule] if isinstance(self.schedule, str) else self.schedule
        return self.lr * ([1.0] + [factor for share, factor in drops.items() if progress >= share / 100])[-1]

    def step(self, optimizer: torch.optim.Optimizer, gradient: Callable[[], torch.Tensor]) -> torch.Tensor:
        """A step of the torch optimizer; returns the loss. gradient: computes the loss, and the gradients at it."""
        loss = gradient()
        optimizer.step()
        return loss


class _HeavyBall(_Scheduled):
    lr: Positive = 0.1
    momentum: Momentum = 0.9

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimizer of the parameters."""
        import torch

        decay = self.weight_decay
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=decay, fused=True)


class Sgd(_HeavyBall):
    """Stochastic gradient descent with heavy-ball momentum.

    lr: learning rate. momentum: of the heavy ball. weight_decay: added to every gradient, times the weight. schedule:
    learning rate over the run; `cosine` falls to 0, `step` to 1/10 at one half and 1/100 at three quarters, and
    `{60%: 0.1, 80%: 0.01}` to 1/10 and 1/100 at these shares of the run.
    """

    kind: Literal["sgd"] = "sgd"


class Sam(_HeavyBall):
    """Sharpness-aware minimisation (Foret et al. 2021): SGD by the gradient at theta + rho g / |g|, g that at theta.

    Both gradients are of the same batch and the same dropout mask. lr, momentum, weight_decay, schedule: as for sgd.
    rho: how far uphill the second gradient is taken.
    """

    kind: Literal["sam"] = "sam"
    rho: Positive = 0.05

    def step(self, optimizer: torch.optim.Optimizer, gradient: Callable[[], torch.Tensor]) -> torch.Tensor:
        """A step by the gradient uphill; returns the loss before it."""
        import torch

        loss = gradient()
        moving = [w for group in optimizer.param_groups for w in group["params"] if w.grad is not None]
        start, gradients = [w.detach().clone() for w in moving], [w.grad for w in moving]
        scale = self.rho / (torch.nn.utils.get_total_norm(gradients) + TINY)
        with torch.no_grad():
            for w, g in zip(moving, gradients, strict=True):
                w.add_(g * scale)
            gradient()
            for w, first in zip(moving, start, strict=True):
                w.copy_(first)
        optimizer.step()
        return loss


class Swa(_HeavyBall):
    """Stochastic weight averaging (Izmailov et al. 2018): SGD, whose later checkpoints are means of the weights.

    The mean is that of the ends of all epochs since `start`; the statistics of batch norms are computed anew for it.
    lr, momentum, weight_decay, schedule: as for sgd. start: the share of the run from which on checkpoints hold the
    mean, while training itself goes on from its own weights.
    """

    kind: Literal["swa"] = "swa"
    start: Annotated[Percent, Field(ge=0, le=100)] = 75.0

    @property
    def averages_from(self) -> float:  # type: ignore[override]  # of this kind alone
        """The share of the run from which on weights are averaged, 0 to 1."""
        return self.start / 100


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


Optimizer = Annotated[Sgd | Adam | Sam | Swa, *BY_KIND]
