import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.landscape.curvature.autograd_engine import AutogradEngine
from studio.landscape.curvature.hvp import HessianOperator
from studio.landscape.curvature.pearlmutter.engine import PearlmutterEngine
from studio.landscape.network.weight_loss import WeightLoss
from studio.training.models import Resnet, Vgg
from studio.training.nets import Residual

N, CLASSES, SIDE = 6, 3, 6


class Functional(nn.Module):
    """Calls functions and methods instead of modules, and asks a tensor for its size."""

    def __init__(self):
        super().__init__()
        self.enter, self.conv, self.leave = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(16, CLASSES)

    def forward(self, x):
        x = torch.tanh(self.enter(x))
        x = F.relu(self.conv(x)).add(F.pad(x[:, :2], (0, 0, 0, 0, 0, 2)))
        x = F.avg_pool2d(F.silu(x), 2)
        return self.leave(x.view(x.size(0), -1).sigmoid())


class Twice(nn.Module):
    """Passes one convolution twice, and leaves one input to two others."""

    def __init__(self):
        super().__init__()
        self.enter, self.again, self.leave = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, CLASSES)

    def forward(self, x):
        x = self.enter(x)
        y = torch.tanh(self.again(torch.tanh(self.again(x))))
        return self.leave((y + x).mean((2, 3)))


def settings() -> nn.Module:
    """Groups, strides, dilation, and no bias; norms that fold and one that does not; pooling with overlaps."""
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), groups=2, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.MaxPool2d(3, 1, 1),
        nn.Conv2d(4, 6, 3, 2, 2, dilation=2, groups=2),
        nn.GELU(),
        nn.BatchNorm2d(6, affine=False),
        nn.Conv2d(6, 4, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(48, CLASSES, bias=False),
    )


def curved() -> nn.Module:
    """Every kind of curve, and a slope that has kinks."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.SiLU(),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Conv2d(3, 4, 2),
        nn.Mish(),
        nn.ELU(),
        nn.Identity(),
        nn.Flatten(),
        nn.Linear(4, 5),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.0),
        nn.Sigmoid(),
        nn.Linear(5, CLASSES),
    )


def wide_kernel() -> nn.Module:
    """A first kernel that sees more than a few numbers, and one that leaves a single pixel."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 5, padding=1),
        nn.Tanh(),
        nn.Conv2d(3, 4, 4),
        nn.Tanh(),
        nn.Conv2d(4, 3, 3, padding=1),
        nn.Flatten(),
    )


def perceptron() -> nn.Module:
    """Norms with and without weights between layers with and without a bias, and a shortcut."""
    branch = nn.Sequential(
        nn.Linear(5, 5, bias=False), nn.BatchNorm1d(5), nn.GELU(), nn.Linear(5, 5), nn.BatchNorm1d(5)
    )
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(2 * SIDE * SIDE, 4),
        nn.BatchNorm1d(4),
        nn.Tanh(),
        nn.Linear(4, 5),
        nn.BatchNorm1d(5, affine=False),
        nn.ReLU(),
        Residual(branch, nn.Tanh()),
        nn.Linear(5, CLASSES),
    )


KNOWN = {
    "a perceptron": perceptron,
    "functions": Functional,
    "a layer used twice": Twice,
    "settings of convolutions": settings,
    "curves": curved,
    "in place": "in place",
    "a wide kernel": wide_kernel,
    "residual": lambda: Resnet(depth=8, width=2).build((2, SIDE, SIDE), CLASSES),
    "pooled": lambda: Vgg(widths=(2, 3)).build((2, SIDE, SIDE), CLASSES),
}


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 2, SIDE, SIDE, dtype=torch.float64, generator=generator)
    return x, torch.randint(CLASSES, (N,), generator=generator)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def known(model: nn.Module, samples, mode: str = "eval", **options) -> HessianOperator:
    """The Hessian by the written-out passes."""
    hessian = HessianOperator(WeightLoss(model, {}, *samples, mode), **options)
    assert is_written_out(hessian)
    return hessian


