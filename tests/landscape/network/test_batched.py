from torch import nn

from studio.landscape.network.batched import BatchedNetwork
from studio.training.models import Mlp, Vgg
from studio.training.nets import Residual


def test_only_known_layers_and_shortcuts_are_batched():
    assert BatchedNetwork.of(Mlp(depth=4, width=9, norm="batch", skip=True).build((1, 8, 8), 3)).max_width == 9
    twice, hooked = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    hooked[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    for model in (
        Vgg(widths=(4, 6)).build((1, 8, 8), 3),
        nn.Sequential(twice, nn.ReLU(), twice),
        nn.Sequential(nn.BatchNorm1d(4), twice),
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
        nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)),
        nn.Sequential(nn.Linear(4, 4), Residual(nn.ReLU(), nn.ReLU())),
        hooked,
    ):
        assert BatchedNetwork.of(model) is None
