"""Where tasks run: in single-threaded worker processes on this machine. Nothing else in studio knows.

A task is a function and plain arguments, all picklable; it names its inputs by records and shelf keys. Results come as
they are ready. A worker dies with its parent, however that died.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import MachineError

# One thread each: on shared cores two threads in one process are slower than one. LP: the software GL's own threads.
_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LP_NUM_THREADS": "0"}

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

    devices: GPUs, each for one worker alone; then there are as many workers as GPUs.
    """
    count = len(devices) or count
    before = {name: os.environ.get(name) for name in _ALONE}
    os.environ.update(_ALONE)
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for device in devices:
        free.put(device)
    executor = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(free if devices else None,))
    try:
        yield lambda tasks: _run(executor, count, tasks)
    except BaseException:
        for worker in list((executor._processes or {}).values()):
            worker.kill()
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        executor.shutdown()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _run(executor: ProcessPoolExecutor, count: int, tasks: Iterable[Task]) -> Iterator[tuple[int, Any]]:
    """Keeps two tasks a worker in flight, so that memory stays bounded however many there are."""
    waiting: dict = {}
    queue = enumerate(tasks)
    try:
        while True:
            while len(waiting) < 2 * count and (item := next(queue, None)) is not None:
                index, (function, arguments) = item
                waiting[executor.submit(function, *arguments)] = index
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise MachineError(
            "a worker died (out of memory, or killed); what it had finished is kept, run again"
        ) from error


def _begin(devices: Any) -> None:
    """In each worker: a GPU of its own, Ctrl-C is the parent's to handle, and a dead parent's worker stops."""
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices.get()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
