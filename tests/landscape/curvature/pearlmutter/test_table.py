import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from studio.landscape.curvature.pearlmutter.table import CURVES, INPLACE_CALLS, MAPS, RELU_CALLS, SUM_CALLS

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
