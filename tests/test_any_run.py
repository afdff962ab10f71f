"""Runs of the user's own, of every kind of network: their folders of checkpoints become measured landscapes."""

import sys

import pytest
import torch
from torch.nn import functional as F

from studio.errors import SceneError
from studio.pipeline.measure import measure
from studio.pipeline.project import Project
from studio.pipeline.train import train
from studio.training import checkpoints

MODULE = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

torch.manual_seed(0)
X, TOKENS = torch.randn(24, 6), torch.randint(0, 5, (24, 7))
PICTURES, MASKS = torch.rand(24, 3, 8, 8), torch.rand(24, 8, 8) > 0.5


def regressor():
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))


def line():
    return (X[:16], X[:16].sum(1, keepdim=True)), (X[16:], X[16:].sum(1, keepdim=True))


def autoencoder():
    return nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 6))


def segmenter():
    return nn.Conv2d(3, 1, 3, padding=1)


class Masked(Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, i):
        return {"image": PICTURES[i] + torch.randn(3, 8, 8), "mask": MASKS[i]}


def dice(model, batch):
    image, mask = batch["image"], batch["mask"]
    losses = F.binary_cross_entropy_with_logits(model(image)[:, 0], mask.to(image.dtype), reduction="none")
    return losses.mean((1, 2))


class Speaker(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(5, 4), nn.GRU(4, 4, batch_first=True), nn.Linear(4, 5)

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0])


loader = DataLoader(TensorDataset(TOKENS[:, :-1], TOKENS[:, 1:]), batch_size=5, shuffle=True)


def padded():
    return {"tokens": TOKENS, "real": torch.arange(7) < torch.arange(24)[:, None] % 5 + 2}


def per_token(model, batch):
    real = batch["real"][:, 1:]
    outputs = model(batch["tokens"][:, :-1]).movedim(-1, 1)
    losses = F.cross_entropy(outputs, batch["tokens"][:, 1:], reduction="none")
    return losses[real].mean(), real.sum()


class Gan(nn.Module):
    def __init__(self):
        super().__init__()
        self.netG, self.netD = nn.Linear(2, 6), nn.Linear(6, 1)


def generate(model, x):
    z = torch.linspace(-1, 1, len(x) * 2).reshape(len(x), 2).to(x)
    fooled = F.softplus(-model.netD(model.netG(z)))[:, 0]
    return {"loss": fooled, "caught": F.softplus(-model.netD(x))[:, 0]}


def slope(model, x):
    '''u' = u at every point: the residual of a differential equation.'''
    x = x[:, :1].detach().requires_grad_()
    u = model(x)
    (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return (du - u).square()[:, 0]


def field():
    return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))


def points():
    return X


def ragged():
    return [(torch.zeros(n + 1), 0) for n in range(3)]


def texts():
    return [{"text": "a", "x": torch.zeros(2)}]


def broken():
    raise KeyError("no such split")


def huge():
    class Huge(Dataset):
        def __len__(self):
            return 10**12

        def __getitem__(self, i):
            return torch.zeros(1000)

    return Huge()
