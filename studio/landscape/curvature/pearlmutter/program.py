"""A network as a program of written-out operations: y = f_n(... f_2(f_1(x))), one operation per node of its graph.

`MODULES` and the lists of calls name the operation of each node; a new one is a class with the methods of
`operation.Operation`, and a line there. In eval mode the network is the one with folded batch norms.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from studio.landscape.curvature.pearlmutter.convolutions import convolution
from studio.landscape.curvature.pearlmutter.linear import Linear
from studio.landscape.curvature.pearlmutter.norms import batch_norm
from studio.landscape.curvature.pearlmutter.operation import Operation, UnknownOperationError
from studio.landscape.curvature.pearlmutter.parameterless import LinearMap, MaxPool, Pointwise, ReLU, Sum
from studio.landscape.network.batched import POINTWISE
from studio.landscape.network.graph import ALLOCATING_LAYERS, has_no_hooks, pool_before_relu, trace_graph
from studio.landscape.network.weight_loss import WeightLoss

Named = dict[str, Tensor]
"""Weights, or numbers for each of them, [B, *shape] at B points."""
Values = Mapping[fx.Node, Any]
"""What the nodes of a graph return: tensors [B, N, ...], or numbers and shapes."""

CURVES = (*POINTWISE, nn.SELU, nn.CELU, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Softsign, nn.LogSigmoid)
MAPS = (nn.Flatten, nn.Unflatten, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ZeroPad2d)

MODULES: Mapping[type[nn.Module], Callable[[Any, Tensor, bool], Operation]] = {
    nn.Conv2d: convolution,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.MaxPool2d: lambda layer, x, input_active: MaxPool(layer),
    **dict.fromkeys(CURVES, lambda layer, x, input_active: Pointwise(layer)),
    **dict.fromkeys(MAPS, lambda layer, x, input_active: LinearMap(layer)),
    nn.Identity: lambda layer, x, input_active: Sum(),
    nn.ReLU: lambda layer, x, input_active: ReLU(),
}
"""(module, its input [B, N, ...], whether that is active) -> the operation; linear layers are made apart."""

# functions, and methods by name
RELU_CALLS = {F.relu, torch.relu, torch.relu_, "relu", "relu_"}
SUM_CALLS = {operator.add, operator.iadd, torch.add, "add", "add_"}
CURVE_CALLS = {
    *(F.gelu, F.silu, F.mish, F.elu, F.selu, F.celu, F.leaky_relu, F.softplus, F.hardswish, F.relu6),
    *(F.tanh, F.sigmoid, torch.tanh, torch.sigmoid, "tanh", "sigmoid"),
}
MAP_CALLS = {
    *(torch.flatten, torch.mean, torch.sum, torch.reshape, torch.permute, torch.transpose, torch.squeeze),
    *(torch.unsqueeze, torch.neg, operator.neg, operator.getitem, F.avg_pool2d, F.adaptive_avg_pool2d, F.pad),
    *("flatten", "mean", "sum", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous"),
    *("neg", "movedim"),
}
INPLACE_CALLS = {operator.iadd, torch.relu_, "add_", "relu_"}
"""Those that write into their first argument."""


class HvpProgram:
    """The operations of the network that a WeightLoss runs.

    graph: their order. folds: whether batch norms are folded, so that the network's weights are functions of theta.
    """

    def __init__(self, weight_loss: WeightLoss, network: nn.Module, ordered: nn.Module, graph: fx.Graph, folds: bool):
        self._weight_loss, self.graph, self.folds = weight_loss, graph, folds
        self._names = {id(p): name for name, p in network.named_parameters()}
        self._modules = dict(ordered.named_modules())
        self._samples_last = any(type(module) is nn.BatchNorm1d for module in self._modules.values())

    @classmethod
    def of(cls, weight_loss: WeightLoss) -> HvpProgram | None:
        """The program of a loss's network; None if it has no graph. `operation` raises for an unknown operation."""
        folds = weight_loss.mode == "eval" and bool(weight_loss.folding.pairs)
        network = weight_loss.folding.model if folds else weight_loss.network.module
        ordered = pool_before_relu(network)
        graph = trace_graph(ordered)
        return None if graph is None else cls(weight_loss, network, ordered, graph, folds)

    def weights(self, named: Mapping[str, Tensor]) -> Named:
        """The network's weights from theta's tensors `named` [B, *shape]: differentiable in them."""
        if not self.folds:
            return dict(named)
        weights: Named = torch.func.vmap(self._weight_loss.folding.weights)(dict(named))
        return weights

    def parameters(self, node: fx.Node, operation: Operation) -> dict[str, tuple[str, Tensor]]:
        """{name in the operation: (full name, present value [1, *shape])} of a node's weights."""
        if not operation.weights:
            return {}
        module = self._modules[str(node.target)]
        parameters = {name: getattr(module, name) for name in operation.weights}
        return {name: (self._names[id(p)], p.detach()[None]) for name, p in parameters.items() if p is not None}

    def operation(self, node: fx.Node, values: Values, input_active: bool) -> Operation:
        """The operation of a node, at the values of its inputs. Raises UnknownOperationError."""
        module = self._modules[str(node.target)] if node.op == "call_module" else None
        x = node.args[0]
        if _writes_input(node, module) and not (isinstance(x, fx.Node) and self._is_temporary(x)):
            raise UnknownOperationError
        return self._call(node, values) if module is None else self._layer(node, module, values, input_active)

    def _call(self, node: fx.Node, values: Values) -> Operation:
        """The operation of a function or method."""
        _, *rest = node.args
        tensors = [arg for arg in rest if isinstance(arg, fx.Node) and isinstance(values[arg], Tensor)]
        if node.target in SUM_CALLS and not node.kwargs and len(rest) == len(tensors) == 1:
            return Sum()
        args, kwargs = fx.map_arg((tuple(rest), dict(node.kwargs)), values.__getitem__)
        if any(isinstance(argument, Tensor) for argument in (*args, *kwargs.values())):
            raise UnknownOperationError
        if node.target in RELU_CALLS:
            return ReLU()
        function = partial(call, node, args, kwargs)
        if node.target in CURVE_CALLS:
            return Pointwise(function)
        if node.target in MAP_CALLS and (node.target is not F.pad or _pads_zeros(args, kwargs)):
            return Sum() if _is_identity(node) else LinearMap(function)
        raise UnknownOperationError

    def _layer(self, node: fx.Node, module: nn.Module, values: Values, input_active: bool) -> Operation:
        """The operation of a module."""
        if not has_no_hooks(module) or len(node.args) != 1 or node.kwargs or not isinstance(node.args[0], fx.Node):
            raise UnknownOperationError
        if type(module) is nn.Dropout and not (module.training and module.p):
            return Sum()
        x: Tensor = values[node.args[0]]
        if type(module) is nn.Linear:
            return Linear(self._samples_last and x.dim() == 3)
        if type(module) not in MODULES:
            raise UnknownOperationError
        return MODULES[type(module)](module, x, input_active)

    def _is_temporary(self, node: fx.Node) -> bool:
        """Whether a node returns a new tensor with one user only, which may overwrite it."""
        layer = type(self._modules[str(node.target)]) if node.op == "call_module" else None
        is_sum = layer is None and node.target in SUM_CALLS
        return len(node.users) == 1 and (layer in ALLOCATING_LAYERS or is_sum)


