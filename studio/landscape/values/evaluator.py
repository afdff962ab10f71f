"""Values of the loss on a plane, by the quickest way that gives the same numbers.

    f(alpha, beta) = L(theta + alpha delta + beta eta)

A slice is prepared once; then its points are measured row by row, and nothing waits for the device before a row is
done. A method says how: each prepares what does not change from point to point, and returns the network's outputs for
every point of a row. What is counted from the outputs is the same for all methods: every sample's numbers, in float64,
summed in one order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, cached_property

import torch
from torch import Tensor, nn

from studio.errors import MachineError, SceneError
from studio.landscape.network.batched import BatchedNetwork, Statistics
from studio.landscape.network.compiled_forward import Settled
from studio.landscape.network.folding import Fused
from studio.landscape.network.graph import channels_last, tightened
from studio.landscape.network.kernels import widen
from studio.landscape.network.linear_chain import Chain
from studio.landscape.network.weight_loss import Network, WeightLoss, is_out_of_memory, moded, written
from studio.landscape.objectives import BUILT_IN

POINTS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
"""Where a method is checked against the plain loop: (alpha, beta)."""
CLOSE = {"float32": 1e-5, "float64": 1e-11, "tf32": 1e-2, "bf16": 1e-1}
"""How far from the plain loop a method may be, relative to the largest loss of a sample."""
ROUNDING = 10
"""And if it is farther: how many times as far from the float64 value as the plain loop is."""
NOTHING = 1e-6
"""Losses are compared relative to one of this size at least: of a perfect fit nothing but rounding is left."""
NUMBERS = {"cpu": 2**17, "cuda": 2**26}
"""In the features of all points that pass together on the methods for many: on a CPU they stay in the cache."""
COUNTED = 2**20
"""Numbers of outputs that are counted together."""

Outputs = Callable[[Sequence[float], float, int], Iterator[Tensor]]
"""(alphas, beta, samples in a chunk) -> outputs [points, N, ...] of the points in order, some at a time."""
Quick = Network | Settled
"""What a point is placed in, and samples pass through."""


class Evaluator:
    """Values on the plane through theta along delta and eta, flat vectors [P] of the objective, by a method.

    keep_samples: rows carry each sample's loss too. Raises SceneError if the network is not of the kind that the method
    is for.
    """

    def __init__(
        self,
        objective: WeightLoss,
        theta: Tensor,
        delta: Tensor,
        eta: Tensor,
        method: str = "loop",
        keep_samples: bool = False,
    ):
        self.objective, self.method, self.chunk = objective, method, objective.chunk
        self._theta, self._delta, self._eta, self._keep = theta, delta, eta, keep_samples
        self._outputs: Outputs = METHODS[method](objective, theta, delta, eta)

    @torch.inference_mode()
    def row(self, alphas: Sequence[float], beta: float) -> dict[str, Tensor]:
        """`loss`, `accuracy` and the other fields, float64 [points], at (alpha, beta) for all alphas; on the device.

        `losses` [points, N] if samples are kept. inf and NaN stay as measured. If memory runs out, the samples pass in
        chunks of half the size from then on; the sums are the same, but a library may have another kernel for few
        samples, which rounds otherwise. Raises MachineError if that does not help.
        """
        alphas = [float(alpha) for alpha in alphas]
        while True:
            try:
                with self.objective.setting():
                    return self._row(alphas, float(beta))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)

    def precision_error(self, points: Sequence[tuple[float, float]] = POINTS) -> float:
        """The largest difference of a loss in this precision from its float32 value, relative to it, over the points.

        NaN and inf where both have them are no difference.
        """
        exact = self._plain("float32")
        return max(
            _relative(float(self.row([alpha], beta)["loss"]), float(exact.row([alpha], beta)["loss"]))
            for alpha, beta in points
        )

    # --- a row -------------------------------------------------------------------------------------------------------

    def _row(self, alphas: Sequence[float], beta: float) -> dict[str, Tensor]:
        found = [self._numbers(outputs) for outputs in _gathered(self._outputs(alphas, beta, self.chunk))]
        each = {name: torch.cat([part[name] for part in found]) for name in found[0]}
        means = {name: numbers.sum(1) / self.objective.samples for name, numbers in each.items()}
        return means | ({"losses": each["loss"]} if self._keep else {})

    def _numbers(self, outputs: Tensor) -> dict[str, Tensor]:
        """Per-sample numbers [points, N] by name."""
        objective, points = self.objective, len(outputs)
        functions = (objective.criterion, *objective.fields.values())
        if points > 1 and all(function in BUILT_IN.values() for function in functions):
            targets = objective.targets.repeat(points, *(1,) * (objective.targets.dim() - 1))
            found = objective.numbers(outputs.flatten(0, 1), targets)
            return {name: numbers.view(points, -1) for name, numbers in found.items()}
        found = [objective.numbers(one, objective.targets) for one in outputs]  # a user's may look at its batch
        return {name: torch.stack([one[name] for one in found]) for name in found[0]}

    def _halve(self, error: BaseException) -> None:
        if self.objective.whole:
            train = self.objective.mode == "train"
            why = "loss.mode: train needs" if train else "a network needs that mixes its samples"
            raise MachineError(
                f"there is not enough memory for {self.objective.samples} images in one batch, which {why}; take a "
                f"smaller loss.subset, or fewer workers{', or loss.mode: eval' if train else ''}"
            ) from error
        if self.chunk == 1:
            many = "the loss.calibration images" if self.objective.mode == "recalibrated" else "a single image"
            raise MachineError(
                f"there is not enough memory to pass {many} through the network; "
                f"take fewer workers, or a smaller network or subset"
            ) from error
        self.chunk = math.ceil(self.chunk / 2)

    # --- against the plain loop --------------------------------------------------------------------------------------

    @cached_property
    def agreement(self) -> float:
        """How far the method is from the plain loop at three points, compared when it is first asked for.

        The largest difference of a sample's loss, relative to the largest loss. Raises MachineError if that is more
        than rounding.
        """
        if self.method == "loop":
            return 0.0
        loop = cache(self._plain)  # one for all points, and none when they are compared
        return max(self._agreement(loop, *point) for point in POINTS)

    def _agreement(self, loop: Callable[[str], Evaluator], alpha: float, beta: float) -> float:
        plain, close = loop(self.objective.precision), CLOSE[self.objective.precision]
        mine, theirs = self._losses(alpha, beta), plain._losses(alpha, beta)
        off = _off(mine, theirs)
        if off > close:
            # a deep network may round so much that two right methods differ by more: is ours as near to the truth?
            truth = loop("float64")._losses(alpha, beta)
            if _off(mine, truth) > max(close, ROUNDING * _off(theirs, truth)):
                raise MachineError(
                    f"two ways to compute the same loss give {float(theirs.mean()):g} (plain) and "
                    f"{float(mine.mean()):g} ({self.method}): a kernel of the installed torch is wrong; "
                    f"try another version of it, or write method: loop under loss"
                )
        return off

    def _plain(self, precision: str) -> Evaluator:
        """The plain loop on the same plane."""
        objective = self.objective.again(precision=precision)
        vectors = (objective.flat(self.objective.split(part)) for part in (self._theta, self._delta, self._eta))
        return Evaluator(objective, *vectors)

    def _losses(self, alpha: float, beta: float) -> Tensor:
        """Each sample's loss [N] at a point."""
        keep, self._keep = self._keep, True
        try:
            return self.row([alpha], beta)["losses"][0]
        finally:
            self._keep = keep


