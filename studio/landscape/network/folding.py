"""A network in eval mode with its batch norms folded into the layers before them: the same function, fewer operations.

In eval mode a norm is affine, y = scale x + shift with scale = weight / sqrt(var + eps) and shift = bias - mean scale,
and so is the convolution or linear layer before it: together they are one layer with weights

    W' = scale W        b' = scale b + shift.

A norm is folded only where symbolic tracing shows that its input is one layer's output, which nothing else reads. A
network that cannot be traced, because its control flow depends on the data, keeps all its norms.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from studio.landscape.network.graph import first_input, has_no_hooks, trace_graph

LAYERS: dict[type[nn.Module], type[_BatchNorm]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.Linear: nn.BatchNorm1d,
}
"""Layers that fold, and the norm that may follow each. Subclasses may do other things and do not fold."""
Pair = tuple[str, str]
"""The full names of a layer and of the norm after it."""


class FoldedBatchNorm:
    """`model` is a copy in eval mode without the folded norms; `weights` computes its tensors from the original's.

    pairs: the folded norms, each with the layer before it. example: a few samples [n, ...], to see the shapes of the
    layers' outputs. The original is unchanged.
    """

    def __init__(self, model: nn.Module, example: Tensor):
        self.pairs = _pairs(model, example)
        self.model = copy.deepcopy(model).eval()
        self._original = {name: p.detach() for name, p in model.named_parameters()}
        modules = dict(self.model.named_modules())
        self._norms = {n: norm for _, n in self.pairs if isinstance(norm := modules[n], _BatchNorm)}
        for name, norm in self.pairs:
            self.model.set_submodule(norm, nn.Identity())
            layer = self.model.get_submodule(name)
            if layer.bias is None:
                weight = layer.get_parameter("weight")
                layer.bias = nn.Parameter(weight.new_zeros(weight.shape[0]))
            layer.requires_grad_()  # a frozen layer moves with its norm

    def weights(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors for `model` from the original's, differentiable in these; a missing one is the original's own."""
        tensors = {**self._original, **named}
        means = {norm: module.get_buffer("running_mean") for norm, module in self._norms.items()}
        return self._unfolded(named) | self._fold(tensors, tensors, means)

    def direction(self, theta: Mapping[str, Tensor], delta: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The direction in `model` of a direction delta in the original, or None if delta moves a folded norm's weight.

        weights(theta + alpha delta) is then weights(theta) + alpha direction(theta, delta), for every alpha.
        """
        if any(f"{norm}.weight" in delta and delta[f"{norm}.weight"].any() for norm in self._norms):
            return None
        zeros = {name: torch.zeros_like(tensor) for name, tensor in self._original.items()}
        scales, means = {**self._original, **theta}, dict.fromkeys(self._norms, 0)
        return self._unfolded(delta) | self._fold({**zeros, **delta}, scales, means)

    def _unfolded(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors outside the pairs, which are the same in both networks."""
        folded = {f"{module}.{kind}" for pair in self.pairs for module in pair for kind in ("weight", "bias")}
        return {name: tensor for name, tensor in named.items() if name not in folded}

    def _fold(
        self, named: Mapping[str, Tensor], scales: Mapping[str, Tensor], means: Mapping[str, Tensor | int]
    ) -> dict[str, Tensor]:
        """Weights and biases of the folded layers, with the norms' own weights taken from `scales`."""
        folded = {}
        for layer, norm in self.pairs:
            var, eps = self._norms[norm].get_buffer("running_var"), self._norms[norm].eps
            scale = (var + eps).rsqrt() * scales.get(f"{norm}.weight", 1)
            weight = named[f"{layer}.weight"]
            folded[f"{layer}.weight"] = scale.view(-1, *(1,) * (weight.dim() - 1)) * weight
            bias = scale * (named.get(f"{layer}.bias", 0) - means[norm])
            folded[f"{layer}.bias"] = bias + named.get(f"{norm}.bias", 0)
        return folded


def _pairs(model: nn.Module, example: Tensor) -> list[Pair]:
    graph = trace_graph(model)
    if graph is None:
        return []
    direct_tensors = {str(node.target) for node in graph.nodes if node.op == "get_attr"}  # read without their module
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    pairs = []
    for node in graph.nodes:
        pair = _called_pair(node)
        if pair is None or any(calls[name] > 1 for name in pair):
            continue
        is_read_directly = any(name.startswith(f"{part}.") for name in direct_tensors for part in pair)
        layer, norm = map(model.get_submodule, pair)
        if _folds(layer, norm) and not _is_shared(model, layer, norm) and not is_read_directly:
            pairs.append(pair)
    return [(layer, norm) for layer, norm in pairs if not _is_linear_over_more(model, layer, example)]


def _called_pair(node: fx.Node) -> Pair | None:
    """The two modules, if a node calls one on the output of another, which nothing else reads."""
    source = first_input(node)
    if source is None or node.op != "call_module" or source.op != "call_module" or len(source.users) > 1:
        return None
    return str(source.target), str(node.target)


def _folds(layer: nn.Module, norm: nn.Module) -> bool:
    """Whether the two are what their types say, with running statistics of as many channels as the layer has."""
    if not isinstance(norm, _BatchNorm) or type(norm) is not LAYERS.get(type(layer)):
        return False
    channels = layer.get_parameter("weight").shape[0]
    return has_no_hooks(layer) and has_no_hooks(norm) and norm.running_var is not None and norm.num_features == channels


def _is_shared(model: nn.Module, *layers: nn.Module) -> bool:
    """Whether another module has a parameter of the layers too."""
    count = Counter(id(p) for module in set(model.modules()) for p in module._parameters.values())
    return any(count[id(p)] > 1 for layer in layers for p in layer._parameters.values() if p is not None)


def _is_linear_over_more(model: nn.Module, layer: str, example: Tensor) -> bool:
    """Whether a layer is a linear one whose outputs have other dimensions than [N, features]."""
    private, dimensions = copy.deepcopy(model).eval(), list[int]()
    linear = private.get_submodule(layer)
    if not isinstance(linear, nn.Linear):
        return False
    linear.register_forward_hook(lambda _module, _inputs, output: dimensions.append(output.dim()))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        private(example)
    return dimensions[:1] != [2]
