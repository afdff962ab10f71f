"""Gradients of a loss and products with its Hessian, at many points at once.

    v -> H v = d/dtheta (gradient(theta) . v)

On a CPU the two passes of a product are written out, operation by operation, for every network that is made of known
ones (`pearlmutter`). Elsewhere the graph of the gradient is built once and kept, so that a product is one pass back
through it. In eval mode batch norms are folded into the layers before them within the loss: the same function of the
same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from studio.errors import MachineError
from studio.landscape.curvature.double_backward import quick_layers
from studio.landscape.curvature.pearlmutter.program import Curvature, Plan
from studio.landscape.network.batched import BatchedNetwork
from studio.landscape.network.graph import channels_last
from studio.landscape.network.kernels import WIDEST
from studio.landscape.network.linear_chain import Chain
from studio.landscape.network.weight_loss import WeightLoss, is_out_of_memory

KEPT = 512
"""Up to so many samples the graph is kept from one product to the next; with more it is built for every product."""
TOGETHER = {"cpu": 16, "cuda": 256}
"""Points of a small chain of linear layers that are differentiated together, as one operation on stacked weights."""
LARGEST = 2**15
"""Weights of a chain that still counts as small."""
PERCEPTRON, WEIGHTS = 32, 2**20
"""At most so many points of a perceptron with batch norms or shortcuts, and weights of all of them together."""
STACKED = 6
"""Points of a network on small pictures that are differentiated together on a CPU: its many short operations take less
time to do than to begin."""

SKETCHED, SHARE = 64, 16
"""With so many samples, a part of them, one in so many but at least eight, are worth a look at where the ends of a
spectrum lie. Products of a perceptron cost too little for that."""

Product = Callable[[Tensor], Tensor]
"""V [B, M] -> H V [B, M], one Hessian for each row."""


class Graph(NamedTuple):
    """A gradient, tensor by tensor [B, *shape], as part of torch's graph, and what it was taken by."""

    slopes: tuple[Tensor, ...]
    leaves: list[Tensor]


