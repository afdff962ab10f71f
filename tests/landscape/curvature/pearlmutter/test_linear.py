from functools import partial

import pytest
from torch import nn

from studio.landscape.curvature.pearlmutter.linear import Linear


@pytest.mark.parametrize("points", [1, 2])
@pytest.mark.parametrize(
    ("operation", "shape"),
    [(Linear, (5, 4)), (Linear, (5, 2, 4)), (partial(Linear, samples_last=True), (5, 4))],
    ids=["features", "pixels", "samples last"],
)
def test_the_passes_of_a_linear_layer_are_torchs_derivatives(operation, shape, points, check_module):
    check_module(operation(), nn.Linear(4, 3), shape, points)
