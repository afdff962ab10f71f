"""Films of runs that classify nothing: a regression, an autoencoder without targets, and losses below zero."""

import sys

import numpy as np
import pytest

from studio.pipeline.measure import measure, results_of
from studio.pipeline.project import Project
from studio.storage.mapped_arrays import map_arrays
from studio.training import checkpoints

MODULE = """
import torch
from torch import nn


def linear(width):
    return nn.Linear(width, 2)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 2), nn.Linear(2, 6)

    def forward(self, x):
        code = self.encode(x).tanh()
        return {"code": code, "output": self.decode(code)}


def rebuild(model, x):
    outputs = model(x)
    distance = (outputs["output"] - x).square().mean(1)
    return {"loss": distance + 1e-3 * outputs["code"].square().sum(1), "distance": distance}


def likelihood(model, batch):
    x, y = batch
    mean, log_deviation = model(x).unbind(1)
    return log_deviation + 0.5 * ((y - mean) / log_deviation.exp()).square()
"""
SCENE = """\
title: Any
run:
  recipe:
    model: {kind: mlp, depth: 1, width: 8}
    data: {kind: arrays, file: data.npz}
    epochs: 3
    optimizer: {kind: adam, lr: 1e-2}
    batch: 16
  objective: mean-squares
sweep: {kind: epochs, at: [0, 3]}
grid: {range: [-1, 1], points: 5}
look: {base: ember, mesh: 65}
film: {size: 64x36, fps: 8}
shots: [{shot: only, duration: 1s, along: {0s: 0, 1s: 3}}]
titles: {live: "loss {loss:.3f}  test {test_loss:.3f}"}
deliver: [{kind: sequence}]
"""


@pytest.fixture
def scene(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "any_nets.py").write_text(MODULE, encoding="utf-8")
    path = tmp_path / "any.yaml"
    path.write_text(SCENE, encoding="utf-8")
    yield path
    sys.modules.pop("any_nets", None)


def write(scene, *changes, targets=True):
    """The scene with some of its text changed, and 64 samples of 6 numbers."""
    text = scene.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    scene.write_text(text, encoding="utf-8")
    x = np.random.default_rng(0).normal(size=(64, 6))
    y = (x @ np.arange(6) / 60).astype(np.float32)
    named = {"train_y": y[:48], "test_y": y[48:]} if targets else {}
    np.savez(scene.with_name("data.npz"), train_x=x[:48], test_x=x[48:], **named)
    return x[:48], y[:48]


AUTOENCODER = (
    ("{kind: mlp, depth: 1, width: 8}", "{kind: python, make: 'any_nets:Autoencoder'}"),
    ("objective: mean-squares", "objective: 'any_nets:rebuild'"),
    ("test {test_loss:.3f}", "test {test_distance:.3f}"),
)
LIKELIHOOD = (
    ("objective: mean-squares", "objective: 'any_nets:likelihood'"),
    # a model of studio's own would have one output for each target, and this objective needs two
    ("{kind: mlp, depth: 1, width: 8}", "{kind: python, make: 'any_nets:linear', arguments: {width: 6}}"),
)


def metrics(scene) -> dict:
    project = Project.open(scene)
    return checkpoints.metrics(project.run_folders[0])


def test_a_regression_is_filmed(scene, run, pictures):
    write(scene)
    done = run("film", scene.name, "--workers", 1)
    assert (done.status, done.out) == (0, "out/any/any-frames\n"), done.err
    assert len(pictures(scene.parent / done.out.strip())) == 8
    recorded = metrics(scene)
    assert set(recorded) == {"train_loss", "test_loss", "learning_rate"}
    assert recorded["train_loss"][0] > recorded["train_loss"][-1] > 0
    dataset = results_of(Project.open(scene)).dataset()
    # the whole training set is the subset: the centre of a slice is the checkpoint itself, to float32
    assert dataset["loss"].values[:, 2, 2] == pytest.approx([recorded["train_loss"][i] for i in (0, -1)], rel=1e-6)
    assert set(dataset.data_vars) == {"loss", *recorded}


