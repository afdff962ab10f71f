import functools
import os
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from studio.errors import RunError
from studio.storage.files import read_json
from studio.training import checkpoints, evaluate, recorder
from studio.training.baselines import bigram_loss
from studio.training.objectives import Wasserstein
from studio.training.recipe import Recipe

SMALL = {"model": {"kind": "vgg", "widths": [2, 3]}, "epochs": 3, "checkpoint": {"every": 0.5}, "batch": 256}
RECIPES = {
    "sgd": Recipe(**SMALL, optimizer={"kind": "sgd", "lr": 0.05, "weight_decay": 1e-3, "schedule": "cosine"}),
    "adam": Recipe(**SMALL, optimizer="adam"),
    "without momentum": Recipe(**SMALL, optimizer={"kind": "sgd", "momentum": 0}),
    "sam": Recipe(**SMALL, optimizer={"kind": "sam", "lr": 0.05}),
    "swa": Recipe(**SMALL, optimizer={"kind": "swa", "lr": 0.05, "start": "40%"}),
    "dropout": Recipe(**{**SMALL, "model": {"kind": "mlp", "width": 8, "dropout": 0.5}}, optimizer="sam"),
    "seldom": Recipe(**{**SMALL, "checkpoint": {"every": 2}}),
}
STEPS = 3 * 6  # 1437 images in batches of 256


class StoppedError(Exception):
    pass


def stop_at(step):
    def progress(done, total, text):
        if done == step:
            raise StoppedError

    return progress


def files(folder):
    """Contents by name; notes without their checksums, which are of the folder's name too."""
    return {path.name: read_json(path) if path.suffix == ".json" else path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory):
    """recipe -> the files of a run that was never stopped."""

    @functools.cache
    def train_once(recipe):
        folder = tmp_path_factory.mktemp("unstopped")
        recorder.train(recipe, folder)
        return files(folder)

    return train_once


@pytest.fixture
def finished_run(unstopped):
    """(recipe, files) of one such run."""
    return RECIPES["sgd"], unstopped(RECIPES["sgd"])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
@pytest.mark.parametrize("stops", [[1], [7, 7, 10], range(1, STEPS + 1), [STEPS]], ids=str)
def test_a_stopped_run_continues_to_the_same_bytes(unstopped, recipe, tmp_path, stops):
    expected = unstopped(recipe)
    for step in stops:
        with pytest.raises(StoppedError):
            recorder.train(recipe, tmp_path, stop_at(step))
    recorder.train(recipe, tmp_path)
    assert files(tmp_path) == expected


def test_training_continues_where_it_was_stopped(tmp_path):
    steps = []
    with pytest.raises(StoppedError):
        recorder.train(RECIPES["sgd"], tmp_path, stop_at(10))
    recorder.train(RECIPES["sgd"], tmp_path, lambda done, total, text: steps.append((done, total)))
    assert steps == [(step, STEPS) for step in range(10, STEPS + 1)]  # the last pause was after step 9, epoch 1.5


@pytest.mark.parametrize("file_count", range(1 + 3 * 7))  # run.json; weights, facts and a pause at 7 epochs
def test_a_kill_between_any_two_files_loses_nothing(finished_run, tmp_path, monkeypatch, file_count):
    recipe, expected = finished_run
    count, replace = iter(range(1000)), os.replace

    def fails(*paths):
        if next(count) == file_count:
            raise StoppedError
        replace(*paths)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(StoppedError):
        recorder.train(recipe, tmp_path)
    monkeypatch.undo()
    recorder.train(recipe, tmp_path)
    assert files(tmp_path) == expected


def test_another_process_continues_a_killed_one_to_the_same_bytes(finished_run, tmp_path):
    recipe, expected = finished_run
    code = (
        f"import os, signal; from studio.training import recorder, recipe; "
        f"recorder.train(recipe.Recipe.model_validate_json({recipe.model_dump_json()!r}), {str(tmp_path)!r}, "
        f"lambda done, total, text: os.kill(os.getpid(), signal.SIGKILL) if done == 11 else None)"
    )
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert killed.returncode == -signal.SIGKILL and (tmp_path / recorder.STATE_FILE).exists()
    recorder.train(recipe, tmp_path)
    assert files(tmp_path) == expected


