"""One small batch through a run's model and objective, before hours are spent: the boundary to the user's code.

Whatever the user's code raises here is one sentence that names the function, the batch and the reason. What needs no
code of the user's, such as shapes and labels, the records' own `misfit` says to `check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from studio.config.functions import FORM, Function
from studio.errors import SceneError, StudioError
from studio.training.data import Data
from studio.training.determinism import deterministic, device
from studio.training.evaluate import at, tensors
from studio.training.losses import per_sample
from studio.training.models import Python
from studio.training.objectives import UserObjective
from studio.training.runs import Run, move_only

SAMPLES = 4
"""Samples that pass at most; fewer if the last batch of an epoch has fewer, since batch norms need two."""


def dry_pass(run: Run, fields: Sequence[Function] = ()) -> tuple[str, ...]:
    """The names of the objective's numbers, `loss` first, from a batch through a model that is not trained.

    fields: of the loss, the user's functions of outputs and targets. Raises SceneError for what the user's code does
    wrong, and for patterns of `run.parameters` that no weight has.
    """
    recipe, trains = run.recipe, run.kind == "recipe"
    data = recipe.data.load()
    with deterministic(), torch.random.fork_rng(devices=[device()] if device().type == "cuda" else []):
        train_x, train_y, *_ = tensors(data)
        last = len(train_x) % recipe.batch or recipe.batch
        x, y = train_x[: min(last, SAMPLES)], at(train_y, slice(min(last, SAMPLES)))
        model = _build(run, data).to(x.device).train(trains)
        numbers = _numbers(run, model, x, y, fields)
        if trains:
            with _explained(f"run.objective: {run.objective} cannot be differentiated", x, y):
                numbers["loss"].mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    move_only(run.parameters, model)
    return tuple(numbers)


def _build(run: Run, data: Data) -> nn.Module:
    recipe, objective = run.recipe, run.objective
    with _explained(f"run.recipe.model: {_name(run)} cannot be built"):
        return recipe.model.build(data.shape, objective.outputs(data.layout), recipe.seed)


def _numbers(run: Run, model: nn.Module, x: Tensor, y: Tensor | None, fields: Sequence[Function]) -> dict[str, Tensor]:
    """The objective's numbers of each sample [N], by name."""
    objective = run.objective
    if isinstance(objective, UserObjective):
        with _explained(f"run.objective: {objective} with the model {_name(run)} fails", x, y):
            return objective.load()(model, x, y)
    with _explained(f"run.recipe.model: {_name(run)} fails", x):
        outputs = model(x)
    if not isinstance(outputs, Tensor):
        raise SceneError(
            f"run.recipe.model: {_name(run)} returns a {type(outputs).__name__}, and {objective} takes a tensor; write "
            f"an objective of your own, `objective: {FORM}`, which is called with (model, batch)"
        )
    targets, numbers = x if y is None else y, dict[str, Tensor]()
    for name, function in objective.functions().items():
        with _explained(f"run.objective: {objective} fails on outputs {list(outputs.shape)},", x, y):
            numbers[name] = per_sample("run.objective", function, outputs, targets)
    for field in fields:
        with _explained(f"loss.fields: {field} fails on outputs {list(outputs.shape)},", x, y):
            per_sample("loss.fields", field.load(), outputs.detach(), targets)
    return numbers


def _name(run: Run) -> str:
    model = run.recipe.model
    return str(model.make) if isinstance(model, Python) else model.kind


@contextmanager
def _explained(what: str, x: Tensor | None = None, y: Tensor | None = None) -> Iterator[None]:
    """A context in which any error becomes a SceneError of one sentence. x, y: the batch that it happened on."""
    try:
        yield
    except StudioError:
        raise
    except Exception as error:  # the user's code may raise anything
        batch = [f"{name} {_shape(part)}" for name, part in (("x", x), ("y", y)) if part is not None]
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        on = f" on a batch of {' and '.join(batch)}" if batch else ""
        raise SceneError(f"{what}{on}: {type(error).__name__}: {reason}") from error


def _shape(part: Tensor) -> str:
    return f"{str(part.dtype).removeprefix('torch.')} {list(part.shape)}"
