"""Products with the Hessian of a loss by two passes through the network, one there and one back (Pearlmutter 1994).

For every point and chunk of samples the activations and the gradient's cotangents are computed once. Along a direction
v the tangents of the activations go forward, then the changes of the cotangents come back: what they leave at the
weights is H v. What an operation does in each pass is said in `operation`, and done in `weighted` and `nodes`.

Folded weights W(theta), of eval mode, are products of theta's tensors: with G = dL/dW, H v = W' dG + (W' G)' v.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from studio.landscape.curvature.pearlmutter.operation import Operation, UnknownOperation
from studio.landscape.curvature.pearlmutter.parameterless import (
    ADDITIONS,
    CURVES,
    LAYERS,
    MOVES,
    RECTIFIERS,
    WRITES,
    Moved,
    Pointwise,
    Rectifier,
    Same,
    Sum,
)
from studio.landscape.curvature.pearlmutter.parametric import Columns
from studio.landscape.network.graph import NEW, bare, reordered, traced
from studio.landscape.network.weight_loss import WeightLoss

CLOSE = 1e-3
"""How far outputs may be from the network's own, relative to the largest: more than rounding ever makes of it."""

Named = dict[str, Tensor]
"""Weights, or numbers for each of them, [B, *shape] at B points."""


class Plan:
    """The operations of an objective's network, if each is one that is written out. moving: weights that may move."""

    def __init__(self, objective: WeightLoss, moving: Iterable[str]):
        self._objective, self.moving = objective, set(moving)
        self.folds = objective.mode == "eval" and bool(objective.fused.pairs)
        network = objective.fused.model if self.folds else objective.network.module
        self._names = {id(p): name for name, p in network.named_parameters()}
        ordered = reordered(network)
        self.graph, self._modules = traced(ordered), dict(ordered.named_modules())
        self._columns = any(type(module) is nn.BatchNorm1d for module in self._modules.values())

    @classmethod
    def of(cls, objective: WeightLoss, moving: Iterable[str]) -> Plan | None:
        """None for a network that is not known through and through, and where torch's own way is taken."""
        if objective.mode == "recalibrated" or objective.kind != "cpu" or objective.precision == "bf16":
            return None
        plan = cls(objective, moving)
        return plan if plan.graph is not None and plan._is_right() else None

    def _is_right(self) -> bool:
        """Whether the operations make of a few samples what the network makes of them, at its own weights."""
        objective, x = self._objective, self._objective.inputs[:2]
        named = {name: p.detach() for name, p in objective.network.parameters.items()}
        try:
            with torch.no_grad():
                weights = self.weights({name: p[None] for name, p in named.items()})
                found = Passes(self, weights, set(), x).outputs[0]
        except (UnknownOperation, RuntimeError, TypeError, ValueError):
            return False
        with torch.no_grad():
            wanted = objective.outputs(named, x)
        return found.shape == wanted.shape and torch.allclose(
            found, wanted, rtol=0, atol=CLOSE * float(wanted.abs().max()), equal_nan=True
        )

    def weights(self, named: Mapping[str, Tensor]) -> Named:
        """Of the network that is run, from the objective's: differentiable."""
        return torch.func.vmap(self._objective.fused.weights)(dict(named)) if self.folds else dict(named)

    def owned(self, node: fx.Node, operation: Operation) -> dict[str, tuple[str, Tensor]]:
        """The full name and the present value of the weights of a node, by the name that its operation has for them."""
        module = self._modules[node.target] if operation.weights else None
        found = {kind: getattr(module, kind) for kind in operation.weights}
        return {kind: (self._names[id(p)], p.detach()[None]) for kind, p in found.items() if p is not None}

    def operation(self, node: fx.Node, values: Mapping[fx.Node, Any], moves: bool) -> Operation:
        """What a node of the graph does. Raises UnknownOperation."""
        module = self._modules[node.target] if node.op == "call_module" else None
        if self._writes(node, module) and not self._owns(node.args[0]):
            raise UnknownOperation
        if module is not None:
            return self._layer(node, module, values, moves)
        _x, *rest = node.args
        if node.target in ADDITIONS and not node.kwargs and len(rest) == 1 and isinstance(values.get(rest[0]), Tensor):
            return Sum()
        rest, more = fx.map_arg((tuple(rest), dict(node.kwargs)), values.__getitem__)
        if any(isinstance(each, Tensor) for each in (*rest, *more.values())):
            raise UnknownOperation
        if node.target in RECTIFIERS:
            return Rectifier()
        if node.target in CURVES:
            return Pointwise(partial(_called, node, rest, more))
        if node.target in MOVES and (
            node.target is not F.pad
            or (
                not any(more.get(key) for key in ("value",))
                and more.get("mode", "constant") == "constant"
                and len(rest) == 1
            )
        ):
            return Same() if _changes_nothing(node) else Moved(partial(_called, node, rest, more))
        raise UnknownOperation

    def _layer(self, node: fx.Node, module: nn.Module, values: Mapping[fx.Node, Any], moves: bool) -> Operation:
        if not bare(module) or len(node.args) != 1 or node.kwargs:
            raise UnknownOperation
        if type(module) is nn.Dropout and not (module.training and module.p):
            return Same()
        if type(module) not in LAYERS:
            raise UnknownOperation
        if self._columns and type(module) is nn.Linear and values[node.args[0]].dim() == 3:
            return Columns()
        return LAYERS[type(module)](module, values[node.args[0]], moves)

    def _writes(self, node: fx.Node, module: nn.Module | None) -> bool:
        return (
            getattr(module, "inplace", False)
            or node.target in WRITES
            or node.kwargs.get("inplace", False)
            or (node.target is F.relu and len(node.args) > 1)
        )

    def _owns(self, node: fx.Node) -> bool:
        """Whether a node returns a new tensor, which one other uses: it may be written into."""
        layer = type(self._modules[node.target]) if node.op == "call_module" else None
        return len(node.users) == 1 and (layer in NEW or (layer is None and node.target in ADDITIONS))


