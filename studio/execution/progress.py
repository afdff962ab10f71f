"""How a stage tells how far it is, and how people see it: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

EVERY = 10.0  # seconds between plain lines


class Progress(Protocol):
    """What a stage calls: `with progress(name, total) as advance: advance(done)`."""

    def __call__(self, name: str, total: int) -> AbstractContextManager[Callable[..., None]]: ...


def silent(name: str, total: int) -> AbstractContextManager[Callable[..., None]]:
    """Progress that is not shown."""
    return nullcontext(lambda *told: None)


@contextmanager
def track(progress: Progress, name: str, counts: Sequence[int]) -> Iterator[Callable[[Iterable], Iterator]]:
    """A function that passes the results of tasks on, (index, result), and tells how much of `counts` is done."""
    with progress(name, sum(counts)) as advance:

        def told(results: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
            done = 0
            for index, result in results:
                yield index, result
                advance(done := done + counts[index])

        yield told


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
