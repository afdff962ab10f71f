"""Objectives in torch: numbers of each sample, from the outputs of a network or from the user's function.

    (outputs [N, ...], y [N, ...]) -> numbers [N], in float64

In a built-in function a sample's number depends on that sample alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.config.functions import FORM
from studio.errors import SceneError
from studio.training.batches import Batch, X
from studio.training.objectives import RESERVED_NAMES, FunctionLoss, Objective, Wasserstein

TINY = 1e-12
"""Added to the square of a slope, whose root has no derivative at 0."""
OutputFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs [N, ...], targets [N, ...]) -> one number for each sample [N]."""
SampleNumbers = Callable[[nn.Module, X, Tensor | None], dict[str, Tensor]]
"""(model, x [N, ...], y [N, ...] or None) -> `loss` and other numbers of each sample, float64 [N], by name."""


def cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """-log p(y) of each sample [N]; for outputs of more dimensions [N, C, ...], the mean over them."""
    # float64: a loss beyond float32's exp stays finite, and the sum rounds no more than the network did
    outputs = float64(classes_second(outputs, y))
    y = float64(y) if y.is_floating_point() else y.to(outputs.device)
    values = F.cross_entropy(outputs, y, reduction="none")
    return values.flatten(1).mean(1) if values.dim() > 1 else values


def entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """The entropy, in nats, of the predicted class probabilities [N].

    >>> round(float(entropy(torch.zeros(1, 4), torch.zeros(1)).exp()), 9)  # four equal probabilities
    4.0
    """
    p = F.softmax(float64(outputs), 1)
    values = -torch.xlogy(p, p).sum(1)
    return values.flatten(1).mean(1) if values.dim() > 1 else values


def accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """100 for each sample whose largest output is its class's, else 0 [N]; NaN if the targets are not classes."""
    outputs = classes_second(outputs, y)
    if y.is_floating_point() or outputs.dim() < 2 or outputs.shape[:1] + outputs.shape[2:] != y.shape:
        return float64(outputs.new_full((len(y),), torch.nan, dtype=torch.float32))
    values = 100 * float64(outputs.argmax(1) == y)
    return values.flatten(1).mean(1) if values.dim() > 1 else values


def classes_second(outputs: Tensor, y: Tensor) -> Tensor:
    """Outputs [N, C, ...], as torch takes them, also of a network that puts classes last, as language models do.

    Of more places than there are targets, the last ones count.
    """
    if outputs.dim() == 3 and y.dim() == 2 and outputs.shape[2:] != y.shape[1:] and outputs.shape[1] > y.shape[1]:
        outputs = outputs[:, -y.shape[1] :]
    is_last = y.dim() > 1 and outputs.shape[:-1] == y.shape and outputs.shape[:1] + outputs.shape[2:] != y.shape
    return outputs.movedim(-1, 1) if is_last else outputs


