import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from studio.errors import MachineError, SceneError
from studio.landscape.directions import CheckpointSource, Random
from studio.landscape.loss import METHODS as NAMES
from studio.landscape.loss import Loss, choose
from studio.landscape.network.batched import BatchedNetwork
from studio.landscape.network.linear_chain import Chain
from studio.landscape.network.weight_loss import WeightLoss
from studio.landscape.objectives import cross_entropy, entropy
from studio.landscape.values import evaluator as room
from studio.landscape.values.evaluator import METHODS, Evaluator
from studio.training.models import Mlp, Resnet, Vgg
from studio.training.nets import Residual

N, CLASSES = 11, 3
ALPHAS = (-1.0, -0.25, 0.0, 0.5, 1.5)
DOUBLE = {"dtype": torch.float64}


class Deciding(nn.Module):
    """Convolutions whose method depends on the data, and a buffer that counts."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.leave = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(108, CLASSES)
        self.register_buffer("passes", torch.zeros(1))

    def forward(self, x):
        self.passes += 1
        x = self.conv(x)
        # not by what is normalised: in train mode its sum is zero but for rounding
        y = self.norm(x)
        return self.leave((torch.relu(y) if float(x.detach().sum()) > 0 else y).flatten(1)) * self.passes


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
    "a method by the data": Deciding,
}
FITS = {
    "mlp": ("shared-first-layer", "batched", "vmap"),
    "linear": ("shared-first-layer", "batched", "vmap"),
    "normed": ("batched", "folded", "image-kernels", "vmap"),
    "skip": ("batched", "folded", "image-kernels", "vmap"),
    "cnn": ("folded", "image-kernels", "vmap"),
    "resnet": ("folded", "image-kernels", "vmap"),
    "no norm": ("folded", "image-kernels"),
    "dropout": ("folded", "image-kernels", "vmap"),
    "a method by the data": ("folded", "image-kernels"),
}


def images(count: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 1, 8, 8, generator=generator), torch.randint(CLASSES, (count,), generator=generator)


def net(make) -> nn.Module:
    """A network whose running statistics are not those of its samples."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(4)
        model = make()
        for name, tensor in model.named_buffers():
            if "running" in name:
                tensor.add_(0.3 * torch.rand(tensor.shape))
    return model


def plane(objective: WeightLoss, model: nn.Module, moves_norms: bool = True) -> list[torch.Tensor]:
    """theta, and two small directions; norms may stay put."""
    named = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def draw(seed: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: 0.1 * torch.randn(p.shape, generator=generator) * (moves_norms or p.dim() > 1)
            for name, p in named.items()
        }

    return [objective.flat(part) for part in (named, draw(5), draw(6))]


def evaluators(make, method: str, moves_norms: bool = True, **options) -> tuple[Evaluator, Evaluator]:
    """One by the method, and the plain loop in float64."""
    model = net(make)
    objective = WeightLoss(model, {}, *images(), **options)
    vectors = plane(objective, model, moves_norms)
    double = objective.again(precision="float64")
    return Evaluator(objective, *vectors, method), Evaluator(double, *(v.double() for v in vectors))


def test_every_path_a_scene_can_name_is_there():
    assert set(METHODS) == set(NAMES)


CASES = [
    (name, method, mode)
    for name, methods in FITS.items()
    for method in ("loop", *methods)
    for mode in ("eval", "train", "recalibrated")
    if method != "folded" or mode == "eval"
]


