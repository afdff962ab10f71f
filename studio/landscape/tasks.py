"""The tasks of measuring: each is a pure function of the shelf, a resolved slice and a range, and returns arrays.

    `make_samples`, `make_plane`, `make_positions`        what slices are measured on, and where networks stand
    `loss_rows`, `convexity_rows`, `spectrum_probes`      its values, range by range, [first, end)
    `preview_rows`, `slice_facts`, `loss_at_corners`      a quick look, the report, a check

A task runs in any process that has the shelf. It reads the slice's plane and samples from there and writes nothing:
the shelf's owner stores the arrays. The evaluator or Hessian of a slice is built once per process.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.errors import MachineError, RunError
from studio.landscape.centres import AtCheckpoint, Centre, Matched, Mixture, Pruned, Rescaled, State
from studio.landscape.convexity import Convexity
from studio.landscape.curvature.extremes import batched_extremes
from studio.landscape.curvature.plane import plane_curvatures
from studio.landscape.curvature.spectrum import stochastic_lanczos_quadrature
from studio.landscape.directions import WeightSource, masked, span_facts
from studio.landscape.loss import Loss
from studio.landscape.slices import CURVATURE_FIELDS, Slice
from studio.landscape.trajectory import positions
from studio.landscape.values.preview import preview
from studio.storage.mapped_arrays import map_arrays
from studio.storage.shelf import Shelf
from studio.training import checkpoints
from studio.training.data import DataSet, Text
from studio.training.device import deterministic
from studio.training.models import move_only
from studio.training.objectives import CROSS_ENTROPY, Objective

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from studio.landscape.curvature.hvp import HessianOperator
    from studio.landscape.network.weight_loss import WeightLoss
    from studio.landscape.values.evaluator import Evaluator

Arrays = Mapping[str, np.ndarray]

SMALL_RELIEF = 1e-2
"""A loss that varies by less than this share of itself is compared with float64."""
RELIEF_PER_ERROR = 50
"""How many times its rounding a loss must vary over its grid, so that the picture is not of rounding."""
SAME_FUNCTION = 1e-3
"""How much the loss may change, relative to itself, where layers are scaled against each other: rounding."""
MAX_ASYMMETRY = 1e-2
"""How far a Hessian may be from a symmetric matrix, by `HessianOperator.asymmetry`: far beyond rounding."""


def make_samples(dataset: DataSet, loss: Loss, objective: Objective = CROSS_ENTROPY) -> tuple[Arrays, dict[str, Any]]:
    """x [N, ...] of a loss, y [N, ...] if there are targets, `calibration` [M, ...] if the loss names them; and facts.

    Raises RunError if the data set is missing, broken or too small.
    """
    data = dataset.load()
    facts = {"shape": data.shape, "classes": objective.outputs(data.layout)}
    if loss.word and isinstance(dataset, Text):
        x, y = dataset.word(loss.word.prompt, loss.word.next)
        return {"x": x, "y": y}, facts
    indices = loss.sample_indices(data)
    arrays = {"x": data.train_x[indices]}
    if data.train_y is not None:
        arrays["y"] = data.train_y[indices]
    if loss.calibration is not None:
        arrays["calibration"] = data.train_x[loss.sample_indices(data, calibration=True)]
    return arrays, facts


def make_plane(shelf: Shelf, slice_: Slice) -> tuple[Arrays, dict[str, Any]]:
    """theta, delta and eta [P], float32, flat in the model's order of weights; and facts of the directions.

    Raises RunError if there is no such plane, a weight is not finite, or the Hessian's eigenvalues do not converge.
    """
    if slice_.device == "mps":  # directions of curvature need float64
        slice_ = replace(slice_, device="cpu")

    weight_loss = _weight_loss(shelf, slice_, slice_.centre)

    def moving(centre: Centre) -> Mapping[str, Tensor]:
        weights = {name: w for name, w in _state(shelf, slice_, centre).weights.items() if name in weight_loss.names}
        if broken := next((name for name, w in weights.items() if not w.isfinite().all()), None):
            raise RunError(f"directions: {centre} has a weight that is not finite, {broken}; leave it out of the sweep")
        return weights

    run, theta, kept = slice_.centre.checkpoints[0].run, moving(slice_.centre), None
    if isinstance(slice_.centre, Pruned):
        kept = {name: (w != 0) | (w.dim() <= 1) for name, w in theta.items()}
    own = [AtCheckpoint(at, run) for at in checkpoints.epochs(shelf.run(slice_.run_digests[run]))]
    with deterministic():
        direction_loss = partial(_weight_loss, shelf, slice_, of_directions=True)
        source = WeightSource(own, moving, direction_loss, kept, partial(_model, shelf, slice_))
        plane = slice_.directions.plane(source, slice_.centre)
        if slice_.directions.model_dump(mode="json") != json.loads(slice_.inputs)["directions"]:
            raise RunError("directions: the file changed while it was measured; run again")
        vectors = {"theta": theta, "delta": masked(plane.delta, kept), "eta": masked(plane.eta, kept)}
        arrays = {name: weight_loss.flat(vector).float().cpu().numpy() for name, vector in vectors.items()}
    return arrays, {**span_facts(arrays["delta"], arrays["eta"]), **plane.facts}


def make_positions(shelf: Shelf, slices: Sequence[Slice], markers: Sequence[Centre]) -> tuple[Arrays, dict[str, Any]]:
    """`places` [slices, markers, 2] and `distances` [slices, markers] of networks from planes (`positions`)."""
    weight_loss = _weight_loss(shelf, slices[0], slices[0].centre)
    thetas = [weight_loss.flat(_state(shelf, slices[0], marker).weights).float().cpu().numpy() for marker in markers]
    planes = [map_arrays(shelf.plane(slice_.plane_digest)).arrays for slice_ in slices]
    return positions(planes, thetas), {}


def _state(shelf: Shelf, slice_: Slice, centre: Centre) -> State:
    """Weights and buffers of a centre, in float32 at least."""
    from studio.landscape.network.precision import lift

    def load(at: AtCheckpoint) -> State:
        checkpoint = checkpoints.load(shelf.run(slice_.run_digests[at.run]), at.checkpoint)
        parts = checkpoint.weights, checkpoint.buffers
        return State(*({name: lift(tensor) for name, tensor in part.items()} for part in parts))

    return centre.state(load)


def _model(shelf: Shelf, slice_: Slice) -> nn.Module:
    """A new model of the slice's run."""
    facts = map_arrays(shelf.samples(slice_.samples_digest)).facts
    return slice_.model.build(tuple(facts["shape"]), facts["classes"])


