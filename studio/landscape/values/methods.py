"""The methods: ways to compute a network's outputs at many points of a plane.

    weights(alpha, beta) = theta + alpha delta + beta eta

A method is a function of a WeightLoss, theta, delta and eta [P]. It prepares what is the same at every point, and
returns a function that computes a row. All compute the same numbers, to rounding; which is quickest depends on the
network, the mode and the device. `METHODS` at the foot has their names in a scene; `choose_method` in `loss.py` is the
rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from studio.errors import MachineError, SceneError
from studio.landscape.network.batched import BatchedNetwork, Statistics
from studio.landscape.network.compiled_forward import CompiledForward
from studio.landscape.network.folding import FoldedBatchNorm
from studio.landscape.network.graph import channels_last, inplace_ops
from studio.landscape.network.modes import mutable_buffers, set_mode, use_exact_statistics
from studio.landscape.network.network import Network
from studio.landscape.network.weight_loss import WeightLoss, is_out_of_memory

MAX_FEATURES = {"cpu": 2**17, "cuda": 2**26, "mps": 2**24}
"""Numbers in the features of all points that pass together in a batched method: on a CPU they stay in the cache."""

RowOutputs = Callable[[Sequence[float], float, int], Iterator[Tensor]]
"""(alphas, beta, chunk_size) -> outputs [points, N, ...] of the row's points in order, some points at a time."""

Forward = Network | CompiledForward
"""Holds the weights of one point or of several, and computes outputs at them."""
Layout = Callable[[Tensor], Tensor]
"""Samples in the memory layout that a network reads."""
SetPoint = Callable[[Tensor, float, int], None]
"""(theta + beta eta, alpha, slot) -> sets a slot's weights."""
Build = Callable[[nn.Module, WeightLoss], Forward]
"""A module and its loss -> the forward pass."""


# --- point by point --------------------------------------------------------------------------------------------------


def loop(weight_loss: WeightLoss, *plane: Tensor) -> RowOutputs:
    """Sets the weights of each point and passes the samples, as every tool does."""
    return _rows_along(weight_loss, weight_loss.network, *plane)


def _folded_in_eval(build: Build, weight_loss: WeightLoss, *plane: Tensor) -> RowOutputs:
    """The rows of a network that `build` makes of a module: in eval mode of one whose batch norms are folded."""
    return (_folded if weight_loss.mode == "eval" else _unfolded)(build, weight_loss, *plane)


