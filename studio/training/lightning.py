"""Recording while Lightning trains: `Trainer(callbacks=[LightningRecorder("runs/mine")])`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from studio.training.recording import Recorder

try:
    from lightning.pytorch import Callback
except ImportError:
    from pytorch_lightning import Callback


class LightningRecorder(Callback):  # type: ignore[misc]  # Lightning may be absent
    """Records the module that a trainer trains, with what it logs. folder, schedule: as of `Recorder`.

    A run that goes on from a checkpoint of Lightning's goes on here too. Of several optimizers each is taken to step
    once a batch.
    """

    def __init__(self, folder: str | Path, **schedule: Any) -> None:
        self._folder, self._schedule = folder, schedule
        self._recorder: Recorder | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begins at the step that the trainer begins at."""
        batches = trainer.num_training_batches / trainer.accumulate_grad_batches
        per_epoch = math.ceil(batches) * max(1, len(trainer.optimizers)) if math.isfinite(batches) else None
        start = trainer.global_step
        self._recorder = Recorder(self._folder, pl_module, start=start, steps_per_epoch=per_epoch, **self._schedule)

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """Records the step before, with what was logged after it, such as at the end of an epoch."""
        if self._recorder and trainer.global_step > self._recorder.number:
            self._recorder.step(trainer.global_step, **trainer.callback_metrics)

    def on_train_end(self, trainer: Any, *_: Any) -> None:
        """Records the last step."""
        self.on_train_batch_start(trainer)
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Finishes what is being written."""
        self._close(exception)

    def _close(self, error: BaseException | None = None) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder:
            recorder.__exit__(None, error, None)
