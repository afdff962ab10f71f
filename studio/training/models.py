"""Models as records. They build the torch modules of `nets`, or the user's own.

    module(x): samples x [N, ...], usually images [N, C, H, W] -> outputs [N, outputs], such as a logit per class

`build` draws the initial weights from its own seed and restores torch's global generator. A new model is a record with
`build`, in the union at the foot; its torch module belongs into `nets.py`.
"""

from __future__ import annotations

import difflib
import fnmatch
import inspect
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from studio.config.functions import FORM, MADE_BY_NAME, Arguments, Function
from studio.config.records import BY_KIND, FrozenDict, Record
from studio.errors import RunError, SceneError

if TYPE_CHECKING:
    from torch import nn

Norm = Literal["batch", "none"]
Shape = tuple[int, ...]
"""Shape of one sample."""
DEEPEST = 2000
"""Layers of a built-in network; the deepest of He et al. (2016) has 1202."""
Width = Annotated[int, Field(ge=1, le=2**16)]
Dropout = Annotated[float, Field(ge=0, lt=1, exclude_if=lambda share: share == 0)]  # digests are older than it


class Mlp(Record):
    """A multilayer perceptron on the flattened sample.

    depth: number of hidden layers. width: units per hidden layer. norm: `batch` normalises every hidden layer before
    its activation. activation: of every hidden layer. skip: a shortcut over each pair of hidden layers after the first
    (He et al. 2016); it adds no parameters. dropout: the share of the units of every hidden layer that are zero while
    it trains.
    """

    kind: Literal["mlp"] = "mlp"
    depth: int = Field(2, ge=0, le=DEEPEST)
    width: Width = 64
    norm: Norm = "none"
    activation: Literal["relu", "tanh", "gelu", "silu", "elu"] = "relu"
    skip: bool = False
    dropout: Dropout = 0.0

    def build(self, shape: Shape, outputs: int, seed: int = 0) -> nn.Module:
        """The module with initial weights drawn from `seed`."""
        from studio.training import nets

        make = partial(nets.mlp, shape, outputs, self.depth, self.width, batch_norm=self.norm == "batch")
        return nets.initialise(partial(make, activation=self.activation, skip=self.skip, dropout=self.dropout), seed)


class Resnet(Record):
    """The CIFAR residual network of He et al. (2016), section 4.2, of three stages.

    depth: layers with weights, 6n + 2 for n blocks per stage. width: channels of the first stage; the others have 2 and
    4 times as many. skip: false leaves out the shortcuts and nothing else, so both nets have the same parameters.
    norm: batch normalisation after every convolution, or `none` for biases instead.
    """

    kind: Literal["resnet"] = "resnet"
    depth: int = Field(20, le=DEEPEST)
    width: Width = 16
    skip: bool = True
    norm: Norm = "batch"

    @field_validator("depth")
    @classmethod
    def _is_a_whole_number_of_blocks(cls, depth: int) -> int:
        if depth < 8 or depth % 6 != 2:
            blocks = max(1, round((depth - 2) / 6))
            way_out = f"depths are 8, 14, 20, 26, ... (6n + 2); the nearest is {6 * blocks + 2}"
            raise ValueError(f"a resnet of depth {depth} cannot be built: {way_out}")
        return depth

    def build(self, shape: Shape, outputs: int, seed: int = 0) -> nn.Module:
        """The module with initial weights drawn from `seed`. Raises RunError unless a sample is an image."""
        from studio.training import nets

        channels, blocks = _images(self, shape)[0], (self.depth - 2) // 6
        make = partial(nets.Resnet, channels, outputs, blocks, self.width, self.skip, self.norm == "batch")
        return nets.initialise(make, seed)


class Vgg(Record):
    """A chain of convolutions after Simonyan & Zisserman (2015), then a global average and one linear layer.

    widths: channels of each 3x3 convolution; max pooling halves the image after each while a side is larger than 1.
    norm: batch normalisation after every convolution, or `none` for biases instead.
    """

    kind: Literal["vgg"] = "vgg"
    widths: tuple[Width, ...] = Field((32, 64, 128), min_length=1)
    norm: Norm = "batch"

    def build(self, shape: Shape, outputs: int, seed: int = 0) -> nn.Module:
        """The module with initial weights drawn from `seed`. Raises RunError unless a sample is an image."""
        from studio.training import nets

        images = _images(self, shape)
        return nets.initialise(partial(nets.vgg, images, outputs, self.widths, self.norm == "batch"), seed)


