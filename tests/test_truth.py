"""Networks of the user's own that would be drawn wrong if something was found out about them in the wrong place."""

import importlib
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from studio.landscape.network.random_numbers import fixed_masks
from studio.pipeline.measure import measure
from studio.pipeline.project import Project
from studio.pipeline.results import Results
from studio.storage.mapped_arrays import map_arrays

MODULE = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.layer, self.gate = nn.Linear(6, width), nn.Parameter(torch.zeros(1, 1))

    def forward(self, x):
        return self.mix(self.layer(x), self.gate)


class Gated(Net):
    def mix(self, y, gate):
        return y + gate * y.mean(0)


class Opening(Net):
    '''Mixes its samples only far from weights of 1.'''

    def mix(self, y, gate):
        return y + 10 * F.relu((gate - 1).abs() - 0.1) * y.mean(0)


class Attending(Net):
    def mix(self, y, gate):
        return y + gate * F.scaled_dot_product_attention(y[None], y[None], y[None])[0]


class Normal(Net):
    '''Divides by the largest number of the batch.'''

    def mix(self, y, gate):
        return y / (1 + gate * y.abs().max())


class Counting(Net):
    '''Is another network for a large batch.'''

    def mix(self, y, gate):
        return y * (3 if len(y) > 300 else 1)


class Dropping(Net):
    '''Draws numbers in eval mode too, once its gate is open.'''

    def mix(self, y, gate):
        return F.dropout(y, 0.5) if gate > 0.5 else y


class Plain(Net):
    def mix(self, y, gate):
        return y * (1 + gate)


class Short(Plain):
    '''Of bf16, as is what it is given.'''

    def __init__(self):
        super().__init__()
        self.bfloat16()

    def forward(self, x):
        return super().forward(x.to(torch.bfloat16))


class Following(Short):
    def forward(self, x):
        return Plain.forward(self, x.to(self.layer.weight.dtype)).float()


class Mixed(Plain):
    def __init__(self):
        super().__init__()
        self.layer.half()

    def forward(self, x):
        return self.mix(self.layer(x.half()).float(), self.gate)


class Halving(Plain):
    def forward(self, x):
        return F.linear(x.half(), self.layer.weight.half(), self.layer.bias.half()) * (1 + self.gate)


class Casting(Plain):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


class Long(Plain):
    def __init__(self):
        super().__init__()
        self.double()

    def forward(self, x):
        return super().forward(x.double())


def contrast(model, batch):
    '''Each sample is to be nearer to its own target than to those of the others.'''
    x, y = batch
    code, other = (F.normalize(model(part), dim=1) for part in (x, x.roll(1, 1)))
    return F.cross_entropy(10 * code @ other.mT, torch.arange(len(x)), reduction="none")
"""
SCENE = """\
title: Truth
run:
  kind: folder
  checkpoints: weights
  recipe:
    model: {kind: python, make: 'true_nets:Net'}
    data: {kind: arrays, file: data.npz}
directions: {kind: random, ignore: nothing}
grid: {range: [-1, 1], points: 3}
loss: {precision: float64}
shots: [{shot: only, duration: 1s, along: {0s: 0, 1s: 1}}]
"""
N = 600


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A scene of a network with a gate, which is closed in a fresh one and open in its second checkpoint."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "true_nets.py").write_text(MODULE, encoding="utf-8")
    random, path = np.random.default_rng(0), tmp_path / "truth.yaml"
    path.write_text(SCENE, encoding="utf-8")
    x, y = random.normal(size=(N, 6)).astype(np.float32), random.integers(0, 4, N)
    np.savez(tmp_path / "data.npz", train_x=x, train_y=y, test_x=x[:8], test_y=y[:8])
    (tmp_path / "weights").mkdir()
    for epoch, gate in ((0, 0.0), (1, 1.0)):
        layer = {
            "layer.weight": torch.from_numpy(random.normal(size=(4, 6)).astype(np.float32)),
            "layer.bias": torch.ones(4),
        }
        torch.save(layer | {"gate": torch.full((1, 1), gate)}, tmp_path / "weights" / f"epoch-{epoch}.pt")
    yield path
    sys.modules.pop("true_nets", None)


def change(scene, *changes) -> Project:
    text = scene.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    scene.write_text(text, encoding="utf-8")
    return Project.open(scene)


def by_hand(
    project: Project, results: Results, epoch: float, alpha: float, beta: float, objective=None, net=None
) -> float:
    """The loss of the network itself over all samples in one batch, in float64."""
    plane = map_arrays(project.shelf.plane(results.planes[epoch])).arrays
    model = (net() if net else project.scene.run.recipe.model.build((6,), 4)).double().eval()
    weights = sum(
        factor * plane[name].astype(float) for name, factor in (("theta", 1), ("delta", alpha), ("eta", beta))
    )
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), model.parameters())
    data = project.scene.run.recipe.data.load()
    x, y = torch.from_numpy(data.train_x).double(), torch.from_numpy(data.train_y)
    order = project.scene.loss.sample_indices(data)
    with torch.no_grad(), fixed_masks("cpu"):
        return float(
            objective(model, (x[order], y[order])).mean() if objective else F.cross_entropy(model(x[order]), y[order])
        )


@pytest.mark.parametrize("net", ["Gated", "Opening", "Attending", "Normal", "Counting", "Dropping"])
@pytest.mark.parametrize("objective", [None, "contrast"])
def test_a_network_that_mixes_its_samples_where_it_is_measured_gets_them_in_one_batch(
    scene, net, objective, in_process
):
    run = [("recipe:\n", f"objective: 'true_nets:{objective}'\n  recipe:\n")] if objective else []
    project = change(scene, ("true_nets:Net", f"true_nets:{net}"), *run)
    results = measure(project)
    loss = results.dataset()["loss"].values
    function = getattr(importlib.import_module("true_nets"), objective) if objective else None
    for k, b, a in np.ndindex(2, 3, 3):
        expected = by_hand(project, results, float(k), a - 1.0, b - 1.0, function)
        assert loss[k, b, a] == pytest.approx(expected, rel=1e-9), (k, b, a)


@pytest.mark.parametrize(("precision", "error"), [("float32", 2e-6), ("float64", 1e-12), ("bf16", 3e-2)])
@pytest.mark.parametrize("net", ["Short", "Following", "Mixed", "Halving", "Casting", "Long"])
def test_a_network_of_another_precision_is_measured_in_the_scenes(scene, net, precision, error, in_process):
    project = change(scene, ("true_nets:Net", f"true_nets:{net}"), ("float64", precision))
    results = measure(project)
    loss = results.dataset()["loss"].values
    plain = importlib.import_module("true_nets").Plain
    expected = [by_hand(project, results, 1.0, a - 1.0, b - 1.0, net=plain) for b, a in np.ndindex(3, 3)]
    assert loss[1].ravel() == pytest.approx(expected, rel=error)
