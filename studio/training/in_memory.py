"""A network, its samples and its objective that are in memory, as a run of one checkpoint."""

from __future__ import annotations

import copy
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.config.functions import HeldFunction
from studio.errors import SceneError
from studio.training.device import device_kind, restored_random_numbers

_WORDS: dict[Any, str] = {
    **dict.fromkeys((F.cross_entropy, nn.CrossEntropyLoss), "cross-entropy"),
    **dict.fromkeys((F.mse_loss, nn.MSELoss), "mean-squares"),
    **dict.fromkeys((F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss), "binary-cross-entropy"),
}


def hold(model: nn.Module, loss_fn: str | Callable[..., Any], data: Any) -> dict[str, Any]:
    """The keys of a run, whose folder is there as long as its model. Raises SceneError for what does not fit."""
    if not isinstance(model, nn.Module):
        raise SceneError(f"model: is of type {type(model).__name__}, expected a torch.nn.Module")
    with restored_random_numbers(device_kind()):  # a loader draws a seed
        samples = dict(zip("xy", _samples(data), strict=False))
    arrays: dict[str, Any] = {f"{part}_{name}": a for name, a in samples.items() for part in ("train", "test")}
    own, objective, folder = copy.deepcopy(model).cpu(), _objective(loss_fn), Path(mkdtemp(prefix="studio-"))
    make = HeldFunction(f"memory:{type(model).__name__}", folder, lambda: copy.deepcopy(own))
    weakref.finalize(make, shutil.rmtree, folder, ignore_errors=True)
    np.savez(folder / "data.npz", **arrays)
    torch.save(own.state_dict(), folder / "epoch-0.pt")
    if not isinstance(objective, str):
        objective = {"kind": "python", "function": HeldFunction("memory:loss_fn", folder, objective)}
    recipe = {"model": {"kind": "python", "make": make}, "data": {"kind": "arrays", "file": folder / "data.npz"}}
    return {"kind": "folder", "checkpoints": folder, "recipe": recipe, "objective": objective}


def _samples(data: Any) -> list[np.ndarray]:
    """x [N, ...], and y [N, ...] if there are targets."""
    if isinstance(data, Tensor | np.ndarray):
        data = (data,)
    if not isinstance(data, tuple):
        batches = [batch if isinstance(batch, tuple | list) else (batch,) for batch in data]
        data = tuple(map(torch.cat, zip(*batches, strict=True)))
    if not 1 <= len(data) <= 2:
        raise SceneError(f"data: has {len(data)} parts, expected samples x, or (x, y) with their targets")
    return [torch.as_tensor(part).detach().cpu().numpy() for part in data]


def _objective(loss_fn: Any) -> Any:
    """A word, or a function of (model, batch)."""
    if not isinstance(loss_fn, nn.Module):
        return _WORDS.get(loss_fn, loss_fn)
    kind = type(loss_fn)
    if kind not in _WORDS or loss_fn.state_dict() or vars(loss_fn) != vars(kind().train(loss_fn.training)):
        way_out = "give a function (model, batch) -> losses [N]"
        raise SceneError(f"loss_fn: {loss_fn} has settings, or no loss of each sample that studio knows; {way_out}")
    return _WORDS[kind]
