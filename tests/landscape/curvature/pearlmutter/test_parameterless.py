import pytest
import torch
from torch import nn

from studio.landscape.curvature.pearlmutter.operation import UnknownOperationError
from studio.landscape.curvature.pearlmutter.parameterless import LinearMap, MaxPool, Pointwise, ReLU, Sum

POOL, AVERAGE = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)
OPERATIONS = {
    "relu": (nn.ReLU(), ReLU),
    "pointwise": (nn.Tanh(), lambda: Pointwise(torch.tanh)),
    "max pooling": (POOL, lambda: MaxPool(POOL)),
    "linear map": (AVERAGE, lambda: LinearMap(AVERAGE)),
    "identity": (nn.Identity(), Sum),
}


@pytest.mark.parametrize("points", [1, 2])
@pytest.mark.parametrize(("module", "make"), OPERATIONS.values(), ids=OPERATIONS)
def test_the_passes_of_an_operation_without_weights_are_torchs_derivatives(module, make, points, check_module):
    check_module(make(), module, (5, 4, 6, 6), points)


def test_a_sum_passes_its_gradient_to_both_terms(normal, check_passes):
    check_passes(Sum(), torch.add, [normal(2, 3, 4, seed=0), normal(2, 3, 4, seed=1)], 2)
    g = normal(2, 3, 4, seed=2)
    assert torch.equal(Sum().jvp(None, g), g) and torch.equal(Sum().jvp(g, None), g)


def test_sums_that_broadcast_and_pooling_with_indices_are_unknown():
    with pytest.raises(UnknownOperationError):
        Sum().forward(torch.ones(1, 3, 4), torch.ones(1, 3, 1))
    with pytest.raises(UnknownOperationError):
        MaxPool(nn.MaxPool2d(2, return_indices=True))
