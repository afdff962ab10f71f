"""The models a run can train, as records; the torch modules they build are in `nets`, or the user's own.

Every model takes samples [N, ...], as a rule images [N, C, H, W], and returns one logit per class [N, classes].
`build` draws the initial weights from its own seed and leaves torch's global generator as it was.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from studio.config.functions import FORM, Function
from studio.config.records import BY_KIND, FrozenDict, Record
from studio.errors import RunError, SceneError

if TYPE_CHECKING:
    from torch import nn

Norm = Literal["batch", "none"]
Shape = tuple[int, ...]
"""Of one sample."""
Width = Annotated[int, Field(ge=1)]


class Mlp(Record):
    """A multilayer perceptron: `depth` hidden layers of `width` units on the flattened sample.

    norm: `batch` normalises every hidden layer before its activation. skip: a shortcut over each pair of hidden layers
    after the first (He et al. 2016); it adds no parameters.
    """

    kind: Literal["mlp"] = "mlp"
    depth: int = Field(2, ge=0)
    width: Width = 64
    norm: Norm = "none"
    activation: Literal["relu", "tanh", "gelu", "silu", "elu"] = "relu"
    skip: bool = False

    def build(self, shape: Shape, classes: int, seed: int = 0) -> nn.Module:
        from studio.training import nets

        kind = {"batch_norm": self.norm == "batch", "activation": self.activation, "skip": self.skip}
        return nets.initialised(lambda: nets.mlp(shape, classes, self.depth, self.width, **kind), seed)


class Resnet(Record):
    """The CIFAR residual network of He et al. (2016), section 4.2: three stages of `width`, 2 and 4 times `width`.

    depth: layers with weights, 6n + 2 for n blocks a stage. skip: false leaves the shortcuts out, and with them nothing
    else: both nets have the same parameters. norm: batch normalisation after every convolution, or biases instead.
    """

    kind: Literal["resnet"] = "resnet"
    depth: int = 20
    width: Width = 16
    skip: bool = True
    norm: Norm = "batch"

    @field_validator("depth")
    @classmethod
    def _is_a_whole_number_of_blocks(cls, depth: int) -> int:
        if depth < 8 or depth % 6 != 2:
            blocks = max(1, round((depth - 2) / 6))
            raise ValueError(
                f"a resnet of depth {depth} cannot be built: depths are 8, 14, 20, 26, ... (6n + 2); "
                f"the nearest is {6 * blocks + 2}"
            )
        return depth

    def build(self, shape: Shape, classes: int, seed: int = 0) -> nn.Module:
        from studio.training import nets

        channels, blocks = _images("resnet", shape)[0], (self.depth - 2) // 6
        make = lambda: nets.Resnet(channels, classes, blocks, self.width, self.skip, self.norm == "batch")  # noqa: E731
        return nets.initialised(make, seed)


class Vgg(Record):
    """Convolutions in a row after Simonyan & Zisserman (2015), then a global average and one linear layer.

    widths: channels of each 3x3 convolution; the image is halved by max pooling after each, while it is larger than 1.
    """

    kind: Literal["vgg"] = "vgg"
    widths: tuple[Width, ...] = Field((32, 64, 128), min_length=1)
    norm: Norm = "batch"

    def build(self, shape: Shape, classes: int, seed: int = 0) -> nn.Module:
        from studio.training import nets

        images = _images("vgg", shape)
        return nets.initialised(lambda: nets.vgg(images, classes, self.widths, self.norm == "batch"), seed)


def _arguments(given: dict[str, Any]) -> FrozenDict:
    """Text that is a number, true or false becomes that; lists become tuples, so that the record can be hashed."""
    return FrozenDict((name, _argument(value)) for name, value in given.items())


def _argument(given: Any) -> Any:
    if isinstance(given, dict):
        return _arguments(given)
    if isinstance(given, (list, tuple)):
        return tuple(_argument(value) for value in given)
    return {"true": True, "false": False}.get(given, _number(given)) if isinstance(given, str) else given


def _number(text: str) -> int | float | str:
    kinds = () if text.lstrip("+-").isalpha() else (int, float)  # float would read nan and infinity: words, here
    for kind in kinds:
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


class Python(Record):
    """A model of the user's own: the torch module that a function of theirs returns.

    make: the function, looked for beside the scene first. arguments: what it is called with, by name; numbers, true and
    false are what they look like, all else is text. It is called with torch's global generator at the recipe's seed.
    """

    kind: Literal["python"] = "python"
    make: Function
    arguments: Annotated[dict[str, Any], AfterValidator(_arguments)] = FrozenDict()

    def build(self, shape: Shape, classes: int, seed: int = 0) -> nn.Module:
        from torch.nn import Module

        from studio.training import nets

        make = self.make.load()
        try:
            inspect.signature(make).bind(**self.arguments)
        except TypeError as error:
            raise SceneError(f"recipe.model.arguments: {self.make}{inspect.signature(make)}: {error}") from error
        model = nets.initialised(lambda: make(**self.arguments), seed)
        if not isinstance(model, Module):
            raise SceneError(f"recipe.model.make: {self.make} returns {type(model).__name__}, expected torch.nn.Module")
        return model


def _images(kind: str, shape: Shape) -> Shape:
    """The shape, if it is an image's. Raises RunError."""
    if len(shape) != 3:
        sizes = "x".join(map(str, shape))
        raise RunError(
            f"recipe.model: a {kind} takes images of channels, height and width; a sample here is {sizes}. "
            f"Choose mlp, or a model of your own: {{kind: python, make: {FORM}}}"
        )
    return shape


Model = Annotated[Mlp | Resnet | Vgg | Python, *BY_KIND]