def is_written_out(hessian: HessianOperator) -> bool:
    return isinstance(hessian.engine, PearlmutterEngine)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_products_are_those_of_torchs_own_second_derivative(make, mode, samples, net, near):
    model = net(make)
    hessian, point = known(model, samples, mode), near(model, 1)
    weight_loss = WeightLoss(model, {}, *samples, mode)
    by_torch = HessianOperator(weight_loss, engine=AutogradEngine(weight_loss))
    v = normal(1, hessian.size)
    product = hessian.products(point)(v)
    assert product.abs().max() > 1e-3
    # float64 on both sides: differences are rounding
    torch.testing.assert_close(product, by_torch.products(point)(v), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(hessian.gradients(point), by_torch.gradients(point), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_batched_points_have_the_products_of_single_ones(make, mode, samples, net, near):
    model = net(make)
    hessian, points = known(model, samples, mode), near(model, 5)
    v = normal(*points.shape)
    assert hessian.engine.batch_points >= len(points)
    single = torch.cat([hessian.products(point[None])(part[None]) for point, part in zip(points, v, strict=True)])
    # float64 on both sides, in another order
    torch.testing.assert_close(hessian.products(points)(v), single, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("make", [settings, "in place", perceptron], ids=["settings", "in place", "perceptron"])
def test_ignored_or_frozen_weights_leave_the_rest_of_the_product(make, mode, samples, net, theta):
    model = net(make)
    full = known(model, samples, mode)
    part = known(model, samples, mode, ignore="bias-and-norm")
    v, point = normal(1, part.size), theta(model)[None]
    expected = part.restrict(full.products(point)(part.embed(v)))
    # in rounding only: the same sums with zeros in them
    torch.testing.assert_close(part.products(point)(v), expected, rtol=1e-10, atol=1e-12)
    frozen = copy.deepcopy(model)
    for p in frozen.parameters():
        p.requires_grad_(p.dim() > 1)
    first = next(frozen.parameters())
    first.requires_grad_(False)
    count = first.numel()
    v[:, :count] = 0
    expected = part.products(point)(v)[:, count:]
    actual = known(frozen, samples, mode).products(theta(frozen)[None])(v[:, count:])
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_products_are_linear_and_symmetric(mode, samples, net, near):
    model = net(KNOWN["residual"])
    hessian = known(model, samples, mode)
    product = hessian.products(near(model, 1))
    u, v = normal(2, 1, hessian.size)
    torch.testing.assert_close(product(u - 3 * v), product(u) - 3 * product(v), rtol=1e-9, atol=1e-11)
    assert float((u * product(v)).sum()) == pytest.approx(float((v * product(u)).sum()), rel=1e-10)


@pytest.mark.parametrize("make", [settings, KNOWN["pooled"]], ids=["settings", "pooled"])
def test_a_product_has_the_same_bytes_whatever_ran_before(make, samples, net, near):
    model = net(make)
    hessian = known(model, samples)
    product, v = hessian.products(near(model, 2)), normal(2, hessian.size)
    first = product(v)
    product(v.flip(0)), hessian.products(near(model, 3))(normal(3, hessian.size))
    assert torch.equal(product(v), first)
    assert torch.equal(known(model, samples).products(near(model, 2))(v), first)


def test_short_last_chunks_weigh_by_their_samples(samples, net, near):
    model = net(settings)
    weight_loss = WeightLoss(model, {}, *samples)
    weight_loss.chunk_size = 4  # 4 + 2
    chunked, single = HessianOperator(weight_loss), known(model, samples)
    v, point = normal(1, single.size), near(model, 1)
    assert is_written_out(chunked)
    torch.testing.assert_close(chunked.products(point)(v), single.products(point)(v), rtol=1e-10, atol=1e-12)


def test_single_precision_keeps_its_digits(samples, net, theta):
    model = net(curved)
    double, single = known(model, samples), known(copy.deepcopy(model).float(), [samples[0].float(), samples[1]])
    v, point = normal(1, double.size), theta(model)[None]
    exact = double.products(point)(v)
    error = (single.products(point.float())(v) - exact).norm() / exact.norm()
    assert error < 1e-5  # a hundred roundings of 6e-8


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_users_model_stays_as_it_was(mode, samples, net, near):
    model = net("in place")
    state, flags = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    random = torch.get_rng_state()
    hessian = known(model, samples, mode)
    hessian.products(near(model, 3))(normal(3, hessian.size))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == flags and model.training
    assert all(p.grad is None for p in model.parameters()) and torch.equal(torch.get_rng_state(), random)
