"""The shared part of the fuzz: one attempt within 10 s and 500 MB, and the table of what came of all of them."""

import faulthandler
import os
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else the second processor only waits, and is counted
SECONDS, MEGABYTES = 10.0, 500
_STUCK = 30.0
"""Seconds on the clock after which an attempt counts as a hang though it does not compute: it waits for a file."""
FAILURES = ("traceback", "hang", "memory", "unlocated")


class Outcome(NamedTuple):
    """word: one of `FAILURES`, or what the attempt came to. text: the message or the end of the traceback."""

    word: str
    text: str
    seconds: float


class _TooLong(BaseException):
    """Not an Exception, so that nothing but the harness catches it."""


def attempt(run: Callable[[], str], refused: Callable[[Exception], str | None]) -> Outcome:
    """What `run` came to. refused: the word for an exception that is a proper answer; None for a traceback.

    Seconds are of the processor, since a busy machine is nobody's fault.
    """
    start = time.process_time()
    try:
        with _limits():
            outcome = run(), ""
    except _TooLong:
        outcome = "hang", "".join(traceback.format_exc(limit=-4))
    except MemoryError:
        outcome = "memory", "".join(traceback.format_exc(limit=-4))
    except Exception as error:
        word = refused(error)
        outcome = (word, str(error)) if word else ("traceback", "".join(traceback.format_exc(limit=-4)))
    seconds = time.process_time() - start
    return Outcome("hang" if seconds > SECONDS and outcome[0] not in FAILURES else outcome[0], outcome[1], seconds)


@contextmanager
def _limits():
    """Raises `_TooLong` or MemoryError in a block that takes too much; ends the process if a library never returns."""

    def stop(*_):
        raise _TooLong

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    before = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    data = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data + MEGABYTES * 10**6, hard))
    faulthandler.dump_traceback_later(4 * _STUCK, exit=True)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, _STUCK)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def table(outcomes: Iterable[tuple[str, Outcome]], shown: int = 5) -> tuple[str, int]:
    """(a row for each kind of attempt and its outcomes, the slowest, and some failures; the number of failures)."""
    outcomes = list(outcomes)
    words = [*FAILURES, *sorted({outcome.word for _, outcome in outcomes} - set(FAILURES))]
    lines = [f"{'':18}" + "".join(f"{word:>11}" for word in words) + f"{'slowest':>11}"]
    for kind in sorted({kind for kind, _ in outcomes}):
        mine = [outcome for other, outcome in outcomes if other == kind]
        counts = Counter(outcome.word for outcome in mine)
        slowest = max(outcome.seconds for outcome in mine)
        lines.append(f"{kind:18}" + "".join(f"{counts[word]:11}" for word in words) + f"{slowest:9.2f} s")
    failed = [(kind, outcome) for kind, outcome in outcomes if outcome.word in FAILURES]
    lines += [f"\n{kind}: {outcome.word}\n{outcome.text}" for kind, outcome in failed[:shown]]
    return "\n".join(lines), len(failed)
