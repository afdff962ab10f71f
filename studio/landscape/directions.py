"""The plane of the picture in weight space: two directions, delta and eta, at every centre theta.

    f(alpha, beta) = L(theta + alpha delta + beta eta)

Each kind turns the run's weights into a Plane, on the CPU, in one thread, from random generators of its own: the same
scene gives the same directions on every device. Only directions of curvature are computed where the loss is measured,
with that device's rounding. A new kind is a record with `caption`, `required_epochs` and `plane`, in the union at the
foot.
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
"""Added to norms that divide, so that a filter of zeros gets a direction of zeros."""
EIGENVECTOR_TOL = 1e-6
"""Tolerance of eigenvalues whose vectors are used: the vectors are then right to about a thousandth of their length."""


@dataclass(frozen=True, eq=False)
class CheckpointSource:
    """A run as the directions see it: its epochs, ascending, and functions of an epoch for its weights and its loss.

    weight_loss: needed by directions of curvature only.
    """

    epochs: Sequence[float]
    weights: Callable[[float], Weights] = field(repr=False)
    weight_loss: Callable[[float], WeightLoss] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Plane:
    """delta and eta, tensors by the names of the weights, and numbers for the report (`facts`)."""

    delta: Weights = field(repr=False)
    eta: Weights = field(repr=False)
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def cosine(self) -> float:
        """Cosine of the angle between delta and eta; about 0 for random ones."""
        return dot(self.delta, self.eta) / (norm(self.delta) * norm(self.eta) + TINY)


class Random(Record):
    """Two Gaussian directions, rescaled to the weights they perturb: d <- d |w| / |d|. Li et al. (2018), section 4.

    normalize: the unit of rescaling: each `filter` (index of the first dimension), each `layer`, or each `weight`,
    which is multiplied by its draw; or `none`. ignore: with `bias-and-norm` tensors of one dimension stay fixed; with
    `nothing` they move along themselves (d = w), as in the authors' code, or along their draw if normalize is `none`.
    seed: of the draws.
    scale_by: the epoch whose weights set the norm. The draw is the same at every epoch. With `each` one unit is always
    one norm of the weights at the centre, as in the literature's single pictures, so the plane's scale changes with the
    network; `last` fixes the two vectors for the whole film, so that all surfaces are parallel sections.
    """

    kind: Literal["random"] = "random"
    normalize: Literal["filter", "layer", "weight", "none"] = "filter"
    ignore: Ignore = "bias-and-norm"
    seed: int = Field(0, ge=0)
    scale_by: Literal["each", "last"] = "each"

    @property
    def caption(self) -> str:
        """What the picture says of the directions."""
        return "random directions" if self.normalize == "none" else f"{self.normalize}-normalised random directions"

    def required_epochs(self, epochs: Sequence[float], epoch: float) -> tuple[float, ...]:
        """The epochs whose weights the plane at `epoch` depends on."""
        return (epoch if self.scale_by == "each" else epochs[-1],)

    def plane(self, checkpoints: CheckpointSource, epoch: float) -> Plane:
        """delta and eta, from independent streams of `seed`."""
        weights = checkpoints.weights(*self.required_epochs(checkpoints.epochs, epoch))
        return Plane(self._direction(weights, stream=0), self._direction(weights, stream=1))

    def _direction(self, weights: Weights, stream: int) -> Weights:
        return {name: self._rescale(d, weights[name]) for name, d in gaussian(weights, self.seed, stream).items()}

    def _rescale(self, d: Tensor, w: Tensor) -> Tensor:
        if w.dim() <= 1 and self.ignore == "bias-and-norm":
            return d.zero_()
        if self.normalize == "none":
            return d
        if w.dim() <= 1:
            return w.clone()
        if self.normalize == "weight":
            return d * w
        rows = (len(w), -1) if self.normalize == "filter" else (1, -1)
        w, d_rows = w.reshape(rows), d.reshape(rows)
        ratio = w.norm(dim=1, keepdim=True) / (d_rows.norm(dim=1, keepdim=True) + TINY)
        rescaled: Tensor = (d_rows * ratio).reshape(d.shape)
        return rescaled


class Pca(Record):
    """The plane that contains most of the trajectory: the first two principal directions of theta_k - theta_last.

    ignore: with `bias-and-norm` tensors of one dimension stay fixed; with `nothing` they move too.
    scale: `reach` makes both as long as the trajectory's largest distance from its last point within the plane, so that
    [-1, 1] around the last epoch contains all of it; `unit` leaves them at length 1, as Li et al. (2018) do.
    """

    kind: Literal["pca"] = "pca"
    ignore: Ignore = "bias-and-norm"
    scale: Literal["reach", "unit"] = "reach"

    @property
    def caption(self) -> str:
        """What the picture says of the directions."""
        return "principal directions of the trajectory"

    def required_epochs(self, epochs: Sequence[float], epoch: float) -> tuple[float, ...]:
        """All epochs of the run."""
        return tuple(epochs)

    def plane(self, checkpoints: CheckpointSource, epoch: float) -> Plane:
        """The same plane at every epoch, with the shares of variance that delta and eta explain.

        Raises RunError for fewer than 3 checkpoints, or if they lie on one line.
        """
        import torch

        *earlier_epochs, last_epoch = checkpoints.epochs
        if len(earlier_epochs) < 2:
            raise RunError(f"directions: pca needs at least 3 checkpoints, the run has {len(checkpoints.epochs)}")
        last = checkpoints.weights(last_epoch)
        offsets = torch.stack([flat(self._offset(checkpoints.weights(e), last)) for e in earlier_epochs]).double()
        # the last point itself is a row of zeros; the trajectory is centred on its mean as in any principal analysis
        trajectory = torch.cat([offsets, offsets.new_zeros(1, offsets.shape[1])])
        centred = trajectory - trajectory.mean(0)
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        if values[-2] <= 1e-12 * values[-1]:
            raise RunError("directions: pca finds no second direction: the run's checkpoints lie on one line")
        axes = [_fix_sign(vectors[:, -i] @ centred) for i in (1, 2)]
        axes = [axis / axis.norm() for axis in axes]
        reach = float(torch.stack([trajectory @ axis for axis in axes]).square().sum(0).max().sqrt())
        delta, eta = (_unflatten(axis * (reach if self.scale == "reach" else 1.0), last) for axis in axes)
        *_, second, first = (values / values.sum()).tolist()
        return Plane(delta, eta, {"explained_variance_delta": first, "explained_variance_eta": second})

    def _offset(self, weights: Weights, last: Weights) -> Weights:
        moves_all = self.ignore == "nothing"
        return {name: (w - last[name]) * (moves_all or w.dim() > 1) for name, w in weights.items()}


class Checkpoints(Record):
    """The plane through the centre and two other checkpoints: delta leads to the first, at alpha = 1.

    eta is the component of the difference to the second that is perpendicular to delta, at delta's length, so that
    angles in the picture are angles in weight space. A centre that is one of the two has no such plane.
    epochs: of the two checkpoints.
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
    def caption(self) -> str:
        """What the picture says of the directions."""
        return "directions toward epochs {:g} and {:g}".format(*self.epochs)

    def required_epochs(self, epochs: Sequence[float], epoch: float) -> tuple[float, ...]:
        """The record's two epochs, and the centre's."""
        return (*self.epochs, epoch)

    def plane(self, checkpoints: CheckpointSource, epoch: float) -> Plane:
        """delta and eta, and the cosine between the differences. Raises RunError if all three lie on one line."""
        centre = checkpoints.weights(epoch)
        first, second = (_add_scaled(checkpoints.weights(e), centre, -1.0) for e in self.epochs)
        cosine = Plane(first, second).cosine
        perpendicular = _add_scaled(second, first, -dot(second, first) / (dot(first, first) + TINY))
        if norm(perpendicular) <= 1e-6 * (norm(second) + TINY) or norm(first) <= TINY:
            a, b = self.epochs
            raise RunError(
                f"directions: the checkpoints at epochs {a:g} and {b:g} span no plane with the centre at "
                f"{epoch:g}; name others, or leave this epoch out of the sweep"
            )
        eta = {name: tensor * (norm(first) / norm(perpendicular)) for name, tensor in perpendicular.items()}
        return Plane(first, eta, {"cosine_between_checkpoints": cosine})


