"""Workers on the nodes of a Ray cluster, behind `concurrent.futures.Executor`.

    task  ->  bytes, in which paths are relative to the shelf  ->  a worker with a folder of its own  ->  its result

What an argument's `shelf_files` names is sent once to each worker, so nodes need no common disk and no task holds an
absolute path. A worker is an actor that keeps what it has prepared. When it dies, its task fails with `WorkerDied`, and
it is started again while its node lives. Only nodes that `describe` themselves as this machine does get tasks.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import logging
import os
import pickle
import queue
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, TypeVar

from studio.errors import MachineError
from studio.execution.local import ONE_THREAD, WorkerDied, call_task

PROBE_SECONDS = 120.0
"""How long a node may take to say what it is."""
logger = logging.getLogger("studio")

T = TypeVar("T")
Needs = list[tuple[str, list[Any]]]
"""A digest of some files, and the reference to {path below the shelf: content}, in a list so that Ray leaves it."""


def connect() -> Any:
    """Ray, connected to the cluster of this machine, or of RAY_ADDRESS. Raises MachineError if there is none."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    try:
        import ray
    except ImportError as error:
        raise MachineError("--on ray needs Ray: pip install 'landscape-studio[cluster]'") from error
    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            way_out = "start one with `ray start --head`, or name one in RAY_ADDRESS"
            raise MachineError(
                f"--on ray: no Ray cluster answers ({str(error).partition(chr(10))[0]}); {way_out}"
            ) from error
    return ray