def test_an_autoencoder_without_targets_is_filmed_and_its_numbers_are_metrics_and_fields(scene, run, pictures):
    write(
        scene,
        *AUTOENCODER,
        ("mesh: 65}", "mesh: 65, colour: {field: 'any_nets:rebuild.distance', map: batlow}}"),
        targets=False,
    )
    done = run("film", scene.name, "--workers", 1)
    assert (done.status, done.out) == (0, "out/any/any-frames\n"), done.err
    frames = pictures(scene.parent / done.out.strip())
    assert len(frames) == 8 and frames.std() > 1
    recorded = metrics(scene)
    assert set(recorded) == {"train_loss", "train_distance", "test_loss", "test_distance", "learning_rate"}
    assert recorded["train_loss"][-1] > recorded["train_distance"][-1]
    dataset = results_of(Project.open(scene)).dataset()
    assert dataset["distance"].values[1, 2, 2] == pytest.approx(recorded["train_distance"][-1], rel=1e-6)
    assert (dataset["loss"].values > dataset["distance"].values).all()
    assert set(results_of(Project.open(scene)).surfaces().fields) == {"loss", "any_nets:rebuild.distance"}


def test_losses_below_zero_are_measured_with_their_curvature(scene, in_process):
    convexity = ("look:", "convexity: {points: 3, tol: 1e-1}\nlook:")
    x, y = write(scene, *LIKELIHOOD, convexity, ("lr: 1e-2", "lr: 1e-1"), ("batch: 16", "batch: 4"))
    results = measure(Project.open(scene))
    loss, recorded = results.dataset()["loss"].values, metrics(scene)
    assert loss[1].min() < 0 and results.complete
    assert loss[1, 2, 2] == pytest.approx(recorded["train_loss"][-1], rel=1e-5)
    weights = checkpoints.load(Project.open(scene).run_folders[0], 3.0).weights
    mean, log_deviation = (x @ weights["weight"].numpy().T.astype(float) + weights["bias"].numpy()).T
    by_hand = log_deviation + 0.5 * ((y - mean) / np.exp(log_deviation)) ** 2
    assert loss[1, 2, 2] == pytest.approx(by_hand.mean(), rel=1e-5)
    fields = results.surfaces().fields
    assert np.isfinite(fields["lambda_min"].values).all() and fields["loss"].values.min() == loss.min()


def test_a_classifier_by_a_function_of_the_users_is_that_by_cross_entropy(scene, in_process):
    """The same network trained by two names of one loss, measured by two methods."""
    scene.with_name("any_nets.py").write_text(
        "from torch.nn import functional as F\n"
        "def loss(model, batch):\n"
        "    return F.cross_entropy(model(batch[0]), batch[1], reduction='none')\n"
    )
    write(
        scene,
        ("mean-squares", "cross-entropy"),
        ("{kind: arrays, file: data.npz}", "digits"),
        ("batch: 16", "batch: 512"),
    )
    built_in = measure(Project.open(scene)).dataset()
    scene.write_text(scene.read_text().replace("cross-entropy", "'any_nets:loss'"))
    own = measure(Project.open(scene)).dataset()
    # float64 and float32 means of a batch train to nearly the same weights
    np.testing.assert_allclose(own["loss"].values, built_in["loss"].values, rtol=1e-4)
    assert "accuracy" in built_in and "accuracy" not in own


MODEL, LOOK = "{kind: mlp, depth: 1, width: 8}", "mesh: 65}"
MISTAKES = {
    "labels that are none": ([("mean-squares", "cross-entropy")], "9:14: run.objective: cross-entropy needs labels"),
    "targets beyond 1": (
        [("mean-squares", "binary-cross-entropy")],
        "9:14: run.objective: binary-cross-entropy needs",
    ),
    "a model of images": ([(MODEL, "vgg")], "4:12: run.recipe.model: a vgg takes images"),
    "data that are missing": ([("data.npz", "d.npz")], "5:11: run.recipe.data: "),
    "a metric of another objective": (
        [("test_loss", "test_accuracy")],
        "15:16: titles.live: no number called 'test_accuracy'; one of coordinate, epoch, loss, distance, train_loss",
    ),
    "a field of another objective": (
        [(LOOK, "mesh: 65, colour: {field: accuracy}}")],
        "12:47: look.colour.field: the objective mean-squares has no accuracy",
    ),
    "a field of classes": (
        [("grid:", "loss: {fields: [entropy]}\ngrid:")],
        "11:16: loss.fields: not with the objective mean-squares: take entropy out",
    ),
    "a field beside the user's function": (
        [*LIKELIHOOD, ("grid:", "loss: {fields: [entropy]}\ngrid:")],
        "11:16: loss.fields: not with the objective any_nets:likelihood: return further numbers from",
    ),
    "a method beside it": (
        [*LIKELIHOOD, ("grid:", "loss: {method: vmap}\ngrid:")],
        "11:16: loss.method: not with the objective any_nets:likelihood: it measures by the method loop",
    ),
    "its own calibration": (
        [*LIKELIHOOD, ("grid:", "loss: {mode: recalibrated, calibration: 8}\ngrid:")],
        "11:41: loss.calibration: not with the objective any_nets:likelihood: its calibration samples",
    ),
    "another run that cannot be trained": (
        [
            (
                "{kind: epochs, at: [0, 3]}",
                "{kind: chord, to: {recipe: {data: {kind: arrays, file: data.npz}, batch: 47}}}",
            )
        ],
        "10:22: sweep.to: objective: cross-entropy needs labels",
    ),
    "a method of all weights": (
        [("objective", "parameters: ['1.*']\n  objective"), ("grid:", "loss: {method: batched}\ngrid:")],
        "12:16: loss.method: batched moves all weights",
    ),
    "a criterion": (
        [("grid:", "loss: {criterion: cross-entropy}\ngrid:")],
        "11:8: loss.criterion: the key 'criterion' is run.objective now",
    ),
}


