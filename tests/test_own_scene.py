"""A scene whose model, samples, objective and numbers are the user's own, measured as any other; and a preview."""

import sys

import numpy as np
import pytest

from studio.pipeline.measure import measure, results_of
from studio.pipeline.project import Project
from studio.pipeline.train import is_trained, train

MODULE = """
import torch
from torch import nn
from torch.nn import functional as F


class Reader(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embed, self.read = nn.Embedding(7, width), nn.LSTM(width, width, batch_first=True)
        self.classify = nn.Linear(width, 3)

    def forward(self, x):
        return self.classify(self.read(self.embed(x))[0][:, -1])


def doubled(model, batch):
    outputs = model(batch[0])
    return {"loss": 2 * F.cross_entropy(outputs, batch[1], reduction="none"), "surest": surest(outputs, batch[1])}


def surest(outputs, targets):
    return outputs.softmax(1).max(1).values
"""
SCENE = """\
title: Own
run:
  recipe:
    model: {kind: python, make: own_scene:Reader, arguments: {width: 5}}
    data: {kind: arrays, file: words.npz}
    epochs: 1
    batch: 32
sweep: {kind: epochs, at: [1]}
grid: {range: [-1, 1], points: 9}
loss: {subset: 48, fields: [entropy, own_scene:surest]}
convexity: {points: 3, tol: 1e-1}
shots: [{shot: only, duration: 1s, along: {0s: 1}}]
"""


@pytest.fixture
def scene(tmp_path, monkeypatch, in_process):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_scene", raising=False)
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 7, (count, 4)) for count in (64, 16))
    np.savez(tmp_path / "words.npz", train_x=train, train_y=train[:, -1] % 3, test_x=test, test_y=test[:, -1] % 3)
    (tmp_path / "own_scene.py").write_text(MODULE, encoding="utf-8")
    path = tmp_path / "own.yaml"
    path.write_text(SCENE, encoding="utf-8")
    yield path
    sys.modules.pop("own_scene", None)


def measured(scene, *changes):
    text = SCENE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    scene.write_text(text, encoding="utf-8")
    data = measure(Project.open(scene)).dataset()
    fields = measure(Project.open(scene)).surfaces().fields
    more = {"measured": data["measured"].values[0]} if "measured" in data else {}
    return {name: field.values[0] for name, field in fields.items()} | more


def test_the_users_model_samples_objective_and_numbers_are_measured_like_any_other(scene):
    untrained = ("at: [1]", "at: [0]"), ("{0s: 1}", "{0s: 0}")
    plain = measured(scene, *untrained)
    assert {"loss", "accuracy", "entropy", "own_scene:surest", "lambda_min", "lambda_max"} <= set(plain)
    assert 1 / 3 <= plain["own_scene:surest"].min() <= plain["own_scene:surest"].max() <= 1
    own = ("  recipe:", "  objective: own_scene:doubled\n  recipe:"), ("fields: [entropy, own_scene:surest]", "seed: 0")
    doubled = measured(scene, *untrained, *own)
    # twice the loss has twice the Hessian; tol 1e-1 is the eigenvalues' own
    np.testing.assert_allclose(doubled["loss"], 2 * plain["loss"], rtol=1e-6)
    np.testing.assert_allclose(doubled["lambda_max"], 2 * plain["lambda_max"], rtol=0.2)
    np.testing.assert_allclose(doubled["own_scene:doubled.surest"], plain["own_scene:surest"], rtol=1e-6)
    assert "entropy" not in doubled


def test_a_function_that_was_edited_is_measured_again_and_the_run_is_not_trained_again(scene):
    before = Project.open(scene)
    train(before)
    digests = results_of(before).digests
    assert results_of(Project.open(scene)).digests == digests
    own = scene.with_name("own_scene.py")
    own.write_text(MODULE.replace("max(1).values", "max(1).values ** 2"), encoding="utf-8")
    after = Project.open(scene)
    assert after.run_digests == before.run_digests and is_trained(after)
    assert results_of(after).digests.keys() == digests.keys()
    assert results_of(after).digests["loss", 1.0] != digests["loss", 1.0]
    own.write_text(MODULE.replace("nn.LSTM", "nn.GRU"), encoding="utf-8")
    assert Project.open(scene).run_digests != before.run_digests


def test_a_preview_is_near_the_exact_surface_and_never_taken_for_it(scene):
    # around the first checkpoint, which is drawn from the seed: a smooth surface that no training has shaped
    exact, quick = (
        measured(
            scene,
            ("fields: [entropy, own_scene:surest]", f"sampling: {way}"),
            ("points: 9", "points: 33"),
            ("convexity", "# convexity"),
            ("at: [1]", "at: [0]"),
            ("{0s: 1}", "{0s: 0}"),
        )
        for way in ("exact", "preview")
    )
    loss, truth = np.log(quick["loss"]), np.log(exact["loss"])
    assert np.abs(loss - truth).max() <= 0.01 * np.ptp(truth)
    measured_points = quick["measured"] == 1
    assert 0 < measured_points.sum() <= 350 and 0 < measured_points.mean() < 0.4  # of 1089
    # single points and whole rows may round differently
    np.testing.assert_allclose(quick["loss"][measured_points], exact["loss"][measured_points], rtol=1e-5)
