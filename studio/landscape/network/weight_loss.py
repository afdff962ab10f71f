"""The loss of one network on one fixed set of samples, as a function of its weights alone.

    L(theta) = 1/N sum over samples of loss(network(x; theta), y)

The network is a private copy: the caller's keeps its weights, buffers, mode and gradients, and torch's random numbers
stay as they were. Weights are one flat vector [P], the trainable tensors in the model's own order; frozen tensors keep
their values. A buffer that the network writes is restored before the next pass, so that every point of a landscape
is of the same network.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from types import MappingProxyType
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from studio.landscape.network.folding import FoldedBatchNorm
from studio.landscape.network.graph import pool_before_relu
from studio.landscape.network.network import Network
from studio.landscape.network.objective_network import ObjectiveNetwork
from studio.landscape.network.precision import MinimumPrecision, lift
from studio.landscape.network.random_numbers import fixed_masks, generator_state
from studio.landscape.network.twice_differentiable import twice_differentiable
from studio.training.batches import Batch, X
from studio.training.losses import OutputFunction, SampleNumbers, accuracy, cross_entropy, per_sample

T = TypeVar("T")
MAX_PIXELS = {"cpu": 2**17, "cuda": 2**22, "mps": 2**20}
"""Pixels of the pictures in one chunk of a convolutional network: on a CPU their features stay in the cache."""
MAX_SAMPLES = {"cpu": 256, "cuda": 65536, "mps": 16384}
"""Samples in one chunk of any other network."""
PROBED, CHUNKS = 8, 4
"""Samples, and chunks, that pass together to see whether outputs depend on the others in a batch, or on how many."""
MIX_TOLERANCE, COUNT_TOLERANCE = 1e-5, 1e-3
"""How far outputs may differ by rounding, relative to the largest: in a batch of the same size, and of another."""


class WeightLoss:
    """Per-sample losses of a network on samples x [N, ...] with targets y [N, ...], or with none.

    state: weights and buffers by name, in place of the model's own; what the network does is asked at these, and at
    the points of `prepare_for`. mode: "eval"; "train", which uses the batch statistics of all N samples as one batch
    and leaves running ones alone; or "recalibrated", which is eval mode with the batch statistics of `calibration`
    [M, ...] at these very weights (of x itself if None).
    Samples pass in chunks by a fixed rule; all at once in train mode, and if the network mixes samples, so that its
    output for one depends on the others. Dropout draws the same mask at every point.
    criterion: the loss of outputs and targets. fields: more numbers from the same outputs, by name.
    numbers: of an objective that runs the network itself, in place of both; the network's inputs are then the indices
    of samples, and its outputs the numbers. precision: of the arithmetic, at least, whatever the model's weights and
    casts are of; "float32" leaves float64 as it is.
    model: the private copy. runs_objective: whether `numbers` were given. names: of its trainable tensors, in its own
    order. size: P, their number of weights. split: vectors [..., P] -> views [..., *shape] by name.
    """

    def __init__(
        self,
        model: nn.Module,
        state: Mapping[str, Tensor],
        x: X,
        y: Tensor | None,
        mode: Literal["eval", "train", "recalibrated"] = "eval",
        device: str = "cpu",
        *,
        criterion: OutputFunction = cross_entropy,
        fields: Mapping[str, OutputFunction] = MappingProxyType({"accuracy": accuracy}),
        numbers: SampleNumbers | None = None,
        precision: str = "float32",
        calibration: Tensor | None = None,
    ):
        self._rebuild = partial(
            WeightLoss, model, state, mode=mode, criterion=criterion, fields=fields, numbers=numbers
        )
        self._samples, self._calibration = (x, y), calibration
        self.mode, self.device, self.sample_count = mode, str(device), len(x)
        # only NVIDIA's GPUs have tf32: others compute in float32, and `precision` says so
        self.precision = "float32" if precision == "tf32" and self.device_kind != "cuda" else precision
        self.criterion, self.fields, self.runs_objective = criterion, dict(fields), numbers is not None
        private = _private_copy(model, state, device, precision)
        # copied before its batch norms store their statistics, since a copy would go on to use the original's
        self._template = copy.deepcopy(private).train(mode == "train")
        inputs = x.map(self.to_device) if isinstance(x, Batch) else self.to_device(x)
        targets = None if y is None else self.to_device(y)
        casts = MinimumPrecision(torch.float64 if precision == "float64" else torch.float32, self.device_kind)
        if numbers is not None:
            with casts:
                private = ObjectiveNetwork(private, numbers, inputs, targets)
            self.fields = private.functions()
            self.criterion = self.fields.pop("loss")
            inputs = targets = torch.arange(len(x), device=device)
        assert isinstance(inputs, Tensor)  # of a `Batch`, only the user's objective takes samples
        self.inputs, self.targets = inputs, inputs if targets is None else targets
        self.network, self.model = Network(private, device, mode), private
        self.names, self.size, self.split = list(self.network.parameters), self.network.size, self.network.split
        self.calibration = self.inputs if calibration is None else self.to_device(calibration)
        with contextlib.suppress(RuntimeError), torch.inference_mode(), fixed_masks(self.device), casts:
            self.network(self.inputs[:2])
        # a mode of Python's slows every operation, so only networks that need it run in it
        self._casts = casts if casts.found and precision != "bf16" else contextlib.nullcontext()
        self.single_batch, self.is_random, self.chunk_size = mode == "train", False, self._even_chunk_size()
        self.prepare_for([self.network.flat(self.network.parameters)])

    def prepare_for(self, points: Iterable[Tensor]) -> None:
        """Asks at weights [P] whether the network draws random numbers and mixes its samples, as at the state's own.

        A gate may be closed at the centre of a plane and open at its edge. To be called before anything is measured.
        """
        start = self.network.flat(self.network.parameters)
        for weights in points:
            mixes, draws = self.mixes_and_draws(weights, self.chunk_size)
            self.single_batch |= mixes
            self.is_random |= draws
        self.network.set_weights(start)
        self.chunk_size = self.sample_count if self.single_batch else self.chunk_size

    def with_precision(self, precision: str) -> WeightLoss:
        """The same loss in another precision; on the CPU for float64 that the device lacks."""
        lacks = precision == "float64" and self.device_kind == "mps"
        return self._again(*self._samples, precision, "cpu" if lacks else self.device)

    def subset(self, count: int) -> WeightLoss:
        """The same loss over the first `count` samples."""
        x, y = self._samples
        return self._again(x[:count], None if y is None else y[:count], self.precision, self.device)

    def _again(self, x: X, y: Tensor | None, precision: str, device: str) -> WeightLoss:
        other = self._rebuild(x, y, precision=precision, device=device, calibration=self._calibration)
        other.single_batch, other.is_random = self.single_batch, self.is_random
        other.prepare_for(())
        return other

    @property
    def device_kind(self) -> str:
        """The device's kind, "cpu", "cuda" or "mps"."""
        return torch.device(self.device).type

    @property
    def chunks(self) -> list[tuple[Tensor, Tensor]]:
        """Samples and targets that pass through the network together, in order; the last may be shorter."""
        return list(
            zip(torch.split(self.inputs, self.chunk_size), torch.split(self.targets, self.chunk_size), strict=True)
        )

    def mixes_and_draws(self, weights: Tensor, size: int) -> tuple[bool, bool]:
        """Whether outputs at weights [P] are others in batches of a size, and whether a pass draws random numbers."""
        few = self.inputs[:: max(1, self.sample_count // PROBED)][:PROBED].contiguous()
        n, draws = len(few) // 2, False

        def forward(*parts: Tensor) -> Tensor:
            nonlocal draws
            outputs = self.network(torch.cat(parts))
            draws |= not torch.equal(generator_state(self.device_kind), seeded)
            return outputs

        # in the model's own precision: another one may round more
        with torch.inference_mode(), fixed_masks(self.device), self._casts:
            seeded = generator_state(self.device_kind)
            self.network.set_weights(weights)
            try:
                self.network.calibrate(lambda: forward(self.calibration))
                together = forward(few)
                if size >= self.sample_count:
                    return False, draws
                # beside other samples, then in batches of another size
                first, last = forward(few[:n], *[few[:1]] * (len(few) - n)), forward(*[few[-1:]] * n, few[n:])
                mixes = _differ(first[:n], together[:n]) or _differ(last[n:], together[n:])
                parts = torch.split(self.inputs[: CHUNKS * size], size)
                whole, apart = forward(*parts), torch.cat([*map(forward, parts)])
                known = whole.isfinite() & apart.isfinite()
                return mixes or _differ(whole[known], apart[known], COUNT_TOLERANCE), draws
            except Exception as error:  # of any kind: it takes no batch of such a size; without memory it is unknown
                fits = not is_out_of_memory(error)
                return size < self.sample_count and fits, draws or fits

    def _even_chunk_size(self) -> int:
        """The largest size within the limits with which the last chunk is hardly shorter than the others."""
        if self.mode == "train":
            return self.sample_count
        maximum = MAX_SAMPLES[self.device_kind]
        if any(isinstance(part, nn.modules.conv._ConvNd) for part in self.model.modules()):
            x = self._samples[0]
            tensors = x.tensors if isinstance(x, Batch) else [x]
            maximum = max(1, MAX_PIXELS[self.device_kind] // max(math.prod(tensor.shape[2:]) for tensor in tensors))
        return math.ceil(self.sample_count / math.ceil(self.sample_count / maximum))

    def to_device(self, x: Tensor) -> Tensor:
        """A tensor on the loss's device; floats become float64 if that is the loss's precision."""
        return x.to(self.device, torch.float64 if self.precision == "float64" and x.is_floating_point() else x.dtype)

    def flat(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The trainable tensors of `weights` as one vector [P], on the loss's device and in its precision."""
        return self.network.flat({name: weights[name].to(self.device) for name in self.names})

    def clone_module(self) -> nn.Module:
        """Another private network, in the loss's precision and in eval or train mode."""
        return copy.deepcopy(self._template)

    def outputs(self, named: Mapping[str, Tensor], x: Tensor, folded: bool = False) -> Tensor:
        """The network's outputs for samples x with the trainable tensors `named`: differentiable in them.

        folded: in eval mode, with batch norms folded into the layers before them: the same function of the same
        weights, with fewer operations.
        """
        with self.forward_context():
            if folded and self.mode == "eval" and not self.runs_objective:
                return self._folded_network.functional_call(self.folding.weights(named), x)
            self.network.calibrate(lambda: self.network.functional_call(named, self.calibration))
            return self.network.functional_call(named, x)

    def forward_all(self, weights: Tensor) -> Tensor:
        """The network's outputs for all samples [N, ...] at weights [P], by the plain loop over the chunks."""
        with torch.inference_mode(), self.forward_context():
            self.network.set_weights(weights)
            self.network.calibrate(lambda: self.network(self.calibration))
            return torch.cat([self.network(x) for x, _ in self.chunks])

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, float64 [N]. Raises SceneError if the user's function returns another shape."""
        return per_sample("run.objective", self.criterion, self.criterion(outputs, y), len(y))

    def per_sample_fields(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Per-sample numbers, float64 [N], by name: `loss`, then the fields. Raises as `losses` does."""
        loss = self.losses(outputs, y)
        others = {name: per_sample("loss.fields", f, f(outputs, y), len(y)) for name, f in self.fields.items()}
        return {"loss": loss, **others}

    @cached_property
    def folding(self) -> FoldedBatchNorm:
        """The network's copy with folded batch norms; only in eval mode."""
        return FoldedBatchNorm(self.network.module, self.inputs[:2])

    @cached_property
    def _folded_network(self) -> Network:
        model, reordered = self.folding.model, pool_before_relu(self.folding.model)
        # weights that the network never uses are no part of its graph, and would be missing
        names, graph_names = (dict(m.named_parameters(remove_duplicate=False)).keys() for m in (model, reordered))
        return Network(reordered if names <= graph_names else model, self.device, "eval")

    @contextlib.contextmanager
    def forward_context(self) -> Iterator[None]:
        """The context of every pass: the loss's precision, and one fixed stream of random numbers."""
        nothing = contextlib.nullcontext()
        bf16 = torch.autocast(self.device_kind, torch.bfloat16) if self.precision == "bf16" else nothing
        tf32 = _tf32() if self.precision == "tf32" else nothing
        # other attention kernels than MATH have no second derivative
        with fixed_masks(self.device), sdpa_kernel(SDPBackend.MATH), bf16, tf32, self._casts:
            yield


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


def _differ(a: Tensor, b: Tensor, tolerance: float = MIX_TOLERANCE) -> bool:
    """Whether a and b differ by more than a tolerance relative to the largest finite number of b."""
    finite = b.isfinite()
    largest = float(b[finite].abs().max()) if finite.any() else 0.0
    return not torch.allclose(a, b, rtol=0, atol=tolerance * largest, equal_nan=True)


_OOM_PHRASES = ("allocate memory", "out of memory", "bad_alloc", "could not create a primitive")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch's, or Python's own, says that memory ran out."""
    message = str(error).lower()
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return out_of_memory or any(phrase in message for phrase in _OOM_PHRASES)


def none_on_oom(compute: Callable[[], T]) -> T | None:
    """The result of a computation, or None if memory runs out."""
    try:
        return compute()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _private_copy(model: nn.Module, state: Mapping[str, Tensor], device: str, precision: str) -> nn.Module:
    """A copy on the device, with the tensors of `state` in place of its own."""
    private = twice_differentiable(model).to(device)
    for tensor in (*private.parameters(), *private.buffers()):
        tensor.data = lift(tensor.data)
    private = private.double() if precision == "float64" else private
    tensors = dict(private.named_buffers()) | dict(private.named_parameters())
    with torch.no_grad():
        for name, tensor in state.items():
            tensors[name].copy_(tensor)
    return private
