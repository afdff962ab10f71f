"""How a run's loss is measured: over which training samples, in which mode of the network, and by which method.

    L(theta) = 1/N sum over the subset's N samples of the run's objective

A method is a way to compute the same values sooner. `choose_method` takes one by a rule on records alone, never by a
timing, so that the same scene gives the same bytes on a busy machine; a scene may name another. A new method is a word
of `Method`, its rule in `choose_method`, and a function in `values/methods.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from studio.config.functions import Function, word_or_function
from studio.config.records import Record
from studio.errors import RunError
from studio.training.models import Mlp, Model
from studio.training.objectives import CROSS_ENTROPY, Objective

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

    from studio.landscape.network.weight_loss import WeightLoss
    from studio.training.data import Data


def _parse_subset(value: int | str) -> int | str:
    """A count as a number, a share as text such as `5%`."""
    text = str(value).strip()
    try:
        if text.endswith("%"):
            if 0 < float(text[:-1]) <= 100:
                return f"{float(text[:-1]):g}%"
        elif int(text) > 0:
            return int(text)
    except ValueError:
        pass
    raise ValueError(f"'{value}' is not a number of images; write it like 128 or 5%")


Subset = Annotated[
    int | str,
    BeforeValidator(_parse_subset),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[\d.]+%$"}]}),
]
ExtraField = Annotated[str | Function, *word_or_function("entropy")]
Method = Literal["loop", "folded", "image-kernels", "batched", "vmap", "torch-compile", "cuda-graph"]
RESERVED_NAMES = ("loss", "accuracy", "losses")
"""Names of the fields that every slice may have; a field of the user's needs another one."""


class Word(Record):
    """A word after a prompt, in place of the subset. prompt: the text before it. next: the word."""

    prompt: Annotated[str, Field(min_length=1)]
    next: Annotated[str, Field(min_length=1)]

    def __str__(self) -> str:
        return f"\u201c{self.next}\u201d after \u201c{self.prompt.strip()}\u201d"


class Loss(Record):
    """The mean of the run's objective over a fixed subset of the training images, and other means from the same passes.

    subset: a count or a share of the images, the first of a shuffle by `seed`.
    seed: of the shuffle.
    mode: `eval` normalises by the run's own running statistics; `train` by those of the whole subset as one batch, with
    one fixed dropout mask; `recalibrated` is eval mode with batch statistics computed anew at every point.
    calibration: a count or a share of the images, the first of the same shuffle, for the batch statistics of mode
    `recalibrated`; the subset if omitted.
    fields: `entropy`, or functions of the user's, (outputs [N, ...], targets) -> one number for each sample [N], whose
    means are measured.
    keep_samples: each sample's loss is stored too.
    precision: of the arithmetic.
    method: how the values are computed; by the rule of `choose_method` if omitted.
    sampling: `preview` measures few points and interpolates the rest.
    word: the mean over the characters of one word alone, as the network expects them after a prompt; with `data: text`.
    """

    former: ClassVar[Mapping[str, str]] = {
        "path": "method",
        "criterion": "the key 'criterion' is run.objective now: write `objective:` under `run`; a function there is "
        "(model, batch) -> losses [N], with batch = (x, y)",
        "method: plain": "loop",
        "method: fused": "folded",
        "method: wide": "image-kernels",
        "method: shared": "batched",
        "method: shared-first-layer": "batched",
        "method: compiled": "torch-compile",
        "method: graphed": "cuda-graph",
    }

    subset: Subset = "100%"
    seed: int = Field(0, ge=0)
    mode: Literal["eval", "train", "recalibrated"] = "eval"
    calibration: Subset | None = None
    fields: tuple[ExtraField, ...] = ()
    keep_samples: bool = False
    precision: Literal["float32", "tf32", "bf16", "float64"] = "float32"
    method: Method | None = None
    sampling: Literal["exact", "preview"] = "exact"
    word: Word | None = Field(None, exclude_if=lambda word: word is None)  # digests are older than it

    @model_validator(mode="after")
    def _check_combination(self) -> Loss:
        if self.calibration is not None and self.mode != "recalibrated":
            raise ValueError(
                f"calibration images are for mode: recalibrated, not {self.mode}; take the key out or change the mode"
            )
        if self.method == "folded" and self.mode != "eval":
            raise ValueError(
                f"method: folded folds the running statistics away, which mode: {self.mode} does not use; "
                f"leave the method out, or write method: image-kernels"
            )
        if self.method == "cuda-graph" and self.mode == "recalibrated":
            raise ValueError(
                "method: cuda-graph replays the same operations at every point, and mode: recalibrated has "
                "two kinds of passes; leave the method out"
            )
        if self.word and (self.subset != "100%" or self.calibration is not None):
            raise ValueError("word: is the loss of one sample; take `subset` and `calibration` out")
        if self.keep_samples and self.sampling == "preview":
            raise ValueError("a preview does not measure every point: keep_samples needs sampling: exact")
        names = [*RESERVED_NAMES, *map(field_name, self.fields)]
        if duplicate := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two fields would be called '{duplicate}'; rename the function or take one out")
        return self

    @property
    def functions(self) -> tuple[Function, ...]:
        """Those of `fields` that are the user's."""
        return tuple(field for field in self.fields if isinstance(field, Function))

    @property
    def without_extras(self) -> Loss:
        """The same loss with only the settings that its derivatives depend on: no other fields, no method.

        Derivatives are computed in float32 at least: with fewer digits a Hessian means little.
        """
        precision = "float64" if self.precision == "float64" else "float32"
        return self.model_copy(
            update={"fields": (), "keep_samples": False, "sampling": "exact", "method": None, "precision": precision}
        )

    def oversized_subsets(self, available: int) -> Iterator[tuple[str, str]]:
        """(key, message) for each key that asks for more images than are `available` to train on."""
        for key, subset in (("subset", self.subset), ("calibration", self.calibration)):
            if isinstance(subset, int) and subset > available:
                yield key, f"{subset} images are asked for, the training set holds {available}"

    def sample_indices(self, data: Data, calibration: bool = False) -> npt.NDArray[np.int64]:
        """Indices of the training images whose mean is the loss. Raises RunError if the data holds fewer.

        calibration: those of the calibration pass instead.
        """
        import numpy as np

        total = len(data.train_x)
        subset = self.calibration if calibration and self.calibration is not None else self.subset
        for key, message in self.oversized_subsets(total):
            raise RunError(f"loss.{key}: {message}")
        count = max(1, round(float(subset[:-1]) / 100 * total)) if isinstance(subset, str) else subset
        return np.random.default_rng(self.seed).permutation(total)[:count]

    def weight_loss(
        self,
        model: nn.Module,
        state: Mapping[str, Tensor],
        samples: Mapping[str, Tensor],
        device: str = "cpu",
        objective: Objective = CROSS_ENTROPY,
    ) -> WeightLoss:
        """This loss of a network as a function of its weights.

        state: weights and buffers of the checkpoint. samples: `x` [N, ...], perhaps targets `y` [N, ...], and
        `calibration` [M, ...] for recalibrated mode, x itself if omitted. objective: of the run. Raises SceneError if a
        function of the user's cannot be loaded.
        """
        from studio.landscape.network.weight_loss import WeightLoss
        from studio.training.losses import BY_KIND, FIELDS, sample_numbers

        build = partial(WeightLoss, model, state, samples["x"], samples.get("y"), self.mode, device)
        build = partial(build, precision=self.precision, calibration=samples.get("calibration"))
        if objective.calls_model:
            return build(numbers=sample_numbers(objective))
        functions = dict(BY_KIND[objective.kind])
        for field in self.fields:
            functions[field_name(field)] = field.load() if isinstance(field, Function) else FIELDS[field]
        return build(criterion=functions.pop("loss"), fields=functions)