def _changes_nothing(node: fx.Node) -> bool:
    """Whether a shortcut that fits other blocks too leaves things as they are in this one."""
    if node.target is F.pad:
        return not any(node.args[1])
    whole = (slice(None), slice(None, None, 1))
    return (
        node.target is operator.getitem
        and isinstance(node.args[1], tuple)
        and all(each in whole for each in node.args[1])
    )


def _called(node: fx.Node, rest: tuple, more: Mapping[str, Any], x: Tensor) -> Tensor:
    if node.op == "call_function":
        return node.target(x, *rest, **more)
    # here pictures lie in memory as few networks expect, so that their views may have to be copies
    return getattr(x, "reshape" if node.target == "view" else node.target)(*rest, **more)


class Call(NamedTuple):
    """One operation at work: the nodes of its inputs that move (None for others), and its weights' names."""

    node: fx.Node
    operation: Operation
    inputs: tuple[fx.Node | None, ...]
    names: dict[str, str]


class Passes:
    """A network at B points on samples x [N, ...], run once. outputs: [B, N, ...], or [1, N, ...] if nothing moves."""

    def __init__(self, plan: Plan, weights: Mapping[str, Tensor], moving: set[str], x: Tensor):
        self._moving, self._calls, values, moved = moving, [], {}, set()
        points = max((len(weight) for weight in weights.values()), default=1)
        for node in plan.graph.nodes:
            if node.op == "placeholder":
                values[node] = x[None]
            elif node.op == "output":
                self._result, self.outputs = node.args[0], values[node.args[0]]
            elif _is_a_fact(node, values):
                first, *rest = fx.map_arg(node.args, values.__getitem__)
                first = first[0] if isinstance(first, Tensor) else first
                values[node] = _called(node, rest, node.kwargs, first)
            else:
                given = [each for each in node.args if isinstance(each, fx.Node) and isinstance(values[each], Tensor)]
                if not given or given[0] is not node.args[0]:
                    raise UnknownOperation
                inputs = tuple(each if each in moved else None for each in given)
                operation = plan.operation(node, values, any(inputs))
                owned = plan.owned(node, operation)
                parts = {
                    kind: weights.get(name, own.expand(points, *own.shape[1:])) for kind, (name, own) in owned.items()
                }
                values[node] = operation.forward(
                    *[values[each] for each in given], *[parts.get(kind) for kind in operation.weights]
                )
                names = {kind: name for kind, (name, _) in owned.items() if name in moving}
                if any(inputs) or names:
                    moved.add(node)
                    self._calls.append(Call(node, operation, inputs, names))

    def pull(self, g: Tensor) -> Named:
        """What the weights' gradients are, from the outputs': once, before anything is pushed."""
        return self._pulled(g, "pull")

    def push(self, tangents: Mapping[str, Tensor]) -> Tensor | None:
        """The outputs' tangents along those of the weights; None if they stay the same."""
        along: dict[fx.Node | None, Tensor] = {}
        for node, operation, inputs, names in self._calls:
            parts = [tangents.get(names.get(kind)) for kind in operation.weights]
            along[node] = operation.push(*[along.get(each) for each in inputs], *parts)
        return along.get(self._result)

    def pull_back(self, dg: Tensor) -> Named:
        """How the weights' gradients change along what was pushed last, as the outputs' do by dg."""
        return self._pulled(dg, "pull_back")

    def _pulled(self, g: Tensor, how: str) -> Named:
        cotangents, slopes = {self._result: g}, {}
        for node, operation, inputs, names in reversed(self._calls):
            if node not in cotangents:
                continue
            found = getattr(operation, how)(cotangents.pop(node), any(inputs))
            for each, part in zip(inputs, found.inputs, strict=True):
                if each is not None:
                    cotangents[each] = cotangents[each] + part if each in cotangents else part
            for kind, name in names.items():
                part = found.weights[kind]
                slopes[name] = slopes[name] + part if name in slopes else part
        return slopes


