"""Recording while Hugging Face's Trainer trains: `Trainer(..., callbacks=[HuggingFaceRecorder("runs/mine")])`."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from studio.training.recording import Recorder


class HuggingFaceRecorder(TrainerCallback):  # type: ignore[misc]  # transformers may be absent
    """Records the model that a Trainer trains, with what it logs. folder, schedule: as of `Recorder`.

    A run that goes on from a checkpoint of the Trainer's goes on here too.
    """

    def __init__(self, folder: str | Path, **schedule: Any) -> None:
        self._folder, self._schedule, self._logs = folder, schedule, dict[str, float]()
        self._recorder: Recorder | None = None

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **_: Any
    ) -> None:
        """Begins at the step that the Trainer begins at."""
        per_epoch = None
        with suppress(TypeError):  # a stream has no length
            per_epoch = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
        self._recorder = Recorder(
            self._folder, model, start=state.global_step, steps_per_epoch=per_epoch, **self._schedule
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Keeps the numbers of the log, other than the epoch, which is the recorder's, and the times at the end."""
        if logs and "train_runtime" not in logs:
            numbers = {name: value for name, value in logs.items() if isinstance(value, int | float)}
            self._logs |= {name: value for name, value in numbers.items() if name != "epoch"}

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Records the step before, whose log is written after its end."""
        if self._recorder and state.global_step > self._recorder.number:
            self._recorder.step(state.global_step, **self._logs)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Records the last step."""
        self.on_step_begin(args, state, control)
        if self._recorder:
            self._recorder.close()
