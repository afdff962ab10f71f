"""How a stage reports its progress, and how people see it: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeVar

LINE_INTERVAL = 10.0
"""Seconds between plain lines."""

T = TypeVar("T")


class Advance(Protocol):
    """Reports how many of a stage's units are done; a new total and a text may come with it."""

    def __call__(self, done: int, total: int | None = None, text: str = "") -> None:
        """Reports `done` units."""


class Progress(Protocol):
    """What a stage calls: `with progress(name, total) as advance: advance(done)`."""

    def __call__(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """A block of work called `name` that counts `total` units."""


def silent(name: str, total: int) -> AbstractContextManager[Advance]:
    """Progress that is not shown."""
    return nullcontext(_ignore)


def _ignore(done: int, total: int | None = None, text: str = "") -> None:
    pass


@contextmanager
def track(
    progress: Progress, name: str, counts: Sequence[int]
) -> Iterator[Callable[[Iterable[tuple[int, T]]], Iterator[tuple[int, T]]]]:
    """A function that passes (index, result) pairs on and reports how much of `counts` is done."""
    with progress(name, sum(counts)) as advance:

        def tracked(results: Iterable[tuple[int, T]]) -> Iterator[tuple[int, T]]:
            done = 0
            for index, result in results:
                yield index, result
                advance(done := done + counts[index])

        yield tracked


@contextmanager
def show(name: str, total: int) -> Iterator[Advance]:
    """Progress on standard error."""
    with (_bar if sys.stderr.isatty() else _lines)(name, total) as advance:
        yield advance


@contextmanager
def _bar(name: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    rate = _rate()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total or None, text="", rate="")

        def advance(done: int, total: int | None = None, text: str = "") -> None:
            bar.update(task, completed=done, text=text, rate=f"{rate(done):.1f}/s", total=total or None)

        yield advance


@contextmanager
def _lines(name: str, total: int) -> Iterator[Advance]:
    rate, last = _rate(), -LINE_INTERVAL
    expected = total

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
    """A function from the number of units done to units per second, counted from its first call.

    Work of an earlier run, and the time to load a library first, count for nothing.
    """
    start: float | None = None
    before = 0

    def rate(done: int) -> float:
        nonlocal start, before
        now = time.monotonic()
        if start is None:
            start, before = now, done
        return (done - before) / max(1e-6, now - start)

    return rate
