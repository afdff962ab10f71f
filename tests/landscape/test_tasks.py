"""What workers measure, against torch's own evaluation and dense Hessians."""

import json
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from studio.errors import MachineError, RunError
from studio.field import Grid
from studio.landscape import tasks
from studio.landscape.centres import AtCheckpoint
from studio.landscape.convexity import Convexity, Spectrum
from studio.landscape.curvature.hvp import HessianOperator
from studio.landscape.directions import Hessian, Pca, Random, WeightSource
from studio.landscape.loss import Loss, applicable_methods
from studio.landscape.slices import Slice
from studio.landscape.tasks import convexity_rows, loss_rows, preview_rows, slice_facts, spectrum_probes
from studio.storage.mapped_arrays import map_arrays
from studio.training import checkpoints

AXIS = Grid(range=(-1.5, 1.5), points=5).alpha
"""That of the planted runs' grid."""


def clear_caches() -> None:
    """Drops what this process has prepared of slices."""
    tasks._evaluator.cache_clear()
    tasks._hessian.cache_clear()


def curved(run, tol: float = 1e-3, **options) -> Slice:
    return run.slice("convexity", convexity=Convexity(points=5, tol=tol), **options)


def by_hand(run, slice_: Slice, alpha: float, beta: float) -> float:
    """The loss of the built model with its weights moved, by torch alone."""
    data = slice_.data.load()
    checkpoint = checkpoints.load(run.folder, slice_.centre.checkpoint)
    existing = [AtCheckpoint(at) for at in checkpoints.epochs(run.folder)]
    source = WeightSource(existing, lambda at: checkpoints.load(run.folder, at.checkpoint).weights)
    plane = slice_.directions.plane(source, slice_.centre)
    model = slice_.model.build(data.shape, data.classes).train(slice_.loss.mode == "train")
    model.load_state_dict({**checkpoint.weights, **checkpoint.buffers})
    with torch.no_grad():
        for name, p in model.named_parameters():
            p += alpha * plane.delta[name] + beta * plane.eta[name]
        indices = slice_.loss.sample_indices(data)
        x, y = (torch.from_numpy(part[indices]) for part in (data.train_x, data.train_y))
        return float(F.cross_entropy(model(x), y))


def dense(run, slice_: Slice, alpha: float, beta: float) -> np.ndarray:
    """All eigenvalues of the Hessian at a point, in float64, by torch's own second derivatives."""
    exact = run.resolve(loss=slice_.loss.model_copy(update={"precision": "float64"}), centre=slice_.centre)
    weight_loss, vectors = (
        tasks._weight_loss(run.shelf, exact, exact.centre),
        map_arrays(run.shelf.plane(slice_.plane_digest)).arrays,
    )
    theta, delta, eta = (torch.from_numpy(vectors[name]).double() for name in ("theta", "delta", "eta"))

    def loss(weights):
        named = weight_loss.split(weights)
        chunks = (weight_loss.losses(weight_loss.outputs(named, x), y).sum() for x, y in weight_loss.chunks)
        return sum(chunks) / weight_loss.sample_count

    return np.linalg.eigvalsh(torch.autograd.functional.hessian(loss, theta + alpha * delta + beta * eta).numpy())


# --- loss values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", ["conv", "deep"])
def test_rows_are_betas_and_columns_alphas(name, mode, request):
    run = request.getfixturevalue(name)
    slice_ = run.slice(loss=Loss(subset=48, mode=mode))
    loss = loss_rows(run.shelf, slice_, (0, 5))["loss"]
    for row, column in ((2, 2), (0, 4), (3, 1)):
        # float32 sums in another order
        assert loss[row, column] == pytest.approx(by_hand(run, slice_, AXIS[column], AXIS[row]), rel=1e-4)