def test_a_checkpoint_that_was_removed_is_made_again(finished_run, tmp_path):
    recipe, expected = finished_run
    with pytest.raises(StoppedError):
        recorder.train(recipe, tmp_path, stop_at(14))
    (tmp_path / "epoch-0000.000.json").unlink()
    recorder.train(recipe, tmp_path)
    assert files(tmp_path) == expected


def test_a_finished_run_is_left_alone(finished_run, tmp_path):
    recipe, _ = finished_run
    recorder.train(recipe, tmp_path)
    recorder.train(recipe, tmp_path, stop_at(1))  # would raise, were a step taken


def test_the_saved_epochs_are_those_of_the_recipe_with_all_their_metrics(tmp_path):
    recorder.train(RECIPES["sgd"], tmp_path)
    assert checkpoints.epochs(tmp_path) == RECIPES["sgd"].instants == (0, 0.5, 1, 1.5, 2, 2.5, 3)
    metrics = checkpoints.metrics(tmp_path)
    assert set(metrics) == {"train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate"}
    assert metrics["learning_rate"] == pytest.approx([0.05 * (1 + np.cos(np.pi * e / 3)) / 2 for e in np.arange(7) / 2])


def test_checkpoints_in_windows_are_those_of_the_same_training(tmp_path):
    windows = [{"every": 0.5, "from": 0.5, "to": 1}, {"log": 2, "from": 1.5, "to": 2.5}]
    recipe = Recipe(**{**SMALL, "checkpoint": windows})
    recorder.train(recipe, tmp_path / "windows")
    assert checkpoints.epochs(tmp_path / "windows") == recipe.instants == (0, 0.5, 1, 1.5, 2.5, 3)
    recorder.train(Recipe(**SMALL), tmp_path / "regular")
    for epoch in recipe.instants:
        first, second = (checkpoints.load(tmp_path / name, epoch).weights for name in ("windows", "regular"))
        assert all(torch.equal(first[name], w) for name, w in second.items())


