"""Import of the user's own checkpoints into a run folder, in the format of the recorder.

Files are read without running code from them: safetensors, or pickles with `weights_only`. Their tensors must match
the recipe's model in every name and shape.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as from_bytes
from torch import Tensor, nn

from studio.config.user_files import check_unpacked, read_regular, refusing, shown
from studio.errors import RunError
from studio.training import checkpoints
from studio.training.device import deterministic
from studio.training.evaluate import scores, tensors
from studio.training.objectives import CROSS_ENTROPY, Objective
from studio.training.recipe import Recipe

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts save a state dict beside other things."""
LONG_PICKLE = 2**16
"""Bytes beyond which a pickle without tensors is not read: it would take torch seconds, and be of no use."""


def import_checkpoints(user_folder: Path, recipe: Recipe, folder: Path, objective: Objective = CROSS_ENTROPY) -> None:
    """Copies the user's checkpoints into the run folder `folder`, each with the objective's losses and metrics.

    The epoch is the number in a file's name. Epochs that the folder has already stay as they are.
    Raises RunError, before anything is copied, if two files have the same epoch or a name has no number; and for a
    file that is broken, holds code, or does not fit the model.
    """
    files = checkpoints.user_files_by_epoch(user_folder)
    data = recipe.data.load()
    hashes = checkpoints.user_hashes(user_folder)
    run_digest = checkpoints.folder_digest(hashes, recipe, objective, data.digest)
    checkpoints.write_run_file(folder, recipe, data.digest, run_digest)
    existing = checkpoints.epochs(folder)
    with deterministic():
        samples = tensors(data)
        model = recipe.model.build(data.shape, objective.outputs(data.layout)).to(samples[0].device)
        for epoch, path in files.items():
            if epoch not in existing:
                with refusing(path, "cannot be read"):
                    if checkpoints.sha256(content := read_regular(path)) != hashes[shown(path.name)]:
                        raise RunError(f"{shown(path)}: changed while it was imported; run again")
                model.load_state_dict(check_fit(read_state_dict(path, content), model, path))
                metrics = checkpoints.recorded_metrics(path) | scores(model, samples, objective)
                checkpoints.save(folder, checkpoints.snapshot(epoch, model), metrics)


def read_state_dict(path: Path, content: bytes) -> dict[str, Tensor]:
    """The tensors by name, without `module.` of parallel use. Raises RunError for what is broken, or holds code."""
    of_torch = path.suffix != ".safetensors"
    with refusing(path, f"cannot be read as {'a torch file' if of_torch else 'safetensors'}"):
        state: Any = _read_torch(path, content) if of_torch else _read_safetensors(content)
    if isinstance(state, Mapping):
        state = next((state[key] for key in WRAPPERS if isinstance(state.get(key), Mapping)), state)
    is_named = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
    if not is_named or not all(isinstance(value, Tensor) for value in state.values()):
        raise RunError(f"{shown(path)}: is not a state dict (names and tensors); save model.state_dict()")
    named = {name.removeprefix("module."): value for name, value in state.items()}
    if len(named) < len(state):
        raise RunError(f"{shown(path)}: holds a tensor twice, with the prefix module. and without; keep one of them")
    return named


def _read_safetensors(content: bytes) -> dict[str, Tensor]:
    """The tensors by name, without the parts that a recorder puts them into."""
    return {re.sub("^(weights|buffers)/", "", name): value for name, value in from_bytes(content).items()}


def _read_torch(path: Path, content: bytes) -> Any:
    """What `torch.save` wrote. No code in it is run, and no memory taken that its size does not explain."""
    pickled = content
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_unpacked(sum(entry.file_size for entry in archive.infolist()), len(content))
            pickled = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    try:
        # torch calls bytearray with any size that the file says
        if b"bytearray\n" in pickled or (len(pickled) > LONG_PICKLE and b"_rebuild_" not in pickled):
            raise pickle.UnpicklingError
        with warnings.catch_warnings(action="ignore"):  # about the pickle protocol: the file is read, or refused
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = "holds more than tensors, or is broken. Code in a file is never run here"
        way_out = "save only model.state_dict(), with torch.save or safetensors"
        raise RunError(f"{shown(path)}: {text}: {way_out}") from error


def check_fit(state: Mapping[str, Tensor], model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The state, if its names, shapes and numbers are the model's. Raises RunError with what is not.

    Counters of batch norms that older files lack come from the model: nothing reads them.
    """
    expected = model.state_dict()
    state = {**{name: value for name, value in expected.items() if name.endswith("num_batches_tracked")}, **state}
    trained = dict(model.named_parameters(remove_duplicate=False))
    misshapen = {name: _misfit(state[name], w, name in trained) for name, w in expected.items() if name in state}
    misfits = [
        *(f"{name} is missing" for name in expected if name not in state),
        *(f"{shown(name, 80)} is not in the model" for name in state if name not in expected),
        *(f"{name} is {text}" for name, text in misshapen.items() if text),
    ]
    if misfits:
        more = f", and {len(misfits) - 5} more" if len(misfits) > 5 else ""
        raise RunError(f"{shown(path)}: does not fit recipe.model: {'; '.join(misfits[:5])}{more}")
    return {name: value.to(expected[name].dtype) for name, value in state.items()}


def _misfit(value: Tensor, expected: Tensor, is_trained: bool) -> str:
    """What a tensor is, and what it should be; empty if it fits."""
    if value.is_nested or value.is_quantized or value.layout != torch.strided or value.device.type != "cpu":
        words = "nested" if value.is_nested else "quantised" if value.is_quantized else "sparse"
        return f"{words if value.device.type == 'cpu' else 'without values'}, expected a dense tensor of numbers"
    if value.shape != expected.shape:
        return f"{_shape(value)}, expected {_shape(expected)}"
    if expected.is_floating_point() > value.is_floating_point() or value.is_complex() > expected.is_complex():
        return f"of {value.dtype}, expected real numbers".replace("torch.", "")
    if is_trained and not value.to(expected.dtype).isfinite().all():
        return f"not finite, expected numbers that {expected.dtype} holds".replace("torch.", "")
    return ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