def field_name(field: str | Function) -> str:
    """What a slice calls the mean of a field: a function by its own name."""
    return field if isinstance(field, str) else field.name.rpartition(":")[2].rpartition(".")[2]


def applicable_methods(model: Model | None, loss: Loss, device: str) -> tuple[str, ...]:
    """The methods that can compute this loss without a compiler, the plain loop first.

    model: None for one with fixed weights, which no method for perceptrons takes. device: "cpu" or "cuda".
    """
    is_perceptron = _is_batchable(model, loss)
    is_chain = isinstance(model, Mlp) and model.norm == "none" and not model.skip  # nothing to fold or to replace
    applicable = {
        "folded": loss.mode == "eval" and not is_chain,
        "image-kernels": device == "cpu" and not is_chain,
        "batched": is_perceptron,
        "vmap": is_perceptron or device == "cuda",
        "cuda-graph": device == "cuda" and not is_chain and loss.mode != "recalibrated",
    }
    return ("loop", *(method for method, is_applicable in applicable.items() if is_applicable))


def _is_batchable(model: Model | None, loss: Loss) -> bool:
    """Whether many points of a model pass together: of a perceptron, unless dropout draws for each."""
    return isinstance(model, Mlp) and not (model.dropout and loss.mode == "train")


def choose_method(model: Model | None, loss: Loss, moves_norms: bool, device: str) -> tuple[str, str]:
    """(method, reason) for computing this loss: the same for the same records on the same kind of device.

    model: None for one with fixed weights. moves_norms: whether the directions move the weights of batch norms. device:
    "cpu" or "cuda".
    """
    if loss.method is not None:
        return loss.method, "named by the scene"
    if _is_batchable(model, loss):
        return "batched", "small layers: many points pass together, with the samples last; the first layer once"
    if loss.mode == "eval":
        where = "at every point, since the directions move them" if moves_norms else "once for the whole slice"
        return "folded", f"eval mode: batch norms are folded into the layers before them, {where}"
    if device == "cpu":
        return "image-kernels", "batch statistics change from point to point; kernels for small pictures, channels last"
    return "loop", "batch statistics change from point to point; a GPU's own kernels"
