"""The loss of one network on one fixed set of samples, as a function of its weights alone.

    L(theta) = 1/N sum over samples of criterion(network(x; theta), y)

The network is a private copy: the caller's keeps its weights, buffers, mode and gradients, and torch's random numbers
stand afterwards where they stood. Weights pass through here as one flat vector [P], the trainable tensors in the
model's own order; frozen ones keep their values. A buffer that the network writes in passing is put back before the
next pass, so that every point of a landscape meets the same network.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from studio.landscape.network import kernels
from studio.landscape.network.folding import Fused
from studio.landscape.network.graph import reordered
from studio.landscape.network.twice_differentiable import twice_differentiable
from studio.landscape.objectives import Criterion, accuracy, cross_entropy, per_sample

PIXELS = {"cpu": 2**17, "cuda": 2**22}
"""Of all pictures that pass through a convolutional network together: on a CPU their features stay in the cache."""
TOGETHER = {"cpu": 256, "cuda": 65536}
"""Samples that pass through another network together."""

NONE: Mapping[str, Criterion] = MappingProxyType({})


class Network:
    """A module, owned, in a mode of the objective's; its trainable tensors are views of one vector that `put` writes.

    run: computes what the module does, from the same tensors; the module itself if not given.
    """

    lanes = 1
    """It is at one point at a time."""

    def __init__(self, module: nn.Module, device: str, mode: str, run: Callable[[Tensor], Tensor] | None = None):
        self.module, self.run, self._kind = module, module if run is None else run, torch.device(device).type
        self._statistics = moded(module, mode)
        self._recalibrated = mode == "recalibrated"
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._flat = torch.cat([p.detach().reshape(-1) for p in self.parameters.values()])
        for name, place in self.split(self._flat).items():
            self.parameters[name].data = place
        self._written = written(module)

    @property
    def size(self) -> int:
        """P."""
        return self._flat.numel()

    def flat(self, named: Mapping[str, Tensor]) -> Tensor:
        """The trainable tensors [..., *shape] of `named` as vectors [..., P], on the device, in the network's type."""
        parts = [
            named[name].flatten(named[name].dim() - p.dim()) if p.dim() else named[name].unsqueeze(-1)
            for name, p in self.parameters.items()
        ]
        return torch.cat(parts, -1).to(self._flat)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Vectors [..., P] as views [..., *shape] by name."""
        parts = flat.split([p.numel() for p in self.parameters.values()], dim=-1)
        return {
            name: part.view((*part.shape[:-1], *p.shape))
            for part, (name, p) in zip(parts, self.parameters.items(), strict=True)
        }

    def put(self, weights: Tensor, lane: int = 0) -> None:
        """Places weights [P] in the module, whose only lane is the first."""
        self._flat.copy_(weights)

    def move(self, base: Tensor, along: Tensor, by: float, lane: int = 0) -> None:
        """Places base + by along, in the same way."""
        torch.add(base, along, alpha=by, out=self._flat)

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs at the weights last `put`. What the module wrote into its buffers is put back."""
        _reseed(self._kind)
        found = self.run(x)
        for module, name, tensor, value in self._written.values():
            module._buffers[name] = tensor.copy_(value)
        return found

    def at(self, named: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Outputs with the tensors `named`, differentiable in them; the module's own are not touched."""
        _reseed(self._kind)
        fresh = {name: value.clone() for name, (*_, value) in self._written.items()}
        return functional_call(self.module, {**fresh, **named}, (x,))

    def calibrate(self, run: Callable[[], object]) -> None:
        """In recalibrated mode: takes the batch statistics of the train-mode pass that `run` makes."""
        if not self._recalibrated:
            return
        self._statistics.clear()
        self.module.train()
        try:
            run()
        finally:
            self.module.eval()


class WeightLoss:
    """Per-sample losses of a network on samples x [N, ...] with targets y [N, ...].

    state: weights and buffers by name, put in place of the model's own; whether the network mixes its samples is probed
    at these. mode: "eval"; "train", which takes batch statistics over all N samples as one batch and leaves running
    ones alone; or "recalibrated", which runs the network in eval mode with the batch statistics of `calibration`
    [M, ...] at these very weights (x itself if None).
    Samples pass in chunks by a fixed rule; all at once in train mode, and where the network mixes them, so that what it
    makes of one depends on the others. Dropout draws the same mask at every point.
    fields: more numbers to take from the same outputs, by name; accuracy is always among them. precision: of the
    arithmetic; "float32" leaves the model's own. `again(precision=...)` is the same objective in another precision.
    """

    def __init__(
        self,
        model: nn.Module,
        state: Mapping[str, Tensor],
        x: Tensor,
        y: Tensor,
        mode: Literal["eval", "train", "recalibrated"] = "eval",
        device: str = "cpu",
        *,
        criterion: Criterion | None = None,
        fields: Mapping[str, Criterion] = NONE,
        precision: str = "float32",
        calibration: Tensor | None = None,
    ):
        self.mode, self.device, self.samples = mode, str(device), len(y)
        # a CPU has no tf32: float32 is what it computes then, and what is said
        self.precision = "float32" if precision == "tf32" and self.kind == "cpu" else precision
        self.criterion, self.fields = criterion or cross_entropy, {"accuracy": accuracy, **fields}
        self._over = partial(
            WeightLoss,
            model,
            state,
            mode=mode,
            device=device,
            criterion=criterion,
            fields=fields,
            calibration=calibration,
        )
        self.again = partial(self._over, x, y)
        self._asked = x, y, precision
        private = _private(model, state, device, precision)
        # before its batch norms are told to note their statistics, which no copy would do for itself
        self._pattern = copy.deepcopy(private).train(mode == "train")
        self.network = Network(private, device, mode)
        self.calibration = self.placed(x if calibration is None else calibration)
        self.inputs, self.targets = self.placed(x), y.to(device)
        self.whole = mode == "train" or (mode == "eval" and self._mixes())
        self.chunk = len(y) if self.whole else self._even(self._most())

    def first(self, count: int) -> WeightLoss:
        """The same objective over the first `count` of the samples alone."""
        x, y, precision = self._asked
        return self._over(x[:count], y[:count], precision=precision)

    @property
    def model(self) -> nn.Module:
        """The private network."""
        return self.network.module

    @property
    def kind(self) -> str:
        """ "cpu" or "cuda"."""
        return torch.device(self.device).type

    @property
    def chunks(self) -> list[tuple[Tensor, Tensor]]:
        """Samples and targets that pass through the network together, in order; the last may be shorter."""
        return list(zip(self.inputs.split(self.chunk), self.targets.split(self.chunk), strict=True))

    def _mixes(self) -> bool:
        """Whether samples come out otherwise when fewer pass together, by more than rounding ever makes of it."""
        few = self.inputs[:4]
        # in the model's own precision: another one may round more than that
        with torch.inference_mode(), fixed_masks(self.device):
            try:
                together, apart = self.network(few), torch.cat([self.network(two) for two in few.split(2)])
            except RuntimeError:
                return True
        largest = float(together[together.isfinite()].abs().max()) if together.isfinite().any() else 0.0
        return not torch.allclose(together, apart, rtol=0, atol=1e-3 * largest, equal_nan=True)

    def _most(self) -> int:
        """How many samples may pass together in eval mode."""
        if _has_convolutions(self.model):
            return max(1, PIXELS[self.kind] // self.inputs[0, 0].numel())
        return TOGETHER[self.kind]

    def _even(self, most: int) -> int:
        """Samples in a chunk, at most so many, such that the last is hardly shorter than the others."""
        return math.ceil(self.samples / math.ceil(self.samples / most))

    def placed(self, x: Tensor) -> Tensor:
        """Samples on the objective's device, in its type."""
        return x.to(self.device, torch.float64 if self.precision == "float64" and x.is_floating_point() else x.dtype)

    # --- weights -----------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """Of the trainable tensors, in the model's own order."""
        return list(self.network.parameters)

    @property
    def size(self) -> int:
        """P, how many trainable weights there are."""
        return self.network.size

    def flat(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The trainable tensors of `weights` as one vector [P], on the objective's device and in its precision."""
        return self.network.flat({name: weights[name].to(self.device) for name in self.names})

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Vectors [..., P] as views [..., *shape] by name."""
        return self.network.split(flat)

    # --- values ------------------------------------------------------------------------------------------------------

    def copied(self) -> nn.Module:
        """One more private network, in the objective's precision and in eval or train mode."""
        return copy.deepcopy(self._pattern)

    def outputs(self, named: Mapping[str, Tensor], x: Tensor, folded: bool = False) -> Tensor:
        """What the network returns for samples x with the trainable tensors `named`: differentiable in them.

        folded: in eval mode, with its batch norms folded into the layers before them: the same function of the same
        weights, with fewer operations.
        """
        with self.setting():
            if folded and self.mode == "eval":
                return self._folded.at(self.fused.weights(named), x)
            self.network.calibrate(lambda: self.network.at(named, self.calibration))
            return self.network.at(named, x)

    def passed(self, weights: Tensor) -> Tensor:
        """What the network returns for all samples [N, ...] at weights [P], by the plain loop over the chunks."""
        with torch.inference_mode(), self.setting():
            self.network.put(weights)
            self.network.calibrate(lambda: self.network(self.calibration))
            return torch.cat([self.network(x) for x, _ in self.chunks])

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The criterion for each sample, float64 [N]. Raises SceneError if the user's gives another shape."""
        return per_sample("criterion", self.criterion, outputs, y)

    def numbers(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Per-sample numbers, float64 [N], by name: `loss`, `accuracy`, the other fields. Raises as `losses` does."""
        return {
            "loss": self.losses(outputs, y),
            **{name: per_sample("fields", function, outputs, y) for name, function in self.fields.items()},
        }

    @cached_property
    def draws(self) -> bool:
        """Whether the network draws random numbers in its mode: its masks then depend on how tensors lie in memory."""
        drawn = []

        def watch(x: Tensor) -> None:
            self.network(x)
            drawn.append(not torch.equal(_generator(self.kind).get_state(), seeded))

        with torch.inference_mode(), self.setting():
            seeded = _generator(self.kind).get_state()
            self.network.calibrate(lambda: watch(self.calibration))
            watch(self.inputs[: self.chunk])
        return any(drawn)

    @cached_property
    def fused(self) -> Fused:
        """The network with its batch norms folded: only in eval mode."""
        return Fused(self.network.module, self.inputs[:2])

    @cached_property
    def _folded(self) -> Network:
        model, made = self.fused.model, reordered(self.fused.model)
        # weights that the network never uses are no part of its graph, and would be missed
        names, there = (dict(one.named_parameters(remove_duplicate=False)).keys() for one in (model, made))
        return Network(made if names <= there else model, self.device, "eval")

    # --- settings ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def setting(self) -> Iterator[None]:
        """Inside, the network computes in the objective's precision, with one fixed stream of random numbers."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(fixed_masks(self.device))
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # the others have no second derivative
            if self.precision == "bf16":
                stack.enter_context(torch.autocast(self.kind, torch.bfloat16))
            if self.precision == "tf32":
                stack.enter_context(_tf32())
            yield


# --- settings --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def fixed_masks(device: str) -> Iterator[None]:
    """Inside, torch's random numbers start from the same place every time; afterwards they go on as if unused."""
    with torch.random.fork_rng(devices=[torch.device(device)] if device != "cpu" else [], device_type="cuda"):
        _reseed(torch.device(device).type)
        yield


def _reseed(kind: str) -> None:
    torch.default_generator.manual_seed(0)
    if kind == "cuda":
        torch.cuda.manual_seed(0)


def _generator(kind: str) -> torch.Generator:
    return torch.default_generator if kind == "cpu" else torch.cuda.default_generators[torch.cuda.current_device()]


@contextlib.contextmanager
def _tf32() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32
    matmul.allow_tf32 = True
    try:
        with cudnn.flags(enabled=True, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=True):
            yield
    finally:
        matmul.allow_tf32 = before


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch's, or Python's own, says that memory ran out."""
    words = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        phrase in words for phrase in ("allocate memory", "out of memory", "bad_alloc")
    )


# --- the private network ---------------------------------------------------------------------------------------------


def _private(model: nn.Module, state: Mapping[str, Tensor], device: str, precision: str) -> nn.Module:
    """A copy on the device, with the given tensors in place of its own."""
    private = twice_differentiable(model).to(device)
    own = dict(private.named_buffers()) | dict(private.named_parameters())
    with torch.no_grad():
        for name, tensor in state.items():
            own[name].copy_(tensor)
    return private.double() if precision == "float64" else private


def moded(module: nn.Module, mode: str) -> dict[nn.Module, list[tuple[Tensor, Tensor]]]:
    """Puts the module in a mode; returns where its batch norms note their statistics in recalibrated mode."""
    statistics: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}
    module.train(mode == "train")
    for part in module.modules():
        if mode == "train" and isinstance(part, _NormBase):
            part.track_running_stats = False  # running statistics are neither used nor updated
        if mode == "recalibrated" and isinstance(part, _BatchNorm):
            part.forward = partial(_recalibrated, part, statistics)
    return statistics


def _has_convolutions(module: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.conv._ConvNd) for part in module.modules())


def written(module: nn.Module) -> dict[str, tuple[nn.Module, str, Tensor, Tensor]]:
    """By full name, every buffer that a pass might write: its owner, name, tensor and value. Batch norms write none."""
    return {
        f"{prefix}.{name}" if prefix else name: (part, name, tensor, tensor.clone())
        for prefix, part in module.named_modules()
        if not isinstance(part, _BatchNorm)
        for name, tensor in part.named_buffers(recurse=False)
    }


def _batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] of x [N, C, ...]."""
    rows = x.movedim(1, -1)
    if x.dim() > 2 and rows.is_contiguous() and not torch.is_grad_enabled():
        return kernels.statistics(rows.flatten(0, -2))
    var, mean = torch.var_mean(x, [d for d in range(x.dim()) if d != 1], correction=0)
    return mean, var


def _recalibrated(norm: _BatchNorm, statistics: dict[nn.Module, list[tuple[Tensor, Tensor]]], x: Tensor) -> Tensor:
    """Batch norm that notes its batch's statistics in train mode, and uses what it noted in eval mode."""
    if norm.training:
        # under autocast x may be in bf16; its statistics are not, as in torch's own batch norm
        statistics.setdefault(norm, []).append(_batch_statistics(x.float() if x.dtype == torch.bfloat16 else x))
        mean, var = statistics[norm][-1]
    elif norm in statistics:
        # a norm that is passed more than once has one pair of running statistics: the mean of its passes
        mean, var = (torch.stack(parts).mean(0) for parts in zip(*statistics[norm], strict=True))
    else:
        mean, var = norm.running_mean, norm.running_var
    if not torch.is_grad_enabled():
        return F.batch_norm(x, mean, var, norm.weight, norm.bias, False, 0.0, norm.eps)
    # written out: torch's own batch norm does not differentiate by the statistics it is given
    scale = (var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    shape = (1, -1, *(1,) * (x.dim() - 2))
    return x * scale.view(shape) + shift.view(shape)
