"""A scene in Python: one in a file, and a network in memory."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import studio
from studio.errors import SceneError
from studio.execution.progress import silent

X, Y = torch.linspace(-1, 1, 96).reshape(24, 4), torch.arange(24) % 3
SMALL = {"film": {"size": "64x36", "fps": 2}, "look": {"base": "ember", "mesh": 33}, "progress": silent}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).eval()


def losses(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y, reduction="none")


def test_a_network_in_memory_is_measured_as_it_is_and_stays_as_it_was(in_process):
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    production = studio.landscape(model, nn.CrossEntropyLoss(), (X, Y), range=(-0.5, 0.5), points=5, **SMALL)
    with torch.no_grad():
        model[0].weight.add_(1)  # what is done to it later does not count
    data = production.dataset()
    model.load_state_dict(before)
    assert model.training and torch.equal(torch.get_rng_state(), generator)
    assert data.loss.sel(alpha=0, beta=0).item() == pytest.approx(F.cross_entropy(network()(X), Y).item(), rel=1e-6)
    assert (data.alpha.values[0], data.sizes["alpha"]) == (-0.5, 5) and data.loss.std() > 0


def test_a_loss_is_a_word_one_of_torchs_or_a_function_and_data_are_arrays_or_batches(in_process):
    loader = DataLoader(TensorDataset(X, Y), batch_size=7, shuffle=True)
    measured = [
        studio.landscape(network(), loss_fn, data, points=3, **SMALL).dataset().loss.values
        for loss_fn, data in (
            ("cross-entropy", (X.numpy(), Y.numpy())),
            (F.cross_entropy, (X, Y)),
            (losses, (X, Y)),
            (losses, loader),
        )
    ]
    for values in measured[1:]:
        np.testing.assert_allclose(values, measured[0], rtol=1e-5)
    plain = studio.landscape(network(), lambda model, x: model(x).square().sum(1), X, points=3, **SMALL).dataset()
    assert plain.loss.sel(alpha=0, beta=0).item() == pytest.approx(network()(X).square().sum(1).mean().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "resnet"}, "model: is of type str, expected a torch.nn.Module"),
        ({"data": (X, Y, Y)}, "data: has 3 parts, expected samples x, or (x, y) with their targets"),
        ({"loss_fn": nn.CrossEntropyLoss(label_smoothing=0.1)}, "loss_fn: CrossEntropyLoss() has settings"),
        ({"loss_fn": nn.L1Loss()}, "loss_fn: L1Loss() has settings, or no loss of each sample that studio knows"),
        ({"loss_fn": "cross-entropie"}, "did you mean 'cross-entropy'?"),
        ({"loss_fn": lambda outputs, targets: 0}, "run.objective: memory:loss_fn returned int for 4 samples"),
        ({"points": 2}, "grid: 2 points: expected at least 3 along each side"),
        ({"looks": {}}, "looks: unknown key 'looks'; did you mean 'look'?"),
        ({"look": {"base": "ember", "colour": {"field": "convexity"}}}, "nothing measures the convexity; add"),
    ],
)
def test_what_does_not_fit_a_landscape_is_one_sentence(in_process, changes, words):
    arguments = {"model": network(), "loss_fn": "cross-entropy", "data": (X, Y), "points": 3, "progress": silent}
    with pytest.raises(SceneError) as caught:
        studio.landscape(**arguments | changes).dataset()
    assert words in str(caught.value) and "\n" not in str(caught.value)


SCRIPT = """\
import torch, studio
model = torch.nn.Linear(4, 3)
x, y = torch.randn(12, 4), torch.arange(12) % 3
quick = {"film": {"size": "64x36", "fps": 1}, "look": {"base": "ember", "mesh": 33}}
land = studio.landscape(model, torch.nn.CrossEntropyLoss(), (x, y), points=5, workers=1, **quick)
print(land.plot(size="96x54").size, land.film()._repr_html_()[:40], land.export("csv")[0].name)
opened = studio.open("tiny.yaml", workers=1)
print(opened.dataset("convexity").sizes["keyframe"], opened.plot("1s").size)
"""


def test_a_script_needs_no_main_guard(measured):
    (measured.scene.parent / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=measured.scene.parent, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == '(96, 54) <video controls loop style="max-width:10 landscape.csv\n2 (64, 36)\n', done.stderr
    assert "measure the loss: 25 of 25" in done.stderr


def test_a_notebook_shows_a_scene_its_movies_and_its_pictures(measured, in_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = studio.open(measured.scene, progress=silent)
    assert opened._repr_html_().startswith("<b>Tiny</b><br>eval mode")
    assert opened._repr_html_().endswith("<br>descent 1.5s, curvature 1s, closing 1s")
    movie, folder = opened.film()._repr_html_().split("<br>")
    assert movie.startswith('<video controls loop style="max-width:100%" src="data:video/mp4;base64,AAAA')
    assert folder == "out/tiny/tiny-frames"
    for wrong, words in (
        (lambda: opened.dataset(landscape="plain"), "no landscape 'plain'; one of"),
        (lambda: opened.plot("soon"), "no cue 'soon'; write a time like 12s"),
        (lambda: opened.plot(size="big"), "size: 'big' is not a picture size"),
        (lambda: opened.export("gltf", at="9s"), "9s is after the end of the film"),
        (lambda: opened.export("gltf", at="soon"), "no cue 'soon'; write a time like 12s"),
    ):
        with pytest.raises(SceneError, match=words):
            wrong()
