import pytest
import torch

from studio.landscape.curvature.pearlmutter.operation import channels_to_points, per_channel, points_to_channels


@pytest.mark.parametrize("shape", [(2, 5, 3, 4, 4), (1, 5, 1, 4, 4), (3, 2, 4, 1, 1)], ids=str)
def test_images_come_back_from_the_layout_of_one_convolution(shape, normal):
    x = normal(*shape, seed=0)
    images = points_to_channels(x)
    assert images.permute(0, 2, 3, 1).is_contiguous()
    assert torch.equal(channels_to_points(images, len(x)), x)


def test_numbers_of_channels_broadcast_over_samples_and_pixels(normal):
    x, numbers = normal(2, 5, 3, 4, 4, seed=0), normal(2, 3, seed=1)
    assert torch.equal((x * per_channel(numbers))[1, :, 2], x[1, :, 2] * numbers[1, 2])