def test_nothing_global_is_changed(tmp_path):
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), torch.get_num_threads(), torch.is_grad_enabled()
    recorder.train(RECIPES["adam"], tmp_path)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), torch.get_num_threads(), torch.is_grad_enabled()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def test_the_number_of_threads_and_the_global_seed_do_not_change_a_byte(finished_run, tmp_path):
    recipe, expected = finished_run
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    torch.manual_seed(99)
    try:
        recorder.train(recipe, tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert files(tmp_path) == expected


def test_another_seed_is_another_run(finished_run, tmp_path):
    recipe, expected = finished_run
    recorder.train(recipe.model_copy(update={"seed": 1}), tmp_path)
    actual = files(tmp_path)
    assert actual.keys() == expected.keys() and not any(actual[name] == expected[name] for name in actual)


def test_every_epoch_shows_every_image_once_in_an_order_of_its_own_from_any_step_on():
    recipe = Recipe(**SMALL, seed=3)
    batches = list(recorder._batches(recipe, 1437, 0))
    epochs = [torch.cat(batches[start : start + 6]).tolist() for start in (0, 6, 12)]
    assert len(batches) == STEPS and all(sorted(order) == list(range(1437)) for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    other = torch.cat(list(recorder._batches(recipe.model_copy(update={"seed": 4}), 1437, 0))[:6]).tolist()
    assert other != epochs[0]
    for start in (5, 6, 13):
        rest = recorder._batches(recipe, 1437, start)
        assert all(torch.equal(a, b) for a, b in zip(rest, batches[start:], strict=True))


# --- what a step is --------------------------------------------------------------------------------------------------

LINEAR = {"model": {"kind": "mlp", "depth": 0}, "batch": 1437, "epochs": 12}  # softmax regression, whole batches


def regression(weight, bias, x, y):
    """Mean cross-entropy of softmax regression, and its gradients, written out in float64."""
    logits = x @ weight.T + bias
    logits -= logits.max(1, keepdims=True)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    p[np.arange(len(y)), y] -= 1
    return loss, p.T @ x / len(y), p.mean(0)


def parameters(folder, epoch):
    weights = checkpoints.load(folder, epoch).weights
    return [weights[name].double().numpy() for name in ("1.weight", "1.bias")]


@pytest.fixture(scope="module")
def digits():
    data = Recipe().data.load()
    return data.train_x.reshape(len(data.train_y), -1).astype(float), data.train_y


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_every_step_is_the_rate_of_its_schedule_down_the_gradient(tmp_path, digits, schedule):
    recipe = Recipe(**LINEAR, optimizer={"kind": "sgd", "lr": 0.05, "momentum": 0.5, "schedule": schedule})
    recorder.train(recipe, tmp_path)
    weights, velocity = parameters(tmp_path, 0), [0.0, 0.0]
    for epoch in range(12):  # one step an epoch
        slopes = regression(*weights, *digits)[1:]
        velocity = [0.5 * v + g for v, g in zip(velocity, slopes, strict=True)]
        weights = [w - recipe.optimizer.rate(epoch / 12) * v for w, v in zip(weights, velocity, strict=True)]
        for expected, actual in zip(weights, parameters(tmp_path, epoch + 1), strict=True):
            # weights of about 0.1: twelve steps of float32, whose sums over 1437 images are good to 1e-6
            np.testing.assert_allclose(actual, expected, atol=2e-6)


def test_steps_of_less_than_two_over_the_curvature_lower_a_convex_loss_every_time(tmp_path, digits):
    x, _ = digits
    # the Hessian of softmax regression is at most half of the mean of x x', of which the bias is one more coordinate
    steepest = np.linalg.eigvalsh(np.hstack([x, np.ones((len(x), 1))]).T @ np.hstack([x, np.ones((len(x), 1))]))[-1]
    rate = 1 / (0.5 * steepest / len(x))  # 1 / L, half the largest stable rate
    recorder.train(Recipe(**LINEAR, optimizer={"kind": "sgd", "lr": rate, "momentum": 0}), tmp_path)
    losses = [regression(*parameters(tmp_path, epoch), *digits)[0] for epoch in range(13)]
    slopes = [regression(*parameters(tmp_path, epoch), *digits)[1:] for epoch in range(12)]
    for before, after, gradient in zip(losses, losses[1:], slopes, strict=False):
        # the descent lemma: at least |g|^2 / 2 L lower, of which rounding of the weights may take a thousandth
        assert before - after >= 0.999 * rate / 2 * sum(float((part**2).sum()) for part in gradient) > 0
    # the metrics are the same: float32 sums over 1437 images
    assert checkpoints.metrics(tmp_path)["train_loss"] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_in_a_plain_net_of_twenty_layers_every_filter_learns_and_none_may_grow_the_outputs(seed):
    """Why it can be trained: batch norm takes the scale out of every filter, at every depth.

    So the loss is the same at a w for any a > 0, and its gradient is square to the filter (Ioffe & Szegedy 2015,
    section 3.3). Without norms the cosine of the two is 0.2 to 0.4, and the gradients are a thousand times smaller.
    """
    net = Recipe(model={"kind": "resnet", "depth": 20, "width": 4, "skip": False}).model.build((1, 8, 8), 10, seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(64, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(64) % 10
    torch.nn.functional.cross_entropy(net.double().train()(x), y).backward()
    convolutions = [module.weight for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 19
    for weight in convolutions:
        w, g = weight.detach().flatten(1), weight.grad.flatten(1)
        # the 1e-5 that a norm adds to a variance: a part in ten thousand of all but nearly dead channels
        alive = g.norm(dim=1) > 1e-3 * g.norm()
        along = (w * g).sum(1).abs()[alive] / (w.norm(dim=1) * g.norm(dim=1))[alive]
        assert alive.any() and float(along.max()) < 0.01 and float(g.norm()) > 1e-3


def test_training_that_diverges_says_when_and_what_to_lower(tmp_path):
    recipe = Recipe(**{**SMALL, "model": "mlp"}, optimizer={"kind": "sgd", "lr": 1e30})
    with pytest.raises(RunError, match=r"diverged at epoch \d\.\d\d: the loss is (nan|inf); lower optimizer.lr"):
        recorder.train(recipe, tmp_path)


def test_checkpoints_closer_than_steps_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"every: 0.1 is shorter than a step; .* 6 steps of 256 samples, so 0.17"):
        recorder.train(Recipe(**{**SMALL, "checkpoint": {"every": 0.1}}), tmp_path)


@pytest.mark.parametrize("damage", [lambda content: b"nonsense", lambda content: content[:-1] + b"?"])
def test_a_broken_saved_state_is_named_and_training_starts_again_to_the_same_bytes(tmp_path, unstopped, caplog, damage):
    with pytest.raises(StoppedError):
        recorder.train(RECIPES["sgd"], tmp_path, stop_at(4))
    state = tmp_path / recorder.STATE_FILE
    state.write_bytes(damage(state.read_bytes()))
    recorder.train(RECIPES["sgd"], tmp_path)
    assert files(tmp_path) == unstopped(RECIPES["sgd"]) and "resume.state: is damaged" in caplog.text


# --- averages, turns, margins ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [{"kind": "mlp", "width": 8}, {"kind": "mlp", "width": 8, "norm": "batch"}])
def test_swa_saves_the_mean_of_the_ends_of_epochs_and_trains_on_from_its_own_weights(tmp_path, model):
    plain = {"model": model, "epochs": 4, "batch": 480, "checkpoint": {"every": 0.5}}
    for kind, more in (("sgd", {}), ("swa", {"start": "50%"})):
        recorder.train(Recipe(**plain, optimizer={"kind": kind, "lr": 0.05, **more}), tmp_path / kind)

    def weights(kind, epoch):
        return checkpoints.load(tmp_path / kind, epoch).weights

    for epoch, ends in {1.5: [1.5], 2.0: [2.0], 2.5: [2.0], 3.0: [2.0, 3.0], 4.0: [2.0, 3.0, 4.0]}.items():
        for name, mean in weights("swa", epoch).items():
            expected = torch.stack([weights("sgd", end)[name].double() for end in ends]).mean(0)
            torch.testing.assert_close(
                mean.double(), expected, rtol=1e-6, atol=1e-7
            )  # float32, one sum after the other


def test_the_statistics_of_a_mean_are_those_of_all_samples(tmp_path):
    model = {"kind": "mlp", "depth": 1, "width": 8, "norm": "batch"}
    recipe = Recipe(model=model, epochs=2, batch=1437, optimizer={"kind": "swa", "lr": 0.5, "start": "0%"})
    recorder.train(recipe, tmp_path)
    last, data = checkpoints.load(tmp_path, 2.0), recipe.data.load()
    features = torch.from_numpy(data.train_x).flatten(1) @ last.weights["1.weight"].T
    torch.testing.assert_close(last.buffers["2.running_mean"], features.mean(0), rtol=1e-4, atol=1e-5)  # float32


GAN = Recipe(
    model={"kind": "gan", "depth": 1, "width": 8},
    data={"kind": "latents", "size": 4},
    epochs=3,
    batch=720,  # two steps an epoch
    checkpoint={"every": 0.5},
    optimizer={"kind": "adam", "lr": 1e-2},
)
TURNS = Wasserstein(turns=2)


def test_critic_and_generator_train_in_turns_and_neither_moves_in_the_others(tmp_path):
    recorder.train(GAN, tmp_path, objective=TURNS)
    steps = [checkpoints.load(tmp_path, epoch).weights for epoch in GAN.instants]
    moved = [{name.partition(".")[0] for name in a if not torch.equal(a[name], b[name])} for a, b in pairwise(steps)]
    assert moved == [{"critic"}, {"critic"}, {"generator"}] * 2
    metrics = checkpoints.metrics(tmp_path)
    assert metrics["train_loss"] == metrics["train_critic"] != metrics["train_generator"]
    assert metrics["energy_margin"][0] < 0  # untrained


def test_the_turns_of_a_stopped_run_go_on_to_the_same_bytes(tmp_path):
    for step in (1, 3, 5):
        with pytest.raises(StoppedError):
            recorder.train(GAN, tmp_path / "stopped", stop_at(step), TURNS)
    for name in ("stopped", "whole"):
        recorder.train(GAN, tmp_path / name, objective=TURNS)
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_a_language_model_is_compared_with_a_table_of_pairs(tmp_path):
    recipe = Recipe(model={"kind": "transformer", "depth": 1, "width": 8}, data="text", epochs=1, batch=500)
    recorder.train(recipe, tmp_path)
    metrics, samples = checkpoints.metrics(tmp_path), evaluate.tensors(recipe.data.load())
    expected = [bigram_loss(samples) - loss for loss in metrics["test_loss"]]
    assert metrics["bigram_margin"] == pytest.approx(expected) and expected[0] < 0
