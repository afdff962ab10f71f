"""One run of a network's program, and its derivatives: the operations in order forward, and in reverse backward.

jvp: d outputs = J d weights        vjp: g_weights = J' g        vjp_tangent: d(J' g) along the last jvp
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx

from studio.landscape.curvature.pearlmutter.operation import Operation, UnknownOperationError
from studio.landscape.curvature.pearlmutter.program import HvpProgram, Named, evaluate_shape, is_shape

Entry = tuple[Operation, tuple[fx.Node | None, ...], dict[str, str]]
"""An active operation; the nodes of its inputs, None for those not active; of its weights that move, {name in the
operation: name in the network}."""


class Tape:
    """A network at B points on samples x [N, ...], run once, with the operations that depend on weights that move.

    weights: of the network [B, *shape] by name; a missing one is the network's own. moving: names of those that move.
    outputs: [B, N, ...], or [1, N, ...] if none moves. Raises UnknownOperationError.
    """

    def __init__(self, program: HvpProgram, weights: Mapping[str, Tensor], moving: set[str], x: Tensor):
        self._program, self._weights, self._moving = program, weights, moving
        self._points = max((len(weight) for weight in weights.values()), default=1)
        self._entries: dict[fx.Node, Entry] = {}
        values: dict[fx.Node, Any] = {}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                values[node] = x[None]
            elif node.op == "output":
                self._result, self.outputs = node.args[0], values[node.args[0]]
            elif is_shape(node, values):
                values[node] = evaluate_shape(node, values)
            else:
                values[node] = self._run(node, values)

    def _run(self, node: fx.Node, values: dict[fx.Node, Any]) -> Tensor:
        """Runs one operation and records it if it is active."""
        tensors = [arg for arg in node.args if isinstance(arg, fx.Node) and isinstance(values[arg], Tensor)]
        if not tensors or tensors[0] is not node.args[0]:
            raise UnknownOperationError
        inputs = tuple(arg if arg in self._entries else None for arg in tensors)
        operation = self._program.operation(node, values, any(inputs))
        parameters = self._program.parameters(node, operation)
        weights = {
            kind: self._weights.get(name, default.expand(self._points, *default.shape[1:]))
            for kind, (name, default) in parameters.items()
        }
        y = operation.forward(*[values[arg] for arg in tensors], *[weights.get(kind) for kind in operation.weights])
        moving = {kind: name for kind, (name, _) in parameters.items() if name in self._moving}
        if any(inputs) or moving:
            self._entries[node] = operation, inputs, moving
        return y

    def vjp(self, g: Tensor) -> Named:
        """The weights' gradients from the outputs' gradient: once, before the first `jvp`."""
        return self._backward(g, tangent=False)

    def jvp(self, tangents: Mapping[str, Tensor]) -> Tensor | None:
        """The outputs' tangent along those of the weights; None if no output depends on a weight that moves."""
        along: dict[fx.Node | None, Tensor] = {}
        for node, (operation, inputs, moving) in self._entries.items():
            weights = [tangents[moving[kind]] if kind in moving else None for kind in operation.weights]
            along[node] = operation.jvp(*[along.get(arg) for arg in inputs], *weights)
        return along.get(self._result)

    def vjp_tangent(self, dg: Tensor) -> Named:
        """The change of the weights' gradients along the last `jvp`, if the outputs' gradient changes by dg."""
        return self._backward(dg, tangent=True)

    def _backward(self, g: Tensor, tangent: bool) -> Named:
        cotangents, gradients = {self._result: g}, Named()
        for node, (operation, inputs, moving) in reversed(self._entries.items()):
            if node not in cotangents:
                continue
            backward = operation.vjp_tangent if tangent else operation.vjp
            by_inputs, by_weights = backward(cotangents.pop(node), any(inputs))
            for arg, part in zip(inputs, by_inputs, strict=True):
                if arg is not None and part is not None:
                    _add(cotangents, arg, part)
            for kind, name in moving.items():
                _add(gradients, name, by_weights[kind])
        return gradients


def _add(sums: dict[Any, Tensor], key: object, part: Tensor) -> None:
    sums[key] = sums[key] + part if key in sums else part
