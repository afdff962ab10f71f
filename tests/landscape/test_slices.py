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
from studio.landscape.directions import Checkpoints, Pca, Random
from studio.landscape.objective import Loss
from studio.landscape.slices import Slice, extremes_points, facts, identity, loss_rows
from studio.training import checkpoints
from studio.training.models import Mlp, Resnet
from studio.training.recipe import Recipe, Run
from studio.training.recorder import train

GRID = Grid(range=(-1.5, 1.5), points=5)


def trained(folder, model) -> Slice:
    recipe = Recipe(model=model, epochs=2)
    train(recipe, folder)
    return Slice(run=Run(recipe=recipe), folder=str(folder), epoch=2.0, directions=Random(seed=3),
                 loss=Loss(subset=48, mode="train"), grid=GRID)


@pytest.fixture(scope="module")
def conv(tmp_path_factory) -> Slice:
    return trained(tmp_path_factory.mktemp("conv"), Resnet(depth=8, width=4))


@pytest.fixture(scope="module")
def mlp(tmp_path_factory) -> Slice:
    return trained(tmp_path_factory.mktemp("mlp"), Mlp(depth=1, width=6))


def by_hand(slice: Slice, alpha: float, beta: float) -> float:
    """The loss of the built model with its weights moved, by torch alone."""
    data = slice.run.recipe.data.load()
    found = checkpoints.load(slice.folder, slice.epoch)
    plane = slice.directions.plane(slices.Trail(checkpoints.epochs(slice.folder),
                                                lambda e: checkpoints.load(slice.folder, e).weights), slice.epoch)
    model = slice.run.recipe.model.build(data.shape, data.classes).train(slice.loss.mode == "train")
    model.load_state_dict({**found.weights, **found.buffers})
    with torch.no_grad():
        for name, p in model.named_parameters():
            p += alpha * plane.delta[name] + beta * plane.eta[name]
        chosen = slice.loss.samples(data)
        x, y = (torch.from_numpy(part[chosen]) for part in (data.train_x, data.train_y))
        return float(F.cross_entropy(model(x), y))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_rows_are_betas_and_columns_alphas(conv, mode):
    slice = conv.model_copy(update={"loss": Loss(subset=48, mode=mode)})
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
    slices._prepared.cache_clear()
    parts = {rows: loss_rows(conv, rows) for rows in ((4, 5), (0, 3), (3, 4))}
    for name, values in whole.items():
        again = np.concatenate([parts[rows][name] for rows in sorted(parts)])
        assert values.dtype == np.float64 and again.tobytes() == values.tobytes()


def test_threads_change_nothing(conv):
    slices._prepared.cache_clear()
    before = torch.get_num_threads()
    one = loss_rows(conv, (1, 2))["loss"]
    try:
        torch.set_num_threads(2)
        slices._prepared.cache_clear()
        assert loss_rows(conv, (1, 2))["loss"].tobytes() == one.tobytes()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_points_count_row_by_row(mlp):
    found = extremes_points(mlp, tol=1e-3, seed=0, points=(0, 7))
    for i in (1, 5, 6):
        alone = extremes_points(mlp, tol=1e-3, seed=0, points=(i, i + 1))
        assert all(alone[name][0] == values[i] for name, values in found.items())
    made = slices._prepared(mlp)
    product = made.objective.product(made.at(GRID.axis[1], GRID.axis[1]))       # point 6 of 5 a row
    dense = np.linalg.eigvalsh(torch.stack([product(v) for v in torch.eye(made.objective.size)]).double().numpy())
    assert found["converged"].all() and found["products"].dtype.kind == "i"
    # the asked tolerance: 1e-3 at each end
    assert (found["lambda_min"][6], found["lambda_max"][6]) == pytest.approx((dense[0], dense[-1]), rel=1e-3)


def test_a_slice_travels_and_is_the_same_key(conv):
    assert pickle.loads(pickle.dumps(conv)) == conv and hash(pickle.loads(pickle.dumps(conv))) == hash(conv)


def test_the_global_generator_is_left_alone(conv):
    slices._prepared.cache_clear()
    before = torch.get_rng_state()
    loss_rows(conv, (0, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_identity_names_what_the_numbers_depend_on(conv):
    first = identity(conv)
    assert list(first["weights"]) == ["2"] and first["path"] in ("folded", "plain")
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
    for ask in (identity, facts):
        with pytest.raises(SceneError, match="epoch 1.4: .* 1, 2"):
            ask(slice)


def test_facts_are_those_of_the_picture(conv):
    said = facts(conv)
    assert said["samples"] == 48 and abs(said["cosine"]) < 0.2
    weights = checkpoints.load(conv.folder, 2.0).weights
    assert said["parameters"] == sum(w.numel() for w in weights.values())
    assert 0 < facts(conv.model_copy(update={"directions": Pca()}))["explained_variance_delta"] <= 1


def test_paths_that_disagree_are_a_fault_of_the_machine():
    slices._agree(1.0, 1.0 + 1e-6)
    slices._agree(np.nan, np.nan)
    with pytest.raises(MachineError, match="another version"):
        slices._agree(1.0, 1.01)


def test_naming_slices_needs_no_torch():
    code = ("import sys, studio.landscape.slices, studio.landscape.directions, studio.landscape.hessian, "
            "studio.landscape.objective, studio.landscape.sweeps; "
            "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'pyvista')))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
