import math
from typing import get_args

import pytest
import torch
from torch import nn

from studio.errors import MachineError, SceneError
from studio.landscape.centres import AtCheckpoint
from studio.landscape.directions import Random, WeightSource
from studio.landscape.loss import Loss, Method, choose_method
from studio.landscape.network.weight_loss import WeightLoss
from studio.landscape.values import evaluator, methods
from studio.landscape.values.evaluator import Evaluator
from studio.landscape.values.methods import METHODS
from studio.training.losses import accuracy, cross_entropy, entropy
from studio.training.models import Mlp, Resnet, Vgg

N, CLASSES = 11, 3
ALPHAS = (-1.0, -0.25, 0.0, 0.5, 1.5)
DOUBLE = {"dtype": torch.float64}


class Deciding(nn.Module):
    """Control flow that depends on the data, and a buffer that counts the passes."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.leave = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(108, CLASSES)
        self.register_buffer("passes", torch.zeros(1))

    def forward(self, x):
        self.passes += 1
        x = self.conv(x)
        # not by the normalised features: in train mode their sum is zero up to rounding
        y = self.norm(x)
        return self.leave((torch.relu(y) if float(x.detach().sum()) > 0 else y).flatten(1)) * self.passes


class Untraceable(nn.Module):
    """Returns its input, after a look at its data."""

    def forward(self, x):
        return x if float(x.detach().sum()) > -math.inf else -x


def dropping() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    )


def build(record) -> nn.Module:
    return record.build((1, 8, 8), CLASSES)


NETS = {
    "mlp": lambda: build(Mlp(depth=2, width=9)),
    "linear": lambda: build(Mlp(depth=0)),
    "normed": lambda: build(Mlp(depth=3, width=9, norm="batch")),
    "skip": lambda: build(Mlp(depth=4, width=9, norm="batch", skip=True)),
    "cnn": lambda: build(Vgg(widths=(4, 6))),
    "resnet": lambda: build(Resnet(depth=8, width=4)),
    "no norm": lambda: build(Resnet(depth=8, width=4, norm="none")),
    "dropout": dropping,
    "data-dependent": Deciding,
}
FITS = {
    "mlp": ("batched", "vmap"),
    "linear": ("batched", "vmap"),
    "normed": ("batched", "folded", "image-kernels", "vmap"),
    "skip": ("batched", "folded", "image-kernels", "vmap"),
    "cnn": ("folded", "image-kernels", "vmap"),
    "resnet": ("folded", "image-kernels", "vmap"),
    "no norm": ("folded", "image-kernels"),
    "dropout": ("folded", "image-kernels", "vmap"),
    "data-dependent": ("folded", "image-kernels"),
}


def test_every_method_a_scene_can_name_exists():
    assert set(METHODS) == set(get_args(Method))


CASES = [
    (name, method, mode)
    for name, methods in FITS.items()
    for method in ("loop", *methods)
    for mode in ("eval", "train", "recalibrated")
    if method != "folded" or mode == "eval"
]


@pytest.mark.parametrize(("name", "method", "mode"), CASES, ids=map("-".join, CASES))
def test_every_method_is_the_float64_loop_to_float32_rounding(name, method, mode, evaluators):
    fast, exact = evaluators(NETS[name], method, mode=mode)
    for beta in (0.0, -0.7):
        torch.testing.assert_close(fast.row(ALPHAS, beta)["loss"], exact.row(ALPHAS, beta)["loss"], rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
@pytest.mark.parametrize("moves_norms", [False, True])
@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_rule_is_right_for_every_perceptron(norm, skip, mode, moves_norms, device, evaluators):
    for activation in ("relu", "tanh", "gelu", "silu", "elu"):
        record = Mlp(depth=4, width=7, norm=norm, skip=skip, activation=activation)
        method, _ = choose_method(record, Loss(mode=mode), moves_norms, device)
        fast, exact = evaluators(lambda record=record: build(record), method, moves_norms, mode=mode, device=device)
        torch.testing.assert_close(fast.row(ALPHAS, 0.4)["loss"], exact.row(ALPHAS, 0.4)["loss"], rtol=1e-5, atol=0)
        assert fast.agreement < 1e-5


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_torch_compile_runs_what_the_compiler_returns(mode, monkeypatch, evaluators):
    # the compiler itself takes 20 s: here it returns its argument
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    fast, exact = evaluators(NETS["cnn"], "torch-compile", mode=mode)
    torch.testing.assert_close(fast.row(ALPHAS, 0.6)["loss"], exact.row(ALPHAS, 0.6)["loss"], rtol=1e-5, atol=0)
    norms = [part for part in compiled[0].modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(compiled) == 1 and len(norms) == (0 if mode == "eval" else 2)


def test_a_compiler_that_fails_is_a_machine_error(monkeypatch, evaluators):
    def compile_to_failure(module):
        def fail(x):
            raise torch._dynamo.exc.TorchDynamoException("no working C++ compiler")

        return fail

    monkeypatch.setattr(torch, "compile", compile_to_failure)
    with pytest.raises(MachineError, match="no working C.. compiler.*leave the method out"):
        assert evaluators(NETS["cnn"], "torch-compile")[0].agreement


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_a_cuda_graph_is_the_float64_loop_to_float32_rounding(name, mode, evaluators):
    fast, exact = evaluators(NETS[name], "cuda-graph", mode=mode, device="cuda")
    for beta in (0.0, -0.7):
        torch.testing.assert_close(fast.row(ALPHAS, beta)["loss"], exact.row(ALPHAS, beta)["loss"], rtol=1e-5, atol=0)


def test_a_cuda_graph_needs_a_gpu(evaluators):
    with pytest.raises(MachineError, match="cuda-graph replays a pass of a GPU.*leave the method out"):
        evaluators(NETS["cnn"], "cuda-graph")


def test_batch_norms_of_a_network_without_a_graph_are_exact_over_many_pixels(images, network, plane):
    # 2**18 pixels: added up one after the other in float32, they would move the loss by 1e-5
    model = network(lambda: nn.Sequential(Untraceable(), *build(Vgg(widths=(4,)))))
    x, y = images(4096)
    weight_loss = WeightLoss(model, {}, 3 * x + 2, y, "train")
    vectors, double = plane(weight_loss, model), weight_loss.with_precision("float64")
    fast, exact = Evaluator(weight_loss, *vectors, "image-kernels"), Evaluator(double, *(v.double() for v in vectors))
    torch.testing.assert_close(fast.row([0.5], 0.4)["loss"], exact.row([0.5], 0.4)["loss"], rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("mode", "method"), [("eval", "folded"), ("train", "image-kernels"), ("recalibrated", "image-kernels")]
)
def test_bf16_passes_tiny_pictures_too(mode, method, evaluators):
    fast, exact = evaluators(NETS["resnet"], method, mode=mode, precision="bf16")  # its last features are 2 x 2
    torch.testing.assert_close(fast.row(ALPHAS, 0.4)["loss"], exact.row(ALPHAS, 0.4)["loss"], rtol=0.1, atol=0)


@pytest.mark.parametrize("moves_norms", [False, True])
@pytest.mark.parametrize("name", ["cnn", "resnet", "dropout"])
def test_norms_fold_once_or_at_every_point(name, moves_norms, evaluators):
    fast, exact = evaluators(NETS[name], "folded", moves_norms)
    torch.testing.assert_close(fast.row(ALPHAS, 0.6)["loss"], exact.row(ALPHAS, 0.6)["loss"], rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("name", "method"),
    [("cnn", "loop"), ("cnn", "folded"), ("cnn", "image-kernels"), ("cnn", "vmap"), ("skip", "batched")],
)
def test_a_row_is_the_same_bytes_whatever_came_before(name, method, evaluators):
    fast, _ = evaluators(NETS[name], method)
    first = fast.row(ALPHAS, 0.4)["loss"]
    fast.row((3.0, math.inf), -2.0)
    torch.rand(3)
    assert torch.equal(fast.row(ALPHAS, 0.4)["loss"], first)


@pytest.mark.parametrize("method", ["loop", "batched", "vmap"])
def test_points_give_the_same_values_together_and_apart(method, monkeypatch, evaluators):
    together, _ = evaluators(NETS["mlp"], method)
    monkeypatch.setitem(methods.MAX_FEATURES, "cpu", 1)
    monkeypatch.setattr(evaluator, "MAX_OUTPUTS", 2 * N * CLASSES)
    apart, _ = evaluators(NETS["mlp"], method)
    # 1e-8 here: roundings of float32, of 6e-8 each, in the logits of eleven samples, averaged
    torch.testing.assert_close(together.row(ALPHAS, 0.4), apart.row(ALPHAS, 0.4), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "method", "mode"),
    [
        ("cnn", "loop", "eval"),
        ("cnn", "folded", "eval"),
        ("cnn", "image-kernels", "eval"),
        ("skip", "batched", "eval"),
        ("skip", "batched", "recalibrated"),
    ],
)
def test_chunks_of_the_samples_add_up_to_the_same_value(name, method, mode, evaluators):
    fast, _ = evaluators(NETS[name], method, mode=mode)
    whole = fast.row(ALPHAS, 0.4)["loss"]
    fast.chunk_size = 4  # 4 + 4 + 3
    torch.testing.assert_close(fast.row(ALPHAS, 0.4)["loss"], whole, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", ["loop", "batched", "vmap"])
def test_all_fields_come_from_the_same_passes(method, images, network, plane):
    def surprise(outputs, y):
        """Depends on the other samples too: a point of its own needs a call of its own."""
        return cross_entropy(outputs, y) / cross_entropy(outputs, y).sum()

    model = network(NETS["mlp"])
    for fields in ({"entropy": entropy}, {"entropy": entropy, "surprise": surprise}):
        weight_loss = WeightLoss(model, {}, *images(), fields={"accuracy": accuracy, **fields})
        row = Evaluator(weight_loss, *plane(weight_loss, model), method, keep_samples=True).row(ALPHAS, 0.5)
        assert list(row) == ["loss", "accuracy", *fields, "losses"]
        assert all(values.dtype == torch.float64 and values.shape[0] == len(ALPHAS) for values in row.values())
        torch.testing.assert_close(row["losses"].mean(1), row["loss"], rtol=1e-12, atol=0)
    assert row["surprise"].tolist() == pytest.approx([1 / N] * len(ALPHAS))
    assert (row["entropy"] <= math.log(CLASSES)).all() and all(
        round(hits, 9).is_integer() for hits in (row["accuracy"] * N / 100).tolist()
    )


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("mlp", "loop"),
        ("mlp", "batched"),
        ("cnn", "folded"),
        ("cnn", "image-kernels"),
        ("normed", "batched"),
        ("skip", "batched"),
    ],
)
def test_values_that_are_not_finite_stay_as_measured(name, method, images, network, plane):
    model = network(NETS[name])
    weight_loss = WeightLoss(model, {}, *images())
    theta, delta, eta = plane(weight_loss, model)
    row = Evaluator(weight_loss, theta, delta, eta, method).row((0.0, 1e5, math.inf, math.nan), 0.0)["loss"]
    assert row[0].isfinite() and row[1] > 1e10 and row[2:].isnan().all()


def test_rotating_the_plane_rotates_the_picture(images, network, plane):
    model = network(NETS["resnet"])
    weight_loss = WeightLoss(model, {}, *images())
    theta, delta, eta = plane(weight_loss, model)
    straight, turned = (Evaluator(weight_loss, theta, *axes, "folded") for axes in ((delta, eta), (eta, -delta)))
    values = [float(straight.row([alpha], 0.5)["loss"]) for alpha in ALPHAS]
    # alpha delta + 0.5 eta is 0.5 (eta) - alpha (-delta)
    assert values == pytest.approx([float(turned.row([0.5], -alpha)["loss"]) for alpha in ALPHAS], rel=1e-5)


@pytest.mark.parametrize("method", ["loop", "batched", "vmap"])
def test_the_picture_of_a_quadratic_is_the_quadratic(method, images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES, bias=False)).double()
    x, y = images()
    weight_loss = WeightLoss(model, {}, x.double(), y, criterion=lambda outputs, y: outputs.square().sum(1))
    theta, delta, eta = (
        torch.randn(weight_loss.size, generator=torch.Generator().manual_seed(seed), **DOUBLE) for seed in (1, 2, 3)
    )
    gram = x.double().flatten(1).T @ x.double().flatten(1) / N

    def form(a, b):
        return float((a.view(CLASSES, 64) @ gram * b.view(CLASSES, 64)).sum())

    row = Evaluator(weight_loss, theta, delta, eta, method).row(ALPHAS, 0.7)["loss"]
    expected = [
        form(theta, theta)
        + a * a * form(delta, delta)
        + 0.49 * form(eta, eta)
        + 2 * a * form(theta, delta)
        + 1.4 * form(theta, eta)
        + 1.4 * a * form(delta, eta)
        for a in ALPHAS
    ]
    assert row.tolist() == pytest.approx(expected, rel=1e-12)  # float64: rounding


def test_layers_rescaled_against_each_other_leave_the_filter_normalised_picture_unchanged(images, network, plane):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 9, bias=False), nn.ReLU(), nn.Linear(9, CLASSES, bias=False))
    named = {name: p.detach() for name, p in network(lambda: model).named_parameters()}
    other = {name: p * factor for (name, p), factor in zip(named.items(), (8.0, 0.125), strict=True)}
    weight_loss = WeightLoss(model, {}, *images())
    pictures = []
    for theta in (named, other):
        plane = Random(seed=1).plane(
            WeightSource((AtCheckpoint(0.0),), lambda _, theta=theta: theta), AtCheckpoint(0.0)
        )
        vectors = (weight_loss.flat(part) for part in (theta, plane.delta, plane.eta))
        pictures.append(Evaluator(weight_loss, *vectors, "batched").row(ALPHAS, 0.5)["loss"])
    # factors of two round nothing; the norm that a filter is divided by has 1e-10 added
    torch.testing.assert_close(*pictures, rtol=1e-6, atol=0)


def test_a_network_that_vmap_cannot_run_names_the_way_out(evaluators):
    with pytest.raises(SceneError, match="vmap: .* leave the method out"):
        assert evaluators(NETS["data-dependent"], "vmap")[0].agreement


@pytest.mark.parametrize("method", ["batched"])
def test_a_network_that_a_method_does_not_support_names_the_way_out(method, evaluators):
    with pytest.raises(SceneError, match=f"{method} is for networks .*leave the method out"):
        evaluators(NETS["cnn"], method)


@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
def test_norms_without_weights_or_running_statistics_are_batched_too(mode, evaluators):
    def make():
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 5),
            nn.BatchNorm1d(5, affine=False),
            nn.Tanh(),
            nn.Linear(5, 6),
            nn.BatchNorm1d(6, track_running_stats=False),
            nn.Linear(6, CLASSES),
        )

    fast, exact = evaluators(make, "batched", mode=mode)
    torch.testing.assert_close(fast.row(ALPHAS, 0.3)["loss"], exact.row(ALPHAS, 0.3)["loss"], rtol=1e-5, atol=0)


def test_an_activation_shared_by_several_layers_runs_each_time(evaluators):
    relu = nn.ReLU()

    def make():
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 5, bias=False),
            relu,
            nn.Sequential(nn.Linear(5, 5), relu, nn.Identity()),
            nn.Linear(5, CLASSES, bias=False),
        )

    fast, exact = evaluators(make, "batched")
    torch.testing.assert_close(fast.row(ALPHAS, 0.3)["loss"], exact.row(ALPHAS, 0.3)["loss"], rtol=1e-5, atol=0)
