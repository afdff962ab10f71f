"""Progress for people: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 10.0     # seconds between plain lines


@contextmanager
def shown(name: str, total: int) -> Iterator[Callable[..., None]]:
    """A function `advance(done, total=None, text="")` that shows how far the stage `name` is, on standard error."""
    with (_bar if sys.stderr.isatty() else _lines)(name, total) as advance:
        yield advance


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}"))
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total or None, text="", rate="")

        def advance(done: int, total: int | None = None, text: str = "") -> None:
            rate = done / max(1e-6, time.monotonic() - began)
            bar.update(task, completed=done, text=text, rate=f"{rate:.1f}/s", **({"total": total} if total else {}))
        yield advance


@contextmanager
def _lines(name: str, total: int) -> Iterator[Callable[..., None]]:
    began, last = time.monotonic(), -EVERY

    def advance(done: int, total: int | None = total, text: str = "") -> None:
        nonlocal last
        now = time.monotonic() - began
        if now - last < EVERY and done != total:
            return
        last = now
        left = f", {now / done * (total - done):.0f} s left" if done and total else ""
        print(f"{name}: {done} of {total}, {done / max(now, 1e-6):.1f}/s{left} {text}".rstrip(), file=sys.stderr, flush=True)

    print(f"{name} ...", file=sys.stderr, flush=True)
    yield advance
