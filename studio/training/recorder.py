"""Training that records checkpoints: at the start, at the instants of the recipe, and at the end.

    theta <- optimizer(theta, gradient of the mean loss of a batch)

All randomness follows from the recipe's seed and the step, so a killed run continues from its last saved state to the
same bytes.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import math
import statistics
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from studio.errors import DamageError, RunError
from studio.storage.files import read_bytes, write_bytes
from studio.training import checkpoints
from studio.training.baselines import margins
from studio.training.data import Data
from studio.training.device import deterministic, device, restored_random_numbers
from studio.training.device import seed as seed_generators
from studio.training.evaluate import BatchLoss, at, mean_loss, scores, tensors
from studio.training.models import move_only
from studio.training.objectives import CROSS_ENTROPY, Objective
from studio.training.recipe import Recipe

Progress = Callable[[int, int, str], None]
"""(steps done, steps in total, a text with the loss) -> None."""
logger = logging.getLogger("studio")
STATE_FILE = "resume.state"
"""In the run folder while it trains: the model, the optimizer and the step, to continue a killed run."""


@dataclass(frozen=True, eq=False)
class Setup:
    """What a run that begins where another ends does otherwise (`derived`).

    digest: of the run. start: gives a new model its first weights. loss: makes of a batch's loss the one that training
    descends. first_epoch: where training begins.
    """

    digest: str
    start: Callable[[nn.Module], None]
    loss: Callable[[BatchLoss], BatchLoss] = lambda batch_loss: batch_loss
    first_epoch: float = 0.0


def train(
    recipe: Recipe,
    folder: Path,
    progress: Progress = lambda done, total, text: None,
    objective: Objective = CROSS_ENTROPY,
    setup: Setup | None = None,
) -> None:
    """Trains by the recipe and saves checkpoints in `folder`; continues where an earlier call stopped.

    progress: called after every step. Raises RunError if the loss is not finite, two checkpoints fall on one step, the
    folder holds another run.
    """
    folder = Path(folder)
    data = recipe.data.load()
    setup = setup or Setup(checkpoints.recipe_digest(recipe, objective, data.digest), lambda model: None)
    checkpoints.write_run_file(folder, recipe, data.digest, setup.digest)
    if not {epoch for epoch in recipe.instants if epoch >= setup.first_epoch} <= set(checkpoints.epochs(folder)):
        with deterministic():
            _train(recipe, objective, data, folder, progress, setup)
    (folder / STATE_FILE).unlink(missing_ok=True)


def _train(recipe: Recipe, objective: Objective, data: Data, folder: Path, progress: Progress, setup: Setup) -> None:
    samples = tensors(data)
    x, y, *_ = samples
    batches = math.ceil(len(x) / recipe.batch)
    for keys, text in recipe.misfits(len(x)):
        raise RunError(f"{'.'.join(keys)}: {text}")
    total, first = recipe.epochs * batches, math.ceil(setup.first_epoch * batches)
    instants = {step: at for step, at in recipe.steps(batches).items() if step >= first}
    model, optimizer = _start(recipe, objective, data, x.device)
    setup.start(model)
    share = recipe.optimizer.averages_from
    modules = nn.ModuleDict({"model": model} | ({} if share is None else {"mean": AveragedModel(model)}))

    def record(step: int) -> None:
        shown = model
        if share is not None and step >= share * total:
            mean = modules["mean"]
            assert isinstance(mean, AveragedModel)
            if step % batches == 0:
                mean.update_parameters(model)
            shown = mean.module if mean.n_averaged else model
        if step in instants:
            if shown is not model:
                with _random_state(recipe.seed, step, x.device):
                    update_bn((x[i : i + recipe.batch] for i in range(0, len(x), recipe.batch)), shown)
            epoch, metrics = instants[step], scores(shown, samples, objective)
            _check_finite(metrics["train_loss"], epoch, recipe)
            metrics["learning_rate"] = recipe.optimizer.rate(epoch / recipe.epochs)
            metrics |= margins(recipe, objective, shown, samples, metrics.get("test_loss", math.nan))
            checkpoints.save(folder, checkpoints.snapshot(epoch, shown), metrics)
        if step in instants or step % batches == 0:
            _save_state(folder / STATE_FILE, step, modules, optimizer)

    existing = checkpoints.epochs(folder)
    first_missing = min(step for step, epoch in instants.items() if epoch not in existing)
    start = _restore_state(folder / STATE_FILE, modules, optimizer, before=first_missing) or first
    if start == first:
        record(first)
    for step, indices in enumerate(_batches(recipe, len(x), start), start):
        for group in optimizer.param_groups:
            group["lr"] = recipe.optimizer.rate(step / total)
        turn, moves = objective.turn(step)
        batch_loss = partial(setup.loss(mean_loss(turn)), model, x[indices], at(y, indices))
        random_state = partial(_random_state, recipe.seed_at(step / batches), step, x.device)
        loss = _step(recipe, model, optimizer, batch_loss, random_state, moves)
        _check_finite(loss, step / batches, recipe)
        record(step + 1)
        progress(step + 1, total, f"loss {loss:.3f}")


def _start(
    recipe: Recipe, objective: Objective, data: Data, device: torch.device
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The model with its initial weights, and its optimizer."""
    model = _to_device(recipe.model.build(data.shape, objective.outputs(data.layout), recipe.seed), device)
    move_only(recipe.train, model, "run.recipe.train")
    return model, recipe.optimizer.build(model.parameters())


