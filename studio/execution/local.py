"""Local worker processes behind `concurrent.futures.Executor`.

Each worker is one single-threaded process. When it dies, or does nothing, its task fails with `WorkerDied`, and the
next task starts a new process. A worker ends when its parent does, however the parent ended. Workers never import the
main module, so a script that calls studio needs no `__main__` guard.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from studio.config.functions import as_users_mistake
from studio.errors import MachineError, StudioError
from studio.execution.devices import VARIABLE
from studio.execution.processes import die_with, works_until

# On shared cores, two threads in one process are slower than one. LP: the threads of the software GL.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LP_NUM_THREADS": "0"}

SILENCE = 120.0
"""Seconds without processor time after which a worker is ended: stopped, or deadlocked. At work it uses some always."""
GRACE = 10.0
"""Seconds that an idle worker has to end by itself."""
logger = logging.getLogger("studio")
# the kernel ends a worker with the thread that started it, so one thread starts them all and stays
_STARTER = ThreadPoolExecutor(1)

T = TypeVar("T")


class WorkerDied(BrokenExecutor):
    """The process that ran a task ended before the task did. The task may be submitted again."""


class LocalExecutor(Executor):
    """Runs tasks in `workers` processes, or in one process per GPU if `gpus` names any.

    An exception that leaves the `with` block kills the workers; otherwise they finish what they are doing.
    """

    def __init__(self, workers: int, gpus: Sequence[str] = ()):
        devices: Sequence[str | None] = gpus or [None] * workers
        self._workers = [_Worker(gpu) for gpu in devices]
        # last in, first out: a process that runs is reused before another is started
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(len(self._workers))  # one thread waits for each worker
        self._environment = {name: os.environ.get(name) for name in _ONE_THREAD}
        os.environ.update(_ONE_THREAD)  # worker processes inherit it, whenever they start

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """The future result of `fn(*args, **kwargs)` in some worker."""
        return self._threads.submit(self._run, fn, args, kwargs)

    def _run(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        worker = self._idle.get()
        try:
            return worker.run(fn, args, kwargs)
        finally:
            self._idle.put(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the workers once they are idle, and restores the environment."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for worker in self._workers:
            worker.end()
        for name, value in self._environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        for worker in self._workers if kind is not None else ():
            worker.kill()
        self.shutdown(cancel_futures=kind is not None)


class _Worker:
    """One process, started for its first task, and again after it has died."""

    def __init__(self, gpu: str | None):
        self._gpu, self._lock, self._killed = gpu, threading.Lock(), False
        self._pool: ProcessPoolExecutor | None = None

    def run(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        """The function's result, from the process, or its exception. Raises WorkerDied if the process ends first."""
        try:
            with self._lock:
                if self._killed:
                    raise MachineError("the workers were stopped")
                if self._pool is None:
                    self._pool = ProcessPoolExecutor(1, _Context(), initializer=_start_worker, initargs=(self._gpu,))
                future = self._pool.submit(_call, fn, *args, **kwargs)
            self._watch(future, fn)
            result: T = future.result()
            return result
        except BrokenProcessPool as error:
            self.end()
            raise WorkerDied("a worker process died") from error

    def _watch(self, future: Future[Any], fn: Callable[..., Any]) -> None:
        """Returns when a task is done, or after its process has been killed because it rested for `SILENCE`."""
        for process in self._processes():
            if not works_until(lambda seconds: bool(wait([future], seconds).done), process.pid or 0, SILENCE):
                logger.warning("a worker has done nothing for %.0f s in %s, so it is ended", SILENCE, fn.__name__)
                process.kill()

    def _processes(self) -> list[BaseProcess]:
        return list((self._pool._processes or {}).values()) if self._pool else []

    def end(self) -> None:
        """Ends the process after its present task; the next task starts a new one."""
        with self._lock:
            processes, pool, self._pool = self._processes(), self._pool, None
        if pool:
            pool.shutdown(wait=False)
        for process in processes:
            process.join(GRACE)
            process.kill()  # it may be stopped

    def kill(self) -> None:
        """Ends the process now, for good."""
        with self._lock:
            self._killed = True
            for process in self._processes():
                process.kill()


def _call(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """The result of a task; what the user's code in it raises, be it SystemExit, is the user's mistake."""
    try:
        return fn(*args, **kwargs)
    except StudioError:
        raise
    except BaseException as error:
        if mistake := as_users_mistake(error):
            raise mistake from error
        raise


class _Process(SpawnProcess):
    """A spawned process that does not import the main module, where no task lives."""

    def start(self) -> None:
        _STARTER.submit(self._start).result()

    def _start(self) -> None:
        with _main_without_source():
            super().start()


class _Context(SpawnContext):
    Process = _Process


@contextmanager
def _main_without_source() -> Iterator[None]:
    """Makes the main module look like that of an interactive session, which `multiprocessing` does not import."""
    main = vars(sys.modules["__main__"])
    source: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(source)


def _start_worker(gpu: str | None) -> None:
    """Prepares a worker: its GPU, Ctrl-C ignored, since the parent handles it, and an end when the parent ends."""
    if gpu is not None:
        os.environ.pop("HIP_VISIBLE_DEVICES", None)  # ROCm's own, which would prevail
        os.environ |= {"CUDA_VISIBLE_DEVICES": gpu, VARIABLE: "cuda"}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent := multiprocessing.parent_process():
        die_with(parent.pid or 0)
