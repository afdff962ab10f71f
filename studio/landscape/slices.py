"""A slice named by records alone, and the pieces of work on it: rows of the loss and of the curvature, probes.

    f(alpha, beta) = L(theta + alpha delta + beta eta)

A piece is a pure function of its slice and a range, so it may run in any process; what a slice needs in memory is
prepared once per process. `identity` says, without torch, all that the numbers depend on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.config.records import Record, digest
from studio.errors import MachineError
from studio.field import Grid
from studio.landscape.convexity import Convexity
from studio.landscape.curvature.extremes import batched_extremes
from studio.landscape.curvature.plane import plane_curvatures
from studio.landscape.curvature.spectrum import stochastic_lanczos_quadrature
from studio.landscape.directions import CheckpointSource, Directions
from studio.landscape.loss import Loss, choose
from studio.landscape.sweeps import require_epoch
from studio.storage.files import read_json
from studio.storage.mapped_arrays import MappedArrays, get_or_create
from studio.training import checkpoints
from studio.training.models import Mlp, Model
from studio.training.recipe import Run

if TYPE_CHECKING:
    from torch import Tensor

    from studio.landscape.curvature.hvp import HessianOperator
    from studio.landscape.network.weight_loss import WeightLoss
    from studio.landscape.values.evaluator import Evaluator

VERSION = 4
"""Raised by hand when the numbers change for the same inputs."""
CURVED = 4
"""The same, for what only the numbers of curvature depend on."""


class Slice(Record):
    """One centre with its plane and the way its loss is measured.

    folder: where the run's checkpoints lie. prepared: where vectors and samples are kept between processes. grid: the
    points; for eigenvalues their own, coarser one. drawn: the loss of the film's surfaces, by which directions of
    curvature are found; the slice's own if not given.
    """

    run: Run
    folder: str
    prepared: str
    epoch: float
    directions: Directions
    loss: Loss
    grid: Grid
    drawn: Loss | None = None


def device_kind() -> str:
    """ "cuda" or "cpu". torch is asked only where a GPU's driver is present."""
    if not Path("/proc/driver/nvidia/version").exists():
        return "cpu"
    from studio.training.evaluate import device

    return device().type


# --- what the numbers depend on --------------------------------------------------------------------------------------


def identity(slice: Slice) -> dict[str, Any]:
    """The resolved inputs of all numbers on this slice, for a shelf's key. Raises SceneError if an epoch is missing."""
    method, _ = _method(slice)
    return {
        "version": VERSION,
        **_plane_identity(slice),
        **_samples_identity(slice),
        **_loss_identity(slice.loss),
        "grid": slice.grid.model_dump(mode="json"),
        "method": method,
    }


def how(what: str, convexity: Convexity | None) -> dict[str, Any]:
    """What the numbers of one kind depend on beside their slice."""
    kept = {"loss": set(), "convexity": {"tol", "seed", "ignore"}, "spectrum": {"ignore", "spectrum"}}[what]
    return {"version": CURVED} | convexity.model_dump(mode="json", include=kept) if kept else {}


def chosen_method(model: Model, directions: Directions, loss: Loss) -> tuple[str, str]:
    """The name of the way loss values are computed, and why it was taken: a fixed rule, or the scene's own wish."""
    moves_norms = getattr(directions, "ignore", "nothing") != "bias-and-norm"
    return choose(model, loss, moves_norms, device_kind())


def _method(slice: Slice) -> tuple[str, str]:
    return chosen_method(slice.run.recipe.model, slice.directions, slice.loss)


def _plane_identity(slice: Slice) -> dict[str, Any]:
    index = checkpoints.index(Path(slice.folder))
    epoch = require_epoch(slice.epoch, tuple(index))
    used = sorted({epoch, *(require_epoch(e, tuple(index)) for e in slice.directions.uses(tuple(index), epoch))})
    drawn = _as_drawn(slice)
    # directions of curvature depend on the loss too, and on the device that finds them
    found_by = {**_samples_identity(drawn), **_loss_identity(drawn.loss)} if slice.directions.kind == "hessian" else {}
    return {
        "model": slice.run.recipe.model.model_dump(mode="json"),
        "epoch": epoch,
        "weights": {f"{e:g}": index[e]["weights"] for e in used},
        "directions": slice.directions.model_dump(mode="json"),
        **({"found_by": found_by} if found_by else {}),
    }