"""
SCENE = """\
title: Any
run: {kind: folder, checkpoints: "runs/*.ckpt", model: "own_run:MODEL", data: "own_run:DATA", objective: OBJECTIVE}
grid: {range: [-1, 1], points: 3}
shots: [{shot: only, duration: 1s, along: {0s: 1, 1s: 2}}]
"""
RUNS = {
    "regression": ("regressor", "line", "mse", ["train_loss", "test_loss"]),
    "regression by a function": (
        "regressor",
        "line",
        '{kind: python, function: "torch.nn.functional:huber_loss", of: outputs}',
        None,
    ),
    "autoencoder": ("autoencoder", "points", "mse", ["train_loss"]),
    "segmentation": ("segmenter", "Masked", '"own_run:dice"', ["train_loss"]),
    "language model": ("Speaker", "loader", "cross-entropy", ["train_loss", "train_accuracy"]),
    "language model of padded texts": ("Speaker", "padded", '"own_run:per_token"', ["train_loss"]),
    "GAN": ("Gan", "points", '"own_run:generate"', ["train_loss", "train_caught"]),
    "physics": ("field", "points", '"own_run:slope"', ["train_loss"]),
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a scene, with two checkpoints of its model if it can be built."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "own_run.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "runs").mkdir()

    def write(model, data, objective, *changes):
        from own_run import __dict__ as names

        for epoch in (1, 2):
            torch.manual_seed(epoch)
            torch.save({"epoch": epoch, "state_dict": names[model]().state_dict()}, tmp_path / f"runs/{epoch}.ckpt")
        text = SCENE.replace("MODEL", model).replace("DATA", data).replace("OBJECTIVE", objective)
        for old, new in changes:
            text = text.replace(old, new)
        (tmp_path / "any.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "any.yaml"

    yield write
    sys.modules.pop("own_run", None)


@pytest.mark.parametrize(("model", "data", "objective", "metrics"), RUNS.values(), ids=RUNS)
def test_a_run_of_any_kind_is_measured(write, in_process, model, data, objective, metrics):
    scene = write(model, data, objective)
    if metrics is None:
        with pytest.raises(SceneError, match="huber_loss returned .* or a mean with its weight"):
            measure(Project.open(scene))
        return
    project = Project.open(scene)
    results = measure(project)
    recorded = checkpoints.metrics(project.run_folders[0])
    assert sorted(recorded) == sorted(metrics)
    # the whole training set is the subset: the centre of a slice is the checkpoint itself, to float32
    assert results.dataset()["loss"].values[:, 1, 1] == pytest.approx(recorded["train_loss"], rel=1e-5)


def test_a_mean_with_its_weight_is_that_over_all_batches(write, in_process):
    project = Project.open(write("Speaker", "padded", '"own_run:per_token"'))
    train(project)
    from own_run import TOKENS, Speaker, padded

    model, real = Speaker(), padded()["real"][:, 1:]
    model.load_state_dict(dict(checkpoints.load(project.run_folders[0], 2).weights))
    losses = F.cross_entropy(model(TOKENS[:, :-1]).movedim(-1, 1), TOKENS[:, 1:], reduction="none")
    assert checkpoints.metrics(project.run_folders[0])["train_loss"][1] == pytest.approx(losses[real].mean().item())
    assert losses.mean().item() != pytest.approx(losses[real].mean().item(), rel=1e-3)


def test_random_samples_are_drawn_once_and_leave_the_random_numbers_as_they_were(write):
    before = torch.get_rng_state()
    first, again, other = (
        Project.open(write("segmenter", "Masked", '"own_run:dice"', *changes)).scene.run.recipe.data.load().digest
        for changes in ((), (), [('"own_run:Masked"', '{kind: python, make: "own_run:Masked", seed: 1}')])
    )
    torch.manual_seed(2)  # as `write` leaves it
    assert first == again != other and torch.equal(torch.get_rng_state(), before) is False


MISTAKES = {
    "ragged": "run.data: own_run:ragged fails: RuntimeError: stack expects each tensor to be equal size",
    "texts": "run.data: own_run:texts fails: TypeError: a batch holds <U1 \\[\\], expected numbers",
    "broken": "run.data: own_run:broken fails: KeyError: 'no such split'",
    "huge": r"run.data: own_run:huge needs 4000000.0 GB for 1000000000000 samples, and .* may be used; return fewer",
    "Masked": "run.objective: mean-squares takes a tensor, and batches here are of image, mask; write a function",
}


@pytest.mark.parametrize(("data", "words"), MISTAKES.items(), ids=MISTAKES)
def test_samples_that_are_of_no_use_are_one_sentence_and_check_runs_none(write, invoke, data, words):
    scene = write("regressor", data, "mse")
    assert invoke("check", scene).status == 0
    with pytest.raises(SceneError if "huge" not in words else Exception, match=words):
        train(Project.open(scene))


def test_check_reports_what_each_checkpoint_is_read_as_before_and_after_it_is_read(write, invoke, in_process):
    scene = write("regressor", "line", "mse")
    (scene.parent / "runs/notes.txt").touch()
    scene.write_text(scene.read_text().replace('"runs/*.ckpt"', "runs"))
    for words in ("names are compared with the model's by `studio train`", "weights of state_dict"):
        lines = invoke("check", scene).out.splitlines()[-4:]
        assert lines[0].endswith("runs: 2 read, 1 left out")
        assert [line.split(None, 1) for line in lines[1:]] == [
            ["1.ckpt", f"epoch 1, stored inside  {words}"],
            ["2.ckpt", f"epoch 2, stored inside  {words}"],
            ["notes.txt", "left out                no suffix of a checkpoint"],
        ]
        train(Project.open(scene))


def test_check_fits_checkpoints_to_a_model_of_studios_own(write, invoke):
    scene = write("regressor", "line", "mse", ('"own_run:regressor"', "{kind: mlp}"), ('"own_run:line"', "digits"))
    result = invoke("check", scene)
    assert result.status == 2 and "runs/1.ckpt: does not fit the model: 1.weight is missing; " in result.err


def test_a_number_of_samples_that_there_are_none_of_is_refused(write):
    live = 'titles: {live: "{test_loss:.2f}"}\n'
    with pytest.raises(SceneError, match="titles.live: no number called 'test_loss'; did you mean 'train_loss'"):
        train(Project.open(write("autoencoder", "points", "mse", ("grid:", f"{live}grid:"))))


def test_what_only_the_samples_tell_is_said_before_anything_is_trained(write):
    recipe = ('kind: folder, checkpoints: "runs/*.ckpt", model:', "recipe: {checkpoint: {every: 0.1}, batch: 8, model:")
    scene = write("regressor", "line", "mse", recipe, ('"own_run:line",', '"own_run:line"},'))
    with pytest.raises(SceneError, match="any.yaml: run.recipe.checkpoint.every: 0.1 is shorter than a step"):
        train(Project.open(scene))
