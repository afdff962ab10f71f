"""Progress for people: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 10.0  # seconds between plain lines


@contextmanager
def shown(name: str, total: int) -> Iterator[Callable[..., None]]:
    """A function `advance(done, total=None, text="")` that shows how far the stage `name` is, on standard error."""
    with (_bar if sys.stderr.isatty() else _lines)(name, total) as advance:
        yield advance


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[..., None]]:
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
    rate = _pace()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total or None, text="", rate="")

        def advance(done: int, total: int | None = None, text: str = "") -> None:
            bar.update(
                task, completed=done, text=text, rate=f"{rate(done):.1f}/s", **({"total": total} if total else {})
            )

        yield advance


@contextmanager
def _lines(name: str, total: int) -> Iterator[Callable[..., None]]:
    rate, last = _pace(), -EVERY

    def advance(done: int, total: int | None = total, text: str = "") -> None:
        nonlocal last
        now, pace = time.monotonic(), rate(done)
        if now - last < EVERY and done != total:
            return
        last = now
        left = f", {pace:.1f}/s, {(total - done) / pace:.0f} s left" if pace else ""
        print(f"{name}: {done} of {total}{left} {text}".rstrip(), file=sys.stderr, flush=True)

    print(f"{name} ...", file=sys.stderr, flush=True)
    yield advance


def _pace() -> Callable[[int], float]:
    """A function that says how many are done a second, given how many are done: since it was first asked.

    What was done before, in an earlier run, took no time; nor does it count that a library had to be loaded first.
    """
    began, before = None, 0

    def rate(done: int) -> float:
        nonlocal began, before
        now = time.monotonic()
        if began is None:
            began, before = now, done
        return (done - before) / max(1e-6, now - began)

    return rate