def _as_drawn(slice: Slice) -> Slice:
    """The slice with the loss that its directions may ask for."""
    return slice.model_copy(update={"loss": (slice.drawn or slice.loss).alone})


def _samples_identity(slice: Slice) -> dict[str, Any]:
    wanted = slice.loss.model_dump(mode="json", include={"subset", "seed", "calibration"})
    return {"data": read_json(Path(slice.folder) / "run.json")["data"], "samples_used": wanted}


def _loss_identity(loss: Loss) -> dict[str, Any]:
    device, how = device_kind(), loss.model_dump(mode="json", exclude={"method", "subset", "seed", "calibration"})
    return {"loss": how, "device": device}


def plane_key(slice: Slice) -> str:
    """What names the slice's three vectors."""
    return digest("plane", VERSION, _plane_identity(slice))


def samples_key(slice: Slice) -> str:
    """What names the images and labels of the slice's loss."""
    return digest("samples", VERSION, _samples_identity(slice))


# --- what a slice needs in memory ------------------------------------------------------------------------------------


def plane(slice: Slice) -> MappedArrays:
    """theta, delta and eta [P], float32, with the plane's facts."""
    return get_or_create(Path(slice.prepared) / "planes" / plane_key(slice), lambda: _made_plane(slice))


def samples(slice: Slice) -> MappedArrays:
    """x [N, ...] and y [N] of the loss, and `calibration` [M, ...] if its mode has them."""
    return get_or_create(Path(slice.prepared) / "samples" / samples_key(slice), lambda: _made_samples(slice))


def _made_plane(slice: Slice) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from studio.training.evaluate import repeatable

    folder = Path(slice.folder)
    trail = CheckpointSource(
        checkpoints.epochs(folder),
        lambda epoch: checkpoints.load(folder, epoch).weights,
        lambda epoch: objective(_as_drawn(slice), epoch),
    )
    with repeatable():
        found = slice.directions.plane(trail, slice.epoch)
        order = objective(slice)
        vectors = {"theta": trail.weights(slice.epoch), "delta": found.delta, "eta": found.eta}
        arrays = {name: order.flat(part).float().cpu().numpy() for name, part in vectors.items()}
    return arrays, {"cosine": found.cosine, **found.facts}


def _made_samples(slice: Slice) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    data = slice.run.recipe.data.load()
    chosen = slice.loss.samples(data)
    arrays = {"x": data.train_x[chosen], "y": data.train_y[chosen]}
    if slice.loss.calibration is not None:
        arrays["calibration"] = data.train_x[slice.loss.calibrating(data)]
    return arrays, {"shape": data.shape, "classes": data.classes}


def objective(slice: Slice, epoch: float | None = None) -> WeightLoss:
    """The loss as a function of flat weights, prepared at the checkpoint of the slice's epoch, or of another.

    Whatever the objective finds out about the network, it finds out at these weights.
    """
    import torch

    found = samples(slice)
    tensors = {name: torch.from_numpy(array) for name, array in found.arrays.items()}
    model = slice.run.recipe.model.build(tuple(found.facts["shape"]), found.facts["classes"])
    folder = Path(slice.folder)
    centre = checkpoints.load(
        folder, require_epoch(slice.epoch if epoch is None else epoch, checkpoints.epochs(folder))
    )
    state = {**centre.weights, **centre.buffers}
    return slice.loss.objective(model, state, tensors["x"], tensors["y"], device_kind(), tensors.get("calibration"))


@dataclass(frozen=True, eq=False)
class _Vectors:
    """theta, delta and eta [P] on the objective's device and in its precision."""

    theta: Tensor
    delta: Tensor
    eta: Tensor

    def at(self, alpha: float, beta: float) -> Tensor:
        return self.theta.add(self.delta, alpha=alpha).add_(self.eta, alpha=beta)


@dataclass(frozen=True, eq=False)
class _Curvature:
    """What Hessians of a slice are measured with."""

    objective: WeightLoss
    derivatives: HessianOperator
    vectors: _Vectors


def _vectors(slice: Slice, like: WeightLoss) -> _Vectors:
    import torch

    arrays = plane(slice).arrays
    return _Vectors(*(like.placed(torch.from_numpy(arrays[name])) for name in ("theta", "delta", "eta")))


