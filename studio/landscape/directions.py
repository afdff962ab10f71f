"""The plane of the picture in weight space: two directions, delta and eta, at every centre theta.

    f(alpha, beta) = L(theta + alpha delta + beta eta)

Each kind turns the run's weights into a Plane, on the CPU, in one thread, from random generators of its own: the same
scene gives the same directions on every device. Only directions of curvature are computed where the loss is measured,
with that device's rounding. A new kind is a record with `caption` (the picture's words), `required` and `plane`, in
the union at the foot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_serializer, field_validator

from studio.config.records import BY_KIND, Record
from studio.config.units import Angle, ScenePath
from studio.config.user_files import readable, shown
from studio.errors import RunError
from studio.field import Array
from studio.landscape.centres import AtCheckpoint, Centre, Matched
from studio.training.direction_file import read_directions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from studio.landscape.network.weight_loss import WeightLoss

    Weights = Mapping[str, Tensor]

Ignore = Literal["bias-and-norm", "nothing"]
TINY = 1e-10
"""Added to norms that divide, so that a filter of zeros gets a direction of zeros."""
EIGENVECTOR_TOL = 1e-6
"""Tolerance of eigenvalues whose vectors are used: the vectors are then right to about a thousandth of their length."""
LEAST_SINE = math.sin(math.radians(1.0))
"""Of the angle between two directions that span a plane: at less, nobody could read the picture."""
_WAY_OUT = "write `{kind: random, ignore: nothing, normalize: none}`, or let other weights move (run.parameters)"


@dataclass(frozen=True, eq=False)
class WeightSource:
    """A run as the directions see it: its checkpoints, ascending, and functions of a centre for weights and loss.

    weight_loss: needed by directions of curvature only; model: a new one, by those of a file. kept: masks of the
    weights that were not pruned, by name.
    """

    checkpoints: Sequence[AtCheckpoint]
    weights: Callable[[Centre], Weights] = field(repr=False)
    weight_loss: Callable[[Centre], WeightLoss] | None = field(default=None, repr=False)
    kept: Weights | None = field(default=None, repr=False)
    model: Callable[[], nn.Module] | None = field(default=None, repr=False)


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
    seed: of the draws. angle: turns delta's draw towards a third one, cos(angle) d1 + sin(angle) d3.
    orthogonal: takes out of eta its part along delta, at eta's length, so that angles in the picture are true.
    scale_by: the checkpoint whose weights set the norm. The draw is the same at every centre. With `each` one unit is
    always one norm of the weights at the centre, as in the literature's single pictures, so the plane's scale changes
    with the network; `last` fixes the two vectors for the whole film, so that all surfaces are parallel sections.
    """

    kind: Literal["random"] = "random"
    normalize: Literal["filter", "layer", "weight", "none"] = "filter"
    ignore: Ignore = "bias-and-norm"
    seed: int = Field(0, ge=0)
    angle: Angle = 0.0
    orthogonal: bool = False
    scale_by: Literal["each", "last"] = "each"

    @property
    def caption(self) -> str:
        """What the picture says of the directions."""
        words = "random directions" if self.normalize == "none" else f"{self.normalize}-normalised random directions"
        return f"orthogonal {words}" if self.orthogonal else words

    def required(self, checkpoints: Sequence[AtCheckpoint], centre: Centre) -> tuple[Centre, ...]:
        """The centres whose weights the plane at `centre` depends on. checkpoints: of the run, ascending."""
        return (centre if self.scale_by == "each" else checkpoints[-1],)

    def plane(self, source: WeightSource, centre: Centre) -> Plane:
        """delta and eta, from independent streams of `seed`."""
        weights = source.weights(*self.required(source.checkpoints, centre))
        d1, d2 = (gaussian(weights, self.seed, stream) for stream in (0, 1))
        angle = math.radians(self.angle)
        turned = _combine(math.cos(angle), d1, math.sin(angle), gaussian(weights, self.seed, 2)) if self.angle else d1
        kept = (masked(d, source.kept) for d in (turned, d2))
        delta, eta = ({name: self._rescale(d[name], w) for name, w in weights.items()} for d in kept)
        # without a perpendicular part eta stays as it is: `span_facts` refuses it
        return Plane(delta, (self.orthogonal and _perpendicular(eta, delta, norm(eta))) or eta)

    def _rescale(self, d: Tensor, w: Tensor) -> Tensor:
        if w.dim() <= 1 and self.ignore == "bias-and-norm":
            return d.new_zeros(d.shape)
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
    [-1, 1] around the last checkpoint contains all of it; `unit` leaves them at length 1, as Li et al. (2018) do.
    """

    kind: Literal["pca"] = "pca"
    ignore: Ignore = "bias-and-norm"
    scale: Literal["reach", "unit"] = "reach"
    caption: ClassVar[str] = "principal directions of the trajectory"

    def required(self, checkpoints: Sequence[AtCheckpoint], centre: Centre) -> tuple[Centre, ...]:
        """All checkpoints of the run."""
        return tuple(checkpoints)

    def plane(self, source: WeightSource, centre: Centre) -> Plane:
        """The same plane at every centre, with the shares of variance that delta and eta explain.

        Raises RunError if the checkpoints lie on one line.
        """
        import torch

        *earlier, last_checkpoint = self.required(source.checkpoints, centre)
        last = source.weights(last_checkpoint)
        offsets = torch.stack([flat(self._offset(source.weights(at), last)) for at in earlier]).double()
        # the last point itself is a row of zeros; the trajectory is centred on its mean as in any principal analysis
        trajectory = torch.cat([offsets, offsets.new_zeros(1, offsets.shape[1])])
        centred = trajectory - trajectory.mean(0)
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        if values[-2] <= 1e-12 * values[-1]:
            raise RunError(
                "directions: pca finds no second direction: the run's checkpoints lie on one line, or are the same, in "
                "the weights that move; write `ignore: nothing` under directions, or `directions: random`"
            )
        axes = [_fix_sign(vectors[:, -i] @ centred) for i in (1, 2)]
        axes = [axis / axis.norm() for axis in axes]
        reach = float(torch.stack([trajectory @ axis for axis in axes]).square().sum(0).max().sqrt())
        delta, eta = (_unflatten(axis * (reach if self.scale == "reach" else 1.0), last) for axis in axes)
        *_, second, first = (values / values.sum()).tolist()
        return Plane(delta, eta, {"explained_variance_delta": first, "explained_variance_eta": second})

    def _offset(self, weights: Weights, last: Weights) -> Weights:
        moves_all = self.ignore == "nothing"
        return {name: (w - last[name]) * (moves_all or w.dim() > 1) for name, w in weights.items()}


Place = float | Literal["last"] | AtCheckpoint | Matched
"""A checkpoint of the centre's own run, or `{checkpoint: 20, run: 1}` of one that the sweep needs."""


