import pytest
import torch
from torch import nn

from studio.landscape.curvature.pearlmutter.norms import BatchNorm, FixedNorm, batch_norm
from studio.landscape.curvature.pearlmutter.operation import UnknownOperationError

RUNNING_NORM = nn.BatchNorm2d(4).eval()
RUNNING_NORM.running_mean.copy_(torch.linspace(-1, 1, 4))
RUNNING_NORM.running_var.copy_(torch.linspace(0.5, 2, 4))
NORMS = {
    "images": (batch_norm, nn.BatchNorm2d(4, track_running_stats=False), (5, 4, 6, 6)),
    "features": (batch_norm, nn.BatchNorm1d(4, track_running_stats=False), (5, 4)),
    "running statistics": (batch_norm, RUNNING_NORM, (5, 4, 6, 6)),
}


@pytest.mark.parametrize("points", [1, 2])
@pytest.mark.parametrize(("make", "norm", "shape"), NORMS.values(), ids=NORMS)
def test_the_passes_of_a_batch_norm_are_torchs_derivatives(make, norm, shape, points, check_module):
    norm = norm.double()
    check_module(make(norm, torch.empty(1, *shape), True), norm, shape, points)


def test_the_mode_of_a_norm_decides_its_statistics():
    images, features = torch.empty(1, 5, 4, 6, 6), torch.empty(1, 5, 4)
    assert type(batch_norm(RUNNING_NORM, images, True)) is FixedNorm
    assert type(batch_norm(nn.BatchNorm2d(4), images, True)) is BatchNorm
    with pytest.raises(UnknownOperationError):
        batch_norm(nn.BatchNorm1d(4).eval(), features, True)