def _is_a_fact(node: fx.Node, values: Mapping[fx.Node, Any]) -> bool:
    """Whether a node is a number or a shape, and no tensor."""
    first = values.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
    if isinstance(first, Tensor):
        return node.target in ("size", "dim") or (node.target is getattr and node.args[1] == "shape")
    return node.op == "call_function" and first is not None and getattr(node.target, "__module__", "") == "_operator"


class Curvature:
    """Of what some samples x have of a loss, at B points: its gradient, and products with its Hessian.

    named: the objective's weights [B, *shape]; those that require a gradient move, in their order. loss: of outputs
    [B, N, ...], a number. slopes: the gradient, tensor by tensor.
    """

    def __init__(self, plan: Plan, named: Named, x: Tensor, loss: Callable[[Tensor], Tensor]):
        self._leaves = [leaf for leaf in named.values() if leaf.requires_grad]
        with torch.enable_grad():
            weights = plan.weights(named)
        self._weights = {name: weight for name, weight in weights.items() if weight.requires_grad}
        with torch.no_grad():
            self._passes = Passes(plan, {name: w.detach() for name, w in weights.items()}, set(self._weights), x)
        outputs = self._passes.outputs
        self._outputs = outputs.expand(len(next(iter(named.values()))), *outputs.shape[1:]).detach().requires_grad_()
        with torch.enable_grad():
            (self._g,) = torch.autograd.grad(loss(self._outputs), self._outputs, create_graph=True)
        with torch.no_grad():
            slopes = self._each(self._passes.pull(self._g.detach()))
        self._folded = plan.folds
        if self._folded:
            with torch.enable_grad():
                self._slopes = [slope.requires_grad_() for slope in slopes]
                self._turned = self._to_leaves(self._slopes, create_graph=True)
            slopes = [slope.detach() for slope in self._turned]
        self.slopes = tuple(slopes)

    def product(self, v: list[Tensor]) -> list[Tensor]:
        """H v, tensor by tensor, for v by the leaves' shapes."""
        if not self._folded:
            return self._changes(v)
        found = torch.autograd.grad(
            self._turned, [*self._leaves, *self._slopes], v, retain_graph=True, materialize_grads=True
        )
        bent, along = found[: len(v)], found[len(v) :]
        return [a + b for a, b in zip(bent, self._to_leaves(self._changes(along)), strict=True)]

    def _changes(self, along: Sequence[Tensor]) -> list[Tensor]:
        """How the gradient by the weights of the network that is run changes along theirs."""
        with torch.no_grad():
            tangent = self._passes.push(dict(zip(self._weights, along, strict=True)))
        if tangent is None or not self._g.requires_grad:
            dg = torch.zeros_like(self._outputs)
        else:
            (dg,) = torch.autograd.grad(self._g, self._outputs, tangent, retain_graph=True)
        with torch.no_grad():
            return self._each(self._passes.pull_back(dg))

    def _each(self, found: Named) -> list[Tensor]:
        """For every moving weight what was found, or zeros for one that the outputs do not depend on."""
        return [found[name] if name in found else torch.zeros_like(w) for name, w in self._weights.items()]

    def _to_leaves(self, slopes: list[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            list(self._weights.values()),
            self._leaves,
            slopes,
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )
