"""Values of the loss on a plane, by the quickest method that gives the same numbers.

A slice is prepared once; then its points are measured row by row, without waiting for the device within a row. A method
(`methods.py`) computes the network's outputs for every point of a row. What is taken from the outputs is the same for
all methods: one number of the loss and of each field for every sample, in float64, summed in one order.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, cached_property, partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from studio.errors import MachineError
from studio.landscape.network.weight_loss import WeightLoss, is_out_of_memory, none_on_oom
from studio.landscape.values.methods import METHODS, RowOutputs
from studio.training.losses import BUILT_IN

POINTS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
"""(alpha, beta) where a method is compared with the plain loop."""
TOLERANCE = {"float32": 1e-5, "float64": 1e-11, "tf32": 1e-2, "bf16": 1e-1}
"""How far from the plain loop a method may be, relative to the largest loss of a sample."""
ROUNDING_FACTOR = 10
"""If that is exceeded, a method may be so many times as far from the float64 value as the plain loop is."""
SMALLEST_LOSS = 1e-6
"""Losses are compared relative to one of this size at least: in a perfect fit only rounding is left."""
MAX_OUTPUTS = 2**20
"""Numbers of outputs in one call of the loss's function."""


class Evaluator:
    """Values on the plane through theta along delta and eta, flat vectors [P] of the loss, by a method.

    method: a name of `METHODS`. keep_samples: rows contain each sample's loss too. Raises SceneError if the method does
    not support the network.
    """

    def __init__(
        self,
        weight_loss: WeightLoss,
        theta: Tensor,
        delta: Tensor,
        eta: Tensor,
        method: str = "loop",
        keep_samples: bool = False,
    ):
        self.weight_loss, self.method, self.chunk_size = weight_loss, method, weight_loss.chunk_size
        self._plane, self._keep_samples = (theta, delta, eta), keep_samples
        self._outputs: RowOutputs = METHODS[method](weight_loss, theta, delta, eta)

    def row(self, alphas: Iterable[float], beta: float) -> dict[str, Tensor]:
        """`loss` and the other fields, float64 [points], at (alpha, beta) for all alphas; on the device.

        `losses` [points, N] if samples are kept. inf and NaN stay as measured. If memory runs out, the samples pass in
        chunks of half the size from then on. Smaller chunks may select another kernel, so rounding can differ. Raises
        MachineError if that does not help.
        """
        return self._measure([float(alpha) for alpha in alphas], float(beta), self._keep_samples)

    def losses_at(self, points: Sequence[tuple[float, float]], precision: str | None = None) -> npt.NDArray[np.float64]:
        """The loss at points (alpha, beta), one by one; in another precision by the plain loop."""
        evaluator = self if precision is None else self._loop(precision)
        return np.array([float(evaluator.row([alpha], beta)["loss"]) for alpha, beta in points])

    def precision_error(self, points: Sequence[tuple[float, float]] = POINTS) -> float:
        """The largest relative error of a loss over the points; 0 if both are NaN, or the same inf.

        Against float32; of float32 itself, as on Apple's GPU, against float64 on the CPU.
        """
        exact = "float64" if self.weight_loss.precision == "float32" else "float32"
        pairs = zip(self.losses_at(points), self.losses_at(points, exact), strict=True)
        return max(_relative_error(float(value), float(exact)) for value, exact in pairs)

    @torch.inference_mode()
    def _measure(self, alphas: Sequence[float], beta: float, keep_samples: bool) -> dict[str, Tensor]:
        while True:
            try:
                with self.weight_loss.forward_context():
                    return self._means(alphas, beta, keep_samples)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve_chunk_size(error)

    def _means(self, alphas: Sequence[float], beta: float, keep_samples: bool) -> dict[str, Tensor]:
        parts = [self._per_sample_fields(outputs) for outputs in _merge(self._outputs(alphas, beta, self.chunk_size))]
        fields = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        means = {name: values.sum(1) / self.weight_loss.sample_count for name, values in fields.items()}
        return means | ({"losses": fields["loss"]} if keep_samples else {})

    def _per_sample_fields(self, outputs: Tensor) -> dict[str, Tensor]:
        """Per-sample numbers [points, N] by name, from outputs [points, N, ...]."""
        weight_loss, points = self.weight_loss, len(outputs)
        functions = (weight_loss.criterion, *weight_loss.fields.values())
        if points > 1 and all(function in BUILT_IN for function in functions):
            targets = weight_loss.targets.repeat(points, *(1,) * (weight_loss.targets.dim() - 1))
            fields = weight_loss.per_sample_fields(outputs.flatten(0, 1), targets)
            return {name: values.view(points, -1) for name, values in fields.items()}
        # a user's function may depend on the whole batch
        by_point = [weight_loss.per_sample_fields(at_point, weight_loss.targets) for at_point in outputs]
        return {name: torch.stack([fields[name] for fields in by_point]) for name in by_point[0]}

    def _halve_chunk_size(self, error: BaseException) -> None:
        """Halves `chunk_size`. Raises MachineError if the samples cannot pass in smaller chunks."""
        mode, eighth = self.weight_loss.mode, math.ceil(self.chunk_size / 8)
        if self.weight_loss.single_batch or self.weight_loss.mixes_and_draws(self._plane[0], eighth)[0]:
            reason = "loss.mode: train needs" if mode == "train" else "a network needs that mixes its samples"
            traceback.clear_frames(error.__traceback__)  # they hold the tensors of the pass that failed
            raise MachineError(
                f"there is not enough memory for {self.weight_loss.sample_count} images in one batch, which {reason}; "
                f"{self._largest_batch()} fit: take a smaller loss.subset, or fewer workers"
                f"{', or loss.mode: eval' if mode == 'train' else ''}"
            ) from error
        if self.chunk_size == 1:
            images = "the loss.calibration images" if mode == "recalibrated" else "a single image"
            raise MachineError(
                f"there is not enough memory to pass {images} through the network; "
                f"take fewer workers, or a smaller network or subset"
            ) from error
        self.chunk_size = math.ceil(self.chunk_size / 2)

    def _largest_batch(self) -> int:
        """The most samples that pass in one batch, to an eighth."""
        weight_loss, size = self.weight_loss, self.weight_loss.sample_count
        with weight_loss.forward_context():
            while size := size * 7 // 8:
                if none_on_oom(partial(weight_loss.network, weight_loss.inputs[:size])) is not None:
                    break
        return size

    @cached_property
    def agreement(self) -> float:
        """The largest difference of a sample's loss from the plain loop's at `POINTS`, relative to the largest loss.

        Computed at first use. Raises MachineError if it is more than rounding.
        """
        if self.method == "loop":
            return 0.0
        loop = cache(self._loop)  # the same for all points, and freed afterwards
        return max(self._agreement(loop, *point) for point in POINTS)

    def _agreement(self, loop: Callable[[str], Evaluator], alpha: float, beta: float) -> float:
        tolerance = TOLERANCE[self.weight_loss.precision]
        losses, expected = self._losses(alpha, beta), loop(self.weight_loss.precision)._losses(alpha, beta)
        difference = _difference(losses, expected)
        if difference > tolerance:
            # a deep network may round so much that two correct methods differ by more: compare both with float64
            exact = loop("float64")._losses(alpha, beta)
            if _difference(losses, exact) > max(tolerance, ROUNDING_FACTOR * _difference(expected, exact)):
                raise MachineError(
                    f"two ways to compute the same loss give {float(expected.mean()):g} (loop) and "
                    f"{float(losses.mean()):g} ({self.method}): a kernel of the installed torch is wrong; "
                    f"try another version of it, or write method: loop under loss"
                )
        return difference

    def _loop(self, precision: str) -> Evaluator:
        """The plain loop on the same plane, in a precision."""
        weight_loss = self.weight_loss.with_precision(precision)
        theta, delta, eta = (weight_loss.flat(self.weight_loss.split(vector)) for vector in self._plane)
        return Evaluator(weight_loss, theta, delta, eta)

    def _losses(self, alpha: float, beta: float) -> Tensor:
        """Each sample's loss [N] at a point."""
        return self._measure([alpha], beta, keep_samples=True)["losses"][0]


def _merge(outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same outputs [points, ...], more points at a time, since each call of the loss has its price."""
    pending: list[Tensor] = []
    for part in outputs:
        pending.append(part)
        if sum(tensor.numel() for tensor in pending) >= MAX_OUTPUTS:
            yield torch.cat(pending)
            pending = []
    if pending:
        yield torch.cat(pending)


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest |a - b| over samples, relative to the largest |b|; inf if different samples are finite."""
    finite = b.isfinite()
    if not torch.equal(finite, a.isfinite()):
        return math.inf
    largest = float((a - b)[finite].abs().max()) if finite.any() else 0.0
    return largest and largest / max(float(b[finite].abs().max()), SMALLEST_LOSS)


def _relative_error(a: float, b: float) -> float:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    return abs(a - b) / abs(b) if b and math.isfinite(a) and math.isfinite(b) else math.inf
