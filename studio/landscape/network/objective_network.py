"""A network and the user's objective as one network, from indices of samples to the numbers of the objective.

    i [n]  ->  numbers [n, F] of samples x[i], y[i]: the loss, then the others

So what measures a network's outputs chunk by chunk measures an objective that runs the network itself: the loss of each
sample is column 0 of these outputs. Its weights are the model's own, by the model's own names.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from studio.landscape.network.graph import replace_forward
from studio.training.batches import X
from studio.training.device import restored_random_numbers
from studio.training.losses import OutputFunction, SampleNumbers


class ObjectiveNetwork(nn.Module):
    """The numbers of an objective on samples x [N, ...] with targets y [N, ...], or none, as the outputs of a network.

    columns: names of the numbers, `loss` first; found by a pass of two samples through a copy of the model.
    """

    def __init__(self, model: nn.Module, numbers: SampleNumbers, x: X, y: Tensor | None):
        super().__init__()
        # the same dictionaries: whoever sets this module's weights, buffers or layers sets the model's
        for kind in ("_parameters", "_buffers", "_modules"):
            self.__dict__[kind] = model.__dict__[kind]
        self.__dict__["_model"] = model  # no submodule, whose weights would have other names
        self._numbers, self._x, self._y = numbers, x, y
        with torch.no_grad(), restored_random_numbers(x.device.type):
            found = numbers(copy.deepcopy(model).eval(), x[:2], None if y is None else y[:2])
        self.columns = tuple(name for name in found if name != "weight")  # which is in the others already
        # a replaced forward: nobody takes this for a network whose operations are known
        replace_forward(self, self._forward)

    def train(self, mode: bool = True) -> ObjectiveNetwork:
        """Sets the mode of both."""
        self.__dict__["_model"].train(mode)
        return super().train(mode)

    def _forward(self, indices: Tensor) -> Tensor:
        model, y = self.__dict__["_model"], None if self._y is None else self._y[indices]
        numbers = self._numbers(model, self._x[indices], y)
        return torch.stack([numbers[name] for name in self.columns], 1)

    def functions(self) -> dict[str, OutputFunction]:
        """The numbers by name, as functions of this network's outputs."""
        return {name: lambda outputs, _, i=i: outputs[:, i] for i, name in enumerate(self.columns)}  # type: ignore[misc]