class _Spanned(Record):
    """A plane of differences between checkpoints, from an origin to two others, by delta and eta."""

    at: tuple[Place, ...]

    @field_validator("at")
    @classmethod
    def _differ(cls, at: tuple[Place, ...]) -> tuple[Place, ...]:
        if same := [_place_name(place) for place in at if at.count(place) > 1]:
            number, count = ("both", "two") if len(at) == 2 else (len(same), "three")
            raise ValueError(f"{number} are {same[0]}; {count} different checkpoints span a plane")
        return at

    @property
    def caption(self) -> str:
        """What the picture says of the directions."""
        *others, last = map(_place_name, self.at)
        words = "directions toward" if len(self.at) == 2 else "plane through"
        return f"{words} the checkpoints at {', '.join(others)} and {last}"

    def required(self, checkpoints: Sequence[AtCheckpoint], centre: Centre) -> tuple[Centre, ...]:
        """The record's checkpoints, and the centre if these are two."""
        last = checkpoints[-1]
        named: dict[Place, AtCheckpoint] = {at: AtCheckpoint(at, last.run) for at in self.at if isinstance(at, float)}
        places = (at if isinstance(at, AtCheckpoint | Matched) else named.get(at, last) for at in self.at)
        return (*places, centre)[:3]

    def plane(self, source: WeightSource, centre: Centre) -> Plane:
        """delta and eta, and the cosine between the differences. Raises RunError if all three lie on one line."""
        places = self.required(source.checkpoints, centre)
        origin, *others = places if len(self.at) == 3 else (centre, *places[:2])
        weights = source.weights(origin)
        delta, second = (_combine(1.0, source.weights(at), -1.0, weights) for at in others)
        eta = _perpendicular(second, delta, norm(delta), rounding=norm(weights))
        if not eta or norm(delta) <= TINY:
            way_out = "name others, or leave this centre out of the sweep" if len(self.at) == 2 else "name others"
            names = f"{others[0]} and {others[1]} span no plane with {'the centre, ' * (len(self.at) == 2)}{origin}"
            raise RunError(f"directions: {names}: all three lie on one line; {way_out}")
        return Plane(delta, eta, {"cosine_between_checkpoints": Plane(delta, second).cosine})


