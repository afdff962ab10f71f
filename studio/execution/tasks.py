"""Runs many tasks on an executor: results as they arrive, few tasks in flight, and retries for lost workers.

A task is a function and plain arguments, all picklable, that names its inputs by records and digests. It has no side
effect that a second run could not repeat, so a task whose worker dies is simply run again.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import Any

from studio.errors import MachineError

MAXIMUM_ATTEMPTS = 3
"""Maximum attempts per task; stops a task that always kills its worker."""

Task = tuple[Callable[..., Any], tuple[Any, ...]]


def run_tasks(executor: Executor, tasks: Iterable[Task], in_flight: int) -> Iterator[tuple[int, Any]]:
    """Yields (index, result) of each task as it finishes; at most `in_flight` tasks are submitted at a time.

    Raises a task's own exception as it is, after the results that are ready; MachineError if the worker of one task
    dies `MAXIMUM_ATTEMPTS` times.
    """
    running: dict[Future[Any], tuple[int, Task, int]] = {}  # index, task, number of the attempt
    remaining = enumerate(tasks)

    def start(index: int, task: Task, attempt: int) -> None:
        running[executor.submit(task[0], *task[1])] = index, task, attempt

    while True:
        while len(running) < in_flight and (item := next(remaining, None)) is not None:
            start(*item, attempt=1)
        if not running:
            return
        done = wait(running, return_when=FIRST_COMPLETED).done
        for future in sorted(done, key=lambda future: future.exception() is not None):
            (index, task, attempt), error = running.pop(future), future.exception()
            if not isinstance(error, BrokenExecutor):
                yield index, future.result()
            elif attempt < MAXIMUM_ATTEMPTS:
                start(index, task, attempt + 1)
            else:
                what = f"{task[0].__name__}{reprlib.repr(task[1])}"
                times = f"each of the {MAXIMUM_ATTEMPTS} times it ran {what}; finished work is kept"
                text = f"a worker died (out of memory, stuck, or killed) {times}; use fewer workers, or run again"
                raise MachineError(text) from error