class Hessian(Record):
    """The plane of the extreme curvatures: eigenvectors of the Hessian, delta of the largest eigenvalue, eta of the
    smallest.

    An eigenvector's sign is arbitrary; here its largest component is positive.
    at: the Hessian at `each` epoch's own weights, or at the `last` ones, fixed for the whole film.
    ignore: with `bias-and-norm` tensors of one dimension stay fixed; with `nothing` they move too.
    scale: as long as the weights that may move at that epoch (`theta`), or of length 1 (`unit`).
    """

    kind: Literal["hessian"] = "hessian"
    at: Literal["each", "last"] = "each"
    ignore: Ignore = "bias-and-norm"
    scale: Literal["theta", "unit"] = "theta"

    @property
    def caption(self) -> str:
        """What the picture says of the directions."""
        return "directions of extreme curvature"

    def required_epochs(self, epochs: Sequence[float], epoch: float) -> tuple[float, ...]:
        """The epoch whose Hessian is used."""
        return (epoch if self.at == "each" else epochs[-1],)

    def plane(self, checkpoints: CheckpointSource, epoch: float) -> Plane:
        """delta and eta, with their eigenvalues as facts. Raises RunError if these do not converge."""
        import torch

        from studio.landscape.curvature.extremes import hessian_extremes
        from studio.landscape.curvature.hvp import HessianOperator

        assert checkpoints.weight_loss is not None
        (at,) = self.required_epochs(checkpoints.epochs, epoch)
        weight_loss, weights = checkpoints.weight_loss(at), checkpoints.weights(at)
        hessian, theta = HessianOperator(weight_loss, self.ignore), weight_loss.flat(weights)
        product = hessian.products(theta[None])
        extremes = hessian_extremes(
            lambda v: product(v[None])[0], hessian.size, 0, EIGENVECTOR_TOL, weight_loss.device, vectors=True
        )
        if not extremes.converged or extremes.vectors is None:
            raise RunError(
                f"directions: the extreme curvatures at epoch {at:g} were not found in {extremes.products} "
                f"products; take another epoch, or random directions"
            )
        length = float(hessian.restrict(theta).double().norm()) if self.scale == "theta" else 1.0
        axes = hessian.embed(torch.stack([_fix_sign(vector) * length for vector in extremes.vectors]))
        zeros = {name: torch.zeros_like(w) for name, w in weights.items()}
        eta, delta = (
            zeros | {name: part.to(weights[name]) for name, part in weight_loss.split(axis).items()} for axis in axes
        )
        return Plane(delta, eta, {"lambda_min": extremes.lambda_min, "lambda_max": extremes.lambda_max})