@pytest.mark.parametrize(("name", "method", "mode"), CASES, ids=map("-".join, CASES))
def test_every_path_is_a_float64_loop_to_float32s_rounding(name, method, mode):
    ours, exact = evaluators(NETS[name], method, mode=mode)
    for beta in (0.0, -0.7):
        torch.testing.assert_close(ours.row(ALPHAS, beta)["loss"], exact.row(ALPHAS, beta)["loss"], rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
@pytest.mark.parametrize("moves_norms", [False, True])
@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_rule_is_right_for_every_perceptron(norm, skip, mode, moves_norms, device):
    for activation in ("relu", "tanh", "gelu", "silu", "elu"):
        record = Mlp(depth=4, width=7, norm=norm, skip=skip, activation=activation)
        method, _ = choose(record, Loss(mode=mode), moves_norms, device)
        ours, exact = evaluators(lambda record=record: build(record), method, moves_norms, mode=mode, device=device)
        torch.testing.assert_close(ours.row(ALPHAS, 0.4)["loss"], exact.row(ALPHAS, 0.4)["loss"], rtol=1e-5, atol=0)
        assert ours.agreement < 1e-5


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_compiled_path_runs_what_the_compiler_returns(mode, monkeypatch):
    # the compiler itself takes 20 s: here it returns what it was given
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    ours, exact = evaluators(NETS["cnn"], "torch-compile", mode=mode)
    torch.testing.assert_close(ours.row(ALPHAS, 0.6)["loss"], exact.row(ALPHAS, 0.6)["loss"], rtol=1e-5, atol=0)
    norms = [part for part in compiled[0].modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(compiled) == 1 and len(norms) == (0 if mode == "eval" else 2)


def test_a_compiler_that_fails_is_a_fault_of_the_machine(monkeypatch):
    def compile(module):
        def fail(x):
            raise torch._dynamo.exc.TorchDynamoException("no working C++ compiler")

        return fail

    monkeypatch.setattr(torch, "compile", compile)
    with pytest.raises(MachineError, match="no working C.. compiler.*leave the method out"):
        assert evaluators(NETS["cnn"], "torch-compile")[0].agreement


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_what_a_gpu_plays_back_is_a_float64_loop_to_float32s_rounding(name, mode):
    ours, exact = evaluators(NETS[name], "cuda-graph", mode=mode, device="cuda")
    for beta in (0.0, -0.7):
        torch.testing.assert_close(ours.row(ALPHAS, beta)["loss"], exact.row(ALPHAS, beta)["loss"], rtol=1e-5, atol=0)


def test_a_machine_without_a_gpu_has_nothing_to_play_back():
    with pytest.raises(MachineError, match="cuda-graph plays back what a GPU did.*leave the method out"):
        evaluators(NETS["cnn"], "cuda-graph")


@pytest.mark.parametrize("moves_norms", [False, True])
@pytest.mark.parametrize("name", ["cnn", "resnet", "dropout"])
def test_norms_fold_once_or_at_every_point(name, moves_norms):
    ours, exact = evaluators(NETS[name], "folded", moves_norms)
    torch.testing.assert_close(ours.row(ALPHAS, 0.6)["loss"], exact.row(ALPHAS, 0.6)["loss"], rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("name", "method"),
    [("cnn", "loop"), ("cnn", "folded"), ("cnn", "image-kernels"), ("cnn", "vmap"), ("skip", "batched")],
)
def test_a_row_is_the_same_bytes_whatever_came_before(name, method):
    ours, _ = evaluators(NETS[name], method)
    first = ours.row(ALPHAS, 0.4)["loss"]
    ours.row((3.0, math.inf), -2.0)
    torch.rand(3)
    assert torch.equal(ours.row(ALPHAS, 0.4)["loss"], first)


@pytest.mark.parametrize("method", ["loop", "shared-first-layer", "batched", "vmap"])
def test_points_that_pass_together_or_apart_are_alike(method, monkeypatch):
    together, _ = evaluators(NETS["mlp"], method)
    monkeypatch.setitem(room.NUMBERS, "cpu", 1)
    monkeypatch.setattr(room, "COUNTED", 2 * N * CLASSES)
    apart, _ = evaluators(NETS["mlp"], method)
    # 1e-8 here: roundings of float32, of 6e-8 each, in the logits of eleven samples, whose mean is taken
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
def test_pieces_of_the_samples_make_the_whole_value(name, method, mode):
    ours, _ = evaluators(NETS[name], method, mode=mode)
    whole = ours.row(ALPHAS, 0.4)["loss"]
    ours.chunk = 4  # 4 + 4 + 3
    torch.testing.assert_close(ours.row(ALPHAS, 0.4)["loss"], whole, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", ["loop", "shared-first-layer", "batched", "vmap"])
def test_all_fields_come_from_the_same_passes(method):
    def surprise(outputs, y):
        """Depends on the other samples too: a point of its own needs a call of its own."""
        return cross_entropy(outputs, y) / cross_entropy(outputs, y).sum()

    model = net(NETS["mlp"])
    for fields in ({"entropy": entropy}, {"entropy": entropy, "surprise": surprise}):
        objective = WeightLoss(model, {}, *images(), fields=fields)
        row = Evaluator(objective, *plane(objective, model), method, keep_samples=True).row(ALPHAS, 0.5)
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
        ("mlp", "shared-first-layer"),
        ("cnn", "folded"),
        ("cnn", "image-kernels"),
        ("normed", "batched"),
        ("skip", "batched"),
    ],
)
def test_what_is_not_finite_stays_as_measured(name, method):
    model = net(NETS[name])
    objective = WeightLoss(model, {}, *images())
    theta, delta, eta = plane(objective, model)
    row = Evaluator(objective, theta, delta, eta, method).row((0.0, 1e5, math.inf, math.nan), 0.0)["loss"]
    assert row[0].isfinite() and row[1] > 1e10 and row[2:].isnan().all()


def test_rotating_the_plane_rotates_the_picture():
    model = net(NETS["resnet"])
    objective = WeightLoss(model, {}, *images())
    theta, delta, eta = plane(objective, model)
    straight, turned = (Evaluator(objective, theta, *both, "folded") for both in ((delta, eta), (eta, -delta)))
    ours = [float(straight.row([alpha], 0.5)["loss"]) for alpha in ALPHAS]
    # alpha delta + 0.5 eta is 0.5 (eta) - alpha (-delta)
    assert ours == pytest.approx([float(turned.row([0.5], -alpha)["loss"]) for alpha in ALPHAS], rel=1e-5)


@pytest.mark.parametrize("method", ["loop", "shared-first-layer", "batched", "vmap"])
def test_the_picture_of_a_quadratic_is_the_quadratic(method):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES, bias=False)).double()
    x, y = images()
    objective = WeightLoss(model, {}, x.double(), y, criterion=lambda outputs, y: outputs.square().sum(1))
    theta, delta, eta = (
        torch.randn(objective.size, generator=torch.Generator().manual_seed(seed), **DOUBLE) for seed in (1, 2, 3)
    )
    gram = x.double().flatten(1).T @ x.double().flatten(1) / N

    def form(a, b):
        return float((a.view(CLASSES, 64) @ gram * b.view(CLASSES, 64)).sum())

    row = Evaluator(objective, theta, delta, eta, method).row(ALPHAS, 0.7)["loss"]
    wanted = [
        form(theta, theta)
        + a * a * form(delta, delta)
        + 0.49 * form(eta, eta)
        + 2 * a * form(theta, delta)
        + 1.4 * form(theta, eta)
        + 1.4 * a * form(delta, eta)
        for a in ALPHAS
    ]
    assert row.tolist() == pytest.approx(wanted, rel=1e-12)  # float64: rounding