class Checkpoints(_Spanned):
    """The plane through the centre and two other checkpoints: delta leads to the first, at alpha = 1.

    eta is the component of the difference to the second that is perpendicular to delta, at delta's length, so that
    angles in the picture are angles in weight space. A centre that is one of the two has no such plane.
    at: the two checkpoints, perhaps of other runs.
    """

    former: ClassVar[Mapping[str, str]] = {"epochs": "at"}

    kind: Literal["checkpoints"] = "checkpoints"
    at: tuple[Place, Place]


class Through(_Spanned):
    """The plane of three checkpoints, the same at every centre; that of a centre which is one of them holds them all.

    delta leads from the first to the second; eta as for two `checkpoints`.
    at: the three, perhaps of several runs.
    """

    kind: Literal["through"] = "through"
    at: tuple[Place, Place, Place]


class Hessian(Record):
    """The plane of the extreme curvatures: eigenvectors of the Hessian, delta of the largest eigenvalue, eta of the
    smallest.

    An eigenvector's sign is arbitrary; here its largest component is positive.
    at: the Hessian at `each` centre, or at the `last` checkpoint, fixed for the whole film.
    ignore: with `bias-and-norm` tensors of one dimension stay fixed; with `nothing` they move too.
    scale: as long as the weights there that may move (`theta`), or of length 1 (`unit`).
    """

    kind: Literal["hessian"] = "hessian"
    at: Literal["each", "last"] = "each"
    ignore: Ignore = "bias-and-norm"
    scale: Literal["theta", "unit"] = "theta"
    caption: ClassVar[str] = "directions of extreme curvature"

    def required(self, checkpoints: Sequence[AtCheckpoint], centre: Centre) -> tuple[Centre, ...]:
        """The centre whose Hessian is used."""
        return (centre if self.at == "each" else checkpoints[-1],)

    def plane(self, source: WeightSource, centre: Centre) -> Plane:
        """delta and eta, with their eigenvalues as facts. Raises RunError if these do not converge."""
        import torch

        from studio.landscape.curvature.extremes import hessian_extremes
        from studio.landscape.curvature.hvp import HessianOperator

        assert source.weight_loss is not None
        (at,) = self.required(source.checkpoints, centre)
        weight_loss, weights = source.weight_loss(at), source.weights(at)
        hessian, theta = HessianOperator(weight_loss, self.ignore), weight_loss.flat(weights)
        product = hessian.products(theta[None])
        extremes = hessian_extremes(
            lambda v: product(v[None])[0], hessian.size, 0, EIGENVECTOR_TOL, weight_loss.device, vectors=True
        )
        if not extremes.converged or extremes.vectors is None:
            raise RunError(
                f"directions: the extreme curvatures at {at} were not found in {extremes.products} products; "
                f"take another centre, or random directions"
            )
        length = float(hessian.restrict(theta).double().norm()) if self.scale == "theta" else 1.0
        axes = hessian.embed(torch.stack([_fix_sign(vector) * length for vector in extremes.vectors]))
        zeros = {name: torch.zeros_like(w) for name, w in weights.items()}
        eta, delta = (
            zeros | {name: part.to(weights[name]) for name, part in weight_loss.split(axis).items()} for axis in axes
        )
        return Plane(delta, eta, {"lambda_min": extremes.lambda_min, "lambda_max": extremes.lambda_max})


