import pytest
import torch

from studio.landscape.curvature.engine import CHAIN_WEIGHTS, has_large_images, has_small_images, small_chain
from studio.landscape.network.kernels import MAX_WIDTH
from studio.landscape.network.weight_loss import WeightLoss
from studio.training.models import Mlp, Vgg

SMALL, LARGE = (1, MAX_WIDTH, MAX_WIDTH), (1, MAX_WIDTH, MAX_WIDTH + 1)


def weight_loss(record, shape: tuple[int, ...], mode: str = "eval") -> WeightLoss:
    return WeightLoss(record.build(shape, 3), {}, torch.ones(4, *shape), torch.arange(4) % 3, mode)


def test_a_small_chain_is_a_chain_of_few_weights():
    few, many = (weight_loss(Mlp(depth=2, width=width), SMALL) for width in (8, 256))
    assert few.size <= CHAIN_WEIGHTS < many.size
    assert small_chain(few).max_width == 8 and small_chain(many) is None
    assert small_chain(weight_loss(Vgg(widths=(2,)), SMALL)) is None


def test_images_are_large_if_a_side_is_longer_than_the_kernels_for_small_ones_take():
    assert has_large_images(torch.ones(4, *LARGE)) and not has_large_images(torch.ones(4, *SMALL))
    assert not has_large_images(torch.ones(4, 100))


@pytest.mark.parametrize(
    ("shape", "mode", "expected"), [(SMALL, "eval", True), (LARGE, "eval", False), (SMALL, "recalibrated", False)]
)
def test_points_of_small_images_run_together_unless_statistics_are_recalibrated(shape, mode, expected):
    assert has_small_images(weight_loss(Vgg(widths=(2,)), shape, mode)) is expected
