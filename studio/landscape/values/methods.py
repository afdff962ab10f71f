"""The ways to compute a network's outputs at many points of a plane.

    weights(alpha, beta) = theta + alpha delta + beta eta

Each method prepares what is the same at every point, and returns a function that computes a row. All compute the same
numbers, to rounding; which is quickest depends on the network, the mode and the device. `METHODS` at the foot has their
names in a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from studio.errors import MachineError, SceneError
from studio.landscape.network.batched import BatchedNetwork, Statistics
from studio.landscape.network.compiled_forward import CompiledForward
from studio.landscape.network.folding import FoldedBatchNorm
from studio.landscape.network.graph import channels_last, inplace_ops
from studio.landscape.network.linear_chain import LinearChain
from studio.landscape.network.modes import mutable_buffers, set_mode, use_exact_statistics
from studio.landscape.network.network import Network
from studio.landscape.network.weight_loss import WeightLoss, is_out_of_memory

MAX_FEATURES = {"cpu": 2**17, "cuda": 2**26}
"""Numbers in the features of all points that pass together in a batched method: on a CPU they stay in the cache."""

RowOutputs = Callable[[Sequence[float], float, int], Iterator[Tensor]]
"""(alphas, beta, samples in a chunk) -> outputs [points, N, ...] of the points in order, some at a time."""
Method = Callable[[WeightLoss, Tensor, Tensor, Tensor], RowOutputs]
"""(loss, theta [P], delta [P], eta [P]) -> what computes a row."""
Forward = Network | CompiledForward
"""Holds the weights of one point or of several, and computes outputs at them."""
Layout = Callable[[Tensor], Tensor]
"""Samples in the memory layout that a network reads."""


# --- point by point --------------------------------------------------------------------------------------------------


def loop(loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """Sets the weights of each point and passes the samples, as every tool does."""
    return _rows_along(loss, loss.network, lambda x: x, theta, delta, eta)


def image_kernels(loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """The same layers, by kernels for small pictures and in the layout that a CPU prefers."""
    return _unfolded(loss, _quick_forward(loss.clone_module(), loss), theta, delta, eta)


def folded(loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """`image_kernels` with batch norms folded into theta, delta and eta once, or at each point if those move norms."""
    return _folded(loss, _quick_forward, theta, delta, eta)


def torch_compile(loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """Through torch's compiler: minutes to prepare, which a large grid repays."""
    return _folded_in_eval(loss, _torch_compiled, theta, delta, eta)


