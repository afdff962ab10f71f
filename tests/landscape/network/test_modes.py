import copy

import pytest
import torch
from torch import nn

from studio.landscape.network.graph import channels_last
from studio.landscape.network.modes import mutable_buffers, set_mode, use_exact_statistics


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("affine", [True, False])
def test_exact_statistics_are_those_of_float64_over_many_pixels(affine):
    norm = nn.BatchNorm2d(16, affine=affine).double()
    x = 2 * random(256, 16, 28, 28) + 1
    set_mode(norm, "train")
    with torch.inference_mode():
        expected = norm(x.double())
        norm.float()
        plain = norm(channels_last(x))
        use_exact_statistics(norm)
        exact = norm(channels_last(x))
    # torch's own kernel adds up 200,000 rows one after the other
    assert float((plain - expected).abs().max()) > 1e-5
    torch.testing.assert_close(exact.double(), expected, rtol=0, atol=5e-6)


def test_exact_statistics_leave_running_ones_alone():
    norm = nn.BatchNorm2d(3)
    before = copy.deepcopy(norm.state_dict())
    set_mode(norm, "train")
    use_exact_statistics(norm)
    with torch.inference_mode():
        norm(random(4, 3, 2, 2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())


def test_a_norm_that_runs_twice_is_recalibrated_by_the_mean_of_its_passes():
    norm = nn.BatchNorm1d(3, affine=False).double()
    calibration = set_mode(norm, "recalibrated")
    norm.train()
    first, second = random(9, 3).double(), 3 * random(9, 3).double() + 1
    for x in (first, second):
        norm(x)
    norm.eval()
    mean, var = ((first + second).mean(0) / 2, (first.var(0, correction=0) + second.var(0, correction=0)) / 2)
    torch.testing.assert_close(norm(first), (first - mean) / (var + norm.eps).sqrt(), rtol=1e-12, atol=1e-12)
    assert len(calibration[norm]) == 2


def test_buffers_of_batch_norms_are_not_mutable_and_all_others_are():
    model = nn.Sequential(nn.BatchNorm2d(3))
    model.register_buffer("passes", torch.zeros(1))
    assert list(mutable_buffers(model)) == ["passes"]
