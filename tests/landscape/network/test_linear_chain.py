from torch import nn

from studio.landscape.network.linear_chain import LinearChain
from studio.training.models import Mlp, Vgg


def test_only_a_chain_of_linear_layers_is_a_linear_chain():
    assert LinearChain.of(Mlp(depth=3, width=4).build((1, 8, 8), 3)).max_width == 4
    twice = nn.Linear(4, 4)
    for model in (
        Vgg(widths=(2,)).build((1, 8, 8), 3),
        nn.Sequential(twice, nn.ReLU(), twice),
        nn.Sequential(nn.ReLU(), twice),
        nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)),
        nn.Sequential(nn.Linear(4, 4), nn.Softmax(1)),
    ):
        assert LinearChain.of(model) is None
