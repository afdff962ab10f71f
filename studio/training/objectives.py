"""What a training run minimises, as records: built-in functions of a network's outputs, or a function of the user's.

    L(theta) = 1/N sum over samples of loss(model at theta, sample)

Training, scoring, measuring and curvature ask the record, and nothing else looks at a network's outputs. A new
objective is a record with the methods of `CrossEntropy`, in the union at the foot; its torch function belongs into
`losses.py`. Importing this module loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, GetJsonSchemaHandler

from studio.config.functions import FORM, SCHEMA, Function
from studio.config.records import BY_KIND, Record
from studio.training.data import Layout

if TYPE_CHECKING:
    from studio.training.losses import OutputFunction, SampleNumbers


class CrossEntropy(Record):
    """-log of the probability of each sample's label, from one output per class. Its metric is accuracy, in percent."""

    kind: Literal["cross-entropy"] = "cross-entropy"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __str__(self) -> str:
        return self.kind

    def field(self, number: str) -> str:
        """What a look calls the mean of a number."""
        return number

    def outputs(self, data: Layout) -> int:
        """How many outputs a built-in model has for such data."""
        return data.classes

    def misfit(self, data: Layout) -> str | None:
        """Why the objective cannot take such data, and the way out; None if it can."""
        if data.classes:
            return None
        return (
            f"cross-entropy needs labels, whole numbers from 0, and the targets are {data.targets}; write "
            f"`objective: mean-squares`, or a function of your own: {FORM}"
        )

    def functions(self) -> dict[str, OutputFunction]:
        """`loss` and the metrics, as functions of a network's outputs and its targets."""
        from studio.training.losses import accuracy, cross_entropy

        return {"loss": cross_entropy, "accuracy": accuracy}


class MeanSquares(Record):
    """(output - target)^2 of each sample, the mean over its outputs.

    Outputs and targets are of one shape, or one of them is a list of the other's numbers. Without targets the outputs
    are compared with the sample itself, as an autoencoder's are.
    """

    kind: Literal["mean-squares"] = "mean-squares"
    metrics: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        return self.kind

    def field(self, number: str) -> str:
        """What a look calls the mean of a number."""
        return number

    def outputs(self, data: Layout) -> int:
        """One for every number of a target."""
        return data.width

    def misfit(self, data: Layout) -> str | None:
        """None: any numbers can be compared."""
        return None

    def functions(self) -> dict[str, OutputFunction]:
        """`loss` alone."""
        from studio.training.losses import mean_squares

        return {"loss": mean_squares}


class BinaryCrossEntropy(Record):
    """-y log p - (1 - y) log(1 - p) of each sample, the mean over its outputs, with p = 1 / (1 + exp(-output)).

    Outputs and targets are of one shape. Its metric is accuracy, in percent.
    """

    kind: Literal["binary-cross-entropy"] = "binary-cross-entropy"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __str__(self) -> str:
        return self.kind

    def field(self, number: str) -> str:
        """What a look calls the mean of a number."""
        return number

    def outputs(self, data: Layout) -> int:
        """One for every number of a target."""
        return data.width

    def misfit(self, data: Layout) -> str | None:
        """Why not, unless the targets are from 0 to 1."""
        if data.target is not None and 0 <= data.range[0] <= data.range[1] <= 1:
            return None
        return f"binary-cross-entropy needs targets from 0 to 1, and they are {data.targets}"

    def functions(self) -> dict[str, OutputFunction]:
        """`loss` and accuracy."""
        from studio.training.losses import binary_accuracy, binary_cross_entropy

        return {"loss": binary_cross_entropy, "accuracy": binary_accuracy}


class UserObjective(Record):
    """The user's own objective: a function (model, batch) -> losses.

    function: model is the network at the weights that are measured; batch is (x, y), or x alone if the data has no
    targets. It returns a tensor of one loss for each sample [N], or a dict of `loss` and further numbers [N], whose
    means are metrics and measured fields by their names; a look draws one as `package.module:name.number`.
    """

    kind: Literal["python"] = "python"
    function: Function

    def __str__(self) -> str:
        return self.function.name

    def outputs(self, data: Layout) -> int:
        """One per class if the targets are labels, else one for every number of a target."""
        return data.classes or data.width

    def misfit(self, data: Layout) -> str | None:
        """None: the function decides."""
        return None

    def field(self, number: str) -> str:
        """What a look calls the mean of a number: `loss` and `accuracy` by their names."""
        return number if number in ("loss", "accuracy") else f"{self.function}.{number}"

    def load(self) -> SampleNumbers:
        """The function, its results checked. Raises SceneError if it cannot be loaded."""
        from studio.training.losses import of_function

        return of_function(self.function.name, self.function.load())


class _FunctionIsObjective:
    """Adds a function's bare name to the JSON Schema of an objective."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core_schema), SCHEMA]}


def _read(value: Any) -> Any:
    is_function = isinstance(value, str) and ":" in value
    return {"kind": "python", "function": value} if is_function else value


Objective = Annotated[
    CrossEntropy | MeanSquares | BinaryCrossEntropy | UserObjective,
    *BY_KIND,
    BeforeValidator(_read),
    _FunctionIsObjective(),
]
CROSS_ENTROPY = CrossEntropy()
"""What a run minimises if it says nothing else."""
