"""Training with a recorder running: a checkpoint at the start, at every instant the recipe keeps, and at the end.

theta <- optimizer(theta, gradient of the mean cross-entropy of a batch). Whatever is random follows from the recipe's
seed and the epoch, so a run that was killed at any instant goes on from its last pause to the very same bytes.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from studio.errors import RunError
from studio.storage.files import atomic_write
from studio.training import checkpoints
from studio.training.data import Data
from studio.training.evaluate import device, repeatable, scores, tensors
from studio.training.recipe import Recipe, Run

Progress = Callable[[int, int, str], None]
RESUME = "resume.safetensors"


def train(recipe: Recipe, folder: Path, progress: Progress = lambda done, total, text: None) -> None:
    """Trains what the recipe says and keeps its checkpoints in `folder`; goes on where an earlier call was stopped.

    progress: called with (steps done, steps in all, a word on the loss).
    Raises RunError if the loss is no longer a number, or the folder holds another run.
    """
    folder = Path(folder)
    data = recipe.data.load()
    checkpoints.claim(folder, Run(recipe=recipe), data.digest)
    if not set(recipe.instants) <= set(checkpoints.epochs(folder)):
        with repeatable():
            _train(recipe, data, folder, progress)
    (folder / RESUME).unlink(missing_ok=True)


def _train(recipe: Recipe, data: Data, folder: Path, progress: Progress) -> None:
    x, y, *test = tensors(data)
    batches = math.ceil(len(y) / recipe.batch)
    instants, total = _instants(recipe, batches), recipe.epochs * batches
    model = _placed(recipe.model.build(data.shape, data.classes, recipe.seed), x.device)
    optimizer = recipe.optimizer.build(model.parameters())

    def keep(step):
        if step in instants:
            _keep(folder, recipe, instants[step], model, (x, y, *test))
        if step in instants or step % batches == 0:
            _pause(folder / RESUME, step, model, optimizer)

    start = _resume(folder / RESUME, model, optimizer, before=_first_missing(folder, instants))
    if start == 0:
        keep(0)
    for step, chosen in enumerate(_batches(recipe, len(y), start), start):
        _set_rate(optimizer, recipe.optimizer.rate(step / total))
        with _drawing(recipe.seed, step, x.device):
            loss = _step(model, optimizer, x[chosen], y[chosen])
        _check(loss, step / batches, recipe)
        keep(step + 1)
        progress(step + 1, total, f"loss {loss:.3f}")


def _placed(model: nn.Module, device: torch.device) -> nn.Module:
    """The model there, its images' channels last in memory; torch has no such layout for a model of volumes."""
    volumes = any(tensor.dim() == 5 for tensor in model.state_dict().values())
    return model.to(device) if volumes else model.to(device, memory_format=torch.channels_last)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> float:
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


@contextlib.contextmanager
def _drawing(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Inside, torch's random numbers, such as dropout's, follow from seed and step alone; afterwards they go on."""
    state = int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(state)  # not torch.manual_seed: that would reseed every GPU
        if on_gpu:
            torch.cuda.manual_seed(state)
        yield


def _check(loss: float, epoch: float, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise RunError(
            f"training diverged at epoch {epoch:.2f}: the loss is {loss}; lower optimizer.lr (it is "
            f"{recipe.optimizer.lr:g})"
        )


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _instants(recipe: Recipe, batches: int) -> dict[int, float]:
    """{step: epoch} of the checkpoints to keep. Raises RunError if two fall on one step."""
    instants = recipe.checkpoint.instants(recipe.epochs, batches)
    if len(instants) < len(recipe.instants):
        raise RunError(
            f"checkpoint.every {recipe.checkpoint.every:g} is shorter than a step; an epoch has {batches} "
            f"steps of {recipe.batch} images, so {1 / batches:.2g} is the least"
        )
    return instants


def _first_missing(folder: Path, instants: dict[int, float]) -> int:
    """The first step whose checkpoint is not there yet."""
    there = checkpoints.epochs(folder)
    return min(step for step, epoch in instants.items() if epoch not in there)


def _batches(recipe: Recipe, count: int, start: int) -> Iterator[Tensor]:
    """Indices of the images of every step from `start`; each epoch is its own shuffle, so any step can be the first."""
    first, done = divmod(start, math.ceil(count / recipe.batch))
    for epoch in range(first, recipe.epochs):
        order = torch.from_numpy(np.random.default_rng((recipe.seed, epoch)).permutation(count))
        yield from order.to(device()).split(recipe.batch)[done if epoch == first else 0 :]


def seconds_per_step(recipe: Recipe, steps: int = 5) -> float:
    """What a step of training takes here: a median of a few, of a model that is thrown away."""
    data = recipe.data.load()
    with repeatable():
        x, y, *_ = tensors(data)
        model = recipe.model.build(data.shape, data.classes, recipe.seed)
        optimizer = recipe.optimizer.build(_placed(model, x.device).parameters())
        taken = []
        for _ in range(steps):
            began = time.perf_counter()
            with _drawing(recipe.seed, 0, x.device):
                _step(model, optimizer, x[: recipe.batch], y[: recipe.batch])
            taken.append(time.perf_counter() - began)
    return sorted(taken)[steps // 2]


# --- what is kept ----------------------------------------------------------------------------------------------------


def _keep(folder: Path, recipe: Recipe, epoch: float, model: nn.Module, data: tuple[Tensor, ...]) -> None:
    metrics = {**scores(model, data), "learning_rate": recipe.optimizer.rate(epoch / recipe.epochs)}
    _check(metrics["train_loss"], epoch, recipe)
    checkpoints.save(folder, checkpoints.taken(epoch, model), metrics)


def _pause(path: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Writes all that the next step depends on."""
    state = {"step": torch.tensor(step), **{f"model/{name}": value for name, value in model.state_dict().items()}}
    for number, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer/{number}/{name}": value for name, value in values.items() if value is not None}
    # clones: a tied weight has two names, and no file holds one tensor twice
    content = save({name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()})
    with atomic_write(path) as beside:
        beside.write_bytes(content)  # not save_file, whose own error hides that a disk is full


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, before: int) -> int:
    """Restores what `_pause` wrote and returns its step; 0, and nothing restored, unless that is before `before`."""
    if not path.exists():
        return 0
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it, and training starts from epoch 0") from error
    if state["step"] >= before:
        return 0
    model.load_state_dict({name.removeprefix("model/"): v for name, v in state.items() if name.startswith("model/")})
    optimizer.load_state_dict({**optimizer.state_dict(), "state": _moments(state, list(model.parameters()))})
    return int(state["step"])


def _moments(state: dict[str, Tensor], parameters: list[nn.Parameter]) -> dict[int, dict[str, Tensor]]:
    """The optimizer's numbers for each parameter, laid out in memory as the parameter is: a fused step relies on it."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, _, rest = name.partition("/")
        if part == "optimizer":
            number, key = rest.split("/")
            like = parameters[int(number)]
            laid = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            moments.setdefault(int(number), {})[key] = laid.detach()
    return moments