def _weight_loss(shelf: Shelf, slice_: Slice, centre: Centre, of_directions: bool = False) -> WeightLoss:
    """A slice's loss, or that of its directions, as a function of flat weights, with the buffers of a centre."""
    from studio.training.batches import to_tensors

    loss = slice_.direction_loss if of_directions else slice_.loss
    samples = slice_.direction_samples_digest if of_directions else slice_.samples_digest
    stored = map_arrays(shelf.samples(samples))
    tensors = {name: to_tensors(array) for name, array in stored.arrays.items()}
    model = move_only(slice_.parameters, _model(shelf, slice_))
    weights, buffers = _state(shelf, slice_, centre)
    return loss.weight_loss(model, {**weights, **buffers}, tensors, slice_.device, slice_.objective)


def _loss_on_plane(shelf: Shelf, slice_: Slice) -> tuple[WeightLoss, Tensor, Tensor, Tensor]:
    """The loss, prepared for the corners of the grid; theta, delta and eta [P] on its device and in its precision."""
    import torch

    weight_loss = _weight_loss(shelf, slice_, slice_.centre)
    arrays, names = map_arrays(shelf.plane(slice_.plane_digest)).arrays, ("theta", "delta", "eta")
    theta, delta, eta = (weight_loss.to_device(torch.from_numpy(arrays[name])) for name in names)
    corners = itertools.product(*slice_.grid.sides)
    with deterministic():
        weight_loss.prepare_for(theta + alpha * delta + beta * eta for alpha, beta in corners)
    return weight_loss, theta, delta, eta


@lru_cache(maxsize=4)
def _evaluator(shelf: Shelf, slice_: Slice) -> Evaluator:
    from studio.landscape.values.evaluator import Evaluator

    return Evaluator(*_loss_on_plane(shelf, slice_), slice_.method, slice_.loss.keep_samples)


@lru_cache(maxsize=4)
def _hessian(shelf: Shelf, slice_: Slice) -> tuple[HessianOperator, Tensor, Tensor, Tensor]:
    """The Hessian of a slice's loss as an operator, and the plane of the points it is taken at."""
    from studio.landscape.curvature.hvp import HessianOperator

    weight_loss, theta, delta, eta = _loss_on_plane(shelf, slice_)
    return HessianOperator(weight_loss, slice_.curvature.ignore), theta, delta, eta


def loss_rows(shelf: Shelf, slice_: Slice, rows: tuple[int, int]) -> Arrays:
    """Each field of the loss, float64 [rows, points], on rows [first, end) of the grid.

    A row is one beta, ascending; its values go by alpha. inf and NaN stay as measured. `losses` is
    [rows, points, samples] if the loss keeps its samples. Raises MachineError if memory runs out.
    """
    import torch

    evaluator, grid = _evaluator(shelf, slice_), slice_.grid
    with deterministic():
        values = [evaluator.row(grid.alpha, float(beta)) for beta in grid.beta[slice(*rows)]]
        return {name: torch.stack([row[name] for row in values]).double().cpu().numpy() for name in values[0]}


