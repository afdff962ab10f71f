"""Gradients of a loss and products with its Hessian, at many points at once.

    v -> H v = d/dtheta (gradient(theta) . v)

This is the seam between what needs products and the two engines that compute them: written-out passes on a CPU, for
networks of known operations (`pearlmutter`), and torch's double backward for all others (`autograd_engine`). An engine
linearises the gradient at B points: it returns the gradient there, and its derivative H as a function of v. In eval
mode both fold batch norms into the layers before them: the same function of the same weights. A new engine is a class
with their methods, in the unions below, and a line in `choose_engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Tensor

from studio.errors import MachineError, RunError
from studio.landscape.curvature.autograd_engine import AutogradEngine, AutogradGradient
from studio.landscape.curvature.engine import has_large_images
from studio.landscape.curvature.pearlmutter.engine import PearlmutterEngine, PearlmutterGradient
from studio.landscape.network.graph import channels_last
from studio.landscape.network.weight_loss import WeightLoss, none_on_oom

MAX_RETAINED_SAMPLES = 512
"""Up to so many samples a graph stays in memory from one product to the next; with more each product rebuilds it, to
the same bits."""

SKETCH_FROM, SKETCH_DIVISOR, SKETCH_LEAST = 64, 16, 8
"""A sketch pays from 64 samples on; it takes a sixteenth of them, but at least 8."""

HvpEngine = AutogradEngine | PearlmutterEngine
LinearizedGradient = AutogradGradient | PearlmutterGradient
Product = Callable[[Tensor], Tensor]
"""V [B, M] -> H V [B, M], one Hessian for each row."""


def choose_engine(weight_loss: WeightLoss) -> HvpEngine:
    """The written-out passes on a CPU, for known operations but not recalibrated or bf16; else double backward."""
    has_graph = weight_loss.mode != "recalibrated" and not weight_loss.runs_objective
    is_exact = weight_loss.device_kind == "cpu" and weight_loss.precision != "bf16"
    engine = PearlmutterEngine.of(weight_loss) if has_graph and is_exact else None
    return engine or AutogradEngine(weight_loss)


class HessianOperator:
    """First and second derivatives of a WeightLoss by those M of its P weights that may move.

    ignore: with `bias-and-norm` tensors of one dimension or none stay fixed. engine: None takes `choose_engine`'s.
    """

    def __init__(
        self,
        weight_loss: WeightLoss,
        ignore: Literal["bias-and-norm", "nothing"] = "nothing",
        engine: HvpEngine | None = None,
    ):
        self.weight_loss, self._ignore = weight_loss, ignore
        self._shapes = {
            name: part.shape
            for name, part in weight_loss.split(torch.empty(weight_loss.size, device="meta")).items()
            if ignore == "nothing" or part.dim() > 1
        }
        if not self._shapes:
            raise RunError(
                "ignore: bias-and-norm leaves no weight that moves, since all have one dimension; write nothing"
            )
        self._retain_graphs = weight_loss.sample_count <= MAX_RETAINED_SAMPLES
        self.engine = choose_engine(weight_loss) if engine is None else engine
        # a recalibrated pass estimates its own statistics first: one pass then, for all samples
        chunks = weight_loss.chunks
        if weight_loss.mode == "recalibrated":
            chunks = [(weight_loss.inputs, weight_loss.targets)]
        # on small images torch's own layout and second derivative are quicker
        self._chunks = [(channels_last(x) if has_large_images(x) else x, y) for x, y in chunks]

    @property
    def size(self) -> int:
        """M, the number of weights that may move."""
        return sum(shape.numel() for shape in self._shapes.values())

    @cached_property
    def sketch(self) -> HessianOperator | None:
        """The Hessian over the first few samples, which resembles this one; None if it would save nothing."""
        count = self.weight_loss.sample_count
        if count < SKETCH_FROM or self.engine.is_cheap:
            return None
        return HessianOperator(self.weight_loss.subset(max(SKETCH_LEAST, count // SKETCH_DIVISOR)), self._ignore)

    def restrict(self, flat: Tensor) -> Tensor:
        """Of vectors [..., P] the coordinates of the weights that may move [..., M]."""
        parts = self.weight_loss.split(flat)
        return torch.cat([parts[name].reshape(*flat.shape[:-1], -1) for name in self._shapes], -1)

    def embed(self, moving: Tensor) -> Tensor:
        """Vectors [..., M] as vectors [..., P], with zeros for the weights that stay fixed."""
        flat = moving.new_zeros(*moving.shape[:-1], self.weight_loss.size)
        parts = self.weight_loss.split(flat)
        for name, part in self._split(moving).items():
            parts[name].copy_(part)
        return flat

    def gradients(self, points: Tensor) -> Tensor:
        """The gradients [B, M] at points [B, P]. Raises MachineError if one chunk's graph does not fit into memory."""
        batches = map(self._leaves, torch.split(points, self.engine.batch_points))
        return torch.cat([self._rebuild_graph(part, lambda graph: _join(graph.gradient).detach()) for part in batches])

    def products(self, points: Tensor) -> Product:
        """The Hessians at points [B, P], as a function V [B, M] -> H V [B, M]. Raises as `gradients` does."""
        size = self.engine.batch_points
        products = [self._product(batch) for batch in torch.split(points, size)]
        if len(products) == 1:
            return products[0]
        return lambda v: torch.cat(
            [product(part) for product, part in zip(products, torch.split(v, size), strict=True)]
        )

    def asymmetry(self, point: Tensor) -> float:
        """|u' H v - v' H u| relative to |H v| and |H u|, at a point [P]: rounding, unless a derivative is wrong."""
        generator = torch.Generator().manual_seed(0)
        u, v = torch.randn(2, self.size, generator=generator, dtype=torch.float64).to(point.device)
        product = self.products(point[None])
        image_of_v, image_of_u = (product(vector[None])[0].double() for vector in (v, u))
        difference, length = (u @ image_of_v - v @ image_of_u).abs(), (image_of_v.norm() + image_of_u.norm()) / 2
        return float(difference / length) if length else 0.0

    def _product(self, points: Tensor) -> Product:
        leaves = self._leaves(points)
        graphs = none_on_oom(lambda: list(self._graphs(leaves))) if self._retain_graphs else None

        def product(v: Tensor) -> Tensor:
            nonlocal graphs
            parts = list(self._split(v.to(points)).values())
            if graphs is not None:
                retained = graphs
                image = none_on_oom(lambda: _sum(_join(graph.hvp(parts, retain_graph=True)) for graph in retained))
                if image is not None:
                    return image
                graphs = None
            return self._rebuild_graph(leaves, lambda graph: _join(graph.hvp(parts, retain_graph=False)))

        return product

    def _rebuild_graph(self, leaves: dict[str, Tensor], use: Callable[[LinearizedGradient], Tensor]) -> Tensor:
        """The sum of `use` over the graphs of all chunks, one graph in memory at a time."""
        total = none_on_oom(lambda: _sum(use(graph) for graph in self._graphs(leaves)))
        if total is None:
            raise MachineError(
                f"the second derivative over {len(self._chunks[0][0])} samples does not fit into "
                f"memory; measure the curvature on fewer: convexity: {{subset: ...}}"
            )
        return total

    def _graphs(self, leaves: dict[str, Tensor]) -> Iterator[LinearizedGradient]:
        """The linearised gradient of each chunk of samples."""
        return (self.engine.linearize(leaves, x, partial(self._loss, y)) for x, y in self._chunks)

    def _leaves(self, points: Tensor) -> dict[str, Tensor]:
        """The tensors [B, *shape] at points [B, P]; those that may move require a gradient."""
        return {
            name: part.detach().clone().requires_grad_(name in self._shapes)
            for name, part in self.weight_loss.split(points).items()
        }

    def _loss(self, y: Tensor, outputs: Tensor) -> Tensor:
        """The samples' part of the mean loss, summed over the points, from outputs [B, N, ...]."""
        y = y.repeat(len(outputs), *[1] * (y.dim() - 1))
        return self.weight_loss.losses(outputs.flatten(0, 1), y).sum() / self.weight_loss.sample_count

    def _split(self, moving: Tensor) -> dict[str, Tensor]:
        """Vectors [..., M] as tensors [..., *shape]."""
        parts = torch.split(moving, [shape.numel() for shape in self._shapes.values()], dim=-1)
        return {
            name: part.reshape(*moving.shape[:-1], *shape)
            for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)
        }


def _join(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(len(part), -1) for part in parts], 1)


def _sum(parts: Iterable[Tensor]) -> Tensor:
    return sum(parts, start=torch.zeros(()))
