"""Sweeps along the run's own checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from studio.field import Grid
from studio.landscape.centres import AtCheckpoint
from studio.landscape.directions import Directions
from studio.landscape.sweeps.keyframe import AlongRun, CheckpointName, Keyframe, Runs, at_checkpoint


class Epochs(AlongRun):
    """The run's own checkpoints: one slice at each, or at those listed. The coordinate is the epoch.

    For surfaces that the user brings these are the file's own coordinates, whatever they count.
    at: `all`, or a list of epochs and of windows, `{every: 2, from: 0, to: 10}` or `{log: 12, from: 0.1, to: 40}`,
    which select the checkpoint in them that is nearest to each of their instants.
    """

    former: ClassVar[Mapping[str, str]] = {"keys": "at"}

    kind: Literal["epochs"] = "epochs"

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """A keyframe at each checkpoint, and the network at its centre. Raises SceneError if the run lacks one."""
        centres = map(AtCheckpoint, self._chosen(runs))
        return tuple(Keyframe(centre.checkpoint, centre, directions, grid, centre) for centre in centres)


class Trajectory(AlongRun):
    """One plane that stands still, and the network moving past it: measured once. The coordinate is the epoch.

    The marker stands on the point of the plane that is nearest to the network.
    at: epochs at which the network is shown, `all` or a list. centre: the checkpoint that the plane goes through.
    """

    kind: Literal["trajectory"] = "trajectory"
    centre: CheckpointName = "last"

    def unroll(self, runs: Runs, directions: Directions, grid: Grid) -> tuple[Keyframe, ...]:
        """Keyframes of one plane. Raises SceneError if the run lacks a checkpoint."""
        centre = at_checkpoint(self.centre, runs[0])
        return tuple(Keyframe(at, centre, directions, grid, AtCheckpoint(at)) for at in self._chosen(runs))