def mean_squares(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean of (output - target)^2 over a sample's outputs [N]."""
    outputs, y = _alike(outputs, y)
    return (outputs - y).square().mean(1)


def label_squares(outputs: Tensor, y: Tensor) -> Tensor:
    """Half of the sum over classes of (output - [the label is this class])^2 [N], as Cohen et al. (2021) have it."""
    classes = F.one_hot(y, outputs.shape[-1]).to(outputs.dtype) if outputs.shape[:-1] == y.shape else y
    return mean_squares(outputs, classes) * (outputs.shape[-1] / 2)


def binary_cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean of -y log p - (1 - y) log(1 - p) over a sample's outputs, p = 1 / (1 + exp(-output)) [N]."""
    return F.binary_cross_entropy_with_logits(*_alike(outputs, y), reduction="none").mean(1)


def binary_accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """The percentage of a sample's outputs that are above 0 where the target is above 1/2, and not elsewhere [N]."""
    outputs, y = _alike(outputs, y)
    return 100 * ((outputs > 0) == (y > 0.5)).double().mean(1)


def _alike(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 as rows [N, K]. Raises SceneError unless they are of one shape, or one is a list of numbers."""
    rows, y_rows = outputs.reshape(len(outputs), -1), y.reshape(len(y), -1)
    if rows.shape != y_rows.shape or (outputs.shape != y.shape and min(outputs.dim(), y.dim()) > 2):
        shapes = f"outputs {list(outputs.shape)} and targets {list(y.shape)}"
        raise SceneError(f"run.objective: {shapes} must be of one shape")
    return float64(rows), float64(y_rows)


BY_KIND: Mapping[str, Mapping[str, OutputFunction]] = {
    "cross-entropy": {"loss": cross_entropy, "accuracy": accuracy},
    "mean-squares": {"loss": mean_squares},
    "label-squares": {"loss": label_squares, "accuracy": accuracy},
    "binary-cross-entropy": {"loss": binary_cross_entropy, "accuracy": binary_accuracy},
}
"""The functions of each kind of `OutputLoss`, by the names of its numbers."""
FIELDS: Mapping[str, OutputFunction] = {"entropy": entropy}
"""Functions whose means a scene may measure too, by their words."""
BUILT_IN = {function for functions in (FIELDS, *BY_KIND.values()) for function in functions.values()}


def wasserstein(objective: Wasserstein, model: nn.Module, z: Tensor, x: Tensor) -> dict[str, Tensor]:
    """`loss` of each pair of a latent and a sample [N], as `Wasserstein` has it; the critic's with those of both.

    Where nothing trains, the share of x in the penalty's point is the probability of a latent's first number, so that a
    pair's loss depends on that pair alone.
    """
    generator, critic = cast(nn.Module, model.generator), cast(nn.Module, model.critic)
    made = generator(torch.randn_like(z) if model.training else z)
    if objective.of == "generator":
        return {"loss": float64(-critic(made).squeeze(1))}
    x, share = x.flatten(1), torch.rand_like(z[:, :1]) if model.training else torch.special.ndtr(z[:, :1])
    between = share * x + (1 - share) * made
    if torch.is_grad_enabled() and not between.requires_grad:
        between = between.requires_grad_()
    of_between, of_made, of_x = critic(torch.cat([between, made, x])).squeeze(1).chunk(3)
    [slope] = torch.autograd.grad(of_between.sum(), between, create_graph=True)
    penalty = (slope.square().sum(1).add(TINY).sqrt() - 1).square()
    critics = float64(of_made) - float64(of_x) + objective.penalty * float64(penalty)
    return {"loss": critics, "critic": critics, "generator": float64(-of_made)}


def per_sample(key: str, function: Any, values: Any, count: int) -> Tensor:
    """A function's result in float64. Raises SceneError, naming `key`, unless it is a tensor of `count` numbers."""
    if not isinstance(values, Tensor) or values.shape != (count,):
        shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        name = getattr(function, "__name__", function)
        way_out = f"it must return one number for each, [{count}]"
        way_out += ", or a mean with its weight, `return mean, weight`" if key == "run.objective" else ""
        raise SceneError(f"{key}: {name} returned {shape} for {count} samples; {way_out}")
    return float64(values)


def float64(x: Tensor) -> Tensor:
    """The same numbers in float64, on the CPU if the device has none, as Apple's."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def sample_numbers(objective: Objective) -> SampleNumbers:
    """The numbers of an objective. They raise SceneError for outputs and results that are of no use.

    Without targets a built-in loss compares outputs with x, and the user's function is called with (model, x). What
    samples count, if the function says it, is `weight` among the numbers; the mean of the others is weighted already.
    """
    if isinstance(objective, Wasserstein):
        return _differentiating(partial(wasserstein, objective))
    if isinstance(objective, FunctionLoss) and objective.of == "model":
        own_function = objective.function.load()
        function = _differentiating(lambda model, x, y: own_function(model, _batch(x, y)))
        return lambda model, x, y: _named(objective, function(model, x, y), len(x))
    own = objective.function.load() if isinstance(objective, FunctionLoss) else None

    def numbers(model: nn.Module, x: X, y: Tensor | None) -> dict[str, Tensor]:
        if isinstance(x, Batch):
            raise _needs_function(objective, f"batches here are {x}")
        outputs, targets = model(x), x if y is None else y
        if own:
            return _named(objective, own(outputs, targets), len(x))
        if not isinstance(outputs, Tensor):
            raise _needs_function(objective, f"the model returns a {type(outputs).__name__}")
        return {name: function(outputs, targets) for name, function in BY_KIND[objective.kind].items()}

    return numbers


def _differentiating(function: Callable[..., Any]) -> Callable[[nn.Module, X, Tensor | None], Any]:
    """A function of (model, x, y), which may differentiate by its samples where no gradients are recorded."""
    derives = False

    def call(model: nn.Module, x: X, y: Tensor | None) -> Any:
        nonlocal derives
        if torch.is_grad_enabled() or not derives:
            try:
                return function(model, x, y)
            except RuntimeError as error:
                if torch.is_grad_enabled() or "grad" not in str(error):
                    raise
        derives = True
        with torch.inference_mode(False), torch.enable_grad():
            x = x.map(torch.clone) if isinstance(x, Batch) else x.clone()  # samples of inference have no gradients
            return function(model, x, y if y is None else y.clone())

    return call


def _batch(x: X, y: Tensor | None) -> Any:
    if y is None:
        return x.content if isinstance(x, Batch) else x
    return x, y


def _needs_function(objective: Objective, found: str) -> SceneError:
    way_out = f"write a function of your own, `objective: {FORM}`, which is called with (model, batch)"
    return SceneError(f"run.objective: {objective} takes a tensor, and {found}; {way_out}")


def _named(objective: Objective, returned: Any, count: int) -> dict[str, Tensor]:
    """What the user's function returned as numbers by name, `loss` first."""
    if isinstance(returned, tuple) and len(returned) == 2:
        returned = {"loss": returned[0], "weight": returned[1]}
    values = returned if isinstance(returned, Mapping) else {"loss": returned}
    if "loss" not in values or any(name in values for name in RESERVED_NAMES):
        wanted = f"it must name the 'loss', and use none of studio's own words {', '.join(RESERVED_NAMES)}"
        raise SceneError(f"run.objective: {objective} returned {', '.join(map(str, values))}; {wanted}")
    means: set[str] = set()
    if "weight" in values:
        values = {name: torch.as_tensor(value) for name, value in values.items()}
        means = {name for name, value in values.items() if not value.dim()}
        values = {name: value.expand(count) if name in means else value for name, value in values.items()}
    numbers = {str(name): per_sample("run.objective", objective, value, count) for name, value in values.items()}
    if (weight := numbers.pop("weight", None)) is None:
        return {"loss": numbers["loss"]} | numbers
    share = weight / weight.mean()
    numbers = {name: value if name in means else value * share for name, value in numbers.items()}
    return {"loss": numbers["loss"]} | numbers | {"weight": weight / count if "weight" in means else weight}