def test_layers_rescaled_against_each_other_leave_the_filter_normalised_picture_unchanged():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 9, bias=False), nn.ReLU(), nn.Linear(9, CLASSES, bias=False))
    named = {name: p.detach() for name, p in net(lambda: model).named_parameters()}
    other = {name: p * factor for (name, p), factor in zip(named.items(), (8.0, 0.125), strict=True)}
    objective = WeightLoss(model, {}, *images())
    pictures = []
    for theta in (named, other):
        plane = Random(seed=1).plane(CheckpointSource((0.0,), lambda epoch, theta=theta: theta), 0.0)
        vectors = (objective.flat(part) for part in (theta, plane.delta, plane.eta))
        pictures.append(Evaluator(objective, *vectors, "shared-first-layer").row(ALPHAS, 0.5)["loss"])
    # factors of two round nothing; the norm that a filter is divided by has 1e-10 added
    torch.testing.assert_close(*pictures, rtol=1e-6, atol=0)


# --- chains ----------------------------------------------------------------------------------------------------------


def test_a_network_that_cannot_be_batched_says_the_way_out():
    with pytest.raises(SceneError, match="vmap: .* leave the method out"):
        assert evaluators(NETS["a method by the data"], "vmap")[0].agreement


def test_only_chains_of_linear_layers_share_their_first():
    assert Chain.of(build(Mlp(depth=3, width=4))).widest == 4
    twice = nn.Linear(4, 4)
    for model in (
        build(Vgg(widths=(2,))),
        nn.Sequential(twice, nn.ReLU(), twice),
        nn.Sequential(nn.ReLU(), twice),
        nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)),
        nn.Sequential(nn.Linear(4, 4), nn.Softmax(1)),
    ):
        assert Chain.of(model) is None
    with pytest.raises(SceneError, match="leave the method out"):
        evaluators(NETS["cnn"], "shared-first-layer")


