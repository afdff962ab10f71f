"""The loss of one network on one fixed set of samples, as a function of its weights alone.

    L(theta) = 1/N sum over samples of cross-entropy(network(x; theta), y)

The network is a private copy: the caller's keeps its weights, buffers, mode and gradients, and torch's random numbers
stand afterwards where they stood. Weights pass through here as one flat vector [P], the trainable tensors in the
model's own order; frozen ones keep their values.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .folded import fold

CHUNK = {"cpu": 128, "cuda": 4096}
"""Samples that pass through the network together in eval mode; in train mode all do, for their statistics."""
KEPT = 1024
"""Up to so many samples the graph of the gradient is kept in memory from one Hessian product to the next."""


class Objective:
    """Loss, accuracy and Hessian products of a classifier on samples x [N, ...] with labels y [N].

    buffers: put in place of the model's own, by name. mode: "train" takes batch statistics over all N samples as one
    batch and leaves running ones alone; dropout draws the same mask at every point. path: "plain" or "folded", which
    agree to rounding.
    """

    def __init__(self, model: nn.Module, buffers: Mapping[str, Tensor], x: Tensor, y: Tensor,
                 mode: Literal["eval", "train"] = "eval", device: str = "cpu", path: str = "plain"):
        self._model = copy.deepcopy(model).to(device).train(mode == "train")
        own = dict(self._model.named_buffers())
        with torch.no_grad():
            for name, tensor in buffers.items():
                own[name].copy_(tensor)
        _forget_running_statistics(self._model)
        if path == "folded":
            fold(self._model)
        self.device, self.samples = device, len(y)
        pieces = len(y) if mode == "train" else CHUNK[device]
        self._chunks = list(zip(x.to(device).split(pieces), y.to(device).split(pieces), strict=True))
        self._parameters = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        self._flat = torch.cat([p.detach().reshape(-1) for p in self._parameters.values()])
        for parameter, place in zip(self._parameters.values(), self._split(self._flat), strict=True):
            parameter.data = place

    @property
    def size(self) -> int:
        """P, how many trainable weights there are."""
        return self._flat.numel()

    def flat(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The trainable tensors of `weights` as one vector [P] on the objective's device."""
        return torch.cat([weights[name].reshape(-1) for name in self._parameters]).to(self.device)

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = flat.split([p.numel() for p in self._parameters.values()])
        return [part.view(p.shape) for part, p in zip(parts, self._parameters.values(), strict=True)]

    @torch.inference_mode()
    def measure(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy in percent at weights [P]: two scalars, left on the device."""
        self._flat.copy_(weights)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        hits = torch.zeros((), dtype=torch.float64, device=self.device)
        for x, y in self._chunks:
            with fixed_masks(self.device):
                logits = self._model(x)
            loss += _total(logits, y)
            hits += (logits.argmax(1) == y).sum()
        return loss / self.samples, 100 * hits / self.samples

    def product(self, weights: Tensor) -> Callable[[Tensor], Tensor]:
        """The function v [P] -> H v [P], with the Hessian H at weights [P].

        The gradient's graph is built once and kept, so that a product is one pass back through it (Pearlmutter 1994).
        """
        leaves = [part.detach().clone().requires_grad_() for part in self._split(weights)]
        kept = [self._gradient(leaves, *chunk) for chunk in self._chunks] if self.samples <= KEPT else None

        def times(v: Tensor) -> Tensor:
            total = torch.zeros_like(weights)
            parts = self._split(v.to(weights))
            for gradient in kept or (self._gradient(leaves, *chunk) for chunk in self._chunks):
                total += _pulled(gradient, leaves, parts)
            return total
        return times

    def _gradient(self, leaves: list[Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self._parameters, leaves, strict=True))
        with torch.enable_grad(), fixed_masks(self.device):
            loss = _total(torch.func.functional_call(self._model, named, (x,)), y) / self.samples
            return torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True)


def _total(logits: Tensor, y: Tensor) -> Tensor:
    # float64: the sum then rounds no more than the network did, and a loss beyond float32's exp stays finite
    return F.cross_entropy(logits.double(), y, reduction="sum")


def _pulled(gradient: tuple[Tensor, ...], leaves: list[Tensor], v: list[Tensor]) -> Tensor:
    """sum over i of v_i d(gradient_i) / d(leaves), flat; a gradient that depends on no weight adds nothing."""
    live = [(g, part) for g, part in zip(gradient, v, strict=True) if g.requires_grad]
    if not live:
        return torch.cat([torch.zeros_like(leaf).reshape(-1) for leaf in leaves])
    outputs, cotangents = zip(*live, strict=True)
    columns = torch.autograd.grad(outputs, leaves, cotangents, retain_graph=True, materialize_grads=True)
    return torch.cat([column.reshape(-1) for column in columns])


def _forget_running_statistics(model: nn.Module) -> None:
    """In train mode running statistics are neither used nor updated."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.training:
            module.track_running_stats = False


@contextlib.contextmanager
def fixed_masks(device: str) -> Iterator[None]:
    """Inside, torch's random numbers start from the same place every time; afterwards they go on as if unused."""
    with torch.random.fork_rng(devices=[torch.device(device)] if device != "cpu" else [], device_type="cuda"):
        torch.default_generator.manual_seed(0)
        if device != "cpu":
            torch.cuda.manual_seed(0)
        yield
