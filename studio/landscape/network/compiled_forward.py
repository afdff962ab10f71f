"""Forward-only network, compiled once per slice: its kernels and its weight layout are fixed before the first point.

A pass of a small network is a thousand operations of a few microseconds, and most of them compute nothing: they check a
layout, or copy a weight into the order in which a kernel reads it. Here each layer is a function whose kernel is chosen
once, and all weights lie in one packed vector in the order in which the kernels read them. Every number of that vector
is one of the weights or zero, so that a point costs one vector addition,

    packed(theta + alpha delta) = packed(theta) + alpha packed(delta).

A few points of small pictures pass side by side, in batch slots that share each operation. The outputs are the
network's to rounding. With AVX-512 they round by the slot, so a row has the same bytes only as a whole.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata
from torch.nn import functional as F

from studio.landscape.network import compiled_layers, graph, kernels
from studio.landscape.network.compiled_layers import CompiledLayer, Transform

MAX_FEATURES, MAX_SLOTS = 3 * 2**16, 3
"""Numbers in the largest features of all points that pass side by side, and how many points these are at most."""
ALIGNMENT = 16
"""Numbers: every weight begins on a cache line."""


class WeightLayout(NamedTuple):
    """Where a weight stands in a packed vector, and its transform."""

    name: str
    transform: Transform
    offset: int
    shape: torch.Size

    def view(self, packed: Tensor) -> Tensor:
        """The weight [..., *shape] in packed vectors [..., Q]."""
        part = packed[..., self.offset : self.offset + self.shape.numel()]
        return part.view(part.shape[:-1] + self.shape)


class CompiledForward:
    """The forward pass of a network in its present mode, at several points side by side."""

    def __init__(self, module: fx.GraphModule, names: Mapping[int, str], example: Tensor, batch_size: int):
        _set_shapes(module, example, batch_size)
        self._channels = _wide_channels(module)
        self.batch_slots = 1 if self._channels is None else _batch_slots(module)
        self._names, self._layouts, self._size = names, list[WeightLayout](), 0
        layers = _compile_layers(module, self.batch_slots, self._channels)
        sources = {
            node: [None if tensor is None else self._pack(tensor, transform) for tensor, transform in layer.reads]
            for node, layer in layers.items()
        }
        others = [(p, self._pack(p, compiled_layers.identity)) for p in _other_parameters(module, layers)]
        self._packed = next(module.parameters()).new_zeros(self.batch_slots, self._size)
        for parameter, source in others:
            parameter.data = self._read(source)[0]
        for node, layer in layers.items():
            function = layer.build(*(None if source is None else self._read(source) for source in sources[node]))
            graph.replace_call(module.graph, node, function)
        module.recompile()
        self._module = module

    @classmethod
    def of(cls, module: nn.Module, example: Tensor, batch_size: int) -> CompiledForward | None:
        """The compiled network; None if it has no graph. `module` must not be used afterwards.

        The module must not write its buffers, nor update running statistics in train mode. example: a few samples
        [n, ...], two at least for batch statistics. batch_size: samples per pass, which decides kernels and slots.
        """
        graph_module = graph.inplace_ops(module)
        if graph_module is module or not isinstance(graph_module, fx.GraphModule):
            return None
        names = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
        with torch.no_grad():
            return cls(graph_module, names, example, batch_size)

    def flat(self, named: Mapping[str, Tensor]) -> Tensor:
        """The weights of `named` as a packed vector [Q]."""
        packed = self._packed.new_zeros(self._size)
        for layout in self._layouts:
            layout.view(packed).copy_(layout.transform(named[layout.name].detach()))
        return packed

    def set_weights(self, weights: Tensor, slot: int = 0) -> None:
        """Gives a slot the packed weights [Q]."""
        self._packed[slot].copy_(weights)

    def set_weights_along(self, base: Tensor, direction: Tensor, step: float, slot: int = 0) -> None:
        """Gives a slot the packed weights base + step direction."""
        torch.add(base, direction, alpha=step, out=self._packed[slot])

    def arrange(self, x: Tensor) -> Tensor:
        """Samples [N, C, H, W] in the layout that the first layer reads."""
        if self._channels is None:
            return graph.channels_last(x)
        return kernels.to_hwnc(compiled_layers.pad_channels(x, self._channels))

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs [slots, N, ...] for samples that `arrange` returned, at the slots' weights."""
        outputs: Tensor = self._module(x)
        return torch.unflatten(outputs, 0, (-1, self.batch_slots)).transpose(0, 1)

    def _pack(self, tensor: Tensor, transform: Transform) -> WeightLayout | Tensor:
        """The layout of a trainable weight, at the end of the packed vector; a frozen weight itself, transformed."""
        if id(tensor) not in self._names:
            return transform(tensor.detach()).contiguous()
        layout = WeightLayout(self._names[id(tensor)], transform, self._size, transform(tensor.detach()).shape)
        self._layouts.append(layout)
        self._size += -(-layout.shape.numel() // ALIGNMENT) * ALIGNMENT
        return layout

    def _read(self, source: WeightLayout | Tensor) -> Tensor:
        """A weight for every slot, [slots, ...]."""
        if isinstance(source, WeightLayout):
            return source.view(self._packed)
        return source.expand(self.batch_slots, *source.shape)


def _set_shapes(module: fx.GraphModule, example: Tensor, batch_size: int) -> None:
    """Sets `meta["shape"]` of every node: the shape of its result for a batch of that size."""
    ShapeProp(module).propagate(example)
    for node in module.graph.nodes:
        result = node.meta.get("tensor_meta")
        if isinstance(result, TensorMetadata) and result.shape:
            node.meta["shape"] = torch.Size((result.shape[0] * batch_size // len(example), *result.shape[1:]))


def _shape(node: fx.Node | None) -> torch.Size:
    """The shape of a node's result; empty if that is not one tensor."""
    shape = node.meta.get("shape") if node else None
    return shape if isinstance(shape, torch.Size) else torch.Size()


def _wide_channels(module: fx.GraphModule) -> int | None:
    """The channels that samples are padded to if the first layer convolves them as one wide picture; None if not."""
    samples = next(node for node in module.graph.nodes if node.op == "placeholder")
    shape = _shape(samples)
    if len(samples.users) != 1 or len(shape) != 4:
        return None
    conv, size = graph.called_module(module, next(iter(samples.users))), shape.numel() // shape[1]
    if not kernels.is_zero_padded(conv) or not graph.has_no_hooks(conv):
        return None
    if conv.groups > 1 or kernels.is_tiny(conv, shape):
        return None
    channels = max(shape[1], kernels.MIN_INPUT_SIZE // size + 1)
    fits = shape[3] <= kernels.MAX_WIDTH and channels <= kernels.MAX_CHANNELS
    return channels if fits and channels * size <= kernels.MAX_INPUT_SIZE else None


def _batch_slots(module: fx.GraphModule) -> int:
    """How many points pass side by side: one, unless features are small and every operation keeps samples apart."""
    nodes = [node for node in module.graph.nodes if node.op not in ("placeholder", "output")]
    slots = min(MAX_SLOTS, MAX_FEATURES // max(_shape(node).numel() for node in nodes))
    return slots if slots > 1 and all(_keeps_samples_apart(module, node, slots) for node in nodes) else 1


def _keeps_samples_apart(module: fx.GraphModule, node: fx.Node, slots: int) -> bool:
    """Whether an operation treats each sample by itself, or is a layer that supports slots."""
    layer = graph.called_module(module, node)
    if layer is not None:
        return graph.has_no_hooks(layer) and _supports_slots(layer, graph.first_input(node), slots)
    if node.op == "call_method":
        return node.target == "relu" or (node.target == "mean" and node.args[1:] == ((2, 3),) and not node.kwargs)
    if node.target is operator.getitem:
        index = node.args[1]
        return isinstance(index, tuple) and index[:1] == (slice(None),)
    if node.target is F.pad:
        padding = node.args[1]
        return isinstance(padding, list | tuple) and len(padding) < 2 * len(_shape(node))
    return node.target in (*graph.RELUS, *graph.ADDITIONS, torch.relu_, graph.add_)


def _supports_slots(layer: nn.Module, source: fx.Node | None, slots: int) -> bool:
    shape = _shape(source)
    if kernels.is_zero_padded(layer):
        is_small = len(shape) == 4 and shape[1] <= kernels.MAX_CHANNELS and shape[3] <= kernels.MAX_WIDTH
        fits = is_small and kernels.MIN_INPUT_SIZE / slots < shape.numel() <= kernels.MAX_INPUT_SIZE
        return fits or kernels.is_tiny(layer, shape) or (source is not None and source.op == "placeholder")
    if type(layer) is nn.Linear:
        return len(shape) == 2
    return type(layer) is nn.ReLU or (type(layer) is nn.BatchNorm2d and layer.training)


def _compile_layers(module: fx.GraphModule, slots: int, channels: int | None) -> dict[fx.Node, CompiledLayer]:
    """The layers that are compiled, by their calls."""
    layers: dict[fx.Node, CompiledLayer] = {}
    for node in module.graph.nodes:
        layer, source = graph.called_module(module, node), graph.first_input(node)
        if layer is None or source is None or len(node.args) != 1 or node.kwargs or not graph.has_no_hooks(layer):
            continue
        shape = _shape(source)
        if type(layer) is nn.Linear and slots > 1:
            layers[node] = compiled_layers.linear(layer)
        elif len(shape) != 4:
            continue
        elif kernels.is_zero_padded(layer):
            if source.op == "placeholder" and channels is not None:
                layers[node] = compiled_layers.first_convolution(layer, channels)
            else:
                layers[node] = compiled_layers.convolution(layer, shape, slots)
        elif type(layer) is nn.BatchNorm2d and layer.training:
            in_place = source in layers and len(source.users) == 1
            layers[node] = compiled_layers.batch_norm(layer, in_place, source.meta["tensor_meta"].dtype)
        elif type(layer) is nn.MaxPool2d:
            layers[node] = compiled_layers.max_pool(layer)
    return layers


def _other_parameters(module: fx.GraphModule, layers: Mapping[fx.Node, CompiledLayer]) -> list[nn.Parameter]:
    """The trainable parameters that operations outside the compiled layers read, each once."""
    others = [graph.called_module(module, node) for node in module.graph.nodes if node not in layers]
    direct = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    named = dict(module.named_parameters(remove_duplicate=False))
    parameters = [p for layer in others if layer is not None for p in layer.parameters()]
    parameters += [p for name, p in named.items() if name in direct]
    return [p for p in dict.fromkeys(parameters) if p.requires_grad]