def test_only_known_layers_and_shortcuts_pass_at_many_points_at_once():
    assert BatchedNetwork.of(net(NETS["skip"])).widest == 9
    twice, hooked = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    hooked[1].register_forward_hook(lambda module, given, result: 2 * result)
    for model in (
        net(NETS["cnn"]),
        nn.Sequential(twice, nn.ReLU(), twice),
        nn.Sequential(nn.BatchNorm1d(4), twice),
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
        nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)),
        nn.Sequential(nn.Linear(4, 4), Residual(nn.ReLU(), nn.ReLU())),
        hooked,
    ):
        assert BatchedNetwork.of(model) is None
    with pytest.raises(SceneError, match="leave the method out"):
        evaluators(NETS["cnn"], "batched")


@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
def test_norms_without_weights_or_running_statistics_pass_at_many_points_too(mode):
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

    ours, exact = evaluators(make, "batched", mode=mode)
    torch.testing.assert_close(ours.row(ALPHAS, 0.3)["loss"], exact.row(ALPHAS, 0.3)["loss"], rtol=1e-5, atol=0)


def test_one_function_between_several_layers_is_passed_each_time():
    relu = nn.ReLU()

    def make():
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 5, bias=False),
            relu,
            nn.Sequential(nn.Linear(5, 5), relu, nn.Identity()),
            nn.Linear(5, CLASSES, bias=False),
        )

    ours, exact = evaluators(make, "shared-first-layer")
    torch.testing.assert_close(ours.row(ALPHAS, 0.3)["loss"], exact.row(ALPHAS, 0.3)["loss"], rtol=1e-5, atol=0)


# --- checks ----------------------------------------------------------------------------------------------------------


def test_a_path_that_computes_something_else_is_refused(monkeypatch):
    plain = METHODS["loop"]

    def wrong(objective, theta, delta, eta):
        return plain(objective, theta, delta, 1.001 * eta)

    monkeypatch.setitem(METHODS, "folded", wrong)
    with pytest.raises(MachineError, match="method: loop"):
        assert evaluators(NETS["cnn"], "folded")[0].agreement


@pytest.mark.parametrize(
    ("a", "b", "off"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([math.nan, 1.0], [math.inf, 1.0], 0.0),
        ([math.inf, 1.0], [3.0, 1.0], math.inf),
        ([math.inf], [math.nan], 0.0),
        ([1e-9], [0.0], 1e-3),
    ],
)
def test_samples_differ_relative_to_the_largest_and_overflow_is_no_number(a, b, off):
    assert room._off(*(torch.tensor(values, **DOUBLE) for values in (a, b))) == pytest.approx(off)


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        (1.5, 1.0, 0.5),
        (0.0, 0.0, 0.0),
        (math.nan, math.nan, 0.0),
        (math.inf, math.inf, 0.0),
        (math.inf, 2.0, math.inf),
        (1.0, 0.0, math.inf),
    ],
)
def test_the_error_of_a_precision_is_relative_and_overflow_is_infinite(a, b, error):
    assert room._relative(a, b) == error


