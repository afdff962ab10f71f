import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.landscape.network import kernels

DOUBLE = {"dtype": torch.float64}
SETTINGS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 0, "bias": False},
    {"kernel_size": 5, "padding": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 1},
    {"kernel_size": (3, 1), "padding": (1, 0)},
    {"kernel_size": 3, "padding": 1, "groups": 2},
]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), **DOUBLE)


def expected(conv: nn.Conv2d, x: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor | None) -> torch.Tensor:
    """The library's convolution of x [N, slots, C, H, W] by each slot's weights: [N, slots, O, H, W]."""
    settings = conv.stride, conv.padding, conv.dilation, conv.groups
    return torch.stack(
        [
            F.conv2d(x[:, slot], weight, None if biases is None else biases[slot], *settings)
            for slot, weight in enumerate(weights)
        ],
        1,
    )


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (5, 6), (20, 20)])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_wide_convolution_is_the_librarys_in_every_slot(settings, size, slots, shared):
    conv = nn.Conv2d(4, 6, **settings).double()
    weights = random(slots, *conv.weight.shape, seed=1)
    biases = None if conv.bias is None else random(slots, 6, seed=2)
    x = random(5, 1 if shared else slots, 4, *size)
    if shared and conv.groups > 1:
        pytest.skip("only a convolution without groups is shared")
    y = kernels.wide_conv2d(
        conv, x.flatten(0, 1), weights.flatten(0, 1), None if biases is None else biases.flatten(), slots, shared
    )
    # float64: only the order of the sums differs
    reference = expected(conv, x.expand(5, slots, 4, *size), weights, biases).flatten(0, 1)
    torch.testing.assert_close(y, reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_tiny_pictures_is_one_matrix_product(size, bias, slots):
    conv = nn.Conv2d(3, 5, 3, padding=1, bias=bias).double()
    x, weights = random(4, slots, 3, *size), random(slots, *conv.weight.shape, seed=1)
    biases = random(slots, 5, seed=2) if bias else None
    assert kernels.is_tiny(conv, torch.Size((4, 3, *size)))
    matrices = torch.stack([kernels.tiny_conv2d_matrix(weight, *size) for weight in weights])
    y = kernels.tiny_conv2d(x.flatten(0, 1), matrices, biases)
    reference = expected(conv, x, weights, biases).flatten(0, 1)
    torch.testing.assert_close(y, reference, rtol=1e-12, atol=1e-12)


def test_only_plain_convolutions_padded_by_pixels_have_kernels_here():
    for settings in ({"padding": "same"}, {"padding": 1, "padding_mode": "circular"}):
        assert not kernels.is_zero_padded(nn.Conv2d(4, 6, 3, **settings))
    assert not kernels.is_zero_padded(nn.ConvTranspose2d(4, 6, 3)) and not kernels.is_zero_padded(None)
    assert kernels.is_zero_padded(nn.Conv2d(4, 6, 3, padding=1))


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (1, 2, 1, 1), (3, 1, 4, 1)])
def test_hwnc_changes_the_layout_and_no_value(shape):
    x = random(*shape)
    n, c, _, w = shape
    assert torch.equal(kernels.to_hwnc(x), x) and kernels.to_hwnc(x).stride() == (c, 1, w * n * c, n * c)


@pytest.mark.parametrize(("rows", "channels"), [(64 * 3000, 16), (127 * 49, 3), (5, 2), (1, 4)])
def test_batch_statistics_are_exact_however_many_rows_there_are(rows, channels):
    x = 2 * torch.randn(rows, channels, generator=torch.Generator().manual_seed(6)) + 1
    mean, var = kernels.batch_statistics(x)
    exact = torch.var_mean(x.double(), 0, correction=0)
    # float32 keeps 7 digits; torch's own sums over 192,000 rows keep 5
    torch.testing.assert_close(mean.double(), exact[1], rtol=0, atol=2e-6)
    torch.testing.assert_close(var.double(), exact[0], rtol=2e-6, atol=1e-12)


def test_grouped_statistics_are_those_of_each_slot():
    x = random(30, 3, 4, 2)  # rows, slots, groups, channels
    mean, var = kernels.grouped_statistics(x.reshape(30, -1), 3, 4)
    exact = torch.var_mean(x, (0, 2), correction=0)
    torch.testing.assert_close(mean[:, 0], exact[1], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(var[:, 0], exact[0], rtol=1e-12, atol=1e-14)