@lru_cache(maxsize=4)
def _evaluator(slice: Slice) -> Evaluator:
    from studio.landscape.values.evaluator import Evaluator

    made = objective(slice)
    vectors = _vectors(slice, made)
    return Evaluator(made, vectors.theta, vectors.delta, vectors.eta, _method(slice)[0], slice.loss.keep_samples)


@lru_cache(maxsize=4)
def _curvature(slice: Slice, ignore: str) -> _Curvature:
    from studio.landscape.curvature.hvp import HessianOperator

    made = objective(slice)
    return _Curvature(made, HessianOperator(made, ignore), _vectors(slice, made))


# --- pieces of work --------------------------------------------------------------------------------------------------


def loss_rows(slice: Slice, rows: tuple[int, int]) -> dict[str, np.ndarray]:
    """Each field of the loss, float64 [rows, points], on rows first to (not including) last of the grid.

    A row is one beta, ascending; its values go by alpha. inf and NaN stay as measured. `losses` is
    [rows, points, samples] if the loss keeps its samples.
    """
    import torch

    from studio.training.evaluate import repeatable

    evaluator, axis = _evaluator(slice), slice.grid.axis
    with repeatable():
        found = [evaluator.row(axis, float(axis[row])) for row in range(*rows)]
        return {name: torch.stack([one[name] for one in found]).double().cpu().numpy() for name in found[0]}


def preview_rows(slice: Slice) -> dict[str, np.ndarray]:
    """The loss on the whole grid [points, points] from few measured points; `measured` is 1 at those, else 0."""
    from studio.landscape.values.preview import preview
    from studio.training.evaluate import repeatable

    evaluator = _evaluator(slice)

    def measure(alphas: np.ndarray, betas: np.ndarray) -> np.ndarray:
        found = np.empty(len(alphas))
        for beta in np.unique(betas):  # a row at a time, for its points may pass side by side
            here = betas == beta
            found[here] = evaluator.row(alphas[here], float(beta))["loss"].cpu().numpy()
        return found

    with repeatable():
        values, measured = preview(measure, slice.grid)
    return {"loss": values, "measured": measured.astype(np.float64)}


SYMMETRIC = 1e-2
"""How far a Hessian may be from a symmetric matrix, by `HessianOperator.asymmetry`: more than rounding ever makes of it."""
CURVATURE = ("lambda_min", "lambda_max", "converged", "products", "kappa_min", "kappa_max")
"""What is measured at a point of the Hessian's grid: both ends of its spectrum, and of the plane's own 2 x 2."""


FILLS = 256
"""Points of a perceptron's Hessian grid that a GPU measures together, as whole rows: one row does not fill it."""