def preview_rows(shelf: Shelf, slice_: Slice) -> Arrays:
    """`loss` on the whole grid [points, points] from few measured points, and `measured`: 1 at those, else 0."""
    evaluator = _evaluator(shelf, slice_)

    def measure(alphas: np.ndarray, betas: np.ndarray) -> np.ndarray:
        values = np.empty(len(alphas))
        for beta in np.unique(betas):  # row by row: points of a row may be computed together
            in_row = betas == beta
            values[in_row] = evaluator.row(alphas[in_row], float(beta))["loss"].cpu().numpy()
        return values

    with deterministic():
        values, measured = preview(measure, slice_.grid)
    return {"loss": values, "measured": measured.astype(np.float64)}


def convexity_rows(shelf: Shelf, slice_: Slice, rows: tuple[int, int]) -> Arrays:
    """Each of CURVATURE_FIELDS, float64 [rows, points], on rows [first, end) of the grid.

    A row has the same bytes whatever other rows the range holds, if it holds whole `Slice.row_groups`. Raises
    MachineError if memory runs out.
    """
    import torch

    (hessian, theta, delta, eta), grid, batches = _hessian(shelf, slice_), slice_.grid, []
    size, plane = hessian.engine.batch_points, (hessian.restrict(delta), hessian.restrict(eta))
    for first, end in slice_.row_groups:
        group = range(max(first, rows[0]), min(end, rows[1]))
        points = [(float(alpha), float(beta)) for beta in grid.beta[group.start : group.stop] for alpha in grid.alpha]
        batches += [points[i : i + size] for i in range(0, len(points), size)]
    with deterministic():
        stacks = (torch.stack([theta.add(delta, alpha=a).add_(eta, alpha=b) for a, b in batch]) for batch in batches)
        flat = np.concatenate([_curvature_at(hessian, points, plane, slice_.curvature) for points in stacks])
    values = flat.reshape(-1, grid.shape[1], len(CURVATURE_FIELDS))
    return {name: values[..., i] for i, name in enumerate(CURVATURE_FIELDS)}


def _curvature_at(
    hessian: HessianOperator, points: Tensor, plane: tuple[Tensor, Tensor], record: Convexity
) -> np.ndarray:
    """CURVATURE_FIELDS [B, 6] at points [B, P] that are differentiated together. plane: delta and eta [M]."""
    count, device = len(points), str(points.device)
    all_products = hessian.products(points)

    def products(rows: Sequence[int]) -> Any:
        return all_products if len(rows) == count else hessian.products(points[list(rows)])

    sketch = hessian.sketch.products(points) if hessian.sketch else None
    extremes = batched_extremes(products, count, hessian.size, record.seed, record.tol, device, sketch=sketch)
    kappas = plane_curvatures(all_products, *plane, count)
    lambdas = [[ends.lambda_min, ends.lambda_max, ends.converged, ends.products] for ends in extremes]
    return np.hstack([lambdas, kappas])


def spectrum_probes(shelf: Shelf, slice_: Slice, probes: tuple[int, int]) -> Arrays:
    """`ritz` and `weight` [probes, steps] of the Hessian at the centre, for probes [first, end).

    Raises ValueError if the slice asks for no spectrum.
    """
    (hessian, theta, *_), spectrum = _hessian(shelf, slice_), slice_.curvature.spectrum
    if spectrum is None:
        raise ValueError("the slice's convexity record asks for no spectrum")
    with deterministic():
        product, device = hessian.products(theta[None]), str(theta.device)
        return stochastic_lanczos_quadrature(product, hessian.size, spectrum, device, range(*probes))


def slice_facts(shelf: Shelf, slice_: Slice) -> dict[str, Any]:
    """{name: number or text} for the report of a slice, beside its values.

    Raises MachineError if the method disagrees with the loop, or the Hessian is not symmetric.
    """
    measure_facts = _loss_facts if slice_.quantity == "loss" else _curvature_facts
    with deterministic():
        return {**map_arrays(shelf.plane(slice_.plane_digest)).facts, **measure_facts(shelf, slice_)}


def _loss_facts(shelf: Shelf, slice_: Slice) -> dict[str, Any]:
    evaluator = _evaluator(shelf, slice_)
    facts = {
        "parameters": evaluator.weight_loss.size,
        "samples": evaluator.weight_loss.sample_count,
        "method": slice_.method,
        "why": slice_.reason,
        "agreement": evaluator.agreement,
        "chunk": evaluator.chunk_size,
        "fields": ["loss", *evaluator.weight_loss.fields],
    }
    changed = slice_.centre.centres if isinstance(slice_.centre, Mixture) else (slice_.centre,)
    for centre in (centre for centre in changed if isinstance(centre, Rescaled | Matched)):
        _require_same_function(shelf, slice_, centre)
    if slice_.loss.precision != "float64" and slice_.grid.size > 1:
        _require_relief(evaluator, slice_)
    if slice_.loss.precision == "float32" and slice_.device != "mps":
        return facts
    (_, right), (_, top), (alpha, beta) = *slice_.grid.sides, slice_.grid.centre
    error = evaluator.precision_error(((alpha, beta), (right, beta), (alpha, top)))
    return facts | {"precision": evaluator.weight_loss.precision, "precision_error": error}


