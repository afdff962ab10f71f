"""The same network in eval mode with its batch norms folded into the layers before them.

There a norm is affine, y = scale x + shift with scale = weight / sqrt(var + eps) and shift = bias - mean scale, and so
is the convolution or linear layer it follows: together they are one layer with weights

    W' = scale W        b' = scale b + shift.

A norm is folded only where symbolic tracing shows that it is fed by one layer, whose output nobody else uses. A network
that cannot be traced, because its path depends on the data, keeps all its norms.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from studio.landscape.network.graph import bare, traced

LAYERS = {nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d, nn.Linear: nn.BatchNorm1d}
"""What folds, and the norm that may follow it. Subclasses may do other things and are left alone."""


class Pair(NamedTuple):
    """The full names of a layer and of the norm after it."""

    layer: str
    norm: str


class Fused:
    """`model` is a copy in eval mode whose folded norms do nothing; `weights` gives it what the original has.

    example: a few samples, to see what the layers return. The original is not touched.
    """

    def __init__(self, model: nn.Module, example: Tensor):
        self.pairs = _pairs(model, example)
        self.model = copy.deepcopy(model).eval()
        self._own = {name: p.detach() for name, p in model.named_parameters()}
        self._norms = {norm: self.model.get_submodule(norm) for _, norm in self.pairs}
        for name, norm in self.pairs:
            self.model.set_submodule(norm, nn.Identity())
            layer = self.model.get_submodule(name)
            if layer.bias is None:
                layer.bias = nn.Parameter(layer.weight.new_zeros(layer.weight.shape[0]))
            layer.requires_grad_()  # a frozen layer moves with its norm

    def weights(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors for `model`, from those of the original by name; what is not given is the original's own.

        Differentiable in `named`.
        """
        every = {**self._own, **named}
        means = {norm: module.running_mean for norm, module in self._norms.items()}
        return self._rest(named) | self._folded(every, every, means)

    def direction(self, theta: Mapping[str, Tensor], delta: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The direction in `model` of a direction delta in the original, or None if delta moves a folded norm's weight.

        weights(theta + alpha delta) is then weights(theta) + alpha direction(theta, delta), for every alpha.
        """
        if any(f"{norm}.weight" in delta and delta[f"{norm}.weight"].any() for norm in self._norms):
            return None
        still = {name: torch.zeros_like(tensor) for name, tensor in self._own.items()}
        scales, means = {**self._own, **theta}, dict.fromkeys(self._norms, 0)
        return self._rest(delta) | self._folded({**still, **delta}, scales, means)

    def _rest(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is the same in both networks."""
        gone = {f"{owner}.{kind}" for pair in self.pairs for owner in pair for kind in ("weight", "bias")}
        return {name: tensor for name, tensor in named.items() if name not in gone}

    def _folded(self, named: Mapping[str, Tensor], scales: Mapping[str, Tensor], means: Mapping) -> dict[str, Tensor]:
        """Weights and biases of the folded layers; the norms' weights are taken from `scales`."""
        found = {}
        for layer, norm in self.pairs:
            scale = (self._norms[norm].running_var + self._norms[norm].eps).rsqrt() * scales.get(f"{norm}.weight", 1)
            weight = named[f"{layer}.weight"]
            found[f"{layer}.weight"] = scale.view(-1, *(1,) * (weight.dim() - 1)) * weight
            found[f"{layer}.bias"] = scale * (named.get(f"{layer}.bias", 0) - means[norm])
            found[f"{layer}.bias"] = found[f"{layer}.bias"] + named.get(f"{norm}.bias", 0)
        return found


# --- finding pairs ---------------------------------------------------------------------------------------------------


def _pairs(model: nn.Module, example: Tensor) -> list[Pair]:
    graph = traced(model)
    if graph is None:
        return []
    named = {node.target for node in graph.nodes if node.op == "get_attr"}  # weights used by themselves too
    modules = dict(model.named_modules())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    found = []
    for node in graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        layer, norm = modules[source.target], modules[node.target]
        if type(norm) is LAYERS.get(type(layer)) and calls[source.target] == calls[node.target] == 1:
            pair = Pair(source.target, node.target)
            used = any(name.startswith(f"{part}.") for name in named for part in pair)
            if _folds(layer, norm) and not _shared(model, layer, norm) and not used:
                found.append(pair)
    return [
        pair
        for pair in found
        if not isinstance(modules[pair.layer], nn.Linear) or _dimensions(model, pair.layer, example) == 2
    ]


def _folds(layer: nn.Module, norm: nn.Module) -> bool:
    """Whether the two are what their types say, with statistics of as many channels as the layer has."""
    return bare(layer) and bare(norm) and norm.running_var is not None and norm.num_features == layer.weight.shape[0]


def _shared(model: nn.Module, *layers: nn.Module) -> bool:
    """Whether a parameter of the layers is anybody else's too."""
    count = Counter(id(p) for module in set(model.modules()) for p in module._parameters.values())
    return any(count[id(p)] > 1 for layer in layers for p in layer._parameters.values() if p is not None)


def _dimensions(model: nn.Module, layer: str, example: Tensor) -> int:
    """How many dimensions the layer's output has."""
    seen = []
    watched = copy.deepcopy(model).eval()
    watched.get_submodule(layer).register_forward_hook(lambda module, given, result: seen.append(result.dim()))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        watched(example)
    return seen[0] if seen else 0