def gaussian(weights: Weights, seed: int, stream: int) -> dict[str, Tensor]:
    """Independent standard normal numbers, float32, in the shapes of the weights; streams of a seed are independent.

    Every tensor has a generator of its own, seeded by its name: tensors come out of a file in no particular order.
    """
    import numpy as np
    import torch

    def generator(name: str) -> torch.Generator:
        state = np.random.SeedSequence([seed, stream, *name.encode()]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> np.uint64(1)))

    return {name: torch.randn(w.shape, generator=generator(name)) for name, w in weights.items()}


def flat(weights: Weights) -> Tensor:
    """All weights as one vector [P], by name in alphabetical order."""
    import torch

    return torch.cat([weights[name].reshape(-1) for name in sorted(weights)])


def dot(a: Weights, b: Weights) -> float:
    """Inner product over all tensors, summed in float64."""
    return sum(float((a[name].double() * b[name].double()).sum()) for name in sorted(a))


def norm(a: Weights) -> float:
    """Euclidean norm over all tensors."""
    return float(dot(a, a) ** 0.5)


def _add_scaled(a: Weights, b: Weights, factor: float) -> Weights:
    return {name: a[name] + factor * b[name] for name in a}


def _fix_sign(vector: Tensor) -> Tensor:
    """The vector or its negative, whichever has a positive largest component."""
    return vector * vector[vector.abs().argmax()].sign()


def _unflatten(vector: Tensor, like: Weights) -> Weights:
    """The tensors whose `flat` is the vector, in the shapes of `like`."""
    import torch

    names = sorted(like)
    parts = torch.split(vector, [like[name].numel() for name in names])
    return {name: part.view_as(like[name]).to(like[name]) for name, part in zip(names, parts, strict=True)}


Directions = Annotated[Random | Pca | Checkpoints | Hessian, *BY_KIND]
