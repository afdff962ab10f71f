"""Children that do not outlive their parent, and that are noticed when they do nothing. Without Linux, neither."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Called in a child: the kernel kills it when the thread of the parent that started it ends, for any reason."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)


def works_until(ready: Callable[[float], bool], pid: int, patience: float) -> bool:
    """Asks `ready(1.0)`, which takes a second, until it is true; False once the process has rested for so many seconds.

    It rests while neither it nor a child uses a processor: it is stopped, or waits for ever. Slow work may take as long
    as it likes. Seconds are counted one by one, so none passes while this process is stopped itself.
    """
    before, rest = -1, 0.0
    while not ready(1.0):
        try:
            ticks = _ticks(pid)
        except OSError:  # it has ended, or this is not Linux
            continue
        rest, before = (rest + 1 if ticks == before else 0), ticks
        if rest >= patience:
            return False
    return True


def _ticks(pid: int | str) -> int:
    """Processor time of a process and its children, in clock ticks."""
    numbers = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(numbers[11]) + int(numbers[12]) + sum(map(_ticks, children))
