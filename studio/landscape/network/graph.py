"""A network as a graph of operations, and the same network with fewer passes over memory.

On a CPU a convolution of few channels takes hardly longer than its output takes to be read once more, so a rectifier
works in place wherever nobody else uses what it rectifies, and so does a sum; and before a max pooling it waits until
there is less to rectify.
"""

from __future__ import annotations

import copy
import operator

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

RECTIFIERS = (F.relu, torch.relu)
ADDITIONS = (operator.add, torch.add)
NEW = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.MaxPool2d)
"""Layers whose result is theirs to give away: it shares no memory with anything."""


def traced(model: nn.Module) -> fx.Graph | None:
    """The operations of a network in its present mode; it is not touched.

    None if they depend on the data or on random numbers, or are not all there is: a tensor made in passing, a buffer
    written past the tracer, a hook.
    """
    if not bare(model):
        return None
    own = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        try:
            graph = fx.Tracer().trace(own)
        except Exception:  # tracing runs the user's forward: whatever it raises, there is no graph
            return None
        drawn = not torch.equal(before, torch.get_rng_state())
    return None if drawn or _left(own) != _left(model) else graph


def _left(model: nn.Module) -> dict[str, bytes]:
    """What a pass may leave behind: buffers by name, with their bytes, and the names of tensors that are neither."""
    buffers = {
        name: tensor.cpu().flatten().view(torch.uint8).numpy().tobytes()
        for name, tensor in model.named_buffers(remove_duplicate=False)
    }
    return buffers | {name: b"" for name, value in vars(model).items() if isinstance(value, Tensor)}


def bare(module: nn.Module) -> bool:
    """Whether a module does what its class says and nothing else."""
    return not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def reordered(model: nn.Module) -> nn.Module:
    """A module that runs the very layers of `model`, in its present mode, rectifying after max pooling and not before.

    The same function: the largest of rectified numbers is the largest, rectified. A network that has no graph is
    returned itself.
    """
    graph = traced(model)
    if graph is None:
        return model
    made = fx.GraphModule(model, graph)
    for node in list(graph.nodes):
        if node.op == "call_module" and type(made.get_submodule(node.target)) is nn.Identity:
            _replace(made, node, node.args[0])
    for node in list(graph.nodes):
        if _pools(made, node) and _rectifies(made, node.args[0]) and len(node.args[0].users) == 1:
            _swap(graph, node.args[0], node)
    made.recompile()
    return made


def tightened(model: nn.Module) -> nn.Module:
    """As `reordered`, with fewer new tensors: for values only."""
    made = reordered(model)
    if made is model:
        return model
    for node in list(made.graph.nodes):
        here = torch.relu_ if _rectifies(made, node) else add_ if _adds(node) else None
        if here and len(node.args[0].users) == 1 and _new(made, node.args[0]):
            with made.graph.inserting_before(node):
                _replace(made, node, made.graph.call_function(here, node.args))
    made.recompile()
    return made


def add_(a: Tensor, b: Tensor) -> Tensor:
    """a + b, in the place of a if the sum has its shape and type."""
    return a.add_(b) if a.shape == b.shape and a.dtype == b.dtype else a + b


def channels_last(x: Tensor) -> Tensor:
    """x [N, C, H, W] laid out as [N, H, W, C]; other tensors as they are."""
    if x.dim() != 4:
        return x
    _, c, h, w = x.shape
    # strides written out: of one channel, torch takes either layout for the other and goes on in the slower one
    return x.contiguous(memory_format=torch.channels_last).as_strided(x.shape, (c * h * w, 1, w * c, c))


def _rectifies(made: fx.GraphModule, node: fx.Node) -> bool:
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if node.op == "call_module":
        module = made.get_submodule(node.target)
        return type(module) is nn.ReLU and bare(module)
    return (node.op, node.target) == ("call_method", "relu") or (
        node.op == "call_function" and node.target in RECTIFIERS
    )


def _pools(made: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module" or not isinstance(node.args[0], fx.Node):
        return False
    module = made.get_submodule(node.target)
    return type(module) is nn.MaxPool2d and bare(module) and not module.return_indices


def _swap(graph: fx.Graph, first: fx.Node, second: fx.Node) -> None:
    """second(first(x)) as first(second(x))."""
    with graph.inserting_after(second):
        last = graph.node_copy(first, lambda _: second)
    second.replace_all_uses_with(last, delete_user_cb=lambda user: user is not last)
    second.replace_input_with(first, first.args[0])
    graph.erase_node(first)


def _adds(node: fx.Node) -> bool:
    return (
        node.op == "call_function"
        and node.target in ADDITIONS
        and len(node.args) == 2
        and not node.kwargs
        and all(isinstance(part, fx.Node) for part in node.args)
    )


def _new(made: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the node's tensor shares no memory with another's, so that it may be written."""
    if node.op == "call_module":
        module = made.get_submodule(node.target)
        return type(module) in NEW and bare(module)
    return node.op == "call_function" and node.target in (*ADDITIONS, add_)


def _replace(made: fx.GraphModule, node: fx.Node, other: fx.Node) -> None:
    node.replace_all_uses_with(other)
    made.graph.erase_node(node)
