import pytest
import torch
from torch import nn
from torch.autograd.functional import jvp
from torch.nn import functional as F

from studio.landscape.curvature.pearlmutter.convolutions import Convolution, DenseConv, InputConv, convolution, taps


def test_the_operation_of_a_convolution_depends_on_its_input_and_groups():
    layer, large, small = nn.Conv2d(2, 3, 3), torch.ones(1, 4, 2, 5, 5), torch.ones(1, 4, 2, 2, 2)
    assert type(convolution(layer, large, True)) is Convolution and type(convolution(layer, large, False)) is InputConv
    assert type(convolution(layer, small, True)) is DenseConv
    assert type(convolution(nn.Conv2d(2, 2, 3, groups=2), small, True)) is Convolution


@pytest.mark.parametrize("settings", [(1, 1, 1), (2, 1, 1), (1, 2, 2), (1, 0, 1)], ids=str)
def test_taps_connect_the_pixels_that_a_convolution_connects(settings):
    stride, padding, dilation = settings
    generator = torch.Generator().manual_seed(7)
    weight, x = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in (9, (1, 1, 3, 4)))
    connections = taps((3, 4), (3, 3), (stride,) * 2, (padding,) * 2, (dilation,) * 2)
    expected = F.conv2d(x, weight.view(1, 1, 3, 3), None, stride, padding, dilation)
    torch.testing.assert_close((x.flatten() @ (weight @ connections).view(12, -1)).view_as(expected), expected)


GROUPED, SMALL = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.Conv2d(2, 3, 3, padding=1)


@pytest.mark.parametrize("points", [1, 2])
@pytest.mark.parametrize(
    ("operation", "layer", "shape"),
    [(Convolution, GROUPED, (5, 4, 6, 6)), (DenseConv, SMALL, (5, 2, 2, 2))],
    ids=["grouped", "dense"],
)
def test_the_passes_of_a_convolution_are_torchs_derivatives(operation, layer, shape, points, check_module):
    check_module(operation(layer), layer, shape, points)


@pytest.mark.parametrize("groups", [1, 2], ids=["unfolded", "grouped"])
def test_the_passes_of_a_first_convolution_move_its_weights_alone(groups, normal, by_torch, gradients):
    layer = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=groups).double()
    x, weights = normal(1, 5, 2, 6, 6, seed=0), [normal(2, *p.shape, seed=1) for p in layer.parameters()]
    operation, forward = InputConv(layer), by_torch(layer)
    y = operation.forward(x, *weights)
    repeated = x.expand(2, *x.shape[1:])
    g, tangents = normal(*y.shape, seed=2), [normal(*w.shape, seed=3) for w in weights]
    expected, dy = jvp(lambda *tensors: forward(repeated, *tensors), tuple(weights), tuple(tangents))
    torch.testing.assert_close((y, operation.jvp(None, *tangents)), (expected, dy), rtol=1e-10, atol=1e-11)
    by_weights = gradients(lambda *tensors: forward(repeated, *tensors), *weights, g)
    for cotangents in (operation.vjp(g, False), operation.vjp_tangent(g, False)):  # linear in g
        assert cotangents.inputs == (None,)
        torch.testing.assert_close(tuple(cotangents.weights.values()), by_weights, rtol=1e-10, atol=1e-11)
