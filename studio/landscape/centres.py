"""Centres: the weights and buffers that a slice is laid through, or where its marker stands. No torch is loaded here.

    centre  ->  the checkpoints it is made of  ->  its state

A new kind of centre is a class here with the same properties and methods, in the union at the foot.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from studio.config.records import nearest
from studio.errors import RunError
from studio.training.derived import Per, kept_by_magnitude

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
        return f"the checkpoint at {self.checkpoint:g}" + (f" of run {self.run}" if self.run else "")

    @property
    def checkpoints(self) -> tuple[AtCheckpoint, ...]:
        """The checkpoints that the state is made of; the run of the first is the centre's."""
        return (self,)

    def inputs(self, weights_digest: Callable[[AtCheckpoint], str]) -> Any:
        """What the state depends on, for a digest: weights, and not the place they were found at."""
        return weights_digest(self)

    def state(self, load: Callable[[AtCheckpoint], State]) -> State:
        """The state itself. load: reads a checkpoint."""
        return load(self)


@dataclass(frozen=True)
class Mixture:
    """A weighted sum of the states of several centres; counters are those of the one with the largest share.

    shares: one for each, of sum 1. Running statistics are mixed like weights.
    """

    centres: tuple[Centre, ...]
    shares: tuple[float, ...]

    @classmethod
    def between(cls, first: Centre, second: Centre, share: float) -> Mixture:
        """`share` of the way along the straight line from one to the other."""
        return cls((first, second), (1 - share, share))

    def __str__(self) -> str:
        parts = (f"{share:.2g} of {centre}" for centre, share in zip(self.centres, self.shares, strict=True))
        return " and ".join(parts)

    @property
    def checkpoints(self) -> tuple[AtCheckpoint, ...]:
        """The checkpoints that the state is made of."""
        return tuple(at for centre in self.centres for at in centre.checkpoints)

    def inputs(self, weights_digest: Callable[[AtCheckpoint], str]) -> Any:
        """What the state depends on, for a digest."""
        return [[centre.inputs(weights_digest) for centre in self.centres], self.shares]

    def state(self, load: Callable[[AtCheckpoint], State]) -> State:
        """The state itself. load: reads a checkpoint."""
        kinds = zip(*(centre.state(load) for centre in self.centres), strict=True)
        return State(*({name: self._mix([part[name] for part in parts]) for name in parts[0]} for parts in kinds))

    def _mix(self, tensors: list[Tensor]) -> Tensor:
        if not tensors[0].is_floating_point():
            return tensors[self.shares.index(max(self.shares))]
        first, *others = (share * tensor for share, tensor in zip(self.shares, tensors, strict=True) if share)
        return sum(others, start=first)


@dataclass(frozen=True)
class _Changed:
    """A checkpoint whose weights are multiplied by factors; buffers are its own. A kind of it has `_factors`."""

    of: AtCheckpoint

    @property
    def checkpoints(self) -> tuple[AtCheckpoint, ...]:
        """The checkpoint that the state is made of."""
        return (self.of,)

    def inputs(self, weights_digest: Callable[[AtCheckpoint], str]) -> Any:
        """What the state depends on, for a digest."""
        return {**asdict(self), "of": weights_digest(self.of)}

    def state(self, load: Callable[[AtCheckpoint], State]) -> State:
        """The state itself. load: reads a checkpoint."""
        weights, buffers = load(self.of)
        factors = self._factors(weights)
        return State({name: w * factors[name] for name, w in weights.items()}, buffers)

    def _factors(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor | float]:
        raise NotImplementedError


@dataclass(frozen=True)
class Pruned(_Changed):
    """A checkpoint whose smallest weights are zero, by magnitude; tensors of one dimension are left alone.

    sparsity: share of the weights that are zero. per: weights are ranked in the whole network, or in each tensor.
    The directions of its plane are zero where the weights are, so that what was pruned stays so.
    """

    sparsity: float
    per: Per = "network"

    def __str__(self) -> str:
        return f"{self.of} without {100 * self.sparsity:g} % of its weights"

    def _factors(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return kept_by_magnitude(weights, self.sparsity, self.per)


@dataclass(frozen=True)
class Rescaled(_Changed):
    """A checkpoint with the weights of one layer multiplied by a factor, and those of another divided by it.

    In a network of ReLUs the function stays the same where the second layer follows the first (Dinh et al. 2017).
    up, down: patterns of the names of the layers. Biases are multiplied with the first layer, and not divided.
    """

    up: str
    down: str
    factor: float

    def __str__(self) -> str:
        return f"{self.of} with {self.up} times {self.factor:g}"

    def _factors(self, weights: Mapping[str, Tensor]) -> Mapping[str, float]:
        layers = {name: name.rpartition(".")[0] for name in weights}
        known = sorted({*layers.values()})
        if missing := [pattern for pattern in (self.up, self.down) if not fnmatch.filter(known, pattern)]:
            raise RunError(f"sweep: no layer is called '{missing[0]}'{nearest(missing[0], known)}")
        return {name: self._factor(layers[name], w.dim() > 1) for name, w in weights.items()}

    def _factor(self, layer: str, divides: bool) -> float:
        if fnmatch.fnmatchcase(layer, self.up):
            return self.factor
        return 1 / self.factor if divides and fnmatch.fnmatchcase(layer, self.down) else 1.0


@dataclass(frozen=True)
class Matched:
    """A checkpoint with its hidden units in the order that is nearest to those of another: the same function.

    of: the checkpoint. to: the other one.
    """

    of: AtCheckpoint
    to: AtCheckpoint

    def __str__(self) -> str:
        return f"{self.of}, its units matched"

    @property
    def checkpoints(self) -> tuple[AtCheckpoint, ...]:
        """The checkpoint that the state is made of, and the one that gives the order."""
        return self.of, self.to

    def inputs(self, weights_digest: Callable[[AtCheckpoint], str]) -> Any:
        """What the state depends on, for a digest."""
        return {"matched": weights_digest(self.of), "to": weights_digest(self.to)}

    def state(self, load: Callable[[AtCheckpoint], State]) -> State:
        """The state itself. load: reads a checkpoint. Raises RunError if the layers are no chain."""
        from studio.landscape.matching import match

        return State(*match(*load(self.of), load(self.to).weights))


Centre = AtCheckpoint | Mixture | Pruned | Rescaled | Matched
