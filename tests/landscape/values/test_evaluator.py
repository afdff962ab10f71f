import math
import subprocess
import sys
from functools import partial

import pytest
import torch

from studio.errors import MachineError
from studio.landscape.network.weight_loss import WeightLoss
from studio.landscape.values import evaluator
from studio.landscape.values.evaluator import Evaluator
from studio.landscape.values.methods import METHODS
from studio.training.models import Mlp, Vgg

N, CLASSES = 11, 3
ALPHAS = (-1.0, -0.25, 0.0, 0.5, 1.5)
DOUBLE = {"dtype": torch.float64}
NETS = {
    name: partial(record.build, (1, 8, 8), CLASSES)
    for name, record in {"cnn": Vgg(widths=(4, 6)), "skip": Mlp(depth=4, width=9, norm="batch", skip=True)}.items()
}


# --- checks ----------------------------------------------------------------------------------------------------------


def test_a_method_that_computes_something_else_is_refused(monkeypatch, evaluators):
    loop = METHODS["loop"]

    def wrong(weight_loss, theta, delta, eta):
        return loop(weight_loss, theta, delta, 1.001 * eta)

    monkeypatch.setitem(METHODS, "folded", wrong)
    with pytest.raises(MachineError, match="method: loop"):
        assert evaluators(NETS["cnn"], "folded")[0].agreement


class Large(torch.nn.Module):
    """Mixes its samples, and has memory for 7 of them."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, CLASSES)

    def forward(self, x):
        if len(x) > 8:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        y = self.layer(x.flatten(1))
        return y - y.mean(0)


def test_samples_that_must_pass_together_and_do_not_fit_are_refused_with_the_number_that_does(network, images, plane):
    model = network(Large)
    weight_loss = WeightLoss(model, {}, *images(9))
    with pytest.raises(MachineError, match=r"9 images in one batch, which a network needs.*; 7 fit: take a smaller"):
        Evaluator(weight_loss, *plane(weight_loss, model)).row([0.0], 0.0)


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
def test_a_difference_is_relative_to_the_largest_loss_and_overflow_on_one_side_is_infinite(a, b, off):
    assert evaluator._difference(*(torch.tensor(values, **DOUBLE) for values in (a, b))) == pytest.approx(off)


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
def test_a_relative_error_is_infinite_where_only_one_value_is_finite(a, b, error):
    assert evaluator._relative_error(a, b) == error


def test_a_network_that_amplifies_rounding_is_compared_in_float64(images, network, plane):
    model = network(NETS["cnn"])
    with torch.no_grad():
        model[-1].weight.mul_(1e5)
        model[-1].bias.fill_(1e7)  # losses are differences of numbers around 1e7: two or three digits are left
    weight_loss = WeightLoss(model, {}, *images())
    assert Evaluator(weight_loss, *plane(weight_loss, model), "folded").agreement < math.inf


def test_a_cheaper_precision_states_its_error(images, network, plane):
    model = network(NETS["cnn"])
    cheap, exact = (WeightLoss(model, {}, *images(), precision=kind) for kind in ("bf16", "float32"))
    assert 0 < Evaluator(exact, *plane(exact, model)).precision_error() < 1e-6  # against float64
    assert 1e-5 < Evaluator(cheap, *plane(cheap, model), "folded").precision_error() < 0.1
    for mode in ("train", "recalibrated"):
        for name, method in (("cnn", "image-kernels"), ("skip", "batched")):
            model = network(NETS[name])
            other = WeightLoss(model, {}, *images(), mode, precision="bf16")
            assert 1e-5 < Evaluator(other, *plane(other, model), method).precision_error() < 0.1


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["loop", "folded"])
def test_a_chunk_that_does_not_fit_is_halved_and_no_value_changes(method, monkeypatch, images, network, plane):
    model = network(NETS["cnn"])
    weight_loss = WeightLoss(model, {}, *images(64)).with_precision("float64")
    fast = Evaluator(weight_loss, *(v.double() for v in plane(weight_loss, model)), method)
    expected = fast.row(ALPHAS, 0.5)["loss"]
    real, passes = fast._outputs, []

    def small(alphas, beta, chunk_size):
        passes.append(chunk_size)
        if chunk_size > 20:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return real(alphas, beta, chunk_size)

    fast._outputs = small
    # float64: a smaller batch may be summed by another kernel
    torch.testing.assert_close(fast.row(ALPHAS, 0.5)["loss"], expected, rtol=1e-12, atol=0)
    assert passes == [64, 32, 16] and fast.chunk_size == 16


def test_train_mode_that_does_not_fit_names_the_way_out(evaluators):
    fast, _ = evaluators(NETS["cnn"], "image-kernels", mode="train")

    def full(alphas, beta, chunk_size):
        raise torch.OutOfMemoryError("out of memory")

    fast._outputs = full
    with pytest.raises(MachineError, match="loss.subset"):
        fast.row(ALPHAS, 0.0)


def test_other_errors_do_not_halve_the_chunk(evaluators):
    fast, _ = evaluators(NETS["cnn"], "loop")

    def broken(alphas, beta, chunk_size):
        raise RuntimeError("a shape is wrong")

    fast._outputs = broken
    with pytest.raises(RuntimeError, match="shape"):
        fast.row(ALPHAS, 0.0)


SMALL = """
import resource, torch
torch.set_num_threads(1)
from torch import nn
from studio.landscape.values.evaluator import Evaluator
from studio.landscape.network.weight_loss import WeightLoss
model = nn.Sequential(nn.Conv2d(1, 256, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                      nn.Linear(256, 3))
x, y = torch.randn(256, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(256, dtype=torch.int64)
weight_loss = WeightLoss(model, {}, x, y)
theta = weight_loss.flat(dict(model.named_parameters())).detach()
evaluator = Evaluator(weight_loss, theta, 0.1 * theta, 0 * theta, "loop")
evaluator.chunk_size = 8
few = evaluator.row([0.0, 1.0], 0.0)["loss"]
evaluator.chunk_size = weight_loss.chunk_size  # 256 pictures of 16 x 16 with 256 features: 67 MB at a time
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 40 * 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]))
values = evaluator.row([0.0, 1.0], 0.0)["loss"]
assert torch.allclose(values, few, rtol=1e-6), (values, few)
print(weight_loss.chunk_size, evaluator.chunk_size)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space are Linux's")
def test_a_real_memory_limit_leads_to_smaller_chunks():
    done = subprocess.run([sys.executable, "-c", SMALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert before == 256 and after < before
