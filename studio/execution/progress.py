"""Progress: the callback that a stage reports to, shown as a bar on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Protocol

LINE_INTERVAL = 10.0
"""Seconds between plain lines."""


class Advance(Protocol):
    """Reports how many units are done. total: replaces the first one. text: shown behind the count."""

    def __call__(self, done: int, total: int | None = None, text: str = "") -> None:
        """Reports `done` units."""


Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""The callback of a stage: `with progress(name, total) as advance: advance(done)`."""


def silent(name: str, total: int) -> AbstractContextManager[Advance]:
    """Progress that is not shown."""
    return nullcontext(lambda done, total=None, text="": None)


def show(name: str, total: int) -> AbstractContextManager[Advance]:
    """Progress on standard error, or in a notebook that has rich's widgets."""
    has_widgets = "ipykernel" in sys.modules and find_spec("ipywidgets") is not None
    return _bar(name, total) if sys.stderr.isatty() or has_widgets else _lines(name, total)


@contextmanager
def _bar(name: str, total: int) -> Iterator[Advance]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description:24}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[text]}"),
    )
    rate = _rate()
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total or None, text="", rate="")

        def advance(done: int, total: int | None = None, text: str = "") -> None:
            bar.update(task, completed=done, text=text, rate=f"{rate(done):.1f}/s", total=total or None)

        yield advance


@contextmanager
def _lines(name: str, expected: int) -> Iterator[Advance]:
    rate, last = _rate(), -LINE_INTERVAL

    def advance(done: int, total: int | None = None, text: str = "") -> None:
        nonlocal last
        now, speed, end = time.monotonic(), rate(done), expected if total is None else total
        if now - last < LINE_INTERVAL and done != end:
            return
        last = now
        left = f", {speed:.1f}/s, {(end - done) / speed:.0f} s left" if speed else ""
        print(f"{name}: {done} of {end}{left} {text}".rstrip(), file=sys.stderr, flush=True)

    print(f"{name} ...", file=sys.stderr, flush=True)
    yield advance


def _rate() -> Callable[[int], float]:
    """(units done) -> units per second since the first call: earlier runs, and loading a library, do not count."""
    first: tuple[float, int] | None = None

    def rate(done: int) -> float:
        nonlocal first
        now = time.monotonic()
        first = first or (now, done)
        return (done - first[1]) / max(1e-6, now - first[0])

    return rate
