import copy

import pytest
import torch
from torch import nn

from studio.landscape.network import kernels
from studio.landscape.network.compiled_forward import CompiledForward
from studio.landscape.network.modes import set_mode

SETTINGS = [
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
]


@pytest.fixture(autouse=True)
def wide_kernels_for_few_samples_too(monkeypatch):
    monkeypatch.setattr(kernels, "MIN_INPUT_SIZE", 0)


def compare(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Compares a network in train mode with its compiled forward, at its own weights, in every slot."""
    set_mode(model.double(), "train")
    x = torch.randn(6, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    named = {name: p.detach() for name, p in model.named_parameters()}
    compiled = CompiledForward.of(copy.deepcopy(model), x[:2], len(x))
    for slot in range(compiled.batch_slots):
        compiled.set_weights(compiled.flat(named), slot)
    with torch.inference_mode():
        for outputs in compiled(compiled.arrange(x)):
            # float64: only the order of the sums differs
            torch.testing.assert_close(outputs, model(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("size", [(8, 8), (5, 6), (20, 20)])
def test_every_kind_of_convolution_keeps_its_result_first_and_later(settings, size):
    compare(nn.Sequential(nn.Conv2d(4, 6, **settings)), (4, *size))
    compare(nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, **settings)), (2, *size))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_of_tiny_pictures_keep_their_result(size, bias):
    compare(nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=bias)), (3, *size))


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norms_with_and_without_weights_keep_their_result(affine):
    compare(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3, affine=affine)), (2, 8, 8))


def test_poolings_and_linear_layers_keep_their_result():
    compare(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)), (2, 8, 8))