def test_a_grid_off_the_centre_with_other_sides_is_measured_at_its_own_points(deep):
    grid = Grid(range=((-0.5, 1.0), (0.1, 0.4)), points=(4, 3))
    slice_ = deep.slice(grid=grid)
    loss, corners = loss_rows(deep.shelf, slice_, (0, 3))["loss"], tasks.loss_at_corners(deep.shelf, slice_)
    assert loss.shape == grid.shape == (3, 4)
    for row, column in ((0, 3), (1, 1), (2, 0)):
        assert loss[row, column] == pytest.approx(by_hand(deep, slice_, grid.alpha[column], grid.beta[row]), rel=1e-4)
    assert corners == pytest.approx(loss[:, [0, 2, 3]], rel=1e-5)  # in rows of another length
    rows = convexity_rows(deep.shelf, curved(deep, grid=grid), (1, 2))
    assert rows["lambda_max"].shape == (1, 4)
    eigenvalues = dense(deep, slice_, grid.alpha[1], grid.beta[1])
    assert rows["lambda_max"][0, 1] == pytest.approx(eigenvalues[-1], rel=1e-3)  # its tolerance
    previewed = deep.slice(grid=grid, loss=Loss(subset=48, mode="train", sampling="preview"))
    assert preview_rows(deep.shelf, previewed)["loss"] == pytest.approx(loss, rel=1e-5)


def test_the_centre_of_the_grid_is_the_checkpoint_itself(mlp):
    slice_ = mlp.slice(loss=Loss(mode="eval"))
    recorded = checkpoints.facts_by_epoch(mlp.folder)[2.0]["metrics"]
    measured = {name: values[0, 2] for name, values in loss_rows(mlp.shelf, slice_, (2, 3)).items()}
    # float32 means over 1437 images, in other batches
    assert measured["loss"] == pytest.approx(recorded["train_loss"], rel=1e-5)
    assert measured["accuracy"] == pytest.approx(recorded["train_accuracy"], abs=1e-9)


def test_rows_are_the_same_alone_and_together(conv):
    slice_ = conv.slice()
    whole = loss_rows(conv.shelf, slice_, (0, 5))
    clear_caches()
    parts = {rows: loss_rows(conv.shelf, slice_, rows) for rows in ((4, 5), (0, 3), (3, 4))}
    for name, values in whole.items():
        joined = np.concatenate([parts[rows][name] for rows in sorted(parts)])
        assert values.dtype == np.float64 and joined.tobytes() == values.tobytes()