class HessianOperator:
    """First and second derivatives of an objective by those of its weights that may move, M of the P.

    ignore: `bias-and-norm` holds tensors of one dimension or none still. keep: whether graphs are kept from product to
    product; by default up to `KEPT` samples. Keeping or not changes no bit of a product.
    """

    def __init__(
        self, objective: WeightLoss, ignore: Literal["bias-and-norm", "nothing"] = "nothing", keep: bool | None = None
    ):
        self._objective, self._ignore = objective, ignore
        self._shapes = {
            name: part.shape
            for name, part in objective.split(torch.empty(objective.size, device="meta")).items()
            if ignore == "nothing" or part.dim() > 1
        }
        self._keep = objective.samples <= KEPT if keep is None else keep
        self._chain = Chain.of(objective.network.module) if objective.size <= LARGEST else None
        self._plan = Plan.of(objective, self._shapes)
        perceptron = Chain.of(objective.network.module) is None and BatchedNetwork.of(objective.network.module)
        self._perceptron = bool(self._plan and perceptron)
        # a recalibrated pass estimates its own statistics first: one pass then, for all samples
        chunks = objective.chunks if objective.mode != "recalibrated" else [(objective.inputs, objective.targets)]
        # on small pictures torch's own layout and second derivative are quicker
        self._large = objective.inputs.dim() == 4 and max(objective.inputs.shape[2:]) > WIDEST
        self._chunks = [(channels_last(x) if self._large else x, y) for x, y in chunks]

    @property
    def size(self) -> int:
        """M, how many weights may move."""
        return sum(shape.numel() for shape in self._shapes.values())

    @cached_property
    def together(self) -> int:
        """How many points are best differentiated at once: a fixed rule by network and device."""
        if self._chain:
            return TOGETHER[self._objective.kind]
        if self._perceptron:
            return min(PERCEPTRON, max(STACKED, WEIGHTS // self._objective.size))
        return STACKED if self._small and (self._plan or self._stacks()) else 1

    @cached_property
    def sketch(self) -> HessianOperator | None:
        """Those of the first few samples alone, which resemble these at a fraction of the cost; None if too few are."""
        samples = self._objective.samples
        if samples < SKETCHED or self._chain or self._perceptron:
            return None
        return HessianOperator(self._objective.first(max(8, samples // SHARE)), self._ignore)

    @property
    def _small(self) -> bool:
        objective = self._objective
        pictures = objective.kind == "cpu" and objective.inputs.dim() == 4 and not self._large
        return pictures and objective.mode != "recalibrated" and not objective.draws

    def _stacks(self) -> bool:
        """Whether the network can be run with stacked weights: not if what it does depends on its data."""
        objective, few = self._objective, self._objective.inputs[:2]
        weights = few.new_zeros(2, objective.size)
        with torch.no_grad():
            objective.outputs(objective.split(weights[0]), few, folded=True)  # what it makes once is made here
            try:
                self._many(objective.split(weights), few)
            except RuntimeError:
                return False
        return True

    def _many(self, named: dict[str, Tensor], x: Tensor) -> Tensor:
        """Outputs [B, N, classes] at stacked weights [B, ...] for samples x [N, ...]."""
        if self._chain:
            with self._objective.setting():
                return _stacked(self._chain, named, x)
        return torch.func.vmap(lambda one: self._objective.outputs(one, x, folded=True))(named)

    def restricted(self, flat: Tensor) -> Tensor:
        """Of vectors [..., P] the coordinates that may move [..., M]."""
        parts = self._objective.split(flat)
        return torch.cat([parts[name].reshape(*flat.shape[:-1], -1) for name in self._shapes], -1)

    def embedded(self, moving: Tensor) -> Tensor:
        """Vectors [..., M] with zeros for what stays still [..., P]."""
        whole = moving.new_zeros(*moving.shape[:-1], self._objective.size)
        parts = self._objective.split(whole)
        for name, part in self._split(moving).items():
            parts[name].copy_(part)
        return whole

    def gradients(self, points: Tensor) -> Tensor:
        """The loss's gradients at points [B, P]: [B, M]."""
        return torch.cat([self._gradient(some) for some in points.split(self.together)])

    def products(self, points: Tensor) -> Product:
        """The Hessians at points [B, P], as V [B, M] -> H V [B, M].

        Raises MachineError if the graph of a single chunk of samples does not fit into memory.
        """
        first, *others = (self._product(some) for some in points.split(self.together))
        if not others:
            return first
        return lambda v: torch.cat(
            [product(piece) for product, piece in zip((first, *others), v.split(self.together), strict=True)]
        )

    def asymmetry(self, point: Tensor) -> float:
        """|u' H v - v' H u| of two random vectors, relative to H v and H u, at a point [P]: 0 but for rounding.

        It is not where a second derivative is wrong.
        """
        seeded = torch.Generator().manual_seed(0)
        u, v = torch.randn(2, self.size, generator=seeded, dtype=torch.float64).to(point.device)
        product = self.products(point[None])
        images = [product(each[None])[0].double() for each in (v, u)]
        apart, size = (u @ images[0] - v @ images[1]).abs(), sum(image.norm() for image in images) / 2
        return float(apart / size) if size else 0.0

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _gradient(self, points: Tensor) -> Tensor:
        named, leaves = self._placed(points)
        return self._fresh(named, leaves, lambda graph: _joined(graph.slopes).detach())

    def _product(self, points: Tensor) -> Product:
        named, leaves = self._placed(points)
        graphs = _fitting(lambda: list(self._graphs(named, leaves))) if self._keep else None

        def times(v: Tensor) -> Tensor:
            nonlocal graphs
            cotangents = list(self._split(v.to(points)).values())
            if graphs is not None:
                found = _fitting(lambda: sum(_pulled(graph, cotangents, keep=True) for graph in graphs))
                if found is not None:
                    return found
                graphs = None
            return self._fresh(named, leaves, lambda graph: _pulled(graph, cotangents))

        return times

    def _fresh(
        self, named: dict[str, Tensor], leaves: list[Tensor], use: Callable[[Graph | Curvature], Tensor]
    ) -> Tensor:
        """The sum of what is made of every graph, one graph at a time."""
        found = _fitting(lambda: sum(use(graph) for graph in self._graphs(named, leaves)))
        if found is None:
            raise MachineError(
                f"the second derivative over {len(self._chunks[0][0])} samples does not fit into "
                f"memory; measure the curvature on fewer: convexity: {{subset: ...}}"
            )
        return found

    def _graphs(self, named: dict[str, Tensor], leaves: list[Tensor]) -> Iterator[Graph | Curvature]:
        """The gradient of each chunk of samples, with the graph that it came from."""
        for x, y in self._chunks:
            if self._plan:
                yield Curvature(self._plan, named, x, partial(self._loss, y))
            else:
                yield Graph(
                    torch.autograd.grad(self._total(named, x, y), leaves, create_graph=True, materialize_grads=True),
                    leaves,
                )

    def _placed(self, points: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The tensors [B, *shape] at points [B, P], and those of them that may move: leaves of graphs to come."""
        named = {
            name: part.detach().clone().requires_grad_(name in self._shapes)
            for name, part in self._objective.split(points).items()
        }
        return named, [named[name] for name in self._shapes]

    def _total(self, named: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The part of the loss that these samples have, added up over the points."""
        with torch.enable_grad():
            if len(next(iter(named.values()))) > 1:
                return self._loss(y, self._many(named, x))
            with quick_layers() if self._large else nullcontext():
                one = {name: part[0] for name, part in named.items()}
                return self._loss(y, self._objective.outputs(one, x, folded=True)[None])

    def _loss(self, y: Tensor, outputs: Tensor) -> Tensor:
        """The same, of outputs [B, N, ...]."""
        y = y.repeat(len(outputs), *[1] * (y.dim() - 1))
        return self._objective.losses(outputs.flatten(0, 1), y).sum() / self._objective.samples

    def _split(self, moving: Tensor) -> dict[str, Tensor]:
        """Vectors [B, M] as tensors [B, *shape]."""
        parts = moving.split([shape.numel() for shape in self._shapes.values()], dim=-1)
        return {
            name: part.reshape(*moving.shape[:-1], *shape)
            for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)
        }


def _stacked(chain: Chain, named: dict[str, Tensor], x: Tensor) -> Tensor:
    """Outputs [B, N, classes] of a chain at stacked weights [B, ...] for samples x [N, ...]."""
    _, name = chain.layers[0]
    weight, bias = named[f"{name}weight"], named.get(f"{name}bias")
    h = x.flatten(1) @ weight.mT
    return chain.rest(named, h if bias is None else h + bias[:, None])


def _pulled(graph: Graph | Curvature, v: list[Tensor], keep: bool = False) -> Tensor:
    """H v [B, M]: sum over i of v_i d(slope_i) / d(leaves); a slope that depends on no weight adds nothing."""
    if isinstance(graph, Curvature):
        return _joined(graph.product(v))
    live = [(slope, part) for slope, part in zip(graph.slopes, v, strict=True) if slope.requires_grad]
    if not live:
        return _joined([torch.zeros_like(leaf) for leaf in graph.leaves])
    outputs, cotangents = zip(*live, strict=True)
    return _joined(torch.autograd.grad(outputs, graph.leaves, cotangents, retain_graph=keep, materialize_grads=True))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(len(part), -1) for part in parts], 1)


def _fitting(work: Callable[[], object]) -> object | None:
    """What the work returns, or None if there is not enough memory for it."""
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None
