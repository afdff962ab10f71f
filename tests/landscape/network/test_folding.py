import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.landscape.network.folding import FoldedBatchNorm
from studio.training.models import Resnet, Vgg

DOUBLE = {"dtype": torch.float64}


class Leaking(nn.Module):
    """The norm is not the only one to read the convolution."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


class Twice(nn.Module):
    """One norm after two convolutions, and one convolution that runs twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)
        self.c, self.last = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        x = self.norm(self.a(x)) + self.norm(self.b(x))
        return self.last(self.c(self.c(x)))


class Penalised(nn.Module):
    """Reads the convolution's weight directly."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x)) + self.conv.weight.square().sum()


class Deciding(nn.Module):
    """Skips its norm when the data says so."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) if float(x.detach().sum()) > 0 else x


class Tied(nn.Module):
    """Two convolutions with one weight, each with a norm of its own."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.x, self.y = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.y(self.b(self.x(self.a(x))))


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


FOLDS = {
    "convolution": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()), 1),
    "no bias": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)), 1),
    "no affine": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, affine=False)), 1),
    "groups and strides": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1, groups=2), nn.BatchNorm2d(4)), 1),
    "one dimension": (lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3)), 1),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.BatchNorm1d(5), nn.Tanh()), 1),
    "residual": (lambda: Resnet(depth=8, width=4).build((2, 6, 6), 3), 7),
    "vgg": (lambda: Vgg(widths=(4, 5)).build((2, 6, 6), 3), 2),
}
STAYS = {
    "a second user": Leaking,
    "runs twice": Twice,
    "a weight read directly": Penalised,
    "data-dependent control flow": Deciding,
    "tied weights": Tied,
    "a hook": hooked,
    "no running statistics": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)),
    "something between": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)),
    "a norm over another dimension": lambda: nn.Sequential(nn.Flatten(2), nn.Linear(36, 2), nn.BatchNorm1d(2)),
    "a transposed convolution": lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 3), nn.BatchNorm2d(3)),
}


def with_statistics(make) -> nn.Module:
    """A network whose norms have running statistics of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        model = make().double()
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.data += 0.3 * torch.rand(tensor.shape, **DOUBLE)
    return model.eval()


def images() -> torch.Tensor:
    return torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(0), **DOUBLE)


def run(folding: FoldedBatchNorm, named: dict) -> torch.Tensor:
    return torch.func.functional_call(folding.model, folding.weights(named), (images(),))


@pytest.mark.parametrize(("make", "pairs"), FOLDS.values(), ids=FOLDS)
def test_a_folded_network_is_the_same_function_of_the_same_weights(make, pairs):
    model = with_statistics(make)
    folding = FoldedBatchNorm(model, images()[:2])
    assert len(folding.pairs) == pairs
    assert not any(isinstance(part, nn.modules.batchnorm._NormBase) for part in folding.model.modules())
    for shift in (0.0, 0.2):
        named = {name: p.detach() + shift for name, p in model.named_parameters()}
        expected = torch.func.functional_call(model, named, (images(),))
        # float64: rounding
        torch.testing.assert_close(run(folding, named), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("make", STAYS.values(), ids=STAYS)
def test_a_norm_that_is_not_the_only_reader_of_one_layer_stays(make):
    model = with_statistics(make)
    folding = FoldedBatchNorm(model, images()[:2])
    assert folding.pairs == []
    named = {name: p.detach() for name, p in model.named_parameters()}
    torch.testing.assert_close(run(folding, named), model(images()).detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("make", "pairs"), FOLDS.values(), ids=FOLDS)
def test_gradients_and_second_derivatives_go_through_the_fold(make, pairs):
    model = with_statistics(make)
    folding = FoldedBatchNorm(model, images()[:2])
    v = {
        name: torch.randn(p.shape, generator=torch.Generator().manual_seed(2), **DOUBLE)
        for name, p in model.named_parameters()
    }

    def second(function):
        named = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
        leaves = list(named.values())
        slopes = torch.autograd.grad(F.softplus(function(named)).square().sum(), leaves, create_graph=True)
        along = sum((slope * v[name]).sum() for slope, name in zip(slopes, named, strict=True))
        return *slopes, *torch.autograd.grad(along, leaves, materialize_grads=True)

    plain = second(lambda named: torch.func.functional_call(model, named, (images(),)))
    for a, b in zip(second(lambda named: run(folding, named)), plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.detach().abs().max() + 1))


@pytest.mark.parametrize(("make", "pairs"), FOLDS.values(), ids=FOLDS)
def test_a_direction_folds_once_for_all_points(make, pairs):
    model = with_statistics(make)
    folding = FoldedBatchNorm(model, images()[:2])
    theta = {name: p.detach() + 0.1 for name, p in model.named_parameters()}  # not the model's own
    scales = {f"{norm}.weight" for _, norm in folding.pairs}
    delta = {
        name: torch.zeros_like(p)
        if name in scales
        else torch.randn(p.shape, generator=torch.Generator().manual_seed(3), **DOUBLE)
        for name, p in theta.items()
    }
    line, start = folding.direction(theta, delta), folding.weights(theta)
    there = folding.weights({name: p + 0.7 * delta[name] for name, p in theta.items()})
    assert set(line) == set(there)
    for name, p in there.items():
        torch.testing.assert_close(start[name] + 0.7 * line[name], p, rtol=1e-11, atol=1e-12)


def test_a_direction_that_moves_the_weight_of_a_norm_does_not_fold():
    model = with_statistics(FOLDS["convolution"][0])
    folding = FoldedBatchNorm(model, images()[:2])
    theta = {name: p.detach() for name, p in model.named_parameters()}
    assert folding.direction(theta, theta) is None


def test_a_frozen_layer_folds_with_its_moving_norm():
    model = with_statistics(FOLDS["convolution"][0])
    model[0].requires_grad_(False)
    folding = FoldedBatchNorm(model, images()[:2])
    named = {name: p.detach() + 0.2 for name, p in model.named_parameters() if p.requires_grad}
    torch.testing.assert_close(
        run(folding, named), torch.func.functional_call(model, named, (images(),)).detach(), rtol=1e-12, atol=1e-12
    )
    assert all(p.requires_grad for p in folding.model.parameters())


def test_the_original_is_unchanged():
    model = with_statistics(FOLDS["residual"][0])
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    folding = FoldedBatchNorm(model, images()[:2])
    with torch.no_grad():
        for p in folding.model.parameters():
            p.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