def bands(slice: Slice) -> list[tuple[int, int]]:
    """The rows of a Hessian's grid that are measured together, each first to (not including) last: a fixed rule, since
    what is differentiated together rounds together.
    """
    n = slice.grid.points
    together = device_kind() == "cuda" and isinstance(slice.run.recipe.model, Mlp)
    rows = max(1, FILLS // n) if together else 1
    return [(first, min(first + rows, n)) for first in range(0, n, rows)]


def curvature_rows(slice: Slice, convexity: Convexity, rows: tuple[int, int]) -> dict[str, np.ndarray]:
    """Each of `CURVATURE`, float64 [rows, points], on rows first to (not including) last of the grid.

    Its numbers are the same whatever rows it is measured with, if these are whole `bands`.
    """
    import torch

    from studio.training.evaluate import repeatable

    made, axis = _curvature(slice, convexity.ignore), slice.grid.axis
    size, groups = made.derivatives.together, []
    for first, last in bands(slice):
        points = [
            (float(alpha), float(axis[row])) for row in range(max(first, rows[0]), min(last, rows[1])) for alpha in axis
        ]
        groups += [points[i : i + size] for i in range(0, len(points), size)]
    with repeatable():
        found = [_group(made, torch.stack([made.vectors.at(*point) for point in group]), convexity) for group in groups]
    values = np.concatenate(found).reshape(-1, len(axis), len(CURVATURE))
    return {name: values[..., i] for i, name in enumerate(CURVATURE)}


def _group(made: _Curvature, points: Tensor, convexity: Convexity) -> np.ndarray:
    """`CURVATURE` at points [B, P] that are differentiated together: [B, 6]."""
    whole = made.derivatives.products(points)

    def products(some):
        return whole if len(some) == len(points) else made.derivatives.products(points[list(some)])

    sketch = made.derivatives.sketch
    found = batched_extremes(
        products,
        len(points),
        made.derivatives.size,
        convexity.seed,
        convexity.tol,
        str(points.device),
        sketch=sketch and sketch.products(points),
    )
    delta, eta = (made.derivatives.restricted(part) for part in (made.vectors.delta, made.vectors.eta))
    kappas = plane_curvatures(whole, delta, eta, len(points))
    return np.array(
        [
            [one.lambda_min, one.lambda_max, one.converged, one.products, *kappa]
            for one, kappa in zip(found, kappas, strict=True)
        ]
    )


def spectrum_probes(slice: Slice, convexity: Convexity, probes: tuple[int, int]) -> dict[str, np.ndarray]:
    """`ritz` and `weight` [probes, steps] of the Hessian at the centre, by probes first to (not including) last."""
    from studio.training.evaluate import repeatable

    made = _curvature(slice, convexity.ignore)
    with repeatable():
        product = made.derivatives.products(made.vectors.theta[None])
        return stochastic_lanczos_quadrature(
            product, made.derivatives.size, convexity.spectrum, str(made.vectors.theta.device), range(*probes)
        )


def facts(what: str, slice: Slice, convexity: Convexity | None) -> dict[str, float | int | str]:
    """What a report may say of a slice: parameters, samples; path, why, how far from the plain loop, samples that pass
    together; the error of another precision than float32; the gradient's norm at the centre; the directions' facts.
    """
    from studio.training.evaluate import repeatable

    known = dict(plane(slice).facts)
    with repeatable():
        if what == "loss":
            evaluator = _evaluator(slice)
            method, why = _method(slice)
            return known | {
                "parameters": evaluator.objective.size,
                "samples": evaluator.objective.samples,
                "method": method,
                "why": why,
                "agreement": evaluator.agreement,
                "chunk": evaluator.chunk,
                **_precision(evaluator, slice),
            }
        made = _curvature(slice, convexity.ignore)
        theta, derivatives = made.vectors.theta, made.derivatives
        gradient = derivatives.gradients(theta[None])
        if (asymmetry := derivatives.asymmetry(theta)) > SYMMETRIC:
            raise MachineError(
                f"u' H v and v' H u differ by {100 * asymmetry:.0f} %, so that a second derivative of the installed "
                "torch is wrong for this network; replace the layer that is not differentiable twice, or leave out "
                "convexity"
            )
        losses = made.objective.losses(made.objective.passed(theta), made.objective.targets)
        return known | {
            "parameters": derivatives.size,
            "samples": made.objective.samples,
            "asymmetry": asymmetry,
            "gradient_norm": float(gradient.double().norm()),
            "centre_loss": float(losses.mean()),
        }


def _precision(evaluator: Evaluator, slice: Slice) -> dict[str, float | str]:
    """What a scene that does not compute in float32 pays for it, at the centre and at two edges of the grid."""
    if slice.loss.precision == "float32":
        return {}
    edge = slice.grid.range[1]
    return {
        "precision": evaluator.objective.precision,
        "precision_error": evaluator.precision_error(((0.0, 0.0), (edge, 0.0), (0.0, edge))),
    }


def subset_errors(slice: Slice) -> list[tuple[float, float, float, float]]:
    """(alpha, beta, loss over the subset, loss over all training images) at corners, edges and centre of the grid."""
    from studio.training.evaluate import repeatable

    whole = slice.model_copy(update={"loss": slice.loss.model_copy(update={"subset": "100%", "keep_samples": False})})
    few = [float(slice.grid.axis[i]) for i in (0, slice.grid.points // 2, -1)]
    with repeatable():
        part, full = (
            np.stack([_evaluator(one).row(few, beta)["loss"].cpu().numpy() for beta in few]) for one in (slice, whole)
        )
    return [
        (alpha, beta, float(part[i, j]), float(full[i, j])) for i, beta in enumerate(few) for j, alpha in enumerate(few)
    ]
