import pytest
import torch
from torch import nn

from studio.landscape.curvature.autograd_engine import AutogradEngine
from studio.landscape.curvature.engine import CHAIN_POINTS, IMAGE_POINTS
from studio.landscape.network.weight_loss import WeightLoss
from studio.training.models import Mlp, Resnet, Vgg

SMALL, LARGE = (1, 4, 4), (1, 12, 12)


class DataDependent(nn.Module):
    """Chooses its operation by its data."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, x):
        h = self.layer(x.flatten(1))
        return h if h.sum() > 0 else -h


def engine(model: nn.Module, shape: tuple[int, ...], mode: str = "eval") -> AutogradEngine:
    return AutogradEngine(WeightLoss(model, {}, torch.ones(4, *shape), torch.arange(4) % 3, mode))


@pytest.mark.parametrize(
    ("record", "shape", "mode", "points"),
    [
        (Mlp(depth=2, width=8), SMALL, "eval", CHAIN_POINTS["cpu"]),
        (Resnet(depth=8, width=2), SMALL, "eval", IMAGE_POINTS),
        (Resnet(depth=8, width=2), SMALL, "recalibrated", 1),
        (Vgg(widths=(2, 3)), LARGE, "eval", 1),
    ],
    ids=["chain", "small images", "recalibrated", "large images"],
)
def test_points_are_batched_by_a_rule_of_network_and_mode(record, shape, mode, points):
    assert engine(record.build(shape, 3), shape, mode).batch_points == points


def test_products_of_a_chain_alone_are_cheap():
    assert engine(Mlp(depth=2, width=8).build(SMALL, 3), SMALL).is_cheap
    assert not engine(Vgg(widths=(2, 3)).build(SMALL, 3), SMALL).is_cheap


def test_a_network_whose_operations_depend_on_its_data_is_never_batched():
    assert engine(DataDependent(), SMALL).batch_points == 1
