"""The models a run can train, as records; the torch modules they build are in `nets`.

Every model takes images [N, C, H, W] and returns one logit per class [N, classes]. `build` draws the initial weights
from its own seed and leaves torch's global generator as it was.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from ..spec import BY_KIND, Record

if TYPE_CHECKING:
    from torch import nn

Norm = Literal["batch", "none"]
Shape = tuple[int, int, int]
Width = Annotated[int, Field(ge=1)]


class Mlp(Record):
    """A multilayer perceptron: `depth` hidden layers of `width` rectified units on the flattened image."""

    kind: Literal["mlp"] = "mlp"
    depth: int = Field(2, ge=0)
    width: Width = 64

    def build(self, shape: Shape, classes: int, seed: int = 0) -> "nn.Module":
        from . import nets
        return nets.initialised(lambda: nets.mlp(shape, classes, self.depth, self.width), seed)


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
            raise ValueError(f"a resnet of depth {depth} cannot be built: depths are 8, 14, 20, 26, ... (6n + 2); "
                             f"the nearest is {6 * blocks + 2}")
        return depth

    def build(self, shape: Shape, classes: int, seed: int = 0) -> "nn.Module":
        from . import nets
        blocks = (self.depth - 2) // 6
        make = lambda: nets.Resnet(shape[0], classes, blocks, self.width, self.skip, self.norm == "batch")  # noqa: E731
        return nets.initialised(make, seed)


class Vgg(Record):
    """Convolutions in a row after Simonyan & Zisserman (2015), then a global average and one linear layer.

    widths: channels of each 3x3 convolution; the image is halved by max pooling after each, while it is larger than 1.
    """

    kind: Literal["vgg"] = "vgg"
    widths: tuple[Width, ...] = Field((32, 64, 128), min_length=1)
    norm: Norm = "batch"

    def build(self, shape: Shape, classes: int, seed: int = 0) -> "nn.Module":
        from . import nets
        return nets.initialised(lambda: nets.vgg(shape, classes, self.widths, self.norm == "batch"), seed)


Model = Annotated[Mlp | Resnet | Vgg, *BY_KIND]
