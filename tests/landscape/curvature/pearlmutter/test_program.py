import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.nn import functional as F

from studio.landscape.curvature.hvp import HessianOperator
from studio.landscape.curvature.pearlmutter.engine import PearlmutterEngine
from studio.landscape.curvature.pearlmutter.program import CURVES, INPLACE_CALLS, MAPS, RELU_CALLS, SUM_CALLS
from studio.landscape.network.weight_loss import WeightLoss

CLASSES = 3


class Overwritten(nn.Module):
    """Overwrites an input that it uses once more, so that the order of its operations counts."""

    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Conv2d(2, 4, 3), nn.Linear(4, CLASSES)

    def forward(self, x):
        x = self.enter(x)
        return self.leave((F.relu(x, inplace=True) * x).mean((2, 3)))


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 2, 6, 6, generator=generator), torch.randint(CLASSES, (6,), generator=generator)


@pytest.mark.parametrize(
    "make",
    [
        Overwritten,
        lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(72), nn.Linear(72, CLASSES)),
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding="same"), nn.Flatten(), nn.Linear(108, CLASSES)),
    ],
    ids=["overwritten", "layer norm", "same"],
)
def test_a_network_with_an_unknown_operation_is_left_to_torch(make, samples):
    weight_loss = WeightLoss(make(), {}, *samples)
    assert PearlmutterEngine.of(weight_loss) is None
    hessian = HessianOperator(weight_loss)
    point = torch.cat([p.detach().flatten() for p in weight_loss.model.parameters()])[None]
    assert hessian.products(point)(torch.ones(1, hessian.size)).isfinite().all()


def test_random_masks_are_left_to_torch(samples):
    masked = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(72, CLASSES))
    assert PearlmutterEngine.of(WeightLoss(masked, {}, *samples, "train")) is None
    assert PearlmutterEngine.of(WeightLoss(masked, {}, *samples)) is not None


def test_recalibrated_statistics_are_left_to_torch(samples, net):
    weight_loss = WeightLoss(net("in place").float(), {}, *samples, "recalibrated")
    assert not isinstance(HessianOperator(weight_loss).engine, PearlmutterEngine)


def test_hooks_are_left_to_torch(samples, net):
    model = net("in place").float()
    assert PearlmutterEngine.of(WeightLoss(model, {}, *samples)) is not None
    model[4].register_forward_hook(lambda module, args, output: 2 * output)
    assert PearlmutterEngine.of(WeightLoss(model, {}, *samples)) is None


LAYERS = [nn.Flatten(), nn.Unflatten(1, (1, 2)), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.ZeroPad2d(1)]


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.__name__)
def test_a_curve_acts_on_each_number_by_itself(curve):
    slopes = jacobian(curve(), torch.linspace(-2.0, 2.0, 6, dtype=torch.float64))
    assert torch.equal(slopes, slopes.diag().diag())


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_map_is_linear(layer, normal):
    x, y = normal(2, 3, 2, 4, 4, seed=0)
    torch.testing.assert_close(layer(x - 3 * y), layer(x) - 3 * layer(y), rtol=1e-12, atol=1e-12)


def test_every_map_is_tested():
    assert {type(layer) for layer in LAYERS} == set(MAPS)


def test_calls_that_overwrite_their_input_are_rectifiers_or_sums():
    assert INPLACE_CALLS <= RELU_CALLS | SUM_CALLS
