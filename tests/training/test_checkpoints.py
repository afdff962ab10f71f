import json

import pytest
import torch

from studio.errors import DamageError, RunError
from studio.training import checkpoints
from studio.training.checkpoint_files import survey
from studio.training.checkpoints import Checkpoint
from studio.training.models import Vgg
from studio.training.objectives import CROSS_ENTROPY, OutputLoss
from studio.training.recipe import Recipe

METRICS = {"train_loss": 0.5, "test_accuracy": 90.0}


def checkpoint(epoch, value=1.0):
    buffers = {"mean": torch.zeros(4), "count": torch.tensor(7)}
    return Checkpoint(epoch, {"a.weight": torch.full((2, 3), value)}, buffers)


@pytest.fixture
def folder(tmp_path):
    for epoch in (10, 0, 2.5):
        checkpoints.save(tmp_path, checkpoint(epoch, value=float(epoch)), {**METRICS, "train_loss": epoch / 2})
    return tmp_path


def test_what_is_saved_is_loaded_to_the_last_bit(folder):
    loaded = checkpoints.load(folder, 2.5)
    assert loaded.epoch == 2.5 and set(loaded.weights) == {"a.weight"} and set(loaded.buffers) == {"mean", "count"}
    assert torch.equal(loaded.weights["a.weight"], torch.full((2, 3), 2.5)) and loaded.buffers["count"].item() == 7


def test_epochs_and_metrics_are_in_order_of_time(folder):
    assert checkpoints.epochs(folder) == (0.0, 2.5, 10.0)
    assert checkpoints.metrics(folder) == {"train_loss": (0.0, 1.25, 5.0), "test_accuracy": (90.0,) * 3}


def test_a_metric_that_one_checkpoint_lacks_is_left_out(folder):
    checkpoints.save(folder, checkpoint(11), {"train_loss": 1.0})
    assert set(checkpoints.metrics(folder)) == {"train_loss"}


def test_an_empty_folder_holds_nothing(tmp_path):
    assert checkpoints.epochs(tmp_path / "none") == () and checkpoints.metrics(tmp_path) == {}


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_checkpoint_exists_only_with_both_its_files(folder, suffix):
    (folder / f"epoch-0002.500{suffix}").unlink()
    assert checkpoints.epochs(folder) == (0.0, 10.0)


def test_the_same_weights_give_the_same_bytes(folder):
    content = (folder / "epoch-0002.500.safetensors").read_bytes()
    checkpoints.save(folder, checkpoint(2.5, value=2.5), METRICS)
    assert (folder / "epoch-0002.500.safetensors").read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1])],
    ids=["truncated", "empty", "one bit"],
)
def test_a_damaged_checkpoint_is_refused_and_named(folder, damage):
    path = folder / "epoch-0010.000.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamageError, match=f"{path}: is damaged .its .* bytes are not those that were written"):
        checkpoints.load(folder, 10)


@pytest.mark.parametrize(("epoch", "nearest"), [(3, "nearest are 0 and 2.5"), (9, "nearest are 2.5 and 10")])
def test_an_epoch_that_is_not_there_names_the_nearest_that_are(folder, epoch, nearest):
    with pytest.raises(RunError, match=f"no checkpoint at epoch {epoch}; the {nearest}"):
        checkpoints.load(folder, epoch)


def test_a_run_without_checkpoints_says_so(tmp_path):
    with pytest.raises(RunError, match="holds no checkpoints yet"):
        checkpoints.load(tmp_path, 1)


def test_a_snapshot_is_a_copy_and_restores_parameters_and_buffers():
    first, second = (Vgg(widths=(2,)).build((1, 4, 4), 3, seed) for seed in (0, 1))
    first(torch.randn(8, 1, 4, 4))  # moves the running statistics
    snapshot = checkpoints.snapshot(1.0, first)
    expected = {name: value.clone() for name, value in first.state_dict().items()}
    with torch.no_grad():
        for tensor in first.parameters():
            tensor.zero_()
    second.load_state_dict({**snapshot.weights, **snapshot.buffers})
    assert all(torch.equal(value, expected[name]) for name, value in second.state_dict().items())
    assert snapshot.weights.keys() | snapshot.buffers.keys() == expected.keys()


def test_a_folder_belongs_to_one_run(tmp_path):
    checkpoints.write_run_file(tmp_path, Recipe(), "data", "digest")
    checkpoints.write_run_file(tmp_path, Recipe(), "data", "digest")
    assert json.loads((tmp_path / "run.json").read_text())["recipe"]["model"]["depth"] == 20
    with pytest.raises(RunError, match="holds another run"):
        checkpoints.write_run_file(tmp_path, Recipe(), "data", "another digest")


def test_the_digest_of_a_run_holds_the_content_of_its_data_and_not_their_path():
    here, there = (Recipe(data={"kind": "cifar10", "folder": folder}) for folder in ("here", "there"))
    assert checkpoints.recipe_digest(here, CROSS_ENTROPY, "abc") == checkpoints.recipe_digest(
        there, CROSS_ENTROPY, "abc"
    )
    assert checkpoints.recipe_digest(here, CROSS_ENTROPY, "abc") != checkpoints.recipe_digest(
        here, CROSS_ENTROPY, "abd"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 3},
        {"batch": 32},
        {"model": {"kind": "mlp"}},
        {"optimizer": {"kind": "adam"}},
        {"checkpoint": {"every": 0.5}},
    ],
    ids=str,
)
def test_whatever_changes_a_run_changes_its_digest(change):
    first, second = (
        checkpoints.recipe_digest(recipe, CROSS_ENTROPY, "data") for recipe in (Recipe(), Recipe(**change))
    )
    assert first != second


OBJECTIVES = (CROSS_ENTROPY, OutputLoss(kind="mean-squares"))


def test_another_objective_is_another_run(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "epoch-1.pt")
    trained = {checkpoints.recipe_digest(Recipe(), objective, "data") for objective in OBJECTIVES}
    own = {checkpoints.folder_digest(survey(tmp_path).hashes, Recipe(), each, "data") for each in OBJECTIVES}
    assert len(trained | own) == 4


def test_the_digest_of_cross_entropy_is_that_from_before_there_were_objectives():
    assert checkpoints.recipe_digest(Recipe(), CROSS_ENTROPY, "data") == "8a1650f87a833dcee97d503084ff7fa0"


def test_the_digest_of_an_imported_run_follows_its_files_and_not_its_recipe(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "epoch-1.pt")
    first = checkpoints.folder_digest(survey(tmp_path).hashes, Recipe(), CROSS_ENTROPY, "data")
    assert first == checkpoints.folder_digest(survey(tmp_path).hashes, Recipe(seed=5), CROSS_ENTROPY, "data")
    assert first != checkpoints.folder_digest(survey(tmp_path).hashes, Recipe(), CROSS_ENTROPY, "data", "ema")
    torch.save({"w": torch.zeros(1)}, tmp_path / "epoch-1.pt")
    assert first != checkpoints.folder_digest(survey(tmp_path).hashes, Recipe(), CROSS_ENTROPY, "data")
