"""Recorders in the trainers of Lightning and of Hugging Face, which are extras."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import studio

pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore")]  # the trainers warn of much
X = torch.linspace(-1, 1, 48).reshape(24, 2)
Y = X.prod(1, keepdim=True)
EPOCHS, BATCH = 4, 4  # 6 steps an epoch


class KilledError(Exception):
    pass


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))


def files(folder: Path) -> dict:
    """What the folder of a run holds; a note without its checksum, which is of its place too."""
    notes = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    plain = {name: {key: value for key, value in note.items() if key != "checksum"} for name, note in notes.items()}
    return plain | {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def epochs(folder: Path) -> list[float]:
    return [float(path.stem.partition("-")[2]) for path in sorted(folder.glob("epoch-*.json"))]


def train_lightning(folder, killed_at=None, resume=False, steps=5, **trainer):
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, index):
            if self.global_step == killed_at:
                raise KilledError
            loss = (self.net(batch[0]) - batch[1]).square().mean()
            self.log("fit/loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    save = lightning.pytorch.callbacks.ModelCheckpoint(folder / "own", every_n_train_steps=4, save_top_k=-1)
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    recorder = studio.LightningRecorder(folder / "run", steps=steps)
    fit = lightning.Trainer(max_epochs=EPOCHS, callbacks=[recorder, save], **options, **trainer)
    last = max((folder / "own").glob("*.ckpt"), key=lambda path: path.stat().st_mtime) if resume else None
    fit.fit(Module(), DataLoader(TensorDataset(X, Y), BATCH), ckpt_path=last, weights_only=False)


def train_hugging_face(folder, killed_at=None, resume=False, steps=5):
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x, labels):
            return {"loss": (self.net(x) - labels).square().mean()}

    class Kill(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == killed_at:
                raise KilledError

    own = {"num_train_epochs": EPOCHS, "per_device_train_batch_size": BATCH, "save_steps": 4, "logging_steps": 1}
    args = TrainingArguments(str(folder / "own"), report_to=[], use_cpu=True, disable_tqdm=True, **own)
    data = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    callbacks = [studio.HuggingFaceRecorder(folder / "run", steps=steps), Kill()]
    Trainer(Module(), args, train_dataset=data, callbacks=callbacks).train(resume_from_checkpoint=resume or None)


@pytest.mark.parametrize("train", [train_lightning, train_hugging_face])
def test_a_run_that_was_killed_and_goes_on_leaves_the_files_of_one_that_was_not(tmp_path, train):
    pytest.importorskip(train.__name__.replace("train_", "").replace("hugging_face", "transformers"))
    train(tmp_path / "plain")
    with pytest.raises(KilledError):
        train(tmp_path / "killed", killed_at=14)
    assert epochs(tmp_path / "killed" / "run") == [0, 0.833, 1.667]
    train(tmp_path / "killed", resume=True)  # from step 12
    plain = files(tmp_path / "plain" / "run")
    assert plain == files(tmp_path / "killed" / "run")
    assert epochs(tmp_path / "plain" / "run") == [0, 0.833, 1.667, 2.5, 3.333, 4]
    assert plain["recording.json"] == {"ended": True}
    loss = {"fit_loss"} if train is train_lightning else {"loss", "learning_rate", "grad_norm"}
    assert set(plain["epoch-0000.833.json"]["metrics"]) == {"step", *loss}


def test_two_processes_of_lightning_leave_the_files_of_one(tmp_path):
    pytest.importorskip("lightning")
    script = tmp_path / "two.py"
    script.write_text(
        f"import sys\nfrom pathlib import Path\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_trainers import train_lightning\n"
        f"train_lightning(Path({str(tmp_path)!r}), devices=2, strategy='ddp', steps=None)\n"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    subprocess.run([sys.executable, script], cwd=tmp_path, env=paths, check=True, capture_output=True, timeout=300)
    train_lightning(tmp_path / "one", steps=None)
    two, one = files(tmp_path / "run"), files(tmp_path / "one" / "run")
    assert list(two) == list(one) and len(two) == 2 * (EPOCHS + 1) + 1
    assert {name: len(file) for name, file in two.items()} == {name: len(file) for name, file in one.items()}
    assert two["epoch-0000.000.safetensors"] == one["epoch-0000.000.safetensors"]
