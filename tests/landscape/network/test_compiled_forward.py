import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.landscape.network import kernels
from studio.landscape.network.compiled_forward import Settled
from studio.landscape.network.weight_loss import WeightLoss, moded
from studio.landscape.values.evaluator import Evaluator
from studio.training.models import Resnet, Vgg

DOUBLE = {"dtype": torch.float64}
N = 6


class Branching(nn.Module):
    """Uses what it normalises once more; passes one layer twice, ties another to it and has a frozen one."""

    def __init__(self):
        super().__init__()
        self.enter, self.again, self.frozen = (nn.Conv2d(a, 4, 3, padding=1) for a in (2, 4, 4))
        self.norm, self.other = nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4)
        self.tied = nn.Conv2d(4, 4, 3, padding=1)
        self.tied.weight = self.again.weight
        self.frozen.requires_grad_(False)
        self.scale, self.leave = nn.Parameter(torch.tensor(1.5)), nn.Linear(4, 3)

    def forward(self, x):
        x = self.enter(x)
        x = x + self.norm(x)
        x = F.relu(self.other(self.again(self.again(x)))) * self.scale
        return self.leave(self.tied(self.frozen(x)).mean((2, 3)))


class Comparing(nn.Module):
    """Looks at all samples together."""

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
    "branching": Branching,
    "comparing": Comparing,
}
LANES = {"resnet": 3, "no skips": 3, "no norm": 3, "vgg": 1, "branching": 1, "comparing": 1}


@pytest.fixture(autouse=True)
def few_samples_pass_wide_too(monkeypatch):
    monkeypatch.setattr(kernels, "FEWEST_NUMBERS", 0)


def images(shape=(2, 8, 8), count: int = N) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0), **DOUBLE)


def net(name: str, mode: str, shape=(2, 8, 8)) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        make = NETS[name]
        model = make() if isinstance(make, type) else make.build(shape, 3)
    moded(model.double(), mode)
    return model


def moved(model: nn.Module, by: float) -> dict[str, torch.Tensor]:
    """The weights, each a little farther along a fixed direction."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: p.detach() + by * 0.1 * torch.randn(p.shape, generator=generator, **DOUBLE)
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def settled(model: nn.Module, x: torch.Tensor) -> Settled:
    return Settled.of(copy.deepcopy(model), x[:2], len(x))


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 4, 6), (2, 12, 12)])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NETS)
@torch.inference_mode()
def test_every_lane_is_the_network_at_its_own_weights(name, mode, shape):
    with torch.inference_mode(False):
        model, x = net(name, mode, shape), images(shape)
        ours = settled(model, x)
    for lane in range(ours.lanes):
        ours.put(ours.flat(moved(model, lane)), lane)
    for samples in (x, x[:4]):
        outputs = ours(ours.laid(samples))
        for lane in range(ours.lanes):
            wanted = torch.func.functional_call(model, moved(model, lane), (samples,))
            # float64: only the order of the sums differs
            torch.testing.assert_close(outputs[lane], wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETS)
def test_points_pass_side_by_side_where_pictures_are_small_and_samples_stay_apart(name):
    assert settled(net(name, "train"), images()).lanes == LANES[name]
    assert settled(net(name, "train", (2, 12, 12)), images((2, 12, 12))).lanes == 1


def test_many_samples_leave_no_room_for_a_second_lane():
    assert settled(net("resnet", "train"), images(count=900)).lanes == 1


def test_a_vector_is_linear_in_the_weights():
    model = net("resnet", "train")
    ours = settled(model, images())
    theta, there = (ours.flat(moved(model, by)) for by in (0, 1))
    delta = {name: moved(model, 1)[name] - weight for name, weight in moved(model, 0).items()}
    ours.move(theta, ours.flat(delta), 1.0, lane=1)
    torch.testing.assert_close(ours._vectors[1], there, rtol=1e-15, atol=1e-16)
    assert not ours._vectors[2].any()


@torch.inference_mode()
def test_what_is_not_a_number_stays_in_its_lane():
    with torch.inference_mode(False):
        model = net("no skips", "train")
        ours = settled(model, images())
    for lane, factor in enumerate((1.0, math.nan, 1.0)):
        ours.put(factor * ours.flat(moved(model, 0)), lane)
    outputs = ours(ours.laid(images()))
    assert outputs[1].isnan().all() and outputs[0].isfinite().all() and torch.equal(outputs[0], outputs[2])


def test_a_path_by_the_data_is_not_settled():
    class Deciding(nn.Module):
        def forward(self, x):
            return F.relu(x) if x.sum() > 0 else x

    assert Settled.of(Deciding(), images(), N) is None


@pytest.mark.parametrize(("mode", "path"), [("train", "image-kernels"), ("eval", "folded")])
@pytest.mark.parametrize("skip", [True, False])
def test_a_point_has_the_same_bytes_alone_and_in_every_lane(skip, mode, path, monkeypatch):
    monkeypatch.setattr(kernels, "FEWEST_NUMBERS", 20480)
    model = Resnet(depth=14, width=8, skip=skip).build((1, 8, 8), 3)
    x, y = images((1, 8, 8), 128).float(), torch.arange(128) % 3
    objective = WeightLoss(model, {}, x, y, mode)
    theta = objective.flat({name: p.detach() for name, p in model.named_parameters()})
    ours = Evaluator(objective, theta, 0.1 * theta.roll(1), 0.1 * theta.roll(2), path)
    alphas = [-1.0, -0.5, 0.25, 0.5, 1.0]
    row = ours.row(alphas, 0.5)["loss"]
    assert torch.equal(ours.row(alphas[1:] + alphas[:1], 0.5)["loss"].roll(1), row)
    assert torch.equal(torch.cat([ours.row([alpha], 0.5)["loss"] for alpha in alphas]), row)