class File(Record):
    """Two vectors that the user brings.

    file: an .npz or .safetensors file of tensors `delta/<weight>` and `eta/<weight>` by the names of the model's
    weights, of which those that are not named stay fixed; or of flat `delta` and `eta`, with all weights in the order
    of `torch.nn.utils.parameters_to_vector`. Or an .h5 file from the program of Li et al. (2018). normalize, ignore: as
    of random directions; without them the vectors are taken as they are.
    """

    kind: Literal["file"] = "file"
    file: Annotated[ScenePath, readable(read_directions)]
    normalize: Literal["filter", "layer", "none"] = "none"
    ignore: Ignore = "nothing"

    @field_serializer("file", when_used="json")
    def _digest(self, file: Path) -> str:
        """In place of the path, for digests."""
        return read_directions(file).digest

    @property
    def caption(self) -> str:
        """What the picture says of the directions."""
        return f"directions of {shown(self.file.name, 40)}"

    def required(self, checkpoints: Sequence[AtCheckpoint], centre: Centre) -> tuple[Centre, ...]:
        """The centre, to whose weights the vectors are rescaled."""
        return (centre,)

    def plane(self, source: WeightSource, centre: Centre) -> Plane:
        """delta and eta. Raises RunError if the file does not fit the model."""
        import torch

        assert source.model is not None
        weights, rescale = source.weights(centre), Random(normalize=self.normalize, ignore=self.ignore)._rescale
        delta, eta = (
            {name: rescale(torch.from_numpy(d[name]).to(w), w) for name, w in weights.items() if name in d}
            for d in read_directions(self.file).fit(source.model())
        )
        zeros = {name: torch.zeros_like(w) for name, w in weights.items()}
        return Plane(zeros | delta, zeros | eta)


Unmixed = Annotated[Random | Pca | Checkpoints | Through | Hessian | File, *BY_KIND]


class Mixed(Record):
    """delta of one kind of directions, and eta of another.

    delta, eta: the kind of each. orthogonal: takes out of eta its part along delta, at eta's length.
    """

    kind: Literal["mixed"] = "mixed"
    delta: Unmixed
    eta: Unmixed
    orthogonal: bool = False

    @property
    def ignore(self) -> Ignore:
        """What neither moves."""
        ignored = {getattr(part, "ignore", "nothing") for part in parts(self)}
        return "bias-and-norm" if ignored == {"bias-and-norm"} else "nothing"

    @property
    def caption(self) -> str:
        """What the picture says of the directions."""
        return f"delta of {self.delta.caption}, {'orthogonal ' * self.orthogonal}eta of {self.eta.caption}"

    def required(self, checkpoints: Sequence[AtCheckpoint], centre: Centre) -> tuple[Centre, ...]:
        """The centres that either depends on."""
        return tuple(at for part in parts(self) for at in part.required(checkpoints, centre))

    def plane(self, source: WeightSource, centre: Centre) -> Plane:
        """The first kind's delta and the second's eta, with the facts of both. Raises RunError as they do."""
        first, second = (part.plane(source, centre) for part in parts(self))
        eta = (self.orthogonal and _perpendicular(second.eta, first.delta, norm(second.eta))) or second.eta
        facts = {f"delta_{name}": fact for name, fact in first.facts.items()}
        return Plane(first.delta, eta, facts | {f"eta_{name}": fact for name, fact in second.facts.items()})


def parts(directions: Directions) -> tuple[Unmixed, ...]:
    """The kinds that directions are made of: themselves, or the two of a mixture."""
    return (directions.delta, directions.eta) if isinstance(directions, Mixed) else (directions,)


