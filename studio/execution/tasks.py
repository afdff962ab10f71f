"""Runs many tasks on an executor: results as they arrive, few tasks in flight, and retries for lost workers.

A task is a function and plain arguments, all picklable, that names its inputs by records and digests. It has no side
effect that a second run could not repeat, so a task whose worker dies is simply run again.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

from studio.errors import MachineError

MAXIMUM_ATTEMPTS = 3
"""Maximum attempts per task; stops a task that always kills its worker."""

Task = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class _Attempt:
    """A task in flight: its index, the task, and how often it has been started."""

    index: int
    task: Task
    number: int = 1

    def submit(self, executor: Executor) -> Future[Any]:
        function, arguments = self.task
        return executor.submit(function, *arguments)

    def next(self, error: BrokenExecutor) -> _Attempt:
        """The attempt after this one. Raises MachineError after the last."""
        if self.number < MAXIMUM_ATTEMPTS:
            return _Attempt(self.index, self.task, self.number + 1)
        function, arguments = self.task
        raise MachineError(
            f"a worker died (out of memory, or killed) each of the {MAXIMUM_ATTEMPTS} times it ran "
            f"{function.__name__}{reprlib.repr(arguments)}; finished work is kept; use fewer workers, or run again"
        ) from error


def run_tasks(executor: Executor, tasks: Iterable[Task], in_flight: int) -> Iterator[tuple[int, Any]]:
    """Yields (index, result) of each task as it finishes; at most `in_flight` tasks are submitted at a time.

    Raises a task's own exception as it is, after the results that are ready; MachineError if the worker of one task
    dies `MAXIMUM_ATTEMPTS` times.
    """
    running: dict[Future[Any], _Attempt] = {}
    remaining = enumerate(tasks)
    while True:
        while len(running) < in_flight and (item := next(remaining, None)) is not None:
            attempt = _Attempt(*item)
            running[attempt.submit(executor)] = attempt
        if not running:
            return
        done = wait(running, return_when=FIRST_COMPLETED).done
        for future in sorted(done, key=lambda future: future.exception() is not None):
            attempt, error = running.pop(future), future.exception()
            if isinstance(error, BrokenExecutor):
                attempt = attempt.next(error)
                running[attempt.submit(executor)] = attempt
            else:
                yield attempt.index, future.result()
