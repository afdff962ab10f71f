"""One small batch through a run's model and objective, before hours are spent: the boundary to the user's code.

Whatever that raises is one sentence with the function, the batch and the reason. What needs none of it, such as shapes
and labels, the records' `misfit` says to `check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from studio.config.functions import Function, shapes
from studio.config.user_files import reason
from studio.errors import SceneError, StudioError
from studio.training.batches import X
from studio.training.device import deterministic, device_kind, restored_random_numbers
from studio.training.evaluate import at, tensors
from studio.training.losses import per_sample, sample_numbers
from studio.training.models import Python, move_only
from studio.training.runs import NetworkRun

SAMPLES = 4
"""Samples that pass at most; fewer if the last batch of an epoch has fewer, since batch norms need two."""


def dry_pass(run: NetworkRun, fields: Sequence[Function] = ()) -> tuple[str, ...]:
    """The names of the objective's numbers, `loss` first, from a pass through a model that is not trained.

    fields: of the loss, the user's functions of outputs and targets. Raises SceneError for what the user's code does
    wrong, and for patterns of `run.parameters` that no weight has.
    """
    recipe, objective, trains = run.recipe, run.objective.trained, run.kind == "recipe"
    model_name = recipe.model.make if isinstance(recipe.model, Python) else recipe.model.kind
    data = recipe.data.load()
    with deterministic(), restored_random_numbers(device_kind()):
        x, y, *_ = tensors(data)
        few = slice(min(SAMPLES, len(x) % recipe.batch or recipe.batch))
        x, y = x[few], at(y, few)
        with _explained(f"run.recipe.model: {model_name}"):
            model = recipe.model.build(data.shape, objective.outputs(data.layout), recipe.seed)
            model.to(x.device).train(trains)
        with _explained(f"run.objective: {objective} of the model {model_name}", x, y):
            numbers = sample_numbers(objective)(model, x, y)
            if trains:
                numbers["loss"].mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for field in fields:
            with _explained(f"loss.fields: {field} of the model {model_name}", x, y), torch.no_grad():
                per_sample("loss.fields", field, field.load()(model(x), x if y is None else y), len(x))
    move_only(run.parameters, model)
    return tuple(name for name in numbers if name != "weight")


@contextmanager
def _explained(what: str, x: X | None = None, y: Tensor | None = None) -> Iterator[None]:
    """A context in which any error becomes a SceneError of one sentence. x, y: the batch that it happened on."""
    try:
        yield
    except StudioError:
        raise
    except Exception as error:  # the user's code may raise anything
        batch = " and ".join((*shapes("x", x), *shapes("y", y)))
        on = f" on a batch of {batch}" if batch else ""
        raise SceneError(f"{what} fails{on}: {type(error).__name__}: {reason(error)}") from error