def test_threads_change_nothing(conv):
    slice_, before = conv.slice(), torch.get_num_threads()
    clear_caches()
    single_thread = loss_rows(conv.shelf, slice_, (1, 2))["loss"]
    try:
        torch.set_num_threads(2)
        clear_caches()
        assert loss_rows(conv.shelf, slice_, (1, 2))["loss"].tobytes() == single_thread.tobytes()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_global_generator_is_left_alone(conv):
    slice_ = conv.slice()
    clear_caches()
    before = torch.get_rng_state()
    loss_rows(conv.shelf, slice_, (0, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_preview_measures_few_points_as_they_are_and_fills_in_the_rest(mlp):
    grid = Grid(points=31)
    preview = preview_rows(mlp.shelf, mlp.slice(loss=Loss(sampling="preview"), grid=grid))
    exact = loss_rows(mlp.shelf, mlp.slice(loss=Loss(), grid=grid), (0, 31))["loss"]
    measured = preview["measured"] == 1
    assert 0 < measured.sum() < 0.5 * measured.size and measured[15, 15]
    # single points and whole rows may round differently
    assert preview["loss"][measured] == pytest.approx(exact[measured], rel=1e-5)
    assert preview["loss"].min() >= preview["loss"][measured].min()


# --- curvature -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "deep"])
def test_curvature_is_that_of_the_dense_hessian_row_by_row(name, request):
    run = request.getfixturevalue(name)
    slice_ = curved(run)
    measured = convexity_rows(run.shelf, slice_, (1, 3))
    assert all(values.shape == (2, 5) and values.dtype == np.float64 for values in measured.values())
    assert measured["converged"].all() and (measured["products"] >= 14).all()
    for row, column in ((0, 1), (1, 4)):
        values = dense(run, slice_, AXIS[column], AXIS[row + 1])
        # the asked tolerance: 1e-3 at each end
        assert (measured["lambda_min"][row, column], measured["lambda_max"][row, column]) == pytest.approx(
            (values[0], values[-1]), rel=1e-3
        )
        assert values[0] <= measured["kappa_min"][row, column] <= measured["kappa_max"][row, column] <= values[-1]


def test_rows_of_curvature_are_the_same_alone_and_together(conv):
    slice_ = curved(conv, tol=1e-1)
    together, alone = (convexity_rows(conv.shelf, slice_, rows) for rows in ((1, 3), (2, 3)))
    assert all(values[1:].tobytes() == alone[name].tobytes() for name, values in together.items())


def test_rows_that_are_measured_together_have_their_own_numbers(mlp, monkeypatch):
    slice_ = curved(mlp)
    alone = convexity_rows(mlp.shelf, slice_, (0, 3))
    monkeypatch.setattr(Slice, "row_groups", [(0, 3), (3, 5)])
    together = convexity_rows(mlp.shelf, slice_, (0, 3))
    for name in ("lambda_min", "lambda_max", "kappa_min", "kappa_max"):
        # one start for all points, so nothing but rounding differs; eigenvalues are of the size of the largest
        np.testing.assert_allclose(together[name], alone[name], atol=1e-5 * alone["lambda_max"].max())


def test_a_spectrum_adds_up_to_the_trace_and_its_probes_stand_alone(mlp):
    slice_ = mlp.slice("spectrum", convexity=Convexity(points=5, spectrum=Spectrum(probes=6, steps=10)))
    whole, last = (spectrum_probes(mlp.shelf, slice_, probes) for probes in ((0, 6), (5, 6)))
    assert all(values[5:].tobytes() == last[name].tobytes() for name, values in whole.items())
    # every probe's weights are squares of a unit vector's parts
    assert whole["weight"].sum(1) == pytest.approx(np.ones(6), abs=1e-9)
    values = dense(mlp, slice_, 0.0, 0.0)
    traces = len(values) * (whole["ritz"] * whole["weight"]).sum(1)
    spread = traces.std(ddof=1) / 6**0.5
    assert abs(traces.mean() - values.sum()) < 4 * spread + 1e-3 * abs(values.sum())


def test_a_spectrum_that_was_not_asked_for_is_not_measured(mlp):
    with pytest.raises(ValueError, match="no spectrum"):
        spectrum_probes(mlp.shelf, curved(mlp), (0, 1))


# --- planes and facts ------------------------------------------------------------------------------------------------


def test_directions_of_curvature_are_those_of_the_drawn_loss(mlp):
    drawn = mlp.slice(directions=Hessian(ignore="nothing"))
    plane = map_arrays(mlp.shelf.plane(drawn.plane_digest))
    theta, delta, eta = (plane.arrays[name].astype(np.float64) for name in ("theta", "delta", "eta"))
    # both are as long as the weights, and float32
    assert np.linalg.norm(delta) == pytest.approx(np.linalg.norm(theta), rel=1e-5)
    assert np.linalg.norm(eta) == pytest.approx(np.linalg.norm(theta), rel=1e-5)
    assert abs(delta @ eta) < 1e-3 * (theta @ theta)
    values = dense(mlp, drawn, 0.0, 0.0)
    assert (plane.facts["lambda_min"], plane.facts["lambda_max"]) == pytest.approx((values[0], values[-1]), rel=1e-3)
    # in its own plane, the picture's curvatures at the centre are the space's
    centre = convexity_rows(mlp.shelf, curved(mlp, directions=Hessian(ignore="nothing")), (2, 3))
    assert centre["kappa_max"][0, 2] == pytest.approx(values[-1], rel=1e-2)


def test_facts_are_those_of_the_picture(conv):
    slice_ = conv.slice()
    facts = slice_facts(conv.shelf, slice_)
    assert facts["samples"] == 48 and abs(facts["cosine"]) < 0.2
    assert (facts["method"], facts["why"]) == (slice_.method, slice_.reason)
    weights = checkpoints.load(conv.folder, 2.0).weights
    assert facts["parameters"] == sum(w.numel() for w in weights.values())
    assert 0 < slice_facts(conv.shelf, conv.slice(directions=Pca()))["explained_variance_delta"] <= 1
    facts = slice_facts(conv.shelf, curved(conv))
    assert facts["gradient_norm"] > 0
    assert facts["centre_loss"] == pytest.approx(by_hand(conv, slice_, 0, 0), rel=1e-4)


@pytest.mark.parametrize("ignore", ["nothing", "bias-and-norm"])
def test_the_quadratic_model_has_autograds_gradient_and_the_dense_hessian_of_all_weights_that_move(deep, ignore):
    loss, directions = Loss(subset=48, mode="train", precision="float64"), Random(ignore="nothing")
    slice_ = deep.slice("convexity", loss=loss, directions=directions, convexity=Convexity(points=5, ignore=ignore))
    model = json.loads(slice_facts(deep.shelf, slice_)["quadratic_model"])
    weight_loss = tasks._weight_loss(deep.shelf, slice_, slice_.centre)
    vectors = map_arrays(deep.shelf.plane(slice_.plane_digest)).arrays
    theta, delta, eta = (torch.from_numpy(vectors[name]).double() for name in ("theta", "delta", "eta"))

    def in_plane(p):
        named = weight_loss.split(theta + p[0] * delta + p[1] * eta)
        return weight_loss.losses(weight_loss.outputs(named, weight_loss.inputs), weight_loss.targets).mean()

    zero = torch.zeros(2, dtype=torch.float64)
    gradient = torch.autograd.functional.jacobian(in_plane, zero)
    (a, b), (c, d) = torch.autograd.functional.hessian(in_plane, zero)
    expected = [in_plane(zero), *gradient, a, (b + c) / 2, d]
    assert model == pytest.approx([float(number) for number in expected], rel=1e-9, abs=1e-12)


def test_a_second_derivative_that_is_wrong_is_no_curvature(conv, monkeypatch):
    slice_ = curved(conv)
    assert slice_facts(conv.shelf, slice_)["asymmetry"] < 1e-4
    monkeypatch.setattr(HessianOperator, "asymmetry", lambda operator, point: 0.16)
    with pytest.raises(MachineError, match="differ by 16 %.*leave out convexity"):
        slice_facts(conv.shelf, slice_)


# --- some weights ----------------------------------------------------------------------------------------------------


def partly(run, pattern: str):
    """The planted run, of which only the weights of a pattern move; and their names."""
    part = replace(run, run=run.run.model_copy(update={"parameters": (pattern,)}))
    names = [name for name in checkpoints.load(run.folder, 2.0).weights if fnmatchcase(name, pattern)]
    return part, names


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("name", "pattern"), [("conv", "blocks.*"), ("deep", "*.weight"), ("mlp", "3.*")])
def test_by_every_method_only_the_weights_of_the_pattern_move(name, pattern, mode, request):
    run, names = partly(request.getfixturevalue(name), pattern)
    whole = request.getfixturevalue(name).slice(directions=Random(ignore="nothing", seed=1))
    loss = Loss(subset=48, mode=mode, precision="float64")
    checkpoint = checkpoints.load(run.folder, 2.0)
    source = WeightSource((AtCheckpoint(2.0),), lambda _: checkpoint.weights)
    plane = Random(ignore="nothing", seed=1).plane(source, AtCheckpoint(2.0))
    data = whole.data.load()
    model = whole.model.build(data.shape, data.classes).double().train(mode == "train")
    model.load_state_dict({**checkpoint.weights, **checkpoint.buffers})
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name in names:
                p += AXIS[4] * plane.delta[name] + AXIS[1] * plane.eta[name]
        x, y = (torch.from_numpy(part[loss.sample_indices(data)]) for part in (data.train_x, data.train_y))
        expected = float(F.cross_entropy(model(x.double()), y))
    for method in applicable_methods(None, loss, "cpu"):
        chosen = loss.model_copy(update={"method": method})
        slice_ = run.slice(loss=chosen, epoch=2.0, directions=Random(ignore="nothing", seed=1))
        assert loss_rows(run.shelf, slice_, (1, 2))["loss"][0, 4] == pytest.approx(expected, rel=1e-6), method
    assert slice_.plane_digest != whole.plane_digest
    arrays = map_arrays(run.shelf.plane(slice_.plane_digest)).arrays
    assert len(arrays["theta"]) == sum(checkpoint.weights[name].numel() for name in names)


@pytest.mark.parametrize("kind", [Pca(ignore="nothing"), Hessian(ignore="nothing")], ids=["pca", "hessian"])
def test_directions_and_curvature_are_of_the_weights_that_move(mlp, kind):
    run, names = partly(mlp, "3.*")
    slice_ = curved(run, directions=kind, tol=1e-4)
    arrays = map_arrays(run.shelf.plane(slice_.plane_digest)).arrays
    size = sum(checkpoints.load(run.folder, 2.0).weights[name].numel() for name in names)
    assert {len(vector) for vector in arrays.values()} == {size} and np.linalg.norm(arrays["delta"]) > 0
    eigenvalues = dense(run, slice_, 0.0, 0.0)
    assert len(eigenvalues) == size and slice_facts(run.shelf, slice_)["parameters"] == size
    measured = convexity_rows(run.shelf, slice_, (2, 3))
    assert measured["lambda_max"][0, 2] == pytest.approx(eigenvalues[-1], rel=1e-3)
    assert measured["lambda_min"][0, 2] == pytest.approx(eigenvalues[0], rel=1e-2, abs=1e-4 * eigenvalues[-1])


@pytest.mark.parametrize(
    ("pattern", "directions", "message"),
    [
        ("*.bias", Random(), "no weight moves.*ignore: nothing, normalize: none"),
        ("*.bias", Pca(), "lie on one line"),
        ("*.bias", Random(ignore="nothing"), r"parallel \(cosine 1.0.*ignore: nothing, normalize: none"),
        ("*.bias", Random(ignore="nothing", orthogonal=True), r"parallel \(cosine 1.0"),
        ("*.bias", Hessian(), "leaves no weight that moves"),
        ("*", Random(), "the checkpoint at 2 has a weight that is not finite"),
    ],
)
def test_directions_that_span_no_plane_are_refused_with_the_way_out(mlp, pattern, directions, message, monkeypatch):
    mlp.slice()  # its samples are on the shelf
    if pattern == "*":
        load = checkpoints.load
        monkeypatch.setattr(checkpoints, "load", lambda *at: spoil(load(*at)))
    with pytest.raises(RunError, match=message):
        tasks.make_plane(mlp.shelf, partly(mlp, pattern)[0].resolve(directions=directions))


def spoil(checkpoint):
    next(iter(checkpoint.weights.values())).view(-1)[0] = np.nan
    return checkpoint


def test_facts_of_a_plane_count_the_weights_that_move(mlp):
    run, _ = partly(mlp, "3.*")
    weights = checkpoints.load(mlp.folder, 2.0).weights
    mlp.slice()  # its samples are on the shelf
    arrays, facts = tasks.make_plane(mlp.shelf, run.resolve())
    assert facts["moved"] == weights["3.weight"].numel() and len(arrays["delta"]) > facts["moved"]
    delta, eta = (arrays[name].astype(float) for name in ("delta", "eta"))
    assert facts["cosine"] == pytest.approx(delta @ eta / np.linalg.norm(delta) / np.linalg.norm(eta))


def test_curvature_of_a_network_with_fixed_weights_is_the_dense_one(conv):
    run, names = partly(conv, "*.bias")
    directions = Random(ignore="nothing", normalize="none")
    slice_ = curved(run, tol=1e-4, loss=Loss(subset=16, mode="eval"), directions=directions)
    eigenvalues = dense(run, slice_, 0.0, 0.0)
    assert len(eigenvalues) == sum(checkpoints.load(run.folder, 2.0).weights[name].numel() for name in names)
    assert convexity_rows(run.shelf, slice_, (2, 3))["lambda_max"][0, 2] == pytest.approx(eigenvalues[-1], rel=1e-3)


def test_a_range_in_which_only_rounding_is_left_is_refused_and_float64_measures_it(mlp):
    tiny = Grid(range=(-1e-7, 1e-7), points=5)
    with pytest.raises(RunError, match=r"over the range ±1e-07 the loss varies by .*write `precision: float64`"):
        slice_facts(mlp.shelf, mlp.slice(grid=tiny))
    exact = mlp.slice(grid=tiny, loss=Loss(subset=48, mode="train", precision="float64"))
    losses = loss_rows(mlp.shelf, exact, (0, 5))["loss"]
    slice_facts(mlp.shelf, exact)
    # so near, the loss is its tangent plane
    np.testing.assert_allclose(losses[4] + losses[0], 2 * losses[2], rtol=1e-12)
    assert np.ptp(losses) > 0