def cuda_graph(loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """One recorded pass on a GPU, replayed at every point: for small networks, whose operations take longer to launch
    than to run.
    """
    return _folded_in_eval(loss, _cuda_graph, theta, delta, eta)


def _folded_in_eval(
    loss: WeightLoss,
    build: Callable[[nn.Module, WeightLoss], Forward],
    theta: Tensor,
    delta: Tensor,
    eta: Tensor,
) -> RowOutputs:
    """The rows of a network that `build` makes of a module: in eval mode of one whose batch norms are folded."""
    if loss.mode == "eval":
        return _folded(loss, build, theta, delta, eta)
    return _unfolded(loss, build(loss.clone_module(), loss), theta, delta, eta)


def _folded(
    loss: WeightLoss,
    build: Callable[[nn.Module, WeightLoss], Forward],
    theta: Tensor,
    delta: Tensor,
    eta: Tensor,
) -> RowOutputs:
    folding = FoldedBatchNorm(loss.clone_module(), loss.inputs[:2])
    network = build(folding.model, loss)
    centre, *directions = (loss.split(vector) for vector in (theta, delta, eta))
    folded_directions = [folding.direction(centre, direction) for direction in directions]
    lines = [network.flat(direction) for direction in folded_directions if direction is not None]
    if len(lines) == len(directions):
        return _rows_along(loss, network, _layout(loss), network.flat(folding.weights(centre)), *lines)

    def set_point(base: Tensor, alpha: float, slot: int) -> None:
        weights = folding.weights(loss.split(base.add(delta, alpha=alpha)))
        network.set_weights(network.flat(weights), slot)

    return _rows(loss, network, _layout(loss), lambda beta: theta.add(eta, alpha=beta), set_point)


def _unfolded(loss: WeightLoss, network: Forward, *plane: Tensor) -> RowOutputs:
    """The rows of a network that has the loss's own tensors."""
    return _rows_along(loss, network, _layout(loss), *(network.flat(loss.split(vector)) for vector in plane))


def _rows_along(
    loss: WeightLoss, network: Forward, layout: Layout, theta: Tensor, delta: Tensor, eta: Tensor
) -> RowOutputs:
    """The rows of a network on a plane of its own vectors."""

    def set_point(base: Tensor, alpha: float, slot: int) -> None:
        network.set_weights_along(base, delta, alpha, slot)

    return _rows(loss, network, layout, lambda beta: theta.add(eta, alpha=beta), set_point)


def _rows(
    loss: WeightLoss,
    network: Forward,
    layout: Layout,
    row_start: Callable[[float], Tensor],
    set_point: Callable[[Tensor, float, int], None],
) -> RowOutputs:
    """Outputs, as many points at a time as the network has slots.

    row_start: beta -> the vector at alpha = 0. set_point: (that vector, alpha, slot) -> sets the slot's weights.
    """
    chunks = _cached_chunks(loss.inputs, network.arrange if isinstance(network, CompiledForward) else layout)
    calibration = layout(loss.calibration) if loss.mode == "recalibrated" else None

    def row(alphas: Sequence[float], beta: float, chunk: int) -> Iterator[Tensor]:
        base = row_start(beta)
        for group in _groups(alphas, network.batch_slots):
            for slot in range(network.batch_slots):  # spare slots repeat the last point
                set_point(base, group[min(slot, len(group) - 1)], slot)
            if isinstance(network, CompiledForward):
                yield torch.cat([network(x) for x in chunks(chunk)], 1)[: len(group)]
                continue
            if calibration is not None:
                network.calibrate(partial(network, calibration))
            yield torch.cat([network(x) for x in chunks(chunk)])[None]

    return row


def _cached_chunks(x: Tensor, layout: Layout) -> Callable[[int], list[Tensor]]:
    """Samples in a chunk -> the samples in chunks of that size; those of the last size are cached."""
    cache: dict[int, list[Tensor]] = {}

    def chunks(size: int) -> list[Tensor]:
        if size not in cache:
            cache.clear()
            cache[size] = [layout(part) for part in torch.split(x, size)]
        return cache[size]

    return chunks


def _layout(loss: WeightLoss) -> Layout:
    """Channels last, unless a random mask would be another there."""
    return (lambda x: x) if loss.is_random else channels_last


def _groups(alphas: Sequence[float], size: int) -> Iterator[Sequence[float]]:
    return (alphas[i : i + size] for i in range(0, len(alphas), size))


# --- forward passes --------------------------------------------------------------------------------------------------


def _quick_forward(module: nn.Module, loss: WeightLoss) -> Forward:
    """A compiled forward pass on a CPU if the network has one; else the module, with operations in place."""
    on_cpu = loss.kind == "cpu" and not loss.is_random
    if on_cpu and loss.mode != "recalibrated" and loss.precision != "bf16":
        compiled = _compiled_forward(module, loss)
        if compiled is not None:
            return compiled
    # the graph of a recalibrated network would be that of one of its two modes
    forward = module if loss.mode == "recalibrated" else inplace_ops(module)
    if on_cpu and loss.mode == "train":
        use_exact_statistics(module)
    return Network(module, loss.device, loss.mode, forward)


def _compiled_forward(module: nn.Module, loss: WeightLoss) -> CompiledForward | None:
    if mutable_buffers(module):
        return None
    set_mode(module, loss.mode)
    with loss.setting():
        return CompiledForward.of(module, loss.inputs[:2], loss.chunk)


def _torch_compiled(module: nn.Module, loss: WeightLoss) -> Network:
    compiled = torch.compile(module)

    def forward(x: Tensor) -> Tensor:
        try:
            outputs: Tensor = compiled(x)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise MachineError(
                f"loss.method: torch's compiler failed: {str(error).splitlines()[0]}; it needs a C++ "
                f"compiler (on Debian: apt-get install g++); or leave the method out"
            ) from error
        return outputs

    return Network(module, loss.device, loss.mode, forward)


def _cuda_graph(module: nn.Module, loss: WeightLoss) -> Network:
    """A recorded pass for each chunk of the samples."""
    if loss.kind != "cuda":
        raise MachineError(
            "loss.method: cuda-graph replays a pass of a GPU, and there is none here; leave the method out"
        )
    if loss.mode == "recalibrated" or loss.is_random:
        raise SceneError(
            "loss.method: cuda-graph is for networks that do the same at every point; this one draws random "
            "numbers, or its mode is recalibrated; leave the method out"
        )
    recorded: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def forward(x: Tensor) -> Tensor:
        if x.data_ptr() not in recorded:
            recorded[x.data_ptr()] = (*_record(module, x), x)  # x is kept, so that no other tensor has its address
        graph, y, _ = recorded[x.data_ptr()]
        graph.replay()
        return y.clone()

    return Network(module, loss.device, loss.mode, forward)


def _record(module: nn.Module, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """A pass of x, and the tensor that receives its outputs; the weights are read where they lie. Restores buffers."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries allocate their workspaces and choose kernels first
            module(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            y: Tensor = module(x)
    except RuntimeError as error:
        raise SceneError(
            f"loss.method: cuda-graph: the network waits for the GPU, or its control flow depends on the data: "
            f"{str(error).splitlines()[0]}; leave the method out"
        ) from error
    for buffer, value in before:
        buffer.copy_(value)
    return graph, y


# --- many points together --------------------------------------------------------------------------------------------


def vmap(loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """As many points as fit, as one batch of networks: for small ones on a GPU, which a single point does not fill."""
    network = loss.network
    points = max(1, MAX_FEATURES[loss.kind] // (loss.size + loss.inputs[: loss.chunk].numel()))

    def at_point(weights: Tensor, x: Tensor) -> Tensor:
        named = loss.split(weights)
        network.calibrate(lambda: network.functional_call(named, loss.calibration))
        return network.functional_call(named, x)

    at_points: Callable[[Tensor, Tensor], Tensor] = torch.func.vmap(at_point, (0, None), randomness="same")

    def forward(weights: Tensor, x: Tensor) -> Tensor:
        try:
            return at_points(weights, x)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise SceneError(
                f"loss.method: vmap: torch cannot run this network at many points at once: "
                f"{str(error).splitlines()[0]}; leave the method out"
            ) from error

    def row(alphas: Sequence[float], beta: float, chunk: int) -> Iterator[Tensor]:
        base = theta.add(eta, alpha=beta)
        for group in _groups(alphas, points):
            weights = base + _column(group, base) * delta
            yield torch.cat([forward(weights, x) for x in torch.split(loss.inputs, chunk)], 1)

    return row


def shared_first_layer(loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """For chains of linear layers: the first is linear in the weights, so three passes of it serve all points."""
    chain = LinearChain.of(loss.model)
    if chain is None:
        raise SceneError(
            "loss.method: shared-first-layer is for networks that are a chain of linear layers; leave the method out"
        )
    at_theta, along_delta, along_eta = (chain.first(loss.split(vector), loss.inputs) for vector in (theta, delta, eta))
    points = max(1, MAX_FEATURES[loss.kind] // (chain.widest * loss.chunk))

    def row(alphas: Sequence[float], beta: float, chunk: int) -> Iterator[Tensor]:
        base, at_base = theta.add(eta, alpha=beta), at_theta.add(along_eta, alpha=beta)
        for group in _groups(alphas, points):
            steps = _column(group, base)
            named = loss.split(base + steps * delta)
            parts = zip(torch.split(at_base, chunk), torch.split(along_delta, chunk), strict=True)
            yield torch.cat([chain.rest(named, torch.addcmul(h, steps[..., None], along)) for h, along in parts], 1)

    return row


def batched(loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """For perceptrons with batch norms or shortcuts: samples last, the first layer as in `shared_first_layer`."""
    is_recalibrated = loss.mode == "recalibrated"
    network = BatchedNetwork.of(loss.clone_module().train() if is_recalibrated else loss.model)
    if network is None:
        raise SceneError(
            "loss.method: batched is for networks of linear layers, batch norms, functions of single "
            "numbers and shortcuts over them; leave the method out"
        )
    plane = [loss.split(vector) for vector in (theta, delta, eta)]
    points = max(1, MAX_FEATURES[loss.kind] // (network.widest * loss.chunk))

    def first_layer(x: Tensor) -> Callable[[Tensor, float, int], Iterator[Tensor]]:
        """(steps [P, 1], beta, samples in a chunk) -> the first layer's results [P, out, chunk] for samples x."""
        at_theta, along_delta, along_eta = (network.first(named, x) for named in plane)

        def results(steps: Tensor, beta: float, chunk: int) -> Iterator[Tensor]:
            at_base = torch.split(at_theta.add(along_eta, alpha=beta), chunk, 1)
            parts = zip(at_base, torch.split(along_delta, chunk, 1), strict=True)
            return (torch.addcmul(h, steps[..., None], along) for h, along in parts)

        return results

    samples = first_layer(loss.inputs)
    calibration = first_layer(loss.calibration) if is_recalibrated else None

    def row(alphas: Sequence[float], beta: float, chunk: int) -> Iterator[Tensor]:
        base = theta.add(eta, alpha=beta)
        for group in _groups(alphas, points):
            steps = _column(group, base)
            named = loss.split(torch.addcmul(base, steps, delta))
            statistics: Statistics = {}
            if calibration is not None:
                network.rest(named, next(calibration(steps, beta, len(loss.calibration))), statistics)
            yield torch.cat([network.rest(named, h, dict(statistics)) for h in samples(steps, beta, chunk)], 1)

    return row


def _column(alphas: Sequence[float], like: Tensor) -> Tensor:
    """Alphas as a column [points, 1] of a tensor's type, on its device."""
    return torch.tensor(alphas, dtype=like.dtype, device=like.device)[:, None]


METHODS: dict[str, Method] = {
    "loop": loop,
    "image-kernels": image_kernels,
    "folded": folded,
    "shared-first-layer": shared_first_layer,
    "batched": batched,
    "vmap": vmap,
    "torch-compile": torch_compile,
    "cuda-graph": cuda_graph,
}
