"""A network as a graph of operations, and the same network with fewer passes over memory.

    max_pool(relu(x)) = relu(max_pool(x))

On a CPU one more pass over the output of a convolution of few channels takes about as long as the convolution. So a
ReLU or a sum works in place if nothing else reads its input, and a ReLU runs after the max pooling, on fewer numbers.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

RELUS = (F.relu, torch.relu)
ADDITIONS = (operator.add, torch.add)
ALLOCATING_LAYERS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.MaxPool2d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
)
"""Layers whose result shares no memory with another tensor, so that it may be overwritten."""


def has_no_hooks(module: nn.Module) -> bool:
    """Whether a module does what its class says and nothing else: no hook, no replaced `forward`."""
    return not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def replace_forward(module: nn.Module, forward: Callable[..., Tensor]) -> None:
    """Replaces the `forward` of this one module; its class and other instances stay as they are."""
    module.__dict__["forward"] = forward


def channels_last(x: Tensor) -> Tensor:
    """x [N, C, H, W] laid out in memory as [N, H, W, C]; tensors of other dimensions as they are."""
    if x.dim() != 4:
        return x
    _, c, h, w = x.shape
    # explicit strides: with one channel, torch takes either layout for the other and continues in the slower one
    return x.contiguous(memory_format=torch.channels_last).as_strided(x.shape, (c * h * w, 1, w * c, c))


def trace_graph(model: nn.Module) -> fx.Graph | None:
    """The operations of a network in its present mode, by torch's symbolic tracing; the network is unchanged.

    None if they depend on the data or on random numbers, or if the graph would miss something: a tensor created during
    the pass, a buffer written without the tracer's knowledge, a hook; or that a further input, such as labels, is None.
    """
    if not has_no_hooks(model):
        return None
    private = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        try:
            graph = fx.Tracer().trace(private)
        except Exception:  # tracing runs the user's forward: whatever it raises, there is no graph
            return None
        is_random = not torch.equal(before, torch.get_rng_state())
        has_more_inputs = len(graph.find_nodes(op="placeholder")) > 1
    return None if is_random or has_more_inputs or _side_effects(private) != _side_effects(model) else graph


def _side_effects(model: nn.Module) -> dict[str, bytes]:
    """What a pass may change: the bytes of each buffer, and the names of tensors that are plain attributes."""
    buffers = {
        name: tensor.cpu().flatten().view(torch.uint8).numpy().tobytes()
        for name, tensor in model.named_buffers(remove_duplicate=False)
    }
    return buffers | {name: b"" for name, value in vars(model).items() if isinstance(value, Tensor)}


def called_module(module: nn.Module, node: fx.Node) -> nn.Module | None:
    """The submodule that a node of the graph calls; None for any other operation."""
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def first_input(node: fx.Node) -> fx.Node | None:
    """The node whose result is a node's first argument; None if that is no tensor of the graph."""
    source = node.args[0] if node.args else None
    return source if isinstance(source, fx.Node) else None


def replace_call(graph: fx.Graph, node: fx.Node, function: Callable[..., Tensor]) -> None:
    """Replaces a node of the graph by a call of the function on the same arguments."""
    with graph.inserting_before(node):
        node.replace_all_uses_with(graph.call_function(function, node.args))
    graph.erase_node(node)


def pool_before_relu(model: nn.Module) -> nn.Module:
    """The layers of `model` in its present mode, each ReLU after its max pooling; `model` itself if it has no graph."""
    graph = trace_graph(model)
    if graph is None:
        return model
    module = fx.GraphModule(model, graph)
    for node in list(graph.nodes):
        source = first_input(node)
        if source and type(called_module(module, node)) is nn.Identity:
            node.replace_all_uses_with(source)
            graph.erase_node(node)
    for node in list(graph.nodes):
        source = first_input(node)
        if source and _is_max_pool(module, node) and _is_relu(module, source) and len(source.users) == 1:
            _swap(graph, source, node)
    module.recompile()
    return module


def inplace_ops(model: nn.Module) -> nn.Module:
    """`pool_before_relu` with ReLUs and sums in place where possible: for values, not for gradients."""
    module = pool_before_relu(model)
    if module is model or not isinstance(module, fx.GraphModule):
        return model
    graph = module.graph
    for node in list(graph.nodes):
        source, in_place = first_input(node), torch.relu_ if _is_relu(module, node) else add_ if _is_sum(node) else None
        if source and in_place and len(source.users) == 1 and _allocates_result(module, source):
            replace_call(graph, node, in_place)
    module.recompile()
    return module


def add_(a: Tensor, b: Tensor) -> Tensor:
    """a + b, in the memory of a if the sum has its shape and type."""
    return a.add_(b) if a.shape == b.shape and a.dtype == b.dtype else a + b


def _is_relu(model: nn.Module, node: fx.Node) -> bool:
    if first_input(node) is None:
        return False
    if (module := called_module(model, node)) is not None:
        return type(module) is nn.ReLU and has_no_hooks(module)
    return (node.op, node.target) == ("call_method", "relu") or (node.op == "call_function" and node.target in RELUS)


def _is_max_pool(model: nn.Module, node: fx.Node) -> bool:
    module = called_module(model, node)
    return type(module) is nn.MaxPool2d and has_no_hooks(module) and not module.return_indices


def _is_sum(node: fx.Node) -> bool:
    is_addition = node.op == "call_function" and node.target in ADDITIONS
    is_plain = len(node.args) == 2 and not node.kwargs
    return is_addition and is_plain and all(isinstance(term, fx.Node) for term in node.args)


def _allocates_result(model: nn.Module, node: fx.Node) -> bool:
    """Whether a node's tensor shares no memory with another one, so that it may be overwritten."""
    if (module := called_module(model, node)) is not None:
        return type(module) in ALLOCATING_LAYERS and has_no_hooks(module)
    return node.op == "call_function" and node.target in (*ADDITIONS, add_)


def _swap(graph: fx.Graph, first: fx.Node, second: fx.Node) -> None:
    """second(first(x)) becomes first(second(x))."""
    with graph.inserting_after(second):
        last = graph.node_copy(first, lambda _: second)
    second.replace_all_uses_with(last, delete_user_cb=lambda user: user is not last)
    if source := first_input(first):
        second.replace_input_with(first, source)
    graph.erase_node(first)