def misfit(directions: Directions, checkpoints: Sequence[AtCheckpoint], centre: Centre) -> str | None:
    """Why a run with these checkpoints has no such plane at a centre, and the way out; None if it may have one."""
    for part in parts(directions):
        if isinstance(part, Pca) and len(checkpoints) < 3:
            return f"pca needs at least 3 checkpoints, the run has {len(checkpoints)}; write `directions: random`"
        if isinstance(part, Checkpoints) and centre in part.required(checkpoints, centre)[:2]:
            return f"{centre} is one of the two that directions.at names; name others, or leave it out of the sweep"
    return None


def require_moving(directions: Directions, dimensions: Sequence[int]) -> None:
    """Raises RunError if directions ignore every weight that may move. dimensions: of their tensors."""
    if all(getattr(part, "ignore", "") == "bias-and-norm" for part in parts(directions)) and max(dimensions) <= 1:
        raise RunError(f"directions: no weight moves, since those that may are of one dimension; {_WAY_OUT}")


def span_facts(delta: Array, eta: Array) -> dict[str, float]:
    """`cosine` of the angle between vectors [P], and how many weights `moved`. Raises RunError if there is no plane."""
    a, b = delta.astype(np.float64), eta.astype(np.float64)
    lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not np.isfinite(lengths).all():
        raise RunError("directions: delta or eta is beyond what float32 can hold; write another scale")
    if not all(lengths):
        raise RunError(f"directions: no weight moves, since those that may are 0 or of one dimension; {_WAY_OUT}")
    cosine = float(a @ b) / math.prod(lengths)
    if math.sqrt(max(0.0, 1 - cosine**2)) < LEAST_SINE:
        raise RunError(f"directions: delta and eta are parallel (cosine {cosine:.6f}) and span no plane; {_WAY_OUT}")
    return {"cosine": cosine, "moved": int(np.count_nonzero((a != 0) | (b != 0)))}


def gaussian(weights: Weights, seed: int, stream: int) -> dict[str, Tensor]:
    """Independent standard normal numbers, float32, in the shapes of the weights; streams of a seed are independent.

    Every tensor has a generator of its own, seeded by its name: tensors come out of a file in no particular order.
    """
    import torch

    def generator(name: str) -> torch.Generator:
        state = np.random.SeedSequence([seed, stream, *name.encode()]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> np.uint64(1)))

    return {name: torch.randn(w.shape, generator=generator(name)) for name, w in weights.items()}


def masked(weights: Weights, kept: Weights | None) -> Weights:
    """The weights, zero where they were pruned."""
    return weights if kept is None else {name: w * kept[name] for name, w in weights.items()}


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


def _place_name(at: Place) -> str:
    return f"{at:g}" if isinstance(at, float) else str(at).removeprefix("the checkpoint at ")


def _combine(p: float, a: Weights, q: float, b: Weights) -> Weights:
    """p a + q b."""
    return {name: p * a[name] + q * b[name] for name in a}


def _perpendicular(a: Weights, b: Weights, length: float, rounding: float = 0.0) -> Weights:
    """The part of a that is perpendicular to b, rescaled to a length; empty if there is none.

    rounding: the norm of the weights that a and b are differences of, to which float32 rounds them.
    """
    part = _combine(1.0, a, -dot(a, b) / (dot(b, b) + TINY), b)
    size = norm(part)
    return (
        {}
        if size <= 1e-6 * (norm(a) + rounding + TINY)
        else {name: tensor * (length / size) for name, tensor in part.items()}
    )


def _fix_sign(vector: Tensor) -> Tensor:
    """The vector or its negative, whichever has a positive largest component."""
    return vector * vector[vector.abs().argmax()].sign()


def _unflatten(vector: Tensor, like: Weights) -> Weights:
    """The tensors whose `flat` is the vector, in the shapes of `like`."""
    import torch

    names = sorted(like)
    parts = torch.split(vector, [like[name].numel() for name in names])
    return {name: part.view_as(like[name]).to(like[name]) for name, part in zip(names, parts, strict=True)}


Directions = Annotated[Random | Pca | Checkpoints | Through | Hessian | File | Mixed, *BY_KIND]