def _require_same_function(shelf: Shelf, slice_: Slice, centre: Rescaled | Matched) -> None:
    """Raises RunError if the loss at a rescaled or reordered network is not that of the network it comes from."""
    losses = []
    for at in (centre.of, centre):
        weight_loss = _weight_loss(shelf, slice_, at)
        outputs = weight_loss.forward_all(weight_loss.flat(_state(shelf, slice_, at).weights))
        losses.append(float(weight_loss.losses(outputs, weight_loss.targets).mean()))
    before, after = losses
    if not abs(after - before) <= SAME_FUNCTION * max(abs(before), 1e-3):
        cause = "the network has shortcuts, or layers that are no chain by their names; leave `match` out"
        if isinstance(centre, Rescaled):
            cause = f"{centre.down} does not follow {centre.up} past a ReLU; name another layer under `down`"
        raise RunError(f"sweep: at {centre} the loss changes from {before:.4g} to {after:.4g}: {cause}")


def _require_relief(evaluator: Evaluator, slice_: Slice) -> None:
    """Raises RunError if the loss hardly varies over the grid, and rounding changes it as much."""
    alphas, betas = slice_.grid.corners
    points = [(alphas[i], betas[1]) for i in (0, 1, 2)] + [(alphas[1], betas[j]) for j in (0, 2)]
    losses = evaluator.losses_at(points)
    relief, size = float(np.ptp(losses)), float(np.abs(losses).max())
    if not np.isfinite(losses).all() or relief > SMALL_RELIEF * size:
        return
    exact = evaluator.losses_at(points, "float64")
    error = float(np.abs(losses - exact).max())
    if float(np.ptp(exact)) < RELIEF_PER_ERROR * error:
        raise RunError(
            f"loss.precision: over the range {slice_.grid.reach} the loss varies by {np.ptp(exact):.1g}, and rounding "
            f"in {slice_.loss.precision} changes it by {error:.1g}; write `precision: float64` under loss, or a wider "
            f"range"
        )


def _curvature_facts(shelf: Shelf, slice_: Slice) -> dict[str, Any]:
    hessian, theta, delta, eta = _hessian(shelf, slice_)
    gradient, weight_loss = hessian.gradients(theta[None]), hessian.weight_loss
    if (asymmetry := hessian.asymmetry(theta)) > MAX_ASYMMETRY:
        raise MachineError(
            f"u' H v and v' H u differ by {100 * asymmetry:.0f} %, so a second derivative of the installed torch is "
            "wrong for this network; replace the layer that is not differentiable twice, or leave out convexity"
        )
    losses = weight_loss.losses(weight_loss.forward_all(theta), weight_loss.targets)
    centre_loss = float(losses.mean())
    return {
        "parameters": hessian.size,
        "samples": weight_loss.sample_count,
        "asymmetry": asymmetry,
        "gradient_norm": float(gradient.double().norm()),
        "centre_loss": centre_loss,
        "quadratic_model": json.dumps([centre_loss, *_plane_derivatives(hessian, theta, delta, eta)]),
    }


def _plane_derivatives(hessian: HessianOperator, theta: Tensor, delta: Tensor, eta: Tensor) -> list[float]:
    """g'delta, g'eta, delta'H delta, delta'H eta, eta'H eta at theta: of all weights, also those that it ignores."""
    import torch

    whole = hessian if hessian.size == hessian.weight_loss.size else type(hessian)(hessian.weight_loss)
    axes, product = whole.restrict(torch.stack([delta, eta])), whole.products(theta[None])
    images = torch.cat([product(axis[None]) for axis in axes]).double()
    slopes, curvatures = axes.double() @ whole.gradients(theta[None])[0].double(), axes.double() @ images.mT
    return [*slopes.tolist(), *curvatures.flatten()[[0, 1, 3]].tolist()]


def loss_at_corners(shelf: Shelf, slice_: Slice) -> np.ndarray:
    """The loss [3, 3] by beta and alpha, at `Grid.corners`."""
    evaluator, (alphas, betas) = _evaluator(shelf, slice_), slice_.grid.corners
    with deterministic():
        return np.stack([evaluator.row(alphas, beta)["loss"].cpu().numpy() for beta in betas])
