"""A user's own checkpoints, copied into a run folder as if they had been recorded here.

Files are taken apart without running code from them: safetensors, or pickles through `weights_only`. What they hold
must be what the recipe's model has, name by name and shape by shape.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as unpacked
from torch import Tensor, nn

from studio.errors import RunError
from studio.training import checkpoints
from studio.training.evaluate import repeatable, scores, tensors
from studio.training.recipe import Run

WRAPPERS = ("state_dict", "model_state_dict", "model")


def import_checkpoints(run: Run, folder: Path) -> None:
    """Copies the checkpoints in `run.checkpoints` into the run folder `folder`, each with its losses and accuracies.

    The epoch is the number in a file's name. Epochs that are there already are kept.
    Raises RunError, before anything is copied, if two files claim one epoch or a name has no number; and for a file
    that is broken, holds code, or does not fit the model.
    """
    files = checkpoints.by_epoch(run.checkpoints)
    data = run.recipe.data.load()
    checkpoints.claim(folder, run, data.digest)
    there = checkpoints.epochs(folder)
    with repeatable():
        on_device = tensors(data)
        model = run.recipe.model.build(data.shape, data.classes).to(on_device[0].device)
        for epoch, path in files.items():
            if epoch not in there:
                model.load_state_dict(fitted(state_in(path), model, path))
                checkpoints.save(folder, checkpoints.taken(epoch, model), scores(model, on_device))


def state_in(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, out of whatever they were wrapped in."""
    found = _safe(path) if path.suffix == ".safetensors" else _pickled(path)
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            break
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise RunError(f"{path}: is not a state dict (names and tensors); save model.state_dict()")
    return {name.removeprefix("module."): value for name, value in found.items()}


def _safe(path: Path) -> dict[str, Tensor]:
    try:
        return unpacked(path.read_bytes())
    except SafetensorError as error:
        raise RunError(f"{path}: cannot be read as safetensors: {error}") from error


def _pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of a pickle of another protocol: it is read, or refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunError(
            f"{path}: holds more than tensors, or is broken. Code in a file is never run here: save only "
            f"model.state_dict(), with torch.save or safetensors"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise RunError(f"{path}: cannot be read as a torch file: {reason}") from error


def fitted(state: Mapping[str, Tensor], model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The state if it has the model's names and shapes; else RunError lists what is missing, extra or misshapen."""
    own = model.state_dict()
    counters = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    state = {**counters, **state}  # older files lack these counters, and nothing here reads them
    wrong = [
        *(f"{name} is missing" for name in own if name not in state),
        *(f"{name} is not in the model" for name in state if name not in own),
        *(
            f"{name} is {_shape(state[name])}, expected {_shape(own[name])}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ),
    ]
    if wrong:
        more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise RunError(f"{path}: does not fit recipe.model: {'; '.join(wrong[:5])}{more}")
    return state


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
