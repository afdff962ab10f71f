"""What can go wrong, and whose it is to mend.

StudioError
├── SceneError      exit 2   the scene says something that cannot be
├── RunError        exit 2   a checkpoint or data set that is missing, broken or unsafe
└── MachineError    exit 3   no GL, no encoder, a full disk, a worker that died
"""

from __future__ import annotations


class StudioError(Exception):
    """Any failure that is explained to the person at the keyboard. `exit_status` is what the command returns."""

    exit_status = 2


class SceneError(StudioError):
    """One or more mistakes in a scene, each as `file:line:column: key.path: what, and the way out`."""

    def __init__(self, *mistakes: str):
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class RunError(StudioError):
    """A training run that cannot be read: the message names the file and the way out."""


class MachineError(StudioError):
    """The machine lacks something, or lost it on the way. What was finished is kept."""

    exit_status = 3