def is_shape(node: fx.Node, values: Values) -> bool:
    """Whether a node returns a number or a shape, and no tensor."""
    first = values.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
    if isinstance(first, Tensor):
        return node.target in ("size", "dim") or (node.target is getattr and node.args[1] == "shape")
    return node.op == "call_function" and first is not None and getattr(node.target, "__module__", "") == "_operator"


def evaluate_shape(node: fx.Node, values: Values) -> Any:
    """The number or shape that a node of `is_shape` returns, for tensors without their first dimension, the point."""
    first, *rest = fx.map_arg(node.args, values.__getitem__)
    return call(node, rest, node.kwargs, first[0] if isinstance(first, Tensor) else first)


def call(node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any], x: Any) -> Any:
    """The result of a node's function or method on x."""
    if callable(node.target):
        return node.target(x, *args, **kwargs)
    # images lie in memory here as few networks expect, so that their views may have to be copies
    return getattr(x, "reshape" if node.target == "view" else node.target)(*args, **kwargs)


def _writes_input(node: fx.Node, module: nn.Module | None) -> bool:
    inplace = getattr(module, "inplace", False) or node.kwargs.get("inplace", False)
    return bool(inplace) or node.target in INPLACE_CALLS or (node.target is F.relu and len(node.args) > 1)


def _pads_zeros(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    return len(args) == 1 and not kwargs.get("value") and kwargs.get("mode", "constant") == "constant"


def _is_identity(node: fx.Node) -> bool:
    """Whether a shortcut that pads or subsamples in other blocks does neither in this one."""
    argument = node.args[1] if len(node.args) > 1 else None
    if node.target is F.pad:
        return isinstance(argument, Sequence) and not any(argument)
    everything = (slice(None), slice(None, None, 1))
    return node.target is operator.getitem and isinstance(argument, tuple) and all(i in everything for i in argument)
