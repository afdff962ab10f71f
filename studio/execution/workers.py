"""Where tasks run: in single-threaded worker processes on this machine. Nothing else in studio knows.

A task is a function and plain arguments, all picklable; it names its inputs by records and shelf keys. Results come as
they are ready. A worker that dies is replaced, and what it was doing is done again; a worker dies with its parent,
however that died. Workers never import the main module, so a script that calls studio needs no `__main__` guard.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import reprlib
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from studio.errors import MachineError

# One thread each: on shared cores two threads in one process are slower than one. LP: the software GL's own threads.
_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LP_NUM_THREADS": "0"}

TRIES = 3
"""How often a task is begun: one that ends every worker it is given to would do so for ever."""

Task = tuple[Callable[..., Any], tuple]


def gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; torch is not asked."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    found = Path("/proc/driver/nvidia/gpus")
    return tuple(str(index) for index, _ in enumerate(found.iterdir())) if found.is_dir() else ()


def default_count() -> int:
    """As many workers as there are cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def pool(count: int, devices: Sequence[str] = ()) -> Iterator[Callable[[Iterable[Task]], Iterator[tuple[int, Any]]]]:
    """A function that runs tasks and yields (index, result) as each is ready. Workers end with the block.

    devices: GPUs, each for one worker alone; then there are as many workers as GPUs. A task whose worker dies is begun
    again by another, up to `TRIES` times in all; then MachineError, after what else is ready.
    """
    workers = [_Worker(device) for device in devices or [None] * count]
    before = {name: os.environ.get(name) for name in _ALONE}
    os.environ.update(_ALONE)
    free: queue.LifoQueue[_Worker] = queue.LifoQueue()  # last in: one that has begun comes before one that has not
    for worker in workers:
        free.put(worker)

    def attempt(function: Callable, arguments: tuple) -> Any:
        worker = free.get()
        try:
            return worker.run(function, arguments)
        finally:
            free.put(worker)

    threads = ThreadPoolExecutor(len(workers))  # one waits on each worker
    try:
        yield lambda tasks: _run(threads, attempt, 2 * len(workers), tasks)
    except BaseException:
        for worker in workers:
            worker.kill()
        threads.shutdown(cancel_futures=True)
        raise
    finally:
        threads.shutdown()
        for worker in workers:
            worker.end()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _run(threads: ThreadPoolExecutor, attempt: Callable, most: int, tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
    """Keeps so many tasks in flight, so that memory stays bounded however many there are."""
    waiting: dict[Future, int] = {}
    left = enumerate(tasks)
    while True:
        while len(waiting) < most and (item := next(left, None)) is not None:
            index, task = item
            waiting[threads.submit(attempt, *task)] = index
        if not waiting:
            return
        ready = wait(waiting, return_when=FIRST_COMPLETED).done
        for future in sorted(ready, key=lambda one: one.exception() is not None):
            yield waiting.pop(future), future.result()


class _Worker:
    """One process, begun when it is first needed, and again when it has died."""

    def __init__(self, device: str | None):
        self._device, self._lock, self._process, self._killed = device, threading.Lock(), None, False

    def run(self, function: Callable, arguments: tuple) -> Any:
        """What the function returns or raises in the process. Raises MachineError if that dies at every try."""
        for _ in range(TRIES):
            try:
                return self._submit(function, arguments).result()
            except BrokenProcessPool as error:
                died = error
                self.end()
        name = f"{function.__name__}{reprlib.repr(arguments)}"
        raise MachineError(
            f"a worker died (out of memory, or killed) each of the {TRIES} times it was given {name}; what was "
            f"finished is kept; take fewer workers, or run again"
        ) from died

    def _submit(self, function: Callable, arguments: tuple) -> Future:
        with self._lock:
            if self._killed:
                raise MachineError("the workers were stopped")
            if self._process is None:
                self._process = ProcessPoolExecutor(1, _Context(), initializer=_begin, initargs=(self._device,))
            return self._process.submit(function, *arguments)

    def end(self) -> None:
        """Ends the process when it has done what it is doing; the next task has a new one."""
        with self._lock:
            process, self._process = self._process, None
        if process:
            process.shutdown()

    def kill(self) -> None:
        """Ends the process now, for good."""
        with self._lock:
            self._killed = True
            for process in list((self._process._processes or {}).values()) if self._process else []:
                process.kill()


class _Process(SpawnProcess):
    """A spawned process that does not import the main module.

    No task lives there, and a script without a `__main__` guard would call studio again in every worker.
    """

    _starting = threading.Lock()

    def start(self) -> None:
        with self._starting, _main_without_source():
            super().start()


class _Context(SpawnContext):
    Process = _Process


@contextmanager
def _main_without_source() -> Iterator[None]:
    """Makes the main module look like that of an interactive session, which `multiprocessing` does not import."""
    main = vars(sys.modules["__main__"])
    source = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(source)


def _begin(device: str | None) -> None:
    """In each worker: a GPU of its own, Ctrl-C is the parent's to handle, and a dead parent's worker stops."""
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
