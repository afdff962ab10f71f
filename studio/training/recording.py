"""Recording a run of the user's own while it trains, as checkpoints of `checkpoints`.

    with Recorder("runs/mine", model, steps_per_epoch=len(loader)) as recorder:
        for x, y in loader:
            ...
            optimizer.step()
            recorder.step(loss=loss, lr=rate)

The loop only copies the weights; one thread writes them. Weights after the same step are written to the same file, so a
run that was killed and goes on leaves the files of one that was not.
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from safetensors import safe_open
from torch import Tensor, nn

from studio.config.user_files import refusing, shown
from studio.errors import RunError, SceneError
from studio.storage.files import check_writable, write_json
from studio.training import checkpoints
from studio.training.checkpoints import Checkpoint

MOST_PENDING = 2
"""Checkpoints in memory that are not written yet; with another one to write, the loop waits."""
PER_DECADE = 10.0
_SLACK = 1e-9  # of the number of a checkpoint, when that is computed from its step


@dataclass(frozen=True)
class Schedule:
    """When a run is recorded, beside its first and its last step; one of these.

    steps, epochs, minutes: from one checkpoint to the next. per_decade: how many from one power of ten of the steps to
    the next, evenly by the logarithm. By default every epoch, or 10 a decade where nobody says how long an epoch is.
    """

    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    per_decade: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if len(given) > 1:
            raise SceneError(f"{' and '.join(given)} are ways to say when a run is recorded; give one of them")
        for name, value in given.items():
            if not 0 < value < math.inf:
                raise SceneError(f"{name}={value}: expected a number above 0")

    def following(self, step: int, steps_per_epoch: float | None) -> float:
        """The first step after `step` that is recorded, whatever was before; infinite if the clock says it."""
        if self.minutes is not None:
            return math.inf
        epochs = self.epochs or (None if self.per_decade else 1.0)
        if self.steps is not None or (epochs and steps_per_epoch):
            every = float(self.steps or (epochs or 1.0) * (steps_per_epoch or 1.0))
            return max(step + 1, math.ceil((math.floor(step / every + _SLACK) + 1) * every - _SLACK))
        decades = self.per_decade or PER_DECADE
        number = math.floor(math.log10(step) * decades + _SLACK) + 1 if step > 0 else 0
        return max(step + 1, math.ceil(10 ** (number / decades) - _SLACK))


class _Snapshot(NamedTuple):
    """A checkpoint after a step; its tensors may be on their way to the CPU until the events are past."""

    checkpoint: Checkpoint
    step: int
    copied: list[torch.cuda.Event]

    def wait(self) -> Checkpoint:
        """The checkpoint, whose tensors are here."""
        for event in self.copied:
            event.synchronize()
        return self.checkpoint


class Recorder:
    """Records a model while it trains, into a folder that a scene's `run: {kind: folder}` reads; closed by `with`.

    start: the steps that are done already, where training goes on. steps_per_epoch: then the checkpoints are of epochs,
    otherwise of steps. schedule: as `Schedule`. Of several processes only the first one writes.
    Raises RunError if the folder holds another run, or one of another model, and MachineError if it takes no files;
    SceneError for a schedule that is none.
    """

    def __init__(
        self,
        folder: str | Path,
        model: nn.Module,
        *,
        start: int = 0,
        steps_per_epoch: float | None = None,
        **schedule: Any,
    ) -> None:
        self.number, self._folder, self._model = start, Path(folder), _unwrapped(model)
        self._per_epoch, self._schedule = steps_per_epoch, Schedule(**schedule)
        if self._schedule.epochs and not steps_per_epoch:
            raise SceneError(f"epochs={self._schedule.epochs}: say how long one is: steps_per_epoch=len(loader)")
        self._axis = "epoch" if steps_per_epoch else "step"
        self._metrics, self._pending = dict[str, Any](), deque[Future[None]]()
        self._writer = ThreadPoolExecutor(1, "studio-recorder") if _is_first_process() else None
        self._held: _Snapshot | None = None
        if self._writer:
            check_writable(self._folder)
            self._begin()

    def step(self, number: int | None = None, /, **metrics: float | Tensor) -> None:
        """After every step of the optimizer. number: of the steps done, one more than before by default.

        metrics: numbers of this step, by names of your own; of each the latest is recorded. Raises what went wrong
        while an earlier checkpoint was written.
        """
        self.number = self.number + 1 if number is None else number
        if not self._writer:
            return
        self._metrics |= {name: m.detach() if isinstance(m, Tensor) else m for name, m in metrics.items()}
        while self._pending and self._pending[0].done():
            self._pending.popleft().result()
        if self._held and metrics:
            self._submit(self._held)  # the first weights, with the loss of the step that began at them
        if self.number >= self._next or monotonic() >= self._due:
            self._record()

    def close(self, error: BaseException | None = None) -> None:
        """Records the last step, unless training failed, and waits until all is written."""
        if not self._writer:
            return
        try:
            if error is None:
                self._record()
            if self._held:
                self._submit(self._held)
            while self._pending:
                self._pending.popleft().result()
            if error is None:
                self._note(ended=True)
        finally:
            self._writer.shutdown()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.close(error)
        except Exception as failure:
            if error is None:
                raise
            error.add_note(str(failure))  # the user's own comes first

    def _begin(self) -> None:
        """Compares the model with what the folder holds, and holds its first weights."""
        at, self._held = self._instant, self._snapshot()
        first, other = self._held.wait(), "step" if self._axis == "epoch" else "epoch"
        if next(self._folder.glob(f"{other}-*.safetensors"), None):
            raise RunError(f"{shown(self._folder)}: its checkpoints are of {other}s, these of {self._axis}s{_WAY_OUT}")
        files = {float(path.stem.partition("-")[2]): path for path in self._folder.glob(f"{self._axis}-*.safetensors")}
        if files:
            _require_same(files.get(at) or files[min(files)], checkpoints.named(first), of_values=self.number == 0)
        is_planned = self._schedule.following(self.number - 1, self._per_epoch) == self.number
        if files and (at in files or not is_planned):
            self._held = None
        self._earlier, self._last = sorted(later for later in files if later > at), at
        self._plan()
        self._note(ended=False)

    def _record(self) -> None:
        """Copies the weights, unless this instant, of a thousandth of an epoch, is recorded."""
        if self._instant > self._last:
            if self._held:
                self._submit(self._held)
            self._submit(self._snapshot())
        self._plan()

    def _plan(self) -> None:
        self._next = self._schedule.following(self.number, self._per_epoch)
        self._due = monotonic() + 60 * (self._schedule.minutes or math.inf)

    @property
    def _instant(self) -> float:
        return round(self.number / self._per_epoch, 3) if self._per_epoch else float(self.number)

    def _snapshot(self) -> _Snapshot:
        weights, buffers, seen, devices = dict[str, Tensor](), dict[str, Tensor](), set[int](), set[torch.device]()
        for name, value in self._model.state_dict(keep_vars=True).items():
            if hasattr(value, "full_tensor"):
                raise RunError(f"{name} is in parts on several devices; record a model that each process has whole")
            if isinstance(value, Tensor) and id(value) not in seen:  # a tied weight has two names
                seen.add(id(value))
                devices |= {value.device} if value.is_cuda else set()
                copy = value.detach().to("cpu", non_blocking=value.is_cuda, copy=True)
                (weights if isinstance(value, nn.Parameter) else buffers)[name] = copy
        copied = [torch.cuda.current_stream(device).record_event() for device in devices]
        return _Snapshot(Checkpoint(self._instant, weights, buffers), self.number, copied)

    def _submit(self, snapshot: _Snapshot) -> None:
        """Gives a snapshot to the thread; waits while too many are there."""
        assert self._writer
        while len(self._pending) >= MOST_PENDING:
            self._pending.popleft().result()
        passed = [at for at in self._earlier if self._last < at < snapshot.checkpoint.epoch]
        metrics = {name: m.clone() if isinstance(m, Tensor) else m for name, m in self._metrics.items()}
        self._pending.append(self._writer.submit(self._write, snapshot, metrics, passed))
        self._held, self._last = None, snapshot.checkpoint.epoch

    def _write(self, snapshot: _Snapshot, metrics: Mapping[str, Any], passed: list[float]) -> None:
        """In the thread. passed: instants of an earlier attempt that this one went past, and did not record."""
        numbers = {"step": float(snapshot.step)}
        checkpoints.save(self._folder, snapshot.wait(), numbers | _numbers(metrics), self._axis)
        for at in passed:
            path = checkpoints.weights_path(self._folder, at, self._axis)
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    def _note(self, ended: bool) -> None:
        write_json(self._folder / checkpoints.RECORDING, {"ended": ended})


_WAY_OUT = "; give another folder, or remove this one"


def _is_first_process() -> bool:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return int(os.environ.get("RANK", 0)) == 0


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model that compiling and running in parallel wrap."""
    wrappers = (nn.parallel.DistributedDataParallel, nn.DataParallel)
    while (inner := getattr(model, "_orig_mod", model.module if isinstance(model, wrappers) else None)) is not None:
        model = inner
    return model


def _require_same(path: Path, tensors: Mapping[str, Tensor], of_values: bool) -> None:
    """Raises RunError if a file holds tensors of other names or shapes, or, if asked, of other values."""
    with refusing(path, "cannot be read"), safe_open(path, "pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        if found != {name: tuple(tensor.shape) for name, tensor in tensors.items()}:
            raise RunError(f"{shown(path)}: is of another model{_WAY_OUT}")
        if of_values and not all(torch.equal(file.get_tensor(name), tensor) for name, tensor in tensors.items()):
            text = "is of another run, which began from other weights"
            raise RunError(f"{shown(path)}: {text}{_WAY_OUT}, or say `start=` if this one goes on")


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics by names that a scene can say; `lr` is its learning_rate. Raises RunError for what is no number."""
    numbers = dict[str, float]()
    for name, value in metrics.items():
        try:
            numbers["learning_rate" if name == "lr" else re.sub(r"\W", "_", name)] = float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise RunError(f"the metric {name} of the recorder is no number: {shown(repr(value), 80)}") from error
    return numbers