@pytest.mark.parametrize(("changes", "words"), MISTAKES.values(), ids=MISTAKES)
def test_what_the_scene_alone_tells_is_said_by_check(scene, invoke, changes, words):
    write(scene, *changes)
    result = invoke("check", scene.name)
    assert result.status == 2 and result.err.startswith(f"any.yaml:{words}"), result.err
    assert len(result.err.splitlines()) == 1


ONE_BATCH = {
    "a layer that does not fit": (
        [("width: 6", "width: 7")],
        "run.objective: any_nets:likelihood of the model any_nets:linear fails on a batch of x float32 [4, 6] and y ",
    ),
    "a metric that it does not return": (
        [("{test_loss:.3f}", "{test_kl:.3f}")],
        "any.yaml: titles.live: no number called 'test_kl'; did you mean 'test_loss'?",
    ),
    "a field that it does not return": (
        [(LOOK, "mesh: 65, colour: {field: 'any_nets:likelihood.kl'}}")],
        "any.yaml: look.colour.field: the objective any_nets:likelihood has no any_nets:likelihood.kl",
    ),
    "a pattern that no weight has": (
        [("objective", "parameters: ['wait']\n  objective")],
        "run.parameters: 'wait' matches no weight that trains; the nearest: weight, bias",
    ),
}


@pytest.mark.parametrize(("changes", "words"), ONE_BATCH.values(), ids=ONE_BATCH)
@pytest.mark.parametrize("command", ["train", "compute"])
def test_what_one_batch_tells_is_said_before_anything_is_trained(scene, invoke, command, changes, words):
    write(scene, *LIKELIHOOD)
    write(scene, *changes)
    assert invoke("check", scene.name).status == 0
    result = invoke(command, scene.name)
    assert result.status == 2 and result.err.splitlines()[-1].startswith(words), result.err
    assert not list((scene.parent / ".studio").rglob("epoch-*"))


def test_a_plan_says_what_one_batch_tells_too(scene, invoke):
    write(scene, *LIKELIHOOD)
    write(scene, ("width: 6", "width: 7"))
    result = invoke("plan", scene.name)
    assert (result.status, result.err.partition(" fails")[0]) == (
        2,
        "run.objective: any_nets:likelihood of the model any_nets:linear",
    )


def test_weights_that_the_scene_does_not_name_stay_as_they_are(scene, in_process):
    write(scene, ("objective: mean-squares", "objective: mean-squares\n  parameters: ['3.*']"))
    project = Project.open(scene)
    results = measure(project)
    weights = checkpoints.load(project.run_folders[0], 3.0).weights
    count = sum(weights[name].numel() for name in ("3.weight", "3.bias"))
    assert int(results.facts()["parameters"]) == count == 9
    arrays = map_arrays(project.shelf.plane(results.planes[3.0])).arrays
    assert {len(array) for array in arrays.values()} == {count}
    # one filter of 8 weights has their norm, and the bias stays
    assert np.linalg.norm(arrays["delta"]) == pytest.approx(weights["3.weight"].norm().item(), rel=1e-6)
    everything = Project.open(scene).with_scene(run=project.scene.run.model_copy(update={"parameters": ("*",)}))
    assert everything.run_digests == project.run_digests
    assert not set(results_of(everything).digests.values()) & set(results.digests.values())
