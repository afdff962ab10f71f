"""What a run minimises, as records: a built-in loss of a network's outputs, or a function of the user's.

    L(theta) = 1/N sum over samples of loss(model at theta, sample)

Training, scoring, measuring and curvature ask the record; nothing else looks at a network's outputs. A new built-in
loss is a kind of `OutputLoss` and its functions in `losses.py`. Importing this module loads no torch.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field

from studio.config.functions import FORM, Function, NameIsFunction
from studio.config.records import BY_KIND, Record
from studio.config.units import NonNegative
from studio.training.data import MOST_CLASSES, DataSet, Layout, Text

RESERVED_NAMES = ("losses", "measured", "done", "alpha", "beta", "sample")
"""What a slice stores beside its fields; a number of the user's needs another name."""


OF_LABELS = ("cross-entropy", "label-squares")
"""Losses whose targets are labels, with an output for every class."""


class _Objective(Record):
    """What every objective has; one with turns says otherwise. calls_model: it is of model and batch."""

    calls_model: ClassVar[bool] = False

    @property
    def trained(self) -> Self:
        """What the run minimises: itself."""
        return self

    def turn(self, step: int) -> tuple[Self, str]:
        """What a training step descends, and the pattern of the weights that it moves."""
        return self, "*"


class OutputLoss(_Objective):
    """A loss of a network's outputs and the targets of a sample, the mean over its outputs.

    kind: `cross-entropy` is -log of the probability of a label, from one output per class; its metric is accuracy.
    `mean-squares` is (output - target)^2; without targets outputs are compared with the sample, as an autoencoder's
    are. `label-squares` is half of the sum over classes of (output - 1)^2 for the label's and output^2 for the others;
    its metric is accuracy. `binary-cross-entropy` is -y log p - (1 - y) log(1 - p), p = 1 / (1 + exp(-output)); its
    metric is accuracy.
    """

    kind: Literal["cross-entropy", "mean-squares", "label-squares", "binary-cross-entropy"] = "cross-entropy"

    def __str__(self) -> str:
        return self.kind

    def numbers(self) -> tuple[str, ...]:
        """Names of what it gives for each sample: `loss`, and its metric."""
        return ("loss",) if self.kind == "mean-squares" else ("loss", "accuracy")

    def outputs(self, data: Layout) -> int:
        """How many outputs a built-in model has for such data."""
        return data.classes if self.kind in OF_LABELS else data.width

    def misfit(self, data: Layout) -> str | None:
        """Why it cannot take the targets, and the way out; None if it can."""
        low, high = data.range
        if self.kind in OF_LABELS and not data.classes:
            way_out = f"write `objective: mean-squares`, or a function of your own: {FORM}"
            return f"{self.kind} needs labels, whole numbers from 0 to {MOST_CLASSES - 1}, as targets; {way_out}"
        if self.kind == "binary-cross-entropy" and (data.target is None or low < 0 or high > 1):
            return f"binary-cross-entropy needs targets from 0 to 1, and they go from {low:g} to {high:g}"
        return None


class FunctionLoss(_Objective):
    """The user's own: a function (model, batch) -> losses.

    function: model is the network at the weights that are measured; batch is (x, y), or x alone if the data has no
    targets; for data of more than these, the dict or tuple that it is. It returns a tensor of one loss for each sample
    [N], or a dict of `loss` and further numbers [N], whose means are metrics and measured fields by their names; a look
    draws one as `package.module:name.number`. A `weight` beside the loss, [N] or one number, is what samples or the
    batch count, such as tokens; the loss may be the batch's mean then, and all samples pass as one batch.
    of: `model`, or `outputs` for a function of (outputs, y).
    """

    calls_model: ClassVar = True
    kind: Literal["python"] = "python"
    function: Function
    of: Literal["model", "outputs"] = Field("model", exclude_if=lambda of: of == "model")

    def __str__(self) -> str:
        return self.function.name

    def numbers(self) -> None:
        """None: only a call tells."""

    def outputs(self, data: Layout) -> int:
        """One per class if the targets are labels, else one for every number of a target."""
        return data.classes or data.width

    def misfit(self, data: Layout) -> None:
        """None: the function decides."""


class Wasserstein(_Objective):
    """Of a `gan` on `latents`, whose critic C and generator G train in turns (Gulrajani et al. 2017).

    The critic's is C(G(z)) - C(x) + penalty (|dC/dx| - 1)^2, the penalty's gradient that at a point between x and G(z);
    the generator's is -C(G(z)). Metrics are `critic` and `generator`. Points and latents are drawn anew at every step;
    where the loss is measured they are fixed.
    of: whose loss a landscape is of; both train whichever it is. penalty: its weight. turns: of the critic for each one
    of the generator.
    """

    calls_model: ClassVar = True
    kind: Literal["wasserstein"] = "wasserstein"
    of: Literal["critic", "generator"] = "critic"
    penalty: NonNegative = 10.0
    turns: int = Field(5, ge=1, le=1000)

    def __str__(self) -> str:
        return f"loss of the {self.of}" + (f" with gradient penalty {self.penalty:g}" if self.of == "critic" else "")

    @property
    def trained(self) -> Self:
        """What the run minimises, whosesoever loss is measured."""
        return self.model_copy(update={"of": "critic"})

    def turn(self, step: int) -> tuple[Self, str]:
        """Whose loss a training step descends, and the pattern of the weights that it moves."""
        of = "generator" if step % (self.turns + 1) == self.turns else "critic"
        return self.model_copy(update={"of": of}), f"{of}.*"

    def numbers(self) -> tuple[str, ...]:
        """Names of what it gives for each sample."""
        return ("loss", "critic", "generator")

    def outputs(self, data: Layout) -> int:
        """Numbers in a sample, which the generator makes."""
        return data.width

    def misfit(self, data: Layout) -> str | None:
        """Why it cannot take the targets, and the way out; None if it can."""
        fits = data.target is not None and not data.classes and len(data.shape) == 1
        return None if fits else "wasserstein needs latents and samples: write `data: {kind: latents, to: digits}`"


def margin_name(data: DataSet, objective: Objective) -> str | None:
    """The metric that says by how much a network is better than its baseline (`baselines`); None without one."""
    if isinstance(data, Text) and objective == CROSS_ENTROPY:
        return "bigram_margin"
    return "energy_margin" if isinstance(objective, Wasserstein) else None


def drawn_name(objective: Objective, number: str) -> str:
    """What a look calls the mean of a number: `loss` and `accuracy` by their names."""
    is_own = isinstance(objective, FunctionLoss) and number not in ("loss", "accuracy")
    return f"{objective}.{number}" if is_own else number


def _read(value: Any) -> Any:
    value = (
        {"mse": "mean-squares", "bce": "binary-cross-entropy"}.get(value, value) if isinstance(value, str) else value
    )
    return {"kind": "python", "function": value} if isinstance(value, str) and ":" in value else value


Objective = Annotated[OutputLoss | Wasserstein | FunctionLoss, *BY_KIND, BeforeValidator(_read), NameIsFunction()]
CROSS_ENTROPY = OutputLoss()
"""What a run minimises if it says nothing else."""
