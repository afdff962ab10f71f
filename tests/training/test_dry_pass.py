"""What the user's code does wrong is one sentence, before anything is trained."""

import re
import sys

import numpy as np
import pytest
import torch

from studio.config.reading import parse
from studio.config.records import Record
from studio.errors import SceneError
from studio.landscape.loss import Loss
from studio.training.dry_pass import dry_pass
from studio.training.runs import Run

MODULE = """
import torch
from torch import nn


def narrow():
    return nn.Linear(6, 8)


def wide():
    return nn.Linear(7, 8)


def normed():
    return nn.Sequential(nn.Linear(7, 8), nn.BatchNorm1d(8))


class Two(nn.Linear):
    def forward(self, x):
        return {"output": super().forward(x)}


def two():
    return Two(7, 7)


def broken():
    raise OSError("no weights\\nat all")


def rebuild(model, x):
    return {"loss": (model(x)["output"] - x).square().mean(1) - 3, "size": x.norm(dim=1)}


def constant(model, batch):
    return torch.zeros(len(batch[0]))


def hungry(model, batch):
    return model(batch[0]) - batch[2]


def scalar(model, batch):
    return model(batch[0]).mean()


def margin(outputs, y):
    return outputs[:, 99]
"""


LABELS = np.arange(9) % 8


class Of(Record):
    run: Run
    loss: Loss = Loss()


@pytest.fixture
def read(tmp_path, monkeypatch):
    """A run of the model and objective named, on arrays of 7 numbers; nothing is trained."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "dry_nets.py").write_text(MODULE, encoding="utf-8")
    x = np.random.default_rng(0).normal(size=(9, 7))

    def read(model="wide", objective="cross-entropy", y=LABELS, more="", batch=8, fields="[]") -> Of:
        targets = {} if y is None else {"train_y": y, "test_y": y}
        np.savez(tmp_path / "data.npz", train_x=x, test_x=x, **targets)
        model = model if model.startswith("{") else f"{{kind: python, make: 'dry_nets:{model}'}}"
        recipe = f"{{model: {model}, data: {{kind: arrays, file: data.npz}}, batch: {batch}}}"
        text = f"run: {{recipe: {recipe}, objective: {objective}{more}}}\nloss: {{fields: {fields}}}"
        return parse(text, Of, folder=tmp_path)

    yield read
    sys.modules.pop("dry_nets", None)


def test_the_names_of_the_numbers_are_those_of_the_objective(read):
    state = torch.get_rng_state()
    assert dry_pass(read().run) == ("loss", "accuracy")
    assert dry_pass(read(objective="mean-squares", y=np.ones((9, 8))).run) == ("loss",)
    assert dry_pass(read("two", "'dry_nets:rebuild'", None).run) == ("loss", "size")
    assert torch.equal(state, torch.get_rng_state())


X, Y = r"x float32 \[1, 7\]", r"y int64 \[1\]"
WRONG = {
    "a layer that does not fit": (
        {"model": "narrow"},
        f"run.objective: cross-entropy of the model dry_nets:narrow fails on a batch of {X} and {Y}: RuntimeError: "
        r"mat1 and mat2 shapes cannot be multiplied \(1x7 and 6x8\)",
    ),
    "a model that is not built": ({"model": "broken"}, "run.recipe.model: dry_nets:broken fails: OSError: no weights$"),
    "outputs that are no tensor": (
        {"model": "two"},
        "run.objective: cross-entropy takes a tensor, and the model returns a dict; write a function of your own",
    ),
    "outputs of another shape than the targets": (
        {"objective": "mean-squares", "y": np.ones((9, 3))},
        r"run.objective: outputs \[1, 8\] and targets \[1, 3\] must be of one shape",
    ),
    "more classes than outputs": (
        {"y": np.full(9, 8)},
        "run.objective: cross-entropy of the model dry_nets:wide fails on .*: IndexError: Target 8 is out of bounds",
    ),
    "an objective that asks for what is not there": (
        {"objective": "'dry_nets:hungry'"},
        f"run.objective: dry_nets:hungry of the model dry_nets:wide fails on a batch of {X} and {Y}: IndexError",
    ),
    "an objective of one number": (
        {"objective": "'dry_nets:scalar'"},
        r"run.objective: dry_nets:scalar returned \[\] for 1 samples; it must return one number for each, \[1\]",
    ),
    "an objective that no weight moves": (
        {"objective": "'dry_nets:constant'"},
        "run.objective: dry_nets:constant of the model .* RuntimeError: element 0 of tensors does not require grad",
    ),
    "a field of another network": (
        {"fields": "['dry_nets:margin']"},
        "loss.fields: dry_nets:margin of the model dry_nets:wide fails on a batch of .*: IndexError: index 99",
    ),
    "a batch norm that sees one sample": (
        {"model": "normed"},
        "run.objective: cross-entropy of the model dry_nets:normed fails on .*: ValueError: Expected more than 1 value",
    ),
    "a pattern that no weight has": (
        {"more": ", parameters: ['wieght', bias]"},
        "run.parameters: 'wieght' matches no weight that trains; the nearest: weight, bias",
    ),
}


@pytest.mark.parametrize(("changes", "words"), WRONG.values(), ids=WRONG)
def test_what_the_users_code_does_wrong_is_one_sentence(read, changes, words):
    scene = read(**changes)  # the last batch of its 9 samples has one
    with pytest.raises(SceneError) as caught:
        dry_pass(scene.run, scene.loss.functions)
    assert re.match(words, str(caught.value)) and "\n" not in str(caught.value), str(caught.value)


def test_the_users_own_checkpoints_need_no_gradient_and_no_batch_norm(read):
    own = read("normed", more=", kind: folder, checkpoints: mine")
    assert dry_pass(own.run) == ("loss", "accuracy")
    assert dry_pass(read("wide", "'dry_nets:constant'", more=", kind: folder, checkpoints: mine").run) == ("loss",)
