"""Children that never outlive their parent, and whether they are at work. Linux only; elsewhere both do nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Called in a child: the kernel kills it when the thread of the parent that started it ends, for any reason."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)


class Vigil:
    """Seconds for which a process and its children have used no processor: they are stopped, or wait for ever.

    Slow work uses some all the time, so it may take as long as it likes.
    """

    def __init__(self, pid: int):
        self._pid, self._ticks, self._idle = pid, -1, 0.0

    def idle(self, elapsed: float) -> float:
        """Seconds of idleness, counted call by call, given those since the last; so none while this process is stopped.

        0 where the system does not say.
        """
        try:
            ticks = _ticks(self._pid)
        except OSError:
            return 0.0
        self._idle = self._idle + elapsed if ticks == self._ticks else 0.0
        self._ticks = ticks
        return self._idle


def _ticks(pid: int | str) -> int:
    """Processor time of a process and its children, in clock ticks."""
    numbers = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(numbers[11]) + int(numbers[12]) + sum(map(_ticks, children))