def _gathered(outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same outputs [points, ...], more points at a time: what is counted is small, and each count has its price."""
    held = []
    for part in outputs:
        held.append(part)
        if sum(one.numel() for one in held) >= COUNTED:
            yield torch.cat(held)
            held = []
    if held:
        yield torch.cat(held)


def _off(a: Tensor, b: Tensor) -> float:
    """The largest difference of the losses of samples, relative to the largest; inf if others of them are finite."""
    finite = b.isfinite()
    if not torch.equal(finite, a.isfinite()):
        return math.inf
    largest = float((a - b)[finite].abs().max()) if finite.any() else 0.0
    return largest and largest / max(float(b[finite].abs().max()), NOTHING)


def _relative(a: float, b: float) -> float:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    return abs(a - b) / abs(b) if b and math.isfinite(a) and math.isfinite(b) else math.inf


# --- methods: point by point ------------------------------------------------------------------------------------------


def _plain(objective: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> Outputs:
    """The loop that every tool has: put the weights, pass the samples."""
    return _loop(objective, objective.network, lambda x: x, *_line(objective.network, theta, delta, eta))


def _wide(objective: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> Outputs:
    """The same layers, by kernels for small pictures and in the layout that a CPU prefers."""
    return _by_network(objective, _widened(objective.copied(), objective), theta, delta, eta)


def _fused(
    objective: WeightLoss,
    theta: Tensor,
    delta: Tensor,
    eta: Tensor,
    quicken: Callable[[nn.Module, WeightLoss], Quick] | None = None,
) -> Outputs:
    """As wide, with batch norms folded into theta, delta and eta at once, or into each point if their weights move."""
    fused = Fused(objective.copied(), objective.inputs[:2])
    network = (quicken or _widened)(fused.model, objective)
    theta_, delta_, eta_ = (objective.split(part) for part in (theta, delta, eta))
    lines = [fused.direction(theta_, part) for part in (delta_, eta_)]
    if all(line is not None for line in lines):
        return _loop(
            objective, network, _layout(objective), *_line(network, *map(network.flat, (fused.weights(theta_), *lines)))
        )

    def folded(base: Tensor, alpha: float, lane: int) -> None:
        network.put(network.flat(fused.weights(objective.split(base.add(delta, alpha=alpha)))), lane)

    return _loop(objective, network, _layout(objective), lambda beta: theta.add(eta, alpha=beta), folded)


def _by(quicken: Callable[[nn.Module, WeightLoss], Quick]) -> Callable[[WeightLoss, Tensor, Tensor, Tensor], Outputs]:
    """As fused in eval mode, else as wide, with a network that is quickened."""

    def outputs(objective: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> Outputs:
        if objective.mode == "eval":
            return _fused(objective, theta, delta, eta, quicken)
        return _by_network(objective, quicken(objective.copied(), objective), theta, delta, eta)

    return outputs


def _by_network(objective: WeightLoss, network: Quick, *plane: Tensor) -> Outputs:
    """Outputs of a network with the objective's own weights, on a plane [P] each."""
    return _loop(
        objective,
        network,
        _layout(objective),
        *_line(network, *(network.flat(objective.split(part)) for part in plane)),
    )


def _line(network: Quick, theta: Tensor, delta: Tensor, eta: Tensor) -> tuple[Callable, Callable]:
    """beta -> where a row begins, and what places a point of it in a lane, (that, alpha, lane) -> None.

    theta, delta, eta: vectors of the network's.
    """
    return (lambda beta: theta.add(eta, alpha=beta)), (lambda base, alpha, lane: network.move(base, delta, alpha, lane))


def _loop(
    objective: WeightLoss,
    network: Quick,
    layout: Callable[[Tensor], Tensor],
    start: Callable[[float], Tensor],
    place: Callable[[Tensor, float, int], None],
) -> Outputs:
    """Outputs, as many points at a time as the network has lanes.

    start: beta -> where a row begins; place: gives a lane its weights, at an alpha from there.
    """
    pieces = _pieces(objective.inputs, network.laid if isinstance(network, Settled) else layout)
    calibration = layout(objective.calibration) if objective.mode == "recalibrated" else None

    def outputs(alphas: Sequence[float], beta: float, chunk: int) -> Iterator[Tensor]:
        base = start(beta)
        for group in _groups(alphas, network.lanes):
            for lane in range(network.lanes):  # lanes that are left over take the last point too
                place(base, group[min(lane, len(group) - 1)], lane)
            if isinstance(network, Settled):
                yield torch.cat([network(x) for x in pieces(chunk)], 1)[: len(group)]
                continue
            if calibration is not None:
                network.calibrate(lambda: network(calibration))
            yield torch.cat([network(x) for x in pieces(chunk)])[None]

    return outputs


def _pieces(x: Tensor, layout: Callable[[Tensor], Tensor]) -> Callable[[int], list[Tensor]]:
    """chunk -> the samples in pieces of so many; made once for each size."""
    made: dict[int, list[Tensor]] = {}

    def pieces(chunk: int) -> list[Tensor]:
        if chunk not in made:
            made.clear()
            made[chunk] = [layout(piece) for piece in x.split(chunk)]
        return made[chunk]

    return pieces


def _layout(objective: WeightLoss) -> Callable[[Tensor], Tensor]:
    """How samples lie in memory: channels last, unless a mask would be another there."""
    return (lambda x: x) if objective.draws else channels_last


def _widened(module: nn.Module, objective: WeightLoss) -> Quick:
    plain = objective.kind != "cpu" or objective.draws
    if not plain and objective.mode != "recalibrated" and objective.precision != "bf16":
        settled = _settled(module, objective)
        if settled is not None:
            return settled
    # the graph of a recalibrated network would be that of one of its two modes
    run = module if objective.mode == "recalibrated" else tightened(module)
    if not plain:
        widen(module)
    return Network(module, objective.device, objective.mode, run)


def _settled(module: nn.Module, objective: WeightLoss) -> Settled | None:
    if written(module):
        return None
    moded(module, objective.mode)
    with objective.setting():
        return Settled.of(module, objective.inputs[:2], objective.chunk)


def _compile(module: nn.Module, objective: WeightLoss) -> Network:
    """Through torch's compiler: minutes to prepare, which a large grid repays."""
    compiled = torch.compile(module)

    def run(x: Tensor) -> Tensor:
        try:
            return compiled(x)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise MachineError(
                f"loss.method: torch's compiler failed: {str(error).splitlines()[0]}; it needs a C++ "
                f"compiler (on Debian: apt-get install g++); or leave the method out"
            ) from error

    return Network(module, objective.device, objective.mode, run)


def _graph(module: nn.Module, objective: WeightLoss) -> Network:
    """What a GPU does in one pass is recorded once for each piece of the samples, and played back at every point: for
    small networks, whose operations take longer to begin than to do.
    """
    if objective.kind != "cuda":
        raise MachineError(
            "loss.method: cuda-graph plays back what a GPU did, and there is none here; leave the method out"
        )
    if objective.mode == "recalibrated" or objective.draws:
        raise SceneError(
            "loss.method: cuda-graph is for networks that do the same at every point; this one draws random "
            "numbers, or its mode is recalibrated; leave the method out"
        )
    recorded: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def run(x: Tensor) -> Tensor:
        if x.data_ptr() not in recorded:
            recorded[x.data_ptr()] = (*_recorded(module, x), x)  # held, so that no other has its address
        graph, y, _ = recorded[x.data_ptr()]
        graph.replay()
        return y.clone()

    return Network(module, objective.device, objective.mode, run)


def _recorded(module: nn.Module, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """A pass of x, and where its outputs will lie; the weights are read where they lie. Buffers are as before."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # libraries take their workspaces and choose kernels first
            module(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            y = module(x)
    except RuntimeError as error:
        raise SceneError(
            f"loss.method: cuda-graph: the network waits for the GPU, or its control flow depends on the data: "
            f"{str(error).splitlines()[0]}; leave the method out"
        ) from error
    for buffer, value in before:
        buffer.copy_(value)
    return graph, y


# --- methods: many points together ------------------------------------------------------------------------------------


def _vmap(objective: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> Outputs:
    """All points that fit as one batch of networks: for small ones on a GPU, which a single point does not fill."""
    network = objective.network
    points = max(1, NUMBERS[objective.kind] // (objective.size + objective.inputs[: objective.chunk].numel()))

    def one(weights: Tensor, x: Tensor) -> Tensor:
        named = objective.split(weights)
        network.calibrate(lambda: network.at(named, objective.calibration))
        return network.at(named, x)

    batched = torch.func.vmap(one, (0, None), randomness="same")

    def many(weights: Tensor, x: Tensor) -> Tensor:
        try:
            return batched(weights, x)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise SceneError(
                f"loss.method: vmap: torch cannot run this network at many points at once: "
                f"{str(error).splitlines()[0]}; leave the method out"
            ) from error

    def outputs(alphas: Sequence[float], beta: float, chunk: int) -> Iterator[Tensor]:
        base = theta.add(eta, alpha=beta)
        for group in _groups(alphas, points):
            weights = base + torch.tensor(group, dtype=base.dtype, device=base.device)[:, None] * delta
            yield torch.cat([many(weights, x) for x in objective.inputs.split(chunk)], 1)

    return outputs


def _shared(objective: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> Outputs:
    """For chains of linear layers: the first is linear in the weights, so it is passed three times for all points."""
    chain = Chain.of(objective.model)
    if chain is None:
        raise SceneError(
            "loss.method: shared-first-layer is for networks that are a chain of linear layers; leave the method out"
        )
    theta_, delta_, eta_ = (objective.split(part) for part in (theta, delta, eta))
    first = [chain.first(named, objective.inputs) for named in (theta_, delta_, eta_)]
    points = max(1, NUMBERS[objective.kind] // (chain.widest * objective.chunk))

    def outputs(alphas: Sequence[float], beta: float, chunk: int) -> Iterator[Tensor]:
        base, at_row = theta.add(eta, alpha=beta), first[0].add(first[2], alpha=beta)
        for group in _groups(alphas, points):
            steps = torch.tensor(group, dtype=base.dtype, device=base.device)[:, None]
            named = objective.split(base + steps * delta)
            parts = zip(at_row.split(chunk), first[1].split(chunk), strict=True)
            yield torch.cat([chain.rest(named, torch.addcmul(h, steps[..., None], along)) for h, along in parts], 1)

    return outputs


def _batched(objective: WeightLoss, theta: Tensor, delta: Tensor, eta: Tensor) -> Outputs:
    """For perceptrons with batch norms or shortcuts: samples last, the first layer as in `shared`."""
    recalibrated = objective.mode == "recalibrated"
    network = BatchedNetwork.of(objective.copied().train() if recalibrated else objective.model)
    if network is None:
        raise SceneError(
            "loss.method: batched is for networks of linear layers, batch norms, functions of single "
            "numbers and shortcuts over them; leave the method out"
        )
    vectors = [objective.split(part) for part in (theta, delta, eta)]
    x = objective.inputs
    points = max(1, NUMBERS[objective.kind] // (network.widest * objective.chunk))

    def first(x: Tensor) -> Callable[[Tensor, float, int], Iterator[Tensor]]:
        """Of samples x: (steps [P, 1], beta, samples in a chunk) -> the first layer's results [P, out, chunk]."""
        at_theta, along, across = (network.first(named, x) for named in vectors)
        return lambda steps, beta, chunk: (
            torch.addcmul(h, steps[..., None], part)
            for h, part in zip(at_theta.add(across, alpha=beta).split(chunk, 1), along.split(chunk, 1), strict=True)
        )

    begin = first(x)
    calibrate = first(objective.calibration) if recalibrated else None

    def outputs(alphas: Sequence[float], beta: float, chunk: int) -> Iterator[Tensor]:
        base = theta.add(eta, alpha=beta)
        for group in _groups(alphas, points):
            steps = torch.tensor(group, dtype=base.dtype, device=base.device)[:, None]
            named = objective.split(torch.addcmul(base, steps, delta))
            statistics: Statistics = {}
            if calibrate is not None:
                network.rest(named, *calibrate(steps, beta, len(objective.calibration)), statistics)
            yield torch.cat([network.rest(named, h, dict(statistics)) for h in begin(steps, beta, chunk)], 1)

    return outputs


def _groups(alphas: Sequence[float], points: int) -> Iterator[Sequence[float]]:
    return (alphas[i : i + points] for i in range(0, len(alphas), points))


METHODS: dict[str, Callable[[WeightLoss, Tensor, Tensor, Tensor], Outputs]] = {
    "loop": _plain,
    "image-kernels": _wide,
    "folded": _fused,
    "shared-first-layer": _shared,
    "batched": _batched,
    "vmap": _vmap,
    "torch-compile": _by(_compile),
    "cuda-graph": _by(_graph),
}
