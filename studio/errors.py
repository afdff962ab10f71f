"""Exception hierarchy and exit codes.

StudioError         exit 2
├── SceneError      exit 2   a mistake in a scene or in an option of a command
├── RunError        exit 2   a checkpoint or data set is missing, broken or unsafe
└── MachineError    exit 3   no GL, no encoder, a full disk, a dead worker
    └── DamageError exit 3   something on the shelf is not what was written

Without an exception a command exits with 0, after Ctrl-C with 130, and with 1 after a defect of studio's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class StudioError(Exception):
    """Base of every failure whose message says how to fix it. `exit_status` is the exit code of the command."""

    exit_status = 2


class SceneError(StudioError):
    """One or more mistakes in a scene or in the options of a command; `mistakes` has one text each.

    A mistake in a file is written as `file:line:column: key.path: what is wrong, and how to fix it`.
    """

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class RunError(StudioError):
    """A training run, or its data, that cannot be used. The message names the file or the key, and the fix."""


class MachineError(StudioError):
    """The machine lacks something, refuses something, or lost a worker. Finished work is kept."""

    exit_status = 3


class DamageError(MachineError):
    """What lies on the shelf at `path` is not what was written there. Once removed, it is made again."""

    def __init__(self, path: Path, reason: object):
        super().__init__(path, reason)
        self.path = path

    def __str__(self) -> str:
        return "{}: is damaged ({}); `studio film` makes it again".format(*self.args)
