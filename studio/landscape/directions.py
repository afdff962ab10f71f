"""How the plane of the picture lies in weight space: two directions, delta and eta, at every centre theta.

Each kind turns the run's weights into a Plane. All is computed on the CPU, in one thread, from generators of its own:
the same scene gives the same directions on every device. Only directions of curvature are found where the loss is
measured, and to that device's rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from studio.config.records import BY_KIND, Record
from studio.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

    from studio.landscape.network.weight_loss import WeightLoss

    Weights = Mapping[str, Tensor]

Ignore = Literal["bias-and-norm", "nothing"]
TINY = 1e-10
VECTORS = 1e-6
"""Tolerance of the eigenvalues whose vectors are taken: those are then right to about a thousandth of their length."""


@dataclass(frozen=True, eq=False)
class CheckpointSource:
    """What directions may look at: the epochs a run has, ascending, the weights at each, and the loss around them."""

    epochs: Sequence[float]
    weights: Callable[[float], Weights] = field(repr=False)
    objective: Callable[[float], WeightLoss] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Plane:
    """delta and eta, tensors by the names of the weights, with facts worth printing."""

    delta: Weights = field(repr=False)
    eta: Weights = field(repr=False)
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def cosine(self) -> float:
        """Of the angle between delta and eta; about 0 for random ones."""
        return dot(self.delta, self.eta) / (norm(self.delta) * norm(self.eta) + TINY)


class Random(Record):
    """Two Gaussian directions, rescaled to the weights they perturb. Li et al. (2018), section 4.

    normalize: what is given the norm of its weights: each `filter` (index of the first dimension), each `layer`, or
    each `weight`, which is multiplied by its draw; or `none`. ignore: biases and norms stay put, or `nothing` does, and
    then they move along themselves (d = w), as in the authors' code; with `none` along their draw.
    scale_by: the weights that set the norm. The draw is the same at every epoch, so `each` lets the plane's scale grow
    and shrink with the net, and one unit is always one norm of the weights at the centre, as the literature draws a
    single picture; `last` fixes the two vectors for the whole film, so that surfaces of all epochs are cut in parallel
    and what moves is the net, not the ruler.
    """

    kind: Literal["random"] = "random"
    normalize: Literal["filter", "layer", "weight", "none"] = "filter"
    ignore: Ignore = "bias-and-norm"
    seed: int = Field(0, ge=0)
    scale_by: Literal["each", "last"] = "each"

    @property
    def words(self) -> str:
        """What the picture calls them."""
        return "random directions" if self.normalize == "none" else f"{self.normalize}-normalised random directions"

    def uses(self, epochs: Sequence[float], epoch: float) -> tuple[float, ...]:
        """The epochs whose weights the plane at `epoch` is made from."""
        return (epoch if self.scale_by == "each" else epochs[-1],)

    def plane(self, trail: CheckpointSource, epoch: float) -> Plane:
        weights = trail.weights(*self.uses(trail.epochs, epoch))
        return Plane(*(self._direction(weights, stream) for stream in (0, 1)))

    def _direction(self, weights: Weights, stream: int) -> Weights:
        return {
            name: self._rescaled(drawn, weights[name]) for name, drawn in gaussian(weights, self.seed, stream).items()
        }

    def _rescaled(self, d: Tensor, w: Tensor) -> Tensor:
        if w.dim() <= 1 and self.ignore == "bias-and-norm":
            return d.zero_()
        if self.normalize == "none":
            return d
        if w.dim() <= 1:
            return w.clone()
        if self.normalize == "weight":
            return d * w
        rows = (len(w), -1) if self.normalize == "filter" else (1, -1)
        lengths = [tensor.reshape(rows).norm(dim=1, keepdim=True) for tensor in (w, d)]
        return (d.reshape(rows) * (lengths[0] / (lengths[1] + TINY))).reshape(d.shape)


class Pca(Record):
    """The plane that holds most of the training's path: the first two principal directions of theta_k - theta_last.

    scale: `reach` makes both as long as the path reaches from its last point within the plane, so that [-1, 1] around
    the last epoch holds the whole path; `unit` leaves them at length 1, as Li et al. (2018) do.
    """

    kind: Literal["pca"] = "pca"
    ignore: Ignore = "bias-and-norm"
    scale: Literal["reach", "unit"] = "reach"

    @property
    def words(self) -> str:
        return "principal directions of the path"

    def uses(self, epochs: Sequence[float], epoch: float) -> tuple[float, ...]:
        """All of them."""
        return tuple(epochs)

    def plane(self, trail: CheckpointSource, epoch: float) -> Plane:
        import torch

        if len(trail.epochs) < 3:
            raise RunError(f"directions: pca needs at least 3 checkpoints, the run has {len(trail.epochs)}")
        last = trail.weights(trail.epochs[-1])
        steps = torch.stack([flat(self._step(trail.weights(e), last)) for e in trail.epochs[:-1]]).double()
        # the last point itself is a row of zeros; the path is centred on its mean as in any principal analysis
        path = torch.cat([steps, steps.new_zeros(1, steps.shape[1])])
        centred = path - path.mean(0)
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        if values[-2] <= 1e-12 * values[-1]:
            raise RunError("directions: pca finds no second direction: the run's checkpoints lie on one line")
        axes = [_signed(vectors[:, -i] @ centred) for i in (1, 2)]
        axes = [axis / axis.norm() for axis in axes]
        reach = float(torch.stack([path @ axis for axis in axes]).square().sum(0).max().sqrt())
        delta, eta = (_named(axis * (reach if self.scale == "reach" else 1.0), last) for axis in axes)
        shares = values / values.sum()
        return Plane(
            delta, eta, {"explained_variance_delta": float(shares[-1]), "explained_variance_eta": float(shares[-2])}
        )

    def _step(self, weights: Weights, last: Weights) -> Weights:
        still = self.ignore == "bias-and-norm"
        return {name: (w - last[name]) * (not still or w.dim() > 1) for name, w in weights.items()}


class Checkpoints(Record):
    """The plane through the centre and two other checkpoints: delta points at the first, and reaches it at alpha = 1.

    eta is the part of the way to the second that is perpendicular to delta, at delta's length, so that angles in the
    picture are angles in the space. At a centre that is one of the two there is no such plane.
    """

    kind: Literal["checkpoints"] = "checkpoints"
    epochs: tuple[float, float]

    @field_validator("epochs")
    @classmethod
    def _differ(cls, epochs: tuple[float, float]) -> tuple[float, float]:
        if epochs[0] == epochs[1]:
            raise ValueError(f"both epochs are {epochs[0]:g}; two different ones span a plane")
        return epochs

    @property
    def words(self) -> str:
        return "directions toward epochs {:g} and {:g}".format(*self.epochs)

    def uses(self, epochs: Sequence[float], epoch: float) -> tuple[float, ...]:
        """The two, and the centre."""
        return (*self.epochs, epoch)

    def plane(self, trail: CheckpointSource, epoch: float) -> Plane:
        centre = trail.weights(epoch)
        first, second = (_difference(trail.weights(e), centre) for e in self.epochs)
        cosine = Plane(first, second).cosine
        across = _sum(second, first, -dot(second, first) / (dot(first, first) + TINY))
        if norm(across) <= 1e-6 * (norm(second) + TINY) or norm(first) <= TINY:
            a, b = self.epochs
            raise RunError(
                f"directions: the checkpoints at epochs {a:g} and {b:g} span no plane with the centre at "
                f"{epoch:g}; name others, or leave this key out of the sweep"
            )
        eta = {name: t * (norm(first) / norm(across)) for name, t in across.items()}
        return Plane(first, eta, {"cosine_between_checkpoints": cosine})


class Hessian(Record):
    """The plane of the extreme curvatures: delta along the largest eigenvalue of the Hessian, eta along the smallest.

    at: of the Hessian at `each` epoch's own weights, or at the `last` ones, fixed for the whole film. scale: both as
    long as the weights that may move at that epoch (`theta`), or of length 1 (`unit`). An eigenvector's sign is
    arbitrary; here its largest component is positive.
    """

    kind: Literal["hessian"] = "hessian"
    at: Literal["each", "last"] = "each"
    ignore: Ignore = "bias-and-norm"
    scale: Literal["theta", "unit"] = "theta"

    @property
    def words(self) -> str:
        return "directions of extreme curvature"

    def uses(self, epochs: Sequence[float], epoch: float) -> tuple[float, ...]:
        """The epoch whose Hessian it is."""
        return (epoch if self.at == "each" else epochs[-1],)

    def plane(self, trail: CheckpointSource, epoch: float) -> Plane:
        import torch

        from studio.landscape.curvature.extremes import batched_extremes
        from studio.landscape.curvature.hvp import HessianOperator

        (at,) = self.uses(trail.epochs, epoch)
        objective, weights = trail.objective(at), trail.weights(at)
        derivatives, theta = HessianOperator(objective, self.ignore), objective.flat(weights)
        (found,) = batched_extremes(
            lambda rows: derivatives.products(theta[None]),
            1,
            derivatives.size,
            seed=0,
            tol=VECTORS,
            device=objective.device,
            vectors=True,
        )
        if not found.converged:
            raise RunError(
                f"directions: the extreme curvatures at epoch {at:g} were not found in {found.products} "
                f"products; take another epoch, or random directions"
            )
        length = float(derivatives.restricted(theta).double().norm()) if self.scale == "theta" else 1.0
        axes = derivatives.embedded(torch.stack([_signed(axis) * length for axis in found.vectors]))
        eta, delta = (
            {
                **{name: torch.zeros_like(w) for name, w in weights.items()},
                **{name: part.to(weights[name]) for name, part in objective.split(axis).items()},
            }
            for axis in axes
        )
        return Plane(delta, eta, {"lambda_min": found.lambda_min, "lambda_max": found.lambda_max})


def gaussian(weights: Weights, seed: int, stream: int) -> dict[str, Tensor]:
    """Independent normal numbers, float32, in the shapes of the weights; each stream of a seed is another draw.

    Every tensor has a generator of its own, by its name: tensors come out of a file in no particular order.
    """
    import numpy as np
    import torch

    def generator(name: str) -> torch.Generator:
        state = np.random.SeedSequence([seed, stream, *name.encode()]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> np.uint64(1)))

    return {name: torch.randn(w.shape, generator=generator(name)) for name, w in weights.items()}


def flat(weights: Weights) -> Tensor:
    """All weights as one vector, by name in alphabetical order."""
    import torch

    return torch.cat([weights[name].reshape(-1) for name in sorted(weights)])


def dot(a: Weights, b: Weights) -> float:
    return sum(float((a[name].double() * b[name].double()).sum()) for name in sorted(a))


def norm(a: Weights) -> float:
    return dot(a, a) ** 0.5


def _difference(a: Weights, b: Weights) -> Weights:
    return _sum(a, b, -1.0)


def _sum(a: Weights, b: Weights, factor: float) -> Weights:
    return {name: a[name] + factor * b[name] for name in a}


def _signed(axis: Tensor) -> Tensor:
    """The axis turned so that its largest component is positive: an eigenvector's sign is arbitrary."""
    return axis * axis[axis.abs().argmax()].sign()


def _named(vector: Tensor, like: Weights) -> Weights:
    """The tensors whose `flat` is the vector, in the shapes of `like`."""
    names = sorted(like)
    parts = vector.split([like[name].numel() for name in names])
    return {name: part.view_as(like[name]).to(like[name]) for name, part in zip(names, parts, strict=True)}


Directions = Annotated[Random | Pca | Checkpoints | Hessian, *BY_KIND]
