import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.landscape.network import kernels
from studio.landscape.network.compiled_forward import CompiledForward
from studio.landscape.network.modes import set_mode
from studio.landscape.network.weight_loss import WeightLoss
from studio.landscape.values.evaluator import Evaluator
from studio.training.models import Resnet, Vgg

DOUBLE = {"dtype": torch.float64}
N = 6


class Branching(nn.Module):
    """Reads the input of a norm twice; runs one layer twice, ties another to it and has a frozen one."""

    def __init__(self):
        super().__init__()
        self.enter, self.repeated, self.frozen = (nn.Conv2d(a, 4, 3, padding=1) for a in (2, 4, 4))
        self.norm, self.other = nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4)
        self.tied = nn.Conv2d(4, 4, 3, padding=1)
        self.tied.weight = self.repeated.weight
        self.frozen.requires_grad_(False)
        self.scale, self.leave = nn.Parameter(torch.tensor(1.5)), nn.Linear(4, 3)

    def forward(self, x):
        x = self.enter(x)
        x = x + self.norm(x)
        x = F.relu(self.other(self.repeated(self.repeated(x)))) * self.scale
        return self.leave(self.tied(self.frozen(x)).mean((2, 3)))


class Mixing(nn.Module):
    """Mixes its samples."""

    def __init__(self):
        super().__init__()
        self.conv, self.leave = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        x = self.conv(x)
        return self.leave((x - x.mean(0)).mean((2, 3)))


NETS = {
    "resnet": Resnet(depth=14, width=4),
    "no skips": Resnet(depth=14, width=4, skip=False),
    "no norm": Resnet(depth=8, width=4, norm="none"),
    "vgg": Vgg(widths=(4, 6)),
    "deep vgg": Vgg(widths=(4, 6, 8, 8)),
    "branching": Branching,
    "mixing": Mixing,
}
SLOTS = {"resnet": 3, "no skips": 3, "no norm": 3, "vgg": 1, "deep vgg": 1, "branching": 1, "mixing": 1}


@pytest.fixture(autouse=True)
def wide_kernels_for_few_samples_too(monkeypatch):
    monkeypatch.setattr(kernels, "MIN_INPUT_SIZE", 0)


def images(shape=(2, 8, 8), count: int = N) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0), **DOUBLE)


def net(name: str, mode: str, shape=(2, 8, 8)) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        make = NETS[name]
        model = make() if isinstance(make, type) else make.build(shape, 3)
    set_mode(model.double(), mode)
    return model


def weights_along(model: nn.Module, step: float) -> dict[str, torch.Tensor]:
    """The weights, a step along a fixed direction."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: p.detach() + step * 0.1 * torch.randn(p.shape, generator=generator, **DOUBLE)
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def compiled(model: nn.Module, x: torch.Tensor) -> CompiledForward:
    return CompiledForward.of(copy.deepcopy(model), x[:2], len(x))


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 4, 6), (2, 12, 12)])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NETS)
@torch.inference_mode()
def test_every_slot_is_the_network_at_its_own_weights(name, mode, shape):
    with torch.inference_mode(False):
        model, x = net(name, mode, shape), images(shape)
        compiled_net = compiled(model, x)
    for slot in range(compiled_net.batch_slots):
        compiled_net.set_weights(compiled_net.flat(weights_along(model, slot)), slot)
    for samples in (x, x[:4]):
        outputs = compiled_net(compiled_net.arrange(samples))
        for slot in range(compiled_net.batch_slots):
            expected = torch.func.functional_call(model, weights_along(model, slot), (samples,))
            # float64: only the order of the sums differs
            torch.testing.assert_close(outputs[slot], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETS)
def test_points_pass_side_by_side_where_pictures_are_small_and_samples_stay_apart(name):
    assert compiled(net(name, "train"), images()).batch_slots == SLOTS[name]
    assert compiled(net(name, "train", (2, 12, 12)), images((2, 12, 12))).batch_slots == 1


def test_many_samples_leave_no_room_for_a_second_slot():
    assert compiled(net("resnet", "train"), images(count=900)).batch_slots == 1


def test_packed_weights_are_linear_in_the_weights():
    model = net("resnet", "train")
    compiled_net = compiled(model, images())
    theta, there = (compiled_net.flat(weights_along(model, step)) for step in (0, 1))
    delta = {name: weights_along(model, 1)[name] - weight for name, weight in weights_along(model, 0).items()}
    compiled_net.set_weights_along(theta, compiled_net.flat(delta), 1.0, slot=1)
    torch.testing.assert_close(compiled_net._packed[1], there, rtol=1e-15, atol=1e-16)
    assert not compiled_net._packed[2].any()


@torch.inference_mode()
def test_nan_stays_in_its_slot():
    with torch.inference_mode(False):
        model = net("no skips", "train")
        compiled_net = compiled(model, images())
    for slot, factor in enumerate((1.0, math.nan, 1.0)):
        compiled_net.set_weights(factor * compiled_net.flat(weights_along(model, 0)), slot)
    outputs = compiled_net(compiled_net.arrange(images()))
    assert outputs[1].isnan().all() and outputs[0].isfinite().all() and torch.equal(outputs[0], outputs[2])


def test_data_dependent_control_flow_is_not_compiled():
    class Deciding(nn.Module):
        def forward(self, x):
            return F.relu(x) if x.sum() > 0 else x

    assert CompiledForward.of(Deciding(), images(), N) is None


@pytest.mark.parametrize(("mode", "method"), [("train", "image-kernels"), ("eval", "folded")])
@pytest.mark.parametrize("skip", [True, False])
def test_a_row_has_the_same_bytes_again_and_a_point_the_same_value_in_every_slot(skip, mode, method, monkeypatch):
    monkeypatch.setattr(kernels, "MIN_INPUT_SIZE", 20480)
    model = Resnet(depth=14, width=8, skip=skip).build((1, 8, 8), 3)
    x, y = images((1, 8, 8), 128).float(), torch.arange(128) % 3
    weight_loss = WeightLoss(model, {}, x, y, mode)
    theta = weight_loss.flat({name: p.detach() for name, p in model.named_parameters()})
    evaluator = Evaluator(weight_loss, theta, 0.1 * theta.roll(1), 0.1 * theta.roll(2), method)
    alphas = [-1.0, -0.5, 0.25, 0.5, 1.0]
    row = evaluator.row(alphas, 0.5)["loss"]
    again = Evaluator(weight_loss, theta, 0.1 * theta.roll(1), 0.1 * theta.roll(2), method)
    assert torch.equal(evaluator.row(alphas, 0.5)["loss"], row) and torch.equal(again.row(alphas, 0.5)["loss"], row)
    # matrix products of AVX-512 round by where a slot lies in memory: float32, averaged over 128 samples
    for moved in (
        evaluator.row(alphas[1:] + alphas[:1], 0.5)["loss"].roll(1),
        torch.cat([evaluator.row([alpha], 0.5)["loss"] for alpha in alphas]),
    ):
        torch.testing.assert_close(moved, row, rtol=1e-6, atol=0)