class RayExecutor(Executor):
    """Runs tasks on a cluster: one worker per core of each fitting node, or per GPU if `gpus`.

    shelf: the folder that tasks name paths in. Raises MachineError if no node fits.
    """

    def __init__(self, shelf: Path, describe: Callable[[], str], *, gpus: bool, environment: Mapping[str, str]):
        self._ray, self._shelf, self._gpus = connect(), shelf, gpus
        self._options = {"runtime_env": {"env_vars": {**ONE_THREAD, **environment}}}
        self._jobs: queue.SimpleQueue[tuple[Future[Any], bytes, Needs]] = queue.SimpleQueue()
        self._sent: dict[str, tuple[str, list[Any]]] = {}
        self._closed, self._lock, self._unfit = threading.Event(), threading.Lock(), set[str]()
        slots = self._slots(describe)
        self._left = self.workers = len(slots)
        for node in slots:
            threading.Thread(target=self._serve, args=(node,), daemon=True).start()

    def _nodes(self) -> dict[str, Mapping[str, float]]:
        return {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}

    def _on(self, node: str, share: float = 1.0) -> dict[str, Any]:
        """Options of what runs on one node: on its processor, or with a share of a GPU."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        where = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False), **self._options}
        return {**where, "num_cpus": 0, "num_gpus": share} if self._gpus else {**where, "num_cpus": share // 1}

    def _slots(self, describe: Callable[[], str]) -> list[str]:
        """The node of each worker. Nodes that are another kind of machine are named, and left idle."""
        own, nodes, resource = describe(), self._nodes(), "GPU" if self._gpus else "CPU"
        counts = {node: int(has.get(resource, 0)) for node, has in nodes.items()}
        asked = {
            node: self._ray.remote(_describe).options(**self._on(node, 0.01)).remote(describe)
            for node, count in counts.items()
            if count
        }
        self._ray.wait(list(asked.values()), num_returns=len(asked), timeout=PROBE_SECONDS) if asked else None
        found = {}
        for node, answer in asked.items():
            try:
                found[node] = self._ray.get(answer, timeout=0.1)
            except self._ray.exceptions.RayError as error:
                found[node] = f"no answer ({type(error).__name__})"
        for kind, count in Counter(kind for kind in found.values() if kind != own).items():
            logger.warning(
                "%d nodes of the cluster are left idle: they are %s, and this machine is %s", count, kind, own
            )
        slots = [node for node, kind in found.items() if kind == own for _ in range(counts[node])]
        if not slots:
            has = ", ".join(sorted(set(found.values()))) or f"no free {resource}"
            raise MachineError(f"--on ray: no node of the cluster is as this machine, {own}; it has {has}")
        return slots

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """The future result of `fn(*args, **kwargs)` in some worker."""
        future: Future[T] = Future()
        packer = _Packer(file := io.BytesIO(), self._shelf)
        packer.dump((fn, args, kwargs))
        needs = [sent for pattern in packer.needs if (sent := self._send(pattern))]
        self._jobs.put((future, file.getvalue(), needs))
        return future

    def _send(self, pattern: str) -> tuple[str, list[Any]] | None:
        """Files of the shelf in Ray's object store, once."""
        if pattern not in self._sent:
            paths = sorted(path for path in self._shelf.glob(pattern) if path.is_file())
            names = [path.relative_to(self._shelf).as_posix() for path in paths]
            content = {name: path.read_bytes() for name, path in zip(names, paths, strict=True)}
            if not content:
                return None
            name = hashlib.sha256(pickle.dumps(content)).hexdigest()
            self._sent[pattern] = name, [self._ray.put(content)]
        return self._sent[pattern]

    def _get(self, reference: Any) -> Any:
        while True:
            try:
                return self._ray.get(reference, timeout=1.0)
            except self._ray.exceptions.GetTimeoutError:
                if self._closed.is_set():
                    raise

    def _serve(self, node: str) -> None:
        """Runs tasks in a worker on a node, one after the other, until the node ends or is unfit."""
        try:
            while not self._closed.is_set() and node in self._nodes() and node not in self._unfit:
                self._work(node)
        except Exception as error:  # the cluster itself is gone
            logger.warning("a worker of the cluster is lost: %s", error)
        with self._lock:
            self._left -= 1
        while not self._left and not self._closed.wait(0.2):
            while not self._jobs.empty():
                text = "--on ray: no node of the cluster is left; finished work is kept, so run again"
                self._jobs.get()[0].set_exception(MachineError(text))

    def _work(self, node: str) -> None:
        future: Future[Any] | None = None
        worker = self._ray.remote(_Worker).options(**self._on(node)).remote()
        try:
            self._get(worker.ready.remote())
            while not self._closed.is_set():
                try:
                    job = self._jobs.get(timeout=1.0)
                except queue.Empty:
                    continue
                future, task, needs = job
                kind, value = _unpack(self._get(worker.run.remote(task, needs)), self._shelf)
                if kind == "unfit":
                    logger.warning("a node of the cluster gets no more tasks: %s", value)
                    self._unfit.add(node)
                    self._jobs.put(job)
                    return
                future.set_exception(value) if kind == "error" else future.set_result(value)
                future = None
        except self._ray.exceptions.RayError as error:
            if future:
                died = WorkerDied("a worker of the cluster died")
                died.__cause__ = error
                future.set_exception(died)
            self._closed.wait(0.5)
        finally:
            self._ray.kill(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the workers."""
        self._closed.set()
        self._sent.clear()


def _describe(describe: Callable[[], str]) -> str:
    try:
        return describe()
    except Exception as error:
        return f"without what it takes ({error})"


class _Worker:
    """Runs tasks on a node, in a folder that holds what they read of the shelf."""

    def __init__(self) -> None:
        self._root, self._held = Path(tempfile.mkdtemp(prefix="studio-")), set[str]()
        atexit.register(shutil.rmtree, self._root, ignore_errors=True)

    def ready(self) -> None:
        """Returns once the worker runs."""

    def run(self, task: bytes, needs: Needs) -> bytes:
        """("value", result), ("error", exception), or ("unfit", why this node can do no task), packed."""
        try:
            self._fetch(needs)
        except OSError as error:
            return pickle.dumps(("unfit", str(error)))
        fn, args, kwargs = _unpack(task, self._root)
        try:
            outcome: tuple[str, Any] = "value", call_task(fn, *args, **kwargs)
        except Exception as error:
            outcome = "error", error
        packer = _Packer(file := io.BytesIO(), self._root)
        packer.dump(outcome)
        return file.getvalue()

    def _fetch(self, needs: Needs) -> None:
        import ray

        for name, [reference] in needs:
            if name not in self._held:
                files: Any = ray.get(reference)
                for path, content in files.items():
                    target = self._root / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)
                self._held.add(name)


class _Packer(pickle.Pickler):
    """Pickles with paths relative to a folder, and collects the `shelf_files` of what it pickles."""

    def __init__(self, file: io.BytesIO, root: Path):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._root, self.needs = root, dict[str, None]()

    def persistent_id(self, obj: Any) -> str | None:
        """The path below the folder, for one that is."""
        if isinstance(obj, Path) and obj.is_relative_to(self._root):
            return obj.relative_to(self._root).as_posix()
        if not isinstance(obj, type) and hasattr(type(obj), "shelf_files"):
            self.needs.update(dict.fromkeys(obj.shelf_files))
        return None


class _Unpacker(pickle.Unpickler):
    def __init__(self, content: bytes, root: Path):
        super().__init__(io.BytesIO(content))
        self._root = root

    def persistent_load(self, pid: str) -> Path:
        return self._root / pid


def _unpack(content: bytes, root: Path) -> Any:
    return _Unpacker(content, root).load()
