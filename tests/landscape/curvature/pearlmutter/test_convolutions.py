import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.landscape.curvature.pearlmutter.convolutions import Convolution, DenseConv, InputConv, convolution, taps


def test_the_operation_of_a_convolution_depends_on_its_input_and_groups():
    layer, large, small = nn.Conv2d(2, 3, 3), torch.ones(1, 4, 2, 5, 5), torch.ones(1, 4, 2, 2, 2)
    assert type(convolution(layer, large, True)) is Convolution and type(convolution(layer, large, False)) is InputConv
    assert type(convolution(layer, small, True)) is DenseConv
    assert type(convolution(nn.Conv2d(2, 2, 3, groups=2), small, True)) is Convolution


@pytest.mark.parametrize("settings", [(1, 1, 1), (2, 1, 1), (1, 2, 2), (1, 0, 1)], ids=str)
def test_taps_join_the_pixels_that_a_convolution_joins(settings):
    stride, padding, dilation = settings
    generator = torch.Generator().manual_seed(7)
    weight, x = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in (9, (1, 1, 3, 4)))
    joined = taps((3, 4), (3, 3), (stride,) * 2, (padding,) * 2, (dilation,) * 2)
    expected = F.conv2d(x, weight.view(1, 1, 3, 3), None, stride, padding, dilation)
    torch.testing.assert_close((x.flatten() @ (weight @ joined).view(12, -1)).view_as(expected), expected)
