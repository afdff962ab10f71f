import functools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from studio.errors import RunError
from studio.training import checkpoints, recorder
from studio.training.recipe import Recipe

SMALL = {"model": {"kind": "vgg", "widths": [2, 3]}, "epochs": 3, "checkpoint": {"every": 0.5}, "batch": 256}
RECIPES = {
    "sgd": Recipe(**SMALL, optimizer={"kind": "sgd", "lr": 0.05, "weight_decay": 1e-3, "schedule": "cosine"}),
    "adam": Recipe(**SMALL, optimizer="adam"),
    "without momentum": Recipe(**SMALL, optimizer={"kind": "sgd", "momentum": 0}),
    "seldom": Recipe(**{**SMALL, "checkpoint": {"every": 2}}),
}
STEPS = 3 * 6                        # 1437 images in batches of 256


class Stop(Exception):
    pass


def stop_at(step):
    def progress(done, total, text):
        if done == step:
            raise Stop
    return progress


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory):
    """recipe -> the files of a run that was never stopped."""
    @functools.cache
    def made(recipe):
        folder = tmp_path_factory.mktemp("unstopped")
        recorder.train(recipe, folder)
        return files(folder)
    return made


@pytest.fixture
def whole(unstopped):
    """(recipe, files) of one such run."""
    return RECIPES["sgd"], unstopped(RECIPES["sgd"])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
@pytest.mark.parametrize("stops", [[1], [7, 7, 10], range(1, STEPS + 1), [STEPS]], ids=str)
def test_a_stopped_run_goes_on_to_the_same_bytes(unstopped, recipe, tmp_path, stops):
    expected = unstopped(recipe)
    for step in stops:
        with pytest.raises(Stop):
            recorder.train(recipe, tmp_path, stop_at(step))
    recorder.train(recipe, tmp_path)
    assert files(tmp_path) == expected


def test_it_goes_on_where_it_was_stopped_and_does_not_begin_again(tmp_path):
    steps = []
    with pytest.raises(Stop):
        recorder.train(RECIPES["sgd"], tmp_path, stop_at(10))
    recorder.train(RECIPES["sgd"], tmp_path, lambda done, total, text: steps.append((done, total)))
    assert steps == [(step, STEPS) for step in range(10, STEPS + 1)]     # the last pause was after step 9, epoch 1.5


@pytest.mark.parametrize("written", range(1 + 3 * 7))        # run.json; weights, facts and a pause at 7 epochs
def test_a_kill_between_any_two_files_is_mended(whole, tmp_path, monkeypatch, written):
    recipe, expected = whole
    count, replace = iter(range(1000)), os.replace

    def fails(*paths):
        if next(count) == written:
            raise Stop
        replace(*paths)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(Stop):
        recorder.train(recipe, tmp_path)
    monkeypatch.undo()
    recorder.train(recipe, tmp_path)
    assert files(tmp_path) == expected


def test_a_process_killed_in_the_middle_is_gone_on_from_by_another(whole, tmp_path):
    recipe, expected = whole
    code = (f"import os, signal; from studio.training import recorder, recipe; "
            f"recorder.train(recipe.Recipe.model_validate_json({recipe.model_dump_json()!r}), {str(tmp_path)!r}, "
            f"lambda done, total, text: os.kill(os.getpid(), signal.SIGKILL) if done == 11 else None)")
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert killed.returncode == -signal.SIGKILL and (tmp_path / "resume.safetensors").exists()
    recorder.train(recipe, tmp_path)
    assert files(tmp_path) == expected


def test_a_checkpoint_that_was_removed_is_made_again(whole, tmp_path):
    recipe, expected = whole
    with pytest.raises(Stop):
        recorder.train(recipe, tmp_path, stop_at(14))
    (tmp_path / "epoch-0000.000.json").unlink()
    recorder.train(recipe, tmp_path)
    assert files(tmp_path) == expected


def test_a_finished_run_is_left_alone(whole, tmp_path):
    recipe, _ = whole
    recorder.train(recipe, tmp_path)
    recorder.train(recipe, tmp_path, stop_at(1))                  # would raise, were a step taken


def test_the_kept_epochs_are_the_recipes_with_all_their_metrics(tmp_path):
    recorder.train(RECIPES["sgd"], tmp_path)
    assert checkpoints.epochs(tmp_path) == RECIPES["sgd"].instants == (0, 0.5, 1, 1.5, 2, 2.5, 3)
    metrics = checkpoints.metrics(tmp_path)
    assert set(metrics) == {"train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate"}
    assert metrics["learning_rate"] == pytest.approx([0.05 * (1 + np.cos(np.pi * e / 3)) / 2 for e in np.arange(7) / 2])


def test_nothing_global_is_changed(tmp_path):
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), torch.get_num_threads(), torch.is_grad_enabled()
    recorder.train(RECIPES["adam"], tmp_path)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), torch.get_num_threads(), torch.is_grad_enabled()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def test_the_number_of_threads_and_the_global_seed_do_not_change_a_byte(whole, tmp_path):
    recipe, expected = whole
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    torch.manual_seed(99)
    try:
        recorder.train(recipe, tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert files(tmp_path) == expected


def test_another_seed_is_another_run(whole, tmp_path):
    recipe, expected = whole
    recorder.train(recipe.model_copy(update={"seed": 1}), tmp_path)
    found = files(tmp_path)
    assert found.keys() == expected.keys() and not any(found[name] == expected[name] for name in found)


def test_a_plain_net_of_twenty_layers_trains(tmp_path):
    recipe = Recipe(model={"kind": "resnet", "depth": 20, "width": 8, "skip": False}, epochs=4, checkpoint={"every": 4},
                    optimizer={"kind": "sgd", "lr": 0.05})
    recorder.train(recipe, tmp_path)
    assert checkpoints.metrics(tmp_path)["train_accuracy"][-1] > 60          # a guess is right 10 % of the time


def test_training_that_diverges_says_when_and_what_to_lower(tmp_path):
    recipe = Recipe(**{**SMALL, "model": "mlp"}, optimizer={"kind": "sgd", "lr": 1e30})
    with pytest.raises(RunError, match=r"diverged at epoch \d\.\d\d: the loss is (nan|inf); lower optimizer.lr"):
        recorder.train(recipe, tmp_path)


def test_checkpoints_closer_than_steps_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"every 0.1 is shorter than a step; .* 6 steps of 256 images, so 0.17"):
        recorder.train(Recipe(**{**SMALL, "checkpoint": {"every": 0.1}}), tmp_path)


def test_a_spoilt_pause_says_what_to_remove(tmp_path):
    with pytest.raises(Stop):
        recorder.train(RECIPES["sgd"], tmp_path, stop_at(4))
    (tmp_path / "resume.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunError, match="resume.safetensors: cannot be read .* remove it"):
        recorder.train(RECIPES["sgd"], tmp_path)