def _to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on the device, with channels last in memory; torch has no such layout for 3-D convolutions."""
    if all(tensor.dim() != 5 for tensor in model.state_dict().values()):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's own types
    return model.to(device)


def _step(
    recipe: Recipe,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch_loss: Callable[[], Tensor],
    random_state: Callable[[], contextlib.AbstractContextManager[None]],
    moves: str = "*",
) -> float:
    """The loss of a batch, after a step that moves the weights of a pattern."""

    def gradient() -> Tensor:
        optimizer.zero_grad()
        with random_state(), torch.enable_grad():
            loss = batch_loss()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for name, weight in model.named_parameters():
            if not fnmatch.fnmatchcase(name, moves):
                weight.grad = None
        return loss

    model.train()
    return recipe.optimizer.step(optimizer, gradient).item()


@contextlib.contextmanager
def _random_state(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """A context in which torch's random numbers, such as dropout's, follow from seed and step; restores the state."""
    state = int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    with restored_random_numbers(device.type):
        seed_generators(device.type, state)
        yield


def _check_finite(loss: float, epoch: float, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        rate = recipe.optimizer.lr
        raise RunError(f"training diverged at epoch {epoch:.2f}: the loss is {loss}; lower optimizer.lr, now {rate:g}")


def _batches(recipe: Recipe, count: int, start: int) -> Iterator[Tensor]:
    """Sample indices of every step from `start`; each epoch is a shuffle of its own, so any step can be the first."""
    steps = math.ceil(count / recipe.batch)
    for step in range(start, recipe.epochs * steps):
        epoch, place = divmod(step, steps)
        yield torch.split(_order(recipe.seed_at(step / steps), epoch, count), recipe.batch)[place]


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(count)).to(device())


def seconds_per_step(recipe: Recipe, objective: Objective = CROSS_ENTROPY, steps: int = 5) -> float:
    """Median seconds of a training step on this machine, over `steps` steps of a temporary model."""
    data = recipe.data.load()
    with deterministic():
        x, y, *_ = tensors(data)
        model, optimizer = _start(recipe, objective, data, x.device)
        batch = x[: recipe.batch], at(y, slice(recipe.batch))
        random_state, batch_loss = partial(_random_state, recipe.seed, 0, x.device), mean_loss(objective)
        step = partial(_step, recipe, model, optimizer, partial(batch_loss, model, *batch), random_state)
        return statistics.median(timeit.repeat(step, number=1, repeat=steps))


def _save_state(path: Path, step: int, modules: nn.ModuleDict, optimizer: torch.optim.Optimizer) -> None:
    """Writes everything that the next step depends on."""
    state = {"step": torch.tensor(step), **{f"modules/{name}": value for name, value in modules.state_dict().items()}}
    for number, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer/{number}/{name}": value for name, value in values.items() if value is not None}
    # clones: a tied weight has two names, and safetensors refuses two names for one tensor
    write_bytes(path, save({name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}))


def _restore_state(path: Path, modules: nn.ModuleDict, optimizer: torch.optim.Optimizer, before: int) -> int:
    """The step of the state that `_save_state` wrote, which is restored; 0, and no change, if it is not < before."""
    if not path.exists():
        return 0
    try:
        state = load(bytes(read_bytes(path)))
    except DamageError as error:
        logger.warning("%s, from epoch 0", error)
        return 0
    weights = {name.removeprefix("modules/"): v for name, v in state.items() if name.startswith("modules/")}
    if state["step"] >= before or weights.keys() != modules.state_dict().keys():  # of an earlier version, perhaps
        return 0
    modules.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": _moments(state, list(modules["model"].parameters()))})
    return int(state["step"])


def _moments(state: dict[str, Tensor], parameters: list[nn.Parameter]) -> dict[int, dict[str, Tensor]]:
    """The optimizer's state per parameter, in the parameter's memory layout, which a fused step relies on."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, _, rest = name.partition("/")
        if part == "optimizer":
            number, quantity = rest.split("/")
            parameter = parameters[int(number)]
            moment = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
            moments.setdefault(int(number), {})[quantity] = moment.detach()
    return moments
