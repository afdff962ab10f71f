"""A network of which only values are wanted, with all that is the same at every point settled before the first.

A small network passes in a thousand operations of a few microseconds, and most of them only arrange: they look at a
layout, or copy a weight into the order in which a kernel reads it. Here each layer is a function whose kernel is chosen
once, and whose weights stand in one vector as the kernels read them, those of a tiny picture as its whole matrix. Every
number of that vector is one of the weights or zero, so that a point needs one addition for all layers,

    laid(theta + alpha delta) = laid(theta) + alpha laid(delta).

And a few points of small pictures pass side by side, in lanes, which share each operation: the samples of the lanes
stand together, x [N lanes, C, H, W], and a layer's weights are [lanes, ...]. The kernels and statistics are those of
`wide`; the function is the same to rounding, and a point has the same bytes in every lane.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata
from torch.nn import functional as F

from studio.landscape.network import kernels
from studio.landscape.network.graph import ADDITIONS, RECTIFIERS, add_, bare, channels_last, tightened

TOGETHER, MOST_LANES = 3 * 2**16, 3
"""Numbers in the largest features of all points that pass side by side, and how many points these are at most."""
ALIGNED = 16
"""Numbers: every weight begins on a cache line."""

Step = Callable[[Tensor], Tensor]
"""What a layer does, at the weights that stand in the vector."""
Lay = Callable[[Tensor], Tensor]
"""A weight as a kernel reads it; linear."""


class Layer(NamedTuple):
    """What is settled of a layer: the tensors it reads, each with how it is laid, and what makes its step of them.

    The step is made of what is laid for every lane, [lanes, ...].
    """

    reads: list[tuple[Tensor | None, Lay]]
    step: Callable[..., Step]


class Slot(NamedTuple):
    """Where in a vector a weight stands, and how."""

    name: str
    lay: Lay
    first: int
    shape: torch.Size

    def of(self, vectors: Tensor) -> Tensor:
        """The weight [..., *shape] in vectors [..., Q]."""
        part = vectors[..., self.first : self.first + self.shape.numel()]
        return part.view(part.shape[:-1] + self.shape)


class Settled:
    """A network of which only values are wanted, in its present mode, at several points side by side.

    `of` makes it; `put` and `move` give its lanes their weights, vectors [Q] that `flat` makes.
    """

    def __init__(self, made: fx.GraphModule, names: Mapping[int, str], example: Tensor, together: int):
        _measure(made, example, together)
        self._channels = _channels(made)
        self.lanes = 1 if self._channels is None else _lanes(made)
        self._names, self._slots, self._size = names, [], 0
        layers = _layers(made, self.lanes, self._channels)
        places = {node: [self._place(*read) for read in layer.reads] for node, layer in layers.items()}
        others = [(p, self._place(p, _plain)) for p in _others(made, layers)]
        self._vectors = next(made.parameters()).new_zeros(self.lanes, self._size)
        for parameter, place in others:
            parameter.data = self._read(place)[0]
        for node, layer in layers.items():
            _replace(made.graph, node, layer.step(*map(self._read, places[node])))
        made.recompile()
        self._run = made

    @classmethod
    def of(cls, module: nn.Module, example: Tensor, together: int) -> Settled | None:
        """The network `module`, which is taken over; None if it has no graph.

        It must not write its buffers, nor keep running statistics in train mode. example: a few samples, two at least
        for batch statistics. together: how many will pass at once, by which kernels and lanes are chosen.
        """
        made = tightened(module)
        if made is module:
            return None
        names = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
        with torch.no_grad():
            return cls(made, names, example, together)

    def flat(self, named: Mapping[str, Tensor]) -> Tensor:
        """The weights of `named` as a vector."""
        vector = self._vectors.new_zeros(self._size)
        for slot in self._slots:
            slot.of(vector).copy_(slot.lay(named[slot.name].detach()))
        return vector

    def put(self, weights: Tensor, lane: int = 0) -> None:
        """Places a vector in a lane."""
        self._vectors[lane].copy_(weights)

    def move(self, base: Tensor, along: Tensor, by: float, lane: int = 0) -> None:
        """Places base + by along in a lane."""
        torch.add(base, along, alpha=by, out=self._vectors[lane])

    def laid(self, x: Tensor) -> Tensor:
        """Samples as the network takes them."""
        return channels_last(x) if self._channels is None else kernels.beside(_padded(x, self._channels))

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs [lanes, N, ...] for samples that are `laid`, at the weights last placed."""
        y = self._run(x)
        return y.unflatten(0, (-1, self.lanes)).transpose(0, 1)

    def _place(self, tensor: Tensor | None, lay: Lay) -> Slot | Tensor | None:
        """Room for a trainable weight; a frozen one as it is read."""
        if tensor is None or id(tensor) not in self._names:
            return tensor if tensor is None else lay(tensor.detach()).contiguous()
        slot = Slot(self._names[id(tensor)], lay, self._size, lay(tensor.detach()).shape)
        self._slots.append(slot)
        self._size += -(-slot.shape.numel() // ALIGNED) * ALIGNED
        return slot

    def _read(self, place: Slot | Tensor | None) -> Tensor | None:
        if isinstance(place, Slot):
            return place.of(self._vectors)
        return place if place is None else place.expand(self.lanes, *place.shape)


# --- the graph -------------------------------------------------------------------------------------------------------


def _measure(made: fx.GraphModule, example: Tensor, together: int) -> None:
    """Notes the shape of every result, as it will be of so many samples."""
    ShapeProp(made).propagate(example)
    for node in made.graph.nodes:
        known = node.meta.get("tensor_meta")
        if isinstance(known, TensorMetadata) and known.shape:
            node.meta["shape"] = torch.Size((known.shape[0] * together // len(example), *known.shape[1:]))


def _shape(node: fx.Node) -> torch.Size:
    """Of a result that is one tensor; else of no dimensions."""
    return node.meta.get("shape", torch.Size())


def _channels(made: fx.GraphModule) -> int | None:
    """How many channels the samples have when the first layer passes them as a wide picture; None if it does not."""
    samples = next(node for node in made.graph.nodes if node.op == "placeholder")
    first, shape = next(iter(samples.users), samples), _shape(samples)
    if len(samples.users) != 1 or first.op != "call_module" or len(shape) != 4:
        return None
    conv, numbers = made.get_submodule(first.target), shape.numel() // shape[1]
    if not (bare(conv) and kernels.is_zero_padded(conv) and conv.groups == 1) or kernels.is_tiny(conv, shape):
        return None
    channels = max(shape[1], kernels.FEWEST_NUMBERS // numbers + 1)
    fits = (
        shape[3] <= kernels.WIDEST and channels <= kernels.MOST_CHANNELS and channels * numbers <= kernels.MOST_NUMBERS
    )
    return channels if fits else None


def _lanes(made: fx.GraphModule) -> int:
    """How many points pass side by side: one, unless pictures are small and all that is done keeps samples apart."""
    nodes = [node for node in made.graph.nodes if node.op not in ("placeholder", "output")]
    lanes = min(MOST_LANES, TOGETHER // max(_shape(node).numel() for node in nodes))
    return lanes if lanes > 1 and all(_keeps_apart(made, node, lanes) for node in nodes) else 1


def _keeps_apart(made: fx.GraphModule, node: fx.Node, lanes: int) -> bool:
    """Whether an operation takes each sample by itself, or is a layer that knows of lanes."""
    if node.op == "call_module":
        module, shape = made.get_submodule(node.target), _shape(node.args[0])
        if kernels.is_zero_padded(module):
            fits = (
                len(shape) == 4
                and shape[1] <= kernels.MOST_CHANNELS
                and shape[3] <= kernels.WIDEST
                and (lanes * shape.numel() > kernels.FEWEST_NUMBERS and shape.numel() <= kernels.MOST_NUMBERS)
            )
            return bare(module) and (fits or kernels.is_tiny(module, shape) or node.args[0].op == "placeholder")
        known = (
            type(module) is nn.ReLU
            or (type(module) is nn.Linear and len(shape) == 2)
            or (type(module) is nn.BatchNorm2d and module.training)
        )
        return known and bare(module)
    if node.op == "call_method":
        return node.target == "relu" or (node.target == "mean" and node.args[1:] == ((2, 3),) and not node.kwargs)
    if node.target is operator.getitem:
        return isinstance(node.args[1], tuple) and node.args[1][:1] == (slice(None),)
    if node.target is F.pad:
        return len(node.args[1]) < 2 * len(_shape(node))
    return node.target in (*RECTIFIERS, *ADDITIONS, torch.relu_, add_)


def _layers(made: fx.GraphModule, lanes: int, channels: int | None) -> dict[fx.Node, Layer]:
    """The layers that are settled, by their calls."""
    found = {}
    for node in made.graph.nodes:
        if node.op != "call_module" or len(node.args) != 1 or node.kwargs:
            continue
        module, source = made.get_submodule(node.target), node.args[0]
        shape = _shape(source)
        if not bare(module):
            continue
        if type(module) is nn.Linear and lanes > 1:
            found[node] = Layer([(module.weight, _plain), (module.bias, _plain)], _linear)
        elif len(shape) != 4:
            continue
        elif kernels.is_zero_padded(module):
            first = source.op == "placeholder" and channels is not None
            found[node] = _first(module, channels) if first else _convolution(module, shape, lanes)
        elif type(module) is nn.BatchNorm2d and module.training:
            owned = source in found and len(source.users) == 1
            found[node] = _batch_norm(module, owned, source.meta["tensor_meta"].dtype)
        elif type(module) is nn.MaxPool2d:
            found[node] = Layer([], lambda pool=module: lambda x: pool(channels_last(x)))
    return found


def _others(made: fx.GraphModule, layers: Mapping[fx.Node, Layer]) -> set[nn.Parameter]:
    """The trainable parameters that are read by what stays as it is."""
    read = [
        p
        for node in made.graph.nodes
        if node.op == "call_module" and node not in layers
        for p in made.get_submodule(node.target).parameters()
    ]
    named = dict(made.named_parameters(remove_duplicate=False))
    read += [named[node.target] for node in made.graph.nodes if node.op == "get_attr" and node.target in named]
    return {p for p in read if p.requires_grad}


def _replace(graph: fx.Graph, node: fx.Node, step: Step) -> None:
    with graph.inserting_before(node):
        node.replace_all_uses_with(graph.call_function(step, node.args))
    graph.erase_node(node)


# --- layers ----------------------------------------------------------------------------------------------------------


def _plain(weight: Tensor) -> Tensor:
    return weight


def _by_taps(weight: Tensor) -> Tensor:
    return weight.permute(0, 2, 3, 1)


def _padded(x: Tensor, channels: int) -> Tensor:
    """x [N, C, ...] with more channels, of zeros."""
    return F.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))


def _first(conv: nn.Conv2d, channels: int) -> Layer:
    """The convolution of samples that have been given more channels; all lanes look at the same ones."""
    return Layer(
        [(conv.weight, lambda weight: _by_taps(_padded(weight, channels))), (conv.bias, _plain)],
        partial(_wide, conv, shared=True),
    )


def _convolution(conv: nn.Conv2d, shape: torch.Size, lanes: int) -> Layer:
    if kernels.is_tiny(conv, shape):
        return Layer(
            [(conv.weight, partial(kernels.matrix, h=shape[2], w=shape[3])), (conv.bias, _plain)],
            lambda matrix, bias: lambda x: kernels.tiny(x, matrix, bias),
        )

    # chosen here, for fewer samples too: another kernel would round otherwise
    make = _wide if lanes > 1 or kernels.is_wide(conv, shape) else _narrow
    return Layer([(conv.weight, _by_taps), (conv.bias, _plain)], partial(make, conv))


def _narrow(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> Step:
    """weight: [1, O, kh, kw, C]."""
    kernel, offset = weight[0].permute(0, 3, 1, 2), None if bias is None else bias[0]
    settings = conv.stride, conv.padding, conv.dilation, conv.groups
    return lambda x: torch.conv2d(channels_last(x), kernel, offset, *settings)


def _wide(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None, shared: bool = False) -> Step:
    """weight: [lanes, O, kh, kw, C]."""
    settings = conv.stride, conv.padding, conv.dilation, conv.groups, len(weight), shared
    return lambda x: kernels.wide(
        x, weight.flatten(0, 1).permute(0, 3, 1, 2), None if bias is None else bias.flatten(), *settings
    )


def _linear(weight: Tensor, bias: Tensor | None) -> Step:
    def step(x: Tensor) -> Tensor:
        rows, matrix = x.unflatten(0, (-1, len(weight))).transpose(0, 1), weight.transpose(1, 2)
        y = torch.bmm(rows, matrix) if bias is None else torch.baddbmm(bias[:, None], rows, matrix)
        return y.transpose(0, 1).flatten(0, 1)

    return step


def _batch_norm(norm: nn.BatchNorm2d, owned: bool, dtype: torch.dtype) -> Layer:
    weight, bias = norm.weight, norm.bias
    if not norm.affine:
        weight, bias = (make(norm.num_features, dtype=dtype) for make in (torch.ones, torch.zeros))
    return Layer([(weight, _plain), (bias, _plain)], partial(_normalising, norm.eps, owned))


def _normalising(eps: float, owned: bool, weight: Tensor, bias: Tensor) -> Step:
    """y = scale x + shift by each lane's own statistics. owned: x may be written."""
    lanes, c = weight.shape
    least = torch.full_like(weight, eps)

    @cache
    def room(parts: int, groups: int) -> tuple[Tensor, ...]:
        """Scale and shift, and both together; then for all groups, to be filled from those, and flat."""
        pair, tiles = weight.new_empty(2, lanes, c), weight.new_empty(2, parts, groups, lanes * c // parts)
        return *pair, pair.view(2, parts, 1, -1), tiles, *tiles.view(2, -1)

    def normalise(x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        by_sample = x.stride() == (h * w * c, 1, w * c, c)
        if not by_sample and x.stride() != (c, 1, w * n * c, n * c):
            x = kernels.beside(x)
        # what is normalised alike must lie apart by whole rows: a sample's pixels do not, between the lanes
        parts, groups = (lanes, h * w) if by_sample and lanes > 1 else (1, kernels.dealt(n // lanes * h * w))
        across = groups * lanes * c
        rows = x.as_strided((x.numel() // across, across), (across, 1))
        mean, var = kernels.grouped(rows, parts, groups)
        scale, shift, pair, tiles, scales, shifts = room(parts, groups)
        torch.mul(var.view_as(least).add_(least).rsqrt_(), weight, out=scale)
        torch.addcmul(bias, mean.view_as(least), scale, value=-1, out=shift)
        tiles.copy_(pair)
        if not owned:
            return torch.addcmul(shifts, rows, scales).as_strided(x.shape, x.stride())
        torch.addcmul(shifts, rows, scales, out=rows)
        return x

    return normalise