def test_a_network_that_amplifies_rounding_is_judged_by_float64():
    model = net(NETS["cnn"])
    with torch.no_grad():
        model[-1].weight.mul_(1e5)
        model[-1].bias.fill_(1e7)  # losses are differences of numbers around 1e7: two or three digits are left
    objective = WeightLoss(model, {}, *images())
    assert Evaluator(objective, *plane(objective, model), "folded").agreement < math.inf


def test_a_cheaper_precision_states_its_error():
    model = net(NETS["cnn"])
    cheap, exact = (WeightLoss(model, {}, *images(), precision=kind) for kind in ("bf16", "float32"))
    assert Evaluator(exact, *plane(exact, model)).precision_error() == 0
    assert 1e-5 < Evaluator(cheap, *plane(cheap, model), "folded").precision_error() < 0.1
    for mode in ("train", "recalibrated"):
        for name, method in (("cnn", "image-kernels"), ("skip", "batched")):
            model = net(NETS[name])
            other = WeightLoss(model, {}, *images(), mode, precision="bf16")
            assert 1e-5 < Evaluator(other, *plane(other, model), method).precision_error() < 0.1


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["loop", "folded"])
def test_a_chunk_that_does_not_fit_is_halved_and_no_value_changes(method, monkeypatch):
    model = net(NETS["cnn"])
    objective = WeightLoss(model, {}, *images(64)).again(precision="float64")
    ours = Evaluator(objective, *(v.double() for v in plane(objective, model)), method)
    wanted = ours.row(ALPHAS, 0.5)["loss"]
    real, passes = ours._outputs, []

    def small(alphas, beta, chunk):
        passes.append(chunk)
        if chunk > 20:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return real(alphas, beta, chunk)

    ours._outputs = small
    # float64: a smaller batch may be summed by another kernel
    torch.testing.assert_close(ours.row(ALPHAS, 0.5)["loss"], wanted, rtol=1e-12, atol=0)
    assert passes == [64, 32, 16] and ours.chunk == 16


def test_train_mode_that_does_not_fit_says_the_way_out():
    ours, _ = evaluators(NETS["cnn"], "image-kernels", mode="train")

    def full(alphas, beta, chunk):
        raise torch.OutOfMemoryError("out of memory")

    ours._outputs = full
    with pytest.raises(MachineError, match="loss.subset"):
        ours.row(ALPHAS, 0.0)


def test_other_errors_are_not_taken_for_memory():
    ours, _ = evaluators(NETS["cnn"], "loop")

    def broken(alphas, beta, chunk):
        raise RuntimeError("a shape is wrong")

    ours._outputs = broken
    with pytest.raises(RuntimeError, match="shape"):
        ours.row(ALPHAS, 0.0)


SMALL = """
import resource, torch
torch.set_num_threads(1)
from torch import nn
from studio.landscape.values.evaluator import Evaluator
from studio.landscape.network.weight_loss import WeightLoss
model = nn.Sequential(nn.Conv2d(1, 256, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                      nn.Linear(256, 3))
x, y = torch.randn(256, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(256, dtype=torch.int64)
objective = WeightLoss(model, {}, x, y)
theta = objective.flat(dict(model.named_parameters())).detach()
evaluator = Evaluator(objective, theta, 0.1 * theta, 0 * theta, "loop")
evaluator.chunk = 8
few = evaluator.row([0.0, 1.0], 0.0)["loss"]
evaluator.chunk = objective.chunk                       # 256 pictures of 16 x 16 with 256 features: 67 MB at a time
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 40 * 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]))
found = evaluator.row([0.0, 1.0], 0.0)["loss"]
assert torch.allclose(found, few, rtol=1e-6), (found, few)
print(objective.chunk, evaluator.chunk)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space are Linux's")
def test_a_real_limit_of_memory_is_met_by_smaller_chunks():
    done = subprocess.run([sys.executable, "-c", SMALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert before == 256 and after < before
