"""Import of the user's own checkpoints into a run folder, in the format of the recorder.

Files are read without running code from them: safetensors, or pickles with `weights_only`. Their tensors must match
the recipe's model in every name and shape.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from torch import Tensor, nn

from studio.errors import RunError
from studio.training import checkpoints
from studio.training.determinism import deterministic
from studio.training.evaluate import scores, tensors
from studio.training.objectives import CROSS_ENTROPY, Objective
from studio.training.recipe import Recipe

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts save a state dict beside other things."""


def import_checkpoints(user_folder: Path, recipe: Recipe, folder: Path, objective: Objective = CROSS_ENTROPY) -> None:
    """Copies the user's checkpoints into the run folder `folder`, each with the objective's losses and metrics.

    The epoch is the number in a file's name. Epochs that the folder has already stay as they are.
    Raises RunError, before anything is copied, if two files have the same epoch or a name has no number; and for a
    file that is broken, holds code, or does not fit the model.
    """
    files = checkpoints.user_files_by_epoch(user_folder)
    data = recipe.data.load()
    run_digest = checkpoints.folder_digest(user_folder, recipe, objective, data.digest)
    checkpoints.write_run_file(folder, recipe, data.digest, run_digest)
    existing = checkpoints.epochs(folder)
    with deterministic():
        samples = tensors(data)
        model = recipe.model.build(data.shape, objective.outputs(data.layout)).to(samples[0].device)
        for epoch, path in files.items():
            if epoch not in existing:
                model.load_state_dict(check_fit(read_state_dict(path), model, path))
                checkpoints.save(folder, checkpoints.snapshot(epoch, model), scores(model, samples, objective))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, out of one of `WRAPPERS`, without the prefix `module.` of parallel training.

    Raises RunError if the file is not a state dict, is broken, or holds code.
    """
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for wrapper in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
            break
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise RunError(f"{path}: is not a state dict (names and tensors); save model.state_dict()")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return from_bytes(path.read_bytes())
    except SafetensorError as error:
        raise RunError(f"{path}: cannot be read as safetensors: {error}") from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # about the pickle protocol: the file is read, or refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunError(
            f"{path}: holds more than tensors, or is broken. Code in a file is never run here: save only "
            f"model.state_dict(), with torch.save or safetensors"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise RunError(f"{path}: cannot be read as a torch file: {reason}") from error


def check_fit(state: Mapping[str, Tensor], model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The state, if it has the model's names and shapes. Raises RunError with what is missing, extra or misshapen.

    Counters of batch norms that older files lack come from the model: nothing reads them.
    """
    expected = model.state_dict()
    state = {**{name: value for name, value in expected.items() if name.endswith("num_batches_tracked")}, **state}
    misfits = [
        *(f"{name} is missing" for name in expected if name not in state),
        *(f"{name} is not in the model" for name in state if name not in expected),
        *(
            f"{name} is {_shape(state[name])}, expected {_shape(tensor)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ),
    ]
    if misfits:
        more = f", and {len(misfits) - 5} more" if len(misfits) > 5 else ""
        raise RunError(f"{path}: does not fit recipe.model: {'; '.join(misfits[:5])}{more}")
    return state


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
