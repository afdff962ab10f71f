"""Centres: the weights and buffers that a slice is laid through, or where its marker stands. No torch is loaded here.

    centre  ->  the checkpoints it is made of  ->  its state

A new kind of centre is a class here with the same properties and methods, in the union at the foot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class State(NamedTuple):
    """Weights and buffers by name, on the CPU."""

    weights: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]


@dataclass(frozen=True)
class AtCheckpoint:
    """A run's weights and buffers at a checkpoint.

    checkpoint: its place in the run. run: 0 is the scene's own; from 1 on, those that the sweep needs.
    """

    checkpoint: float
    run: int = 0

    def __str__(self) -> str:
        return f"the checkpoint at {self.checkpoint:g}" + (" of the other run" if self.run else "")

    @property
    def checkpoints(self) -> tuple[AtCheckpoint, ...]:
        """The checkpoints that the state is made of."""
        return (self,)

    def inputs(self, weights_digest: Callable[[AtCheckpoint], str]) -> Any:
        """What the state depends on, for a digest: weights, and not the place they were found at."""
        return weights_digest(self)

    def state(self, load: Callable[[AtCheckpoint], State]) -> State:
        """The state itself. load: reads a checkpoint."""
        return load(self)


@dataclass(frozen=True)
class Between:
    """(1 - share) of the state at one checkpoint and `share` of that at another; counters are those of the nearer."""

    first: AtCheckpoint
    second: AtCheckpoint
    share: float

    def __str__(self) -> str:
        return f"{self.share:g} of the way from {self.first} to {self.second}"

    @property
    def checkpoints(self) -> tuple[AtCheckpoint, ...]:
        """The checkpoints that the state is made of."""
        return self.first, self.second

    def inputs(self, weights_digest: Callable[[AtCheckpoint], str]) -> Any:
        """What the state depends on, for a digest."""
        return [weights_digest(self.first), weights_digest(self.second), self.share]

    def state(self, load: Callable[[AtCheckpoint], State]) -> State:
        """The state itself; running statistics are mixed like weights. load: reads a checkpoint."""
        first, second = load(self.first), load(self.second)
        return State(*({name: self._mix(a[name], b[name]) for name in a} for a, b in zip(first, second, strict=True)))

    def _mix(self, a: Tensor, b: Tensor) -> Tensor:
        if not a.is_floating_point():
            return a if self.share < 0.5 else b
        return (1 - self.share) * a + self.share * b


Centre = AtCheckpoint | Between
