"""Exception hierarchy and exit codes.

StudioError
├── SceneError      exit 2   the scene asks for something impossible
├── RunError        exit 2   a checkpoint or data set is missing, broken or unsafe
└── MachineError    exit 3   no GL, no encoder, a full disk, a dead worker
"""

from __future__ import annotations


class StudioError(Exception):
    """Base of every failure that the user is told how to fix. `exit_status` is the exit code of the command."""

    exit_status = 2


class SceneError(StudioError):
    """One or more mistakes in a scene, each as `file:line:column: key.path: what is wrong, and how to fix it`."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class RunError(StudioError):
    """A training run that cannot be read. The message names the file and the fix."""


class MachineError(StudioError):
    """The machine lacks something or a worker died. Finished work is kept."""

    exit_status = 3