class Transformer(Record):
    """A small causal transformer: tokens [N, T] -> logits of the next token at each place [N, T, tokens].

    Each block is attention, then two layers with GELU, both after a layer norm and beside a shortcut (Radford et al.
    2019); weights have layer names such as `blocks.0.up`. depth: number of blocks. width: numbers per place, a multiple
    of heads. heads: of attention. dropout: the share of each branch that is zero while it trains.
    """

    kind: Literal["transformer"] = "transformer"
    depth: int = Field(2, ge=1, le=DEEPEST)
    width: Width = 64
    heads: int = Field(4, ge=1, le=2**10)
    dropout: Dropout = 0.0

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}; write a multiple of it")
        return self

    def build(self, shape: Shape, outputs: int, seed: int = 0) -> nn.Module:
        """The module with initial weights drawn from `seed`. Raises RunError unless a sample is a row of tokens."""
        from studio.training import nets

        if text := misfit(self, shape, True):
            raise RunError(f"recipe.model: {text}")
        make = partial(nets.Transformer, shape[0], outputs, self.depth, self.width, self.heads, self.dropout)
        return nets.initialise(make, seed)


class Gan(Record):
    """A generator of samples from latents, and a critic of samples, which train in turns; for `objective: wasserstein`.

    Both are perceptrons with SiLU, whose weights have names that begin with `generator.` and `critic.`.
    depth: number of hidden layers of each. width: units per hidden layer.
    """

    kind: Literal["gan"] = "gan"
    depth: int = Field(2, ge=1, le=DEEPEST)
    width: Width = 128

    def build(self, shape: Shape, outputs: int, seed: int = 0) -> nn.Module:
        """The module with initial weights drawn from `seed`. shape: of latents. outputs: numbers in a sample."""
        from studio.training import nets

        return nets.initialise(partial(nets.Gan, shape, outputs, self.depth, self.width), seed)


class Python(Record):
    """The user's own model: the torch module that their function returns.

    make: the function, searched beside the scene first; it is called with torch's global generator at the recipe's
    seed. arguments: its arguments by name; numbers, true and false are parsed, everything else is text.
    """

    kind: Literal["python"] = "python"
    make: Function
    arguments: Arguments = FrozenDict()

    def build(self, shape: Shape, outputs: int, seed: int = 0) -> nn.Module:
        """The module that `make` returns. Raises SceneError if the call does not fit or returns something else."""
        from torch.nn import Module

        from studio.training import nets

        make = self.make.load()
        try:
            inspect.signature(make).bind(**self.arguments)
        except TypeError as error:
            raise SceneError(f"recipe.model.arguments: {self.make}{inspect.signature(make)}: {error}") from error
        model = nets.initialise(partial(make, **self.arguments), seed)
        if not isinstance(model, Module):
            raise SceneError(f"recipe.model.make: {self.make} returns {type(model).__name__}, expected torch.nn.Module")
        return model


def misfit(model: Model, shape: Shape, is_whole: bool) -> str | None:
    """Why a model cannot take samples of a shape, and the way out; None if it can. is_whole: if they are integers."""
    own = f"a model of your own: {{kind: python, make: {FORM}}}"
    if isinstance(model, Resnet | Vgg) and len(shape) != 3:
        sizes = f"images of channels, height and width; a sample here is {'x'.join(map(str, shape))}"
        return f"a {model.kind} takes {sizes}. Choose mlp, or {own}"
    if isinstance(model, Transformer) and (len(shape) != 1 or not is_whole):
        sizes = f"rows of whole numbers, and a sample here is {'x'.join(map(str, shape))}"
        return f"a transformer takes {sizes} {'whole' if is_whole else 'real'} ones. Choose `data: text`, or {own}"
    if isinstance(model, Mlp | Gan) and is_whole:
        kind, way_out = "an mlp" if isinstance(model, Mlp) else "a gan", f"save them as float32, or take {own}"
        return f"{kind} takes real numbers, and the samples are whole, like tokens; {way_out}"
    return None


def _images(model: Resnet | Vgg, shape: Shape) -> tuple[int, int, int]:
    """The shape (C, H, W), if it is an image's. Raises RunError if it is not."""
    if text := misfit(model, shape, False):
        raise RunError(f"recipe.model: {text}")
    channels, height, width = shape
    return channels, height, width


def without_values(model: Model, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The module of a model of any size, whose weights have names and shapes, and take no memory."""
    import torch

    with torch.device("meta"):
        return model.build(shape, outputs)


def move_only(patterns: Sequence[str], model: nn.Module, key: str = "run.parameters") -> nn.Module:
    """The model with only those weights trainable that match a pattern. Raises SceneError for a pattern of none."""
    trainable = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    for pattern in patterns:
        if not fnmatch.filter(trainable, pattern):
            close = ", ".join(difflib.get_close_matches(pattern, trainable, n=3, cutoff=0)) or "none"
            raise SceneError(f"{key}: '{pattern}' matches no weight that trains; the nearest: {close}")
    for name, weight in trainable.items():
        if weight.is_complex() and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            raise SceneError(f"{key}: {name} is complex, and directions are real; name the weights that are real")
        weight.requires_grad_(any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))
    return model


Model = Annotated[Mlp | Resnet | Vgg | Transformer | Gan | Python, *BY_KIND, *MADE_BY_NAME]
