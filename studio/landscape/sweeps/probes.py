"""Sweeps that no scene names: the networks of another sweep's keyframes, the ways between two, and one keyframe alone.

A number that a scene claims is measured on the first two, one grid point at each; a casting on the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from studio.errors import SceneError
from studio.field import Axis, Grid
from studio.landscape.centres import AtCheckpoint, Mixture
from studio.landscape.directions import Directions, Random
from studio.landscape.sweeps.keyframe import BaseSweep, Keyframe, Runs
from studio.landscape.sweeps.sweep import Sweep
from studio.training.derived import AnyRun
from studio.training.runs import Run

PATH_STEPS = 10
"""From one network to the other, on the straight line between them."""


class _Of(BaseSweep):
    """What all take from the sweep whose keyframes they are of."""

    of: Sweep

    def axis(self, runs: Runs) -> Axis:
        """The sweep's own axis."""
        return self.of.axis(runs)

    def needs(self, run: Run) -> tuple[AnyRun, ...]:
        """The sweep's own."""
        return self.of.needs(run)

    def reduced(self, runs: Runs, most: int) -> _Of:
        """Of the sweep with at most `most` keyframes."""
        return self.model_copy(update={"of": self.of.reduced(runs, most)})


class Single(_Of):
    """The keyframe at one coordinate."""

    at: float

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """The keyframe. Raises as the sweep does."""
        return tuple(k for k in self.of.unroll(runs, directions, grid) if k.coordinate == self.at)

    def scored(self, runs: Runs, keyframes: Sequence[Keyframe]) -> Mapping[float, AtCheckpoint]:
        """The sweep's own."""
        return self.of.scored(runs, keyframes)


class _OfSome(_Of):
    """take: all its keyframes, or one of them; the others are then not measured."""

    take: Literal["all", "first", "last"] = "all"

    def taken(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """The sweep's keyframes that are taken. Raises as the sweep does."""
        keyframes = self.of.unroll(runs, directions, grid)
        return {"all": keyframes, "first": keyframes[:1], "last": keyframes[-1:]}[self.take]


class Networks(_OfSome):
    """The network of each keyframe in the middle of a plane of its own, whose directions count for nothing."""

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes of one point. Raises as the sweep does."""
        keyframes = self.taken(runs, directions, grid)
        return tuple(Keyframe(k.coordinate, k.marker or k.centre, Random(), grid.at_centre, None) for k in keyframes)

    def scored(self, runs: Runs, keyframes: Sequence[Keyframe]) -> Mapping[float, AtCheckpoint]:
        """Those of the sweep's own keyframes."""
        return self.of.scored(runs, self.of.unroll(runs, Random(), Grid()))


class Paths(_OfSome):
    """Points of the straight line between the two networks that each keyframe's centre mixes.

    The coordinates count them, `PATH_STEPS` + 1 for each keyframe.
    """

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes of one point. Raises SceneError for a keyframe without two networks, and as the sweep does."""
        keyframes: list[Keyframe] = []
        for keyframe in self.taken(runs, directions, grid):
            if not isinstance(keyframe.centre, Mixture) or len(keyframe.centre.centres) != 2:
                raise SceneError("a barrier lies between two networks: write `sweep: spawn` for the number")
            first, second = keyframe.centre.centres
            between = (Mixture.between(first, second, step / PATH_STEPS) for step in range(1, PATH_STEPS))
            for centre in (first, *between, second):
                keyframes.append(Keyframe(float(len(keyframes)), centre, Random(), grid.at_centre, None))
        return tuple(keyframes)