def _folded(build: Build, weight_loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """With batch norms folded into theta, delta and eta once, or at each point if those move norms."""
    folding = FoldedBatchNorm(weight_loss.clone_module(), weight_loss.inputs[:2])
    network = build(folding.model, weight_loss)
    centre, *directions = (weight_loss.split(vector) for vector in (theta, delta, eta))
    folded_directions = [folding.direction(centre, direction) for direction in directions]
    axes = [network.flat(direction) for direction in folded_directions if direction is not None]
    if len(axes) == len(directions):
        return _rows_along(weight_loss, network, network.flat(folding.weights(centre)), *axes)

    def set_point(base: Tensor, alpha: float, slot: int) -> None:
        weights = folding.weights(weight_loss.split(base.add(delta, alpha=alpha)))
        network.set_weights(network.flat(weights), slot)

    return _rows(weight_loss, network, theta, eta, set_point)


def _unfolded(build: Build, weight_loss: WeightLoss, *plane: Tensor) -> RowOutputs:
    """The rows of a network that has the loss's own tensors."""
    network = build(weight_loss.clone_module(), weight_loss)
    return _rows_along(weight_loss, network, *(network.flat(weight_loss.split(vector)) for vector in plane))


def _rows_along(weight_loss: WeightLoss, network: Forward, *plane: Tensor) -> RowOutputs:
    """The rows of a network on a plane of its own flat vectors: a point costs one vector addition."""
    theta, delta, eta = plane

    def set_point(base: Tensor, alpha: float, slot: int) -> None:
        network.set_weights_along(base, delta, alpha, slot)

    return _rows(weight_loss, network, theta, eta, set_point)


def _rows(weight_loss: WeightLoss, network: Forward, theta: Tensor, eta: Tensor, set_point: SetPoint) -> RowOutputs:
    """The rows of a network, slots together."""
    # the loop leaves samples as they are; random masks would differ in another layout
    is_plain = network is weight_loss.network or weight_loss.is_random
    layout: Layout = (lambda x: x) if is_plain else channels_last
    calibration = layout(weight_loss.calibration) if weight_loss.mode == "recalibrated" else None
    arrange = network.arrange if isinstance(network, CompiledForward) else layout

    @lru_cache(maxsize=1)
    def chunks(size: int) -> list[Tensor]:
        return [arrange(part) for part in torch.split(weight_loss.inputs, size)]

    def row(alphas: Sequence[float], beta: float, chunk_size: int) -> Iterator[Tensor]:
        base = theta.add(eta, alpha=beta)
        for group in _groups(alphas, network.batch_slots):
            for slot in range(network.batch_slots):  # spare slots repeat the last point
                set_point(base, group[min(slot, len(group) - 1)], slot)
            if isinstance(network, CompiledForward):
                yield torch.cat([network(x) for x in chunks(chunk_size)], 1)[: len(group)]
                continue
            if calibration is not None:
                network.calibrate(partial(network, calibration))
            yield torch.cat([network(x) for x in chunks(chunk_size)])[None]

    return row


def _groups(alphas: Sequence[float], size: int) -> Iterator[Sequence[float]]:
    return (alphas[i : i + size] for i in range(0, len(alphas), size))


# --- forward passes --------------------------------------------------------------------------------------------------


def _quick_forward(module: nn.Module, weight_loss: WeightLoss) -> Forward:
    """A compiled forward pass on a CPU if the network has one; else the module, with operations in place."""
    on_cpu = weight_loss.device_kind == "cpu" and not weight_loss.is_random
    is_compilable = weight_loss.mode != "recalibrated" and weight_loss.precision != "bf16"
    if on_cpu and is_compilable and not mutable_buffers(module):
        set_mode(module, weight_loss.mode)
        with weight_loss.forward_context():
            compiled = CompiledForward.of(module, weight_loss.inputs[:2], weight_loss.chunk_size)
        if compiled is not None:
            return compiled
    # the graph of a recalibrated network would be that of one of its two modes
    forward = module if weight_loss.mode == "recalibrated" else inplace_ops(module)
    if on_cpu and weight_loss.mode == "train":
        use_exact_statistics(module)
    return Network(module, weight_loss.device, weight_loss.mode, forward)


def _torch_compiled(module: nn.Module, weight_loss: WeightLoss) -> Network:
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

    return Network(module, weight_loss.device, weight_loss.mode, forward)


def _cuda_graph(module: nn.Module, weight_loss: WeightLoss) -> Network:
    """A recorded pass for each chunk of the samples."""
    if weight_loss.device_kind != "cuda":
        raise MachineError(
            "loss.method: cuda-graph replays a pass of a GPU, and there is none here; leave the method out"
        )
    if weight_loss.mode == "recalibrated" or weight_loss.is_random:
        raise SceneError(
            "loss.method: cuda-graph is for networks that do the same at every point; this one draws random "
            "numbers, or its mode is recalibrated; leave the method out"
        )
    passes: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def forward(x: Tensor) -> Tensor:
        if x.data_ptr() not in passes:
            passes[x.data_ptr()] = (*_record(module, x), x)  # x is kept, so that no other tensor has its address
        graph, y, _ = passes[x.data_ptr()]
        graph.replay()
        return y.clone()

    return Network(module, weight_loss.device, weight_loss.mode, forward)


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


def vmap(weight_loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """As many points as fit, as one batch of networks: for small ones on a GPU, which a single point does not fill."""
    points = _points_together(weight_loss, weight_loss.size + weight_loss.inputs[: weight_loss.chunk_size].numel())
    forward = torch.func.vmap(
        lambda weights, x: weight_loss.outputs(weight_loss.split(weights), x), (0, None), randomness="same"
    )

    def row(alphas: Sequence[float], beta: float, chunk_size: int) -> Iterator[Tensor]:
        base = theta.add(eta, alpha=beta)
        for group in _groups(alphas, points):
            weights = base + _column(group, base) * delta
            try:
                outputs = [forward(weights, x) for x in torch.split(weight_loss.inputs, chunk_size)]
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                raise SceneError(
                    f"loss.method: vmap: torch cannot run this network at many points at once: "
                    f"{str(error).splitlines()[0]}; leave the method out"
                ) from error
            yield torch.cat(outputs, 1)

    return row


def batched(weight_loss: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> RowOutputs:
    """For perceptrons: samples last; three passes of the first layer, linear in the weights, serve all points."""
    is_recalibrated = weight_loss.mode == "recalibrated"
    network = BatchedNetwork.of(weight_loss.clone_module().train() if is_recalibrated else weight_loss.model)
    if network is None:
        raise SceneError(
            "loss.method: batched is for networks of linear layers, batch norms, functions of single "
            "numbers and shortcuts over them; leave the method out"
        )
    plane = [weight_loss.split(vector) for vector in (theta, delta, eta)]
    points = _points_together(weight_loss, network.max_width * weight_loss.chunk_size)
    samples = _first_layer(network, plane, weight_loss.inputs)
    calibration = _first_layer(network, plane, weight_loss.calibration) if is_recalibrated else None

    def row(alphas: Sequence[float], beta: float, chunk_size: int) -> Iterator[Tensor]:
        base = theta.add(eta, alpha=beta)
        for group in _groups(alphas, points):
            steps = _column(group, base)
            named = weight_loss.split(torch.addcmul(base, steps, delta))
            statistics: Statistics = {}
            if calibration is not None:
                network.run_rest(named, next(calibration(steps, beta, len(weight_loss.calibration))), statistics)
            yield torch.cat([network.run_rest(named, h, dict(statistics)) for h in samples(steps, beta, chunk_size)], 1)

    return row


def _first_layer(
    network: BatchedNetwork, plane: Sequence[Mapping[str, Tensor]], x: Tensor
) -> Callable[[Tensor, float, int], Iterator[Tensor]]:
    """(alphas [P, 1], beta, chunk_size) -> the first layer's results [P, out, chunk_size] for samples x, by chunk.

    plane: theta, delta and eta by name.
    """
    at_theta, along_delta, along_eta = (network.run_first_layer(named, x) for named in plane)

    def results(alphas: Tensor, beta: float, chunk_size: int) -> Iterator[Tensor]:
        at_base = torch.split(at_theta.add(along_eta, alpha=beta), chunk_size, 1)
        parts = zip(at_base, torch.split(along_delta, chunk_size, 1), strict=True)
        return (torch.addcmul(h, alphas[..., None], along) for h, along in parts)

    return results


def _points_together(weight_loss: WeightLoss, numbers: int) -> int:
    """How many points pass together, each with so many numbers in its features."""
    return max(1, MAX_FEATURES[weight_loss.device_kind] // numbers)


def _column(alphas: Sequence[float], like: Tensor) -> Tensor:
    """Alphas as a column [points, 1] of a tensor's type, on its device."""
    return torch.tensor(alphas, dtype=like.dtype, device=like.device)[:, None]


METHODS: dict[str, Callable[[WeightLoss, Tensor, Tensor, Tensor], RowOutputs]] = {
    "loop": loop,
    # the same layers, by kernels for small pictures and in the layout that a CPU prefers
    "image-kernels": partial(_unfolded, _quick_forward),
    "folded": partial(_folded, _quick_forward),
    "batched": batched,
    "vmap": vmap,
    # minutes to prepare, which a large grid repays
    "torch-compile": partial(_folded_in_eval, _torch_compiled),
    # one recorded pass on a GPU, replayed at every point: for operations that take longer to launch than to run
    "cuda-graph": partial(_folded_in_eval, _cuda_graph),
}
