import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from studio.errors import MachineError, SceneError
from studio.field import Grid
from studio.landscape import slices
from studio.landscape.convexity import Convexity, Spectrum
from studio.landscape.directions import Checkpoints, Hessian, Pca, Random
from studio.landscape.loss import Loss
from studio.landscape.slices import Slice, curvature_rows, facts, identity, loss_rows, preview_rows, spectrum_probes
from studio.training import checkpoints
from studio.training.evaluate import scores, tensors
from studio.training.models import Mlp, Resnet
from studio.training.recipe import Recipe, Run

GRID = Grid(range=(-1.5, 1.5), points=5)


def planted(folder, model) -> Slice:
    """A run of epochs 0, 1 and 2 that nobody trained: weights and running statistics drawn by numpy."""
    recipe, random = Recipe(model=model, epochs=2), np.random.default_rng(0)
    data = recipe.data.load()
    checkpoints.claim(folder, Run(recipe=recipe), data.digest)
    for epoch in (0.0, 1.0, 2.0):
        net = model.build(data.shape, data.classes)
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                # He's variance; norms and biases a tenth around what they start from
                deviation = (2 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.1
                middle = tensor.mean().round() if tensor.dim() == 1 and not name.endswith("bias") else 0
                tensor.copy_(torch.from_numpy(random.normal(float(middle), deviation, tensor.shape)))
        checkpoints.save(folder, checkpoints.taken(epoch, net), scores(net, tensors(data)))
    return Slice(
        run=Run(recipe=recipe),
        folder=str(folder),
        prepared=str(folder / "prepared"),
        epoch=2.0,
        directions=Random(seed=3),
        loss=Loss(subset=48, mode="train"),
        grid=GRID,
    )


@pytest.fixture(scope="module")
def conv(tmp_path_factory) -> Slice:
    return planted(tmp_path_factory.mktemp("conv"), Resnet(depth=8, width=4))


@pytest.fixture(scope="module")
def mlp(tmp_path_factory) -> Slice:
    return planted(tmp_path_factory.mktemp("mlp"), Mlp(depth=1, width=6))


@pytest.fixture(scope="module")
def deep(tmp_path_factory) -> Slice:
    """With no kinks, at which float32 and float64 might stand on two sides."""
    model = Mlp(depth=4, width=5, norm="batch", activation="tanh", skip=True)
    return planted(tmp_path_factory.mktemp("deep"), model)


def forget() -> None:
    """What this process holds of slices."""
    slices._evaluator.cache_clear()
    slices._curvature.cache_clear()


def by_hand(slice: Slice, alpha: float, beta: float) -> float:
    """The loss of the built model with its weights moved, by torch alone."""
    data = slice.run.recipe.data.load()
    found = checkpoints.load(slice.folder, slice.epoch)
    plane = slice.directions.plane(
        slices.CheckpointSource(checkpoints.epochs(slice.folder), lambda e: checkpoints.load(slice.folder, e).weights),
        slice.epoch,
    )
    model = slice.run.recipe.model.build(data.shape, data.classes).train(slice.loss.mode == "train")
    model.load_state_dict({**found.weights, **found.buffers})
    with torch.no_grad():
        for name, p in model.named_parameters():
            p += alpha * plane.delta[name] + beta * plane.eta[name]
        chosen = slice.loss.samples(data)
        x, y = (torch.from_numpy(part[chosen]) for part in (data.train_x, data.train_y))
        return float(F.cross_entropy(model(x), y))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", ["conv", "deep"])
def test_rows_are_betas_and_columns_alphas(name, mode, request):
    slice = request.getfixturevalue(name).model_copy(update={"loss": Loss(subset=48, mode=mode)})
    loss = loss_rows(slice, (0, 5))["loss"]
    axis = GRID.axis
    for row, column in ((2, 2), (0, 4), (3, 1)):
        # float32 sums in another order
        assert loss[row, column] == pytest.approx(by_hand(slice, axis[column], axis[row]), rel=1e-4)


def test_the_centre_of_the_grid_is_the_checkpoint_itself(mlp):
    slice = mlp.model_copy(update={"loss": Loss(mode="eval")})
    recorded = checkpoints.index(slice.folder)[2.0]["metrics"]
    measured = {name: values[0, 2] for name, values in loss_rows(slice, (2, 3)).items()}
    # float32 means over 1437 images, in other batches
    assert measured["loss"] == pytest.approx(recorded["train_loss"], rel=1e-5)
    assert measured["accuracy"] == pytest.approx(recorded["train_accuracy"], abs=1e-9)


def test_pieces_make_the_whole_whatever_their_order(conv):
    whole = loss_rows(conv, (0, 5))
    forget()
    parts = {rows: loss_rows(conv, rows) for rows in ((4, 5), (0, 3), (3, 4))}
    for name, values in whole.items():
        again = np.concatenate([parts[rows][name] for rows in sorted(parts)])
        assert values.dtype == np.float64 and again.tobytes() == values.tobytes()


def test_threads_change_nothing(conv):
    forget()
    before = torch.get_num_threads()
    one = loss_rows(conv, (1, 2))["loss"]
    try:
        torch.set_num_threads(2)
        forget()
        assert loss_rows(conv, (1, 2))["loss"].tobytes() == one.tobytes()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def dense(slice: Slice, alpha: float, beta: float) -> np.ndarray:
    """All eigenvalues of the Hessian at a point, in float64, by torch's own second derivatives."""
    exact = slice.model_copy(update={"loss": slice.loss.model_copy(update={"precision": "float64"})})
    objective, vectors = slices.objective(exact), slices.plane(slice).arrays
    theta, delta, eta = (torch.from_numpy(vectors[name]).double() for name in ("theta", "delta", "eta"))

    def loss(weights):
        return (
            sum(objective.losses(objective.outputs(objective.split(weights), x), y).sum() for x, y in objective.chunks)
            / objective.samples
        )

    return np.linalg.eigvalsh(torch.autograd.functional.hessian(loss, theta + alpha * delta + beta * eta).numpy())


@pytest.mark.parametrize("name", ["mlp", "deep"])
def test_curvature_is_that_of_the_dense_hessian_row_by_row(name, request):
    slice = request.getfixturevalue(name)
    convexity, axis = Convexity(points=5, tol=1e-3), GRID.axis
    found = curvature_rows(slice, convexity, (1, 3))
    assert all(values.shape == (2, 5) and values.dtype == np.float64 for values in found.values())
    assert found["converged"].all() and (found["products"] >= 14).all()
    for row, column in ((0, 1), (1, 4)):
        values = dense(slice, axis[column], axis[row + 1])
        # the asked tolerance: 1e-3 at each end
        assert (found["lambda_min"][row, column], found["lambda_max"][row, column]) == pytest.approx(
            (values[0], values[-1]), rel=1e-3
        )
        assert values[0] <= found["kappa_min"][row, column] <= found["kappa_max"][row, column] <= values[-1]


def test_rows_of_curvature_are_the_same_alone_and_together(conv):
    convexity = Convexity(points=5, tol=1e-1)
    together, alone = curvature_rows(conv, convexity, (1, 3)), curvature_rows(conv, convexity, (2, 3))
    assert all(values[1:].tobytes() == alone[name].tobytes() for name, values in together.items())


def test_a_gpu_measures_several_rows_of_a_perceptrons_curvature_together(mlp, conv, monkeypatch):
    fine = mlp.model_copy(update={"grid": Grid(points=101)})
    assert slices.bands(fine) == [(row, row + 1) for row in range(101)]
    monkeypatch.setattr(slices, "device_kind", lambda: "cuda")
    assert slices.bands(mlp) == [(0, 5)] and slices.bands(conv) == [(row, row + 1) for row in range(5)]
    assert slices.bands(fine)[:2] == [(0, 2), (2, 4)] and slices.bands(fine)[-1] == (100, 101)


def test_rows_that_are_measured_together_have_their_own_numbers(mlp, monkeypatch):
    convexity = Convexity(points=5, tol=1e-3)
    alone = curvature_rows(mlp, convexity, (0, 3))
    monkeypatch.setattr(slices, "bands", lambda slice: [(0, 3), (3, 5)])
    together = curvature_rows(mlp, convexity, (0, 3))
    for name in ("lambda_min", "lambda_max", "kappa_min", "kappa_max"):
        # one start for all points, so nothing but rounding differs; eigenvalues are of the size of the largest
        np.testing.assert_allclose(together[name], alone[name], atol=1e-5 * alone["lambda_max"].max())


def test_a_spectrum_adds_up_to_the_trace_and_its_probes_stand_alone(mlp):
    convexity = Convexity(points=5, spectrum=Spectrum(probes=6, steps=10))
    whole, last = spectrum_probes(mlp, convexity, (0, 6)), spectrum_probes(mlp, convexity, (5, 6))
    assert all(values[5:].tobytes() == last[name].tobytes() for name, values in whole.items())
    # every probe's weights are squares of a unit vector's parts
    assert whole["weight"].sum(1) == pytest.approx(np.ones(6), abs=1e-9)
    values = dense(mlp, 0.0, 0.0)
    traces = len(values) * (whole["ritz"] * whole["weight"]).sum(1)
    spread = traces.std(ddof=1) / 6**0.5
    assert abs(traces.mean() - values.sum()) < 4 * spread + 1e-3 * abs(values.sum())


def test_a_preview_measures_few_points_as_they_are_and_fills_in_the_rest(mlp):
    preview = mlp.model_copy(update={"loss": Loss(sampling="preview"), "grid": Grid(points=31)})
    found, exact = preview_rows(preview), loss_rows(preview.model_copy(update={"loss": Loss()}), (0, 31))["loss"]
    measured = found["measured"] == 1
    assert 0 < measured.sum() < 0.5 * measured.size and measured[15, 15]
    # single points and whole rows may round differently
    assert found["loss"][measured] == pytest.approx(exact[measured], rel=1e-5)
    assert found["loss"].min() >= found["loss"][measured].min()


def test_directions_of_curvature_are_those_of_the_drawn_loss_on_every_slice(mlp):
    drawn = mlp.model_copy(update={"directions": Hessian(ignore="nothing")})
    curved = drawn.model_copy(update={"loss": Loss(subset=16, mode="train"), "drawn": drawn.loss})
    other = drawn.model_copy(update={"loss": Loss(subset=16, mode="train")})
    assert slices.plane_key(curved) == slices.plane_key(drawn) != slices.plane_key(other)
    vectors = slices.plane(drawn).arrays
    theta, delta, eta = (vectors[name].astype(np.float64) for name in ("theta", "delta", "eta"))
    # both are as long as the weights, and float32
    assert np.linalg.norm(delta) == pytest.approx(np.linalg.norm(theta), rel=1e-5)
    assert np.linalg.norm(eta) == pytest.approx(np.linalg.norm(theta), rel=1e-5)
    assert abs(delta @ eta) < 1e-3 * (theta @ theta)
    facts_, values = slices.plane(drawn).facts, dense(drawn, 0.0, 0.0)
    assert (facts_["lambda_min"], facts_["lambda_max"]) == pytest.approx((values[0], values[-1]), rel=1e-3)
    # in its own plane, the picture's curvatures at the centre are the space's
    centre = curvature_rows(drawn.model_copy(update={"drawn": drawn.loss}), Convexity(points=5), (2, 3))
    assert centre["kappa_max"][0, 2] == pytest.approx(values[-1], rel=1e-2)


def test_a_slice_travels_and_is_the_same_key(conv):
    assert pickle.loads(pickle.dumps(conv)) == conv and hash(pickle.loads(pickle.dumps(conv))) == hash(conv)


def test_the_global_generator_is_left_alone(conv):
    forget()
    before = torch.get_rng_state()
    loss_rows(conv, (0, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_identity_names_what_the_numbers_depend_on(conv):
    first = identity(conv)
    path, _ = slices.chosen_method(conv.run.recipe.model, conv.directions, conv.loss)
    assert list(first["weights"]) == ["2"] and first["method"] == path
    for directions in (Pca(), Checkpoints(epochs=(0, 1))):
        assert set(identity(conv.model_copy(update={"directions": directions}))["weights"]) == {"0", "1", "2"}
    for change in ({"epoch": 1.0}, {"loss": Loss(subset=48)}, {"grid": Grid(points=7)}, {"directions": Random(seed=4)}):
        assert identity(conv.model_copy(update=change)) != first


def test_where_the_run_lies_is_no_part_of_the_identity(conv, tmp_path):
    import shutil

    shutil.copytree(conv.folder, tmp_path / "moved")
    assert identity(conv.model_copy(update={"folder": str(tmp_path / "moved")})) == identity(conv)


def test_a_missing_epoch_is_said_with_its_neighbours(conv):
    slice = conv.model_copy(update={"epoch": 1.4})
    for ask in (identity, lambda slice: facts("loss", slice, None)):
        with pytest.raises(SceneError, match="epoch 1.4: .* 1, 2"):
            ask(slice)


def test_facts_are_those_of_the_picture(conv):
    said = facts("loss", conv, None)
    assert said["samples"] == 48 and abs(said["cosine"]) < 0.2
    weights = checkpoints.load(conv.folder, 2.0).weights
    assert said["parameters"] == sum(w.numel() for w in weights.values())
    assert 0 < facts("loss", conv.model_copy(update={"directions": Pca()}), None)["explained_variance_delta"] <= 1
    curved = facts("convexity", conv, Convexity(points=5))
    assert curved["gradient_norm"] > 0 and curved["centre_loss"] == pytest.approx(by_hand(conv, 0, 0), rel=1e-4)


def test_a_second_derivative_that_is_wrong_is_no_curvature(conv, monkeypatch):
    from studio.landscape.curvature.hvp import HessianOperator

    assert facts("convexity", conv, Convexity(points=5))["asymmetry"] < 1e-4
    monkeypatch.setattr(HessianOperator, "asymmetry", lambda derivatives, point: 0.16)
    with pytest.raises(MachineError, match="differ by 16 %.*leave out convexity"):
        facts("convexity", conv, Convexity(points=5))


def test_naming_slices_needs_no_torch():
    code = (
        "import sys, studio.landscape.slices, studio.landscape.directions, studio.landscape.curvature.extremes, "
        "studio.landscape.loss, studio.landscape.sweeps; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'pyvista')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
