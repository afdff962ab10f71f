import copy

import pytest
import torch
from torch import nn

from studio.landscape.network import kernels as room
from studio.landscape.network.kernels import statistics, widen
from studio.training.models import Resnet, Vgg

MODELS = [
    Resnet(depth=8, width=4),
    Resnet(depth=8, width=4, skip=False),
    Resnet(depth=8, width=4, norm="none"),
    Vgg(widths=(4, 6, 8, 8)),
]
SHAPES = [(1, 8, 8), (3, 12, 12), (2, 4, 6)]


@pytest.fixture(autouse=True)
def small_pictures_widen_too(monkeypatch):
    monkeypatch.setattr(room, "FEWEST_NUMBERS", 0)


def pair(model: nn.Module, train: bool) -> tuple[nn.Module, nn.Module]:
    plain = model.double().train(train)
    wide = copy.deepcopy(plain)
    widen(wide)
    return plain, wide


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("record", MODELS, ids=lambda record: f"{record.kind}-{record.norm}")
def test_a_widened_network_is_the_same_function(record, shape, train):
    plain, wide = pair(record.build(shape, 10), train)
    x = torch.randn(7, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        # float64: only the order of the sums differs
        torch.testing.assert_close(wide(x), plain(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 0, "bias": False},
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 1},
        {"kernel_size": (3, 1), "padding": (1, 0)},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(8, 8), (5, 6), (20, 20)])
def test_every_kind_of_convolution_keeps_its_result(settings, size):
    plain, wide = pair(nn.Sequential(nn.Conv2d(4, 6, **settings)), True)
    x = torch.randn(5, 4, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(wide(x), plain(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_tiniest_pictures_are_one_matrix_product(size, bias):
    plain, wide = pair(nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=bias)), True)
    x = torch.randn(4, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(wide(x), plain(x), rtol=1e-12, atol=1e-12)


def test_gradients_go_through_a_widened_network_unchanged():
    plain, wide = pair(Resnet(depth=8, width=4).build((1, 8, 8), 10), True)
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    wanted, found = (torch.autograd.grad(net(x).square().sum(), list(net.parameters())) for net in (plain, wide))
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_batch_statistics_without_weights_widen_too():
    plain, wide = pair(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3, affine=False)), True)
    x = torch.randn(6, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        torch.testing.assert_close(wide(x), plain(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("rows", "channels"), [(64 * 3000, 16), (127 * 49, 3), (5, 2), (1, 4)])
def test_batch_statistics_are_exact_however_many_rows_there_are(rows, channels):
    x = 2 * torch.randn(rows, channels, generator=torch.Generator().manual_seed(6)) + 1
    mean, var = statistics(x)
    exact = torch.var_mean(x.double(), 0, correction=0)
    # float32 keeps 7 digits; torch's own sums over 192,000 rows keep 5
    torch.testing.assert_close(mean.double(), exact[1], rtol=0, atol=2e-6)
    torch.testing.assert_close(var.double(), exact[0], rtol=2e-6, atol=1e-12)
