import torch
from torch import nn

from studio.landscape.network.network import Network

DOUBLE = {"dtype": torch.float64}


class Counting(nn.Module):
    """Counts its passes in a buffer, and drops some of its inputs."""

    def __init__(self):
        super().__init__()
        self.layer, self.dropout = nn.Linear(4, 2, **DOUBLE), nn.Dropout(0.5)
        self.register_buffer("passes", torch.zeros(1, **DOUBLE))

    def forward(self, x):
        self.passes += 1
        return self.layer(self.dropout(x)) + self.passes


def network() -> Network:
    return Network(Counting(), "cpu", "train")


def test_weights_that_are_set_are_those_of_the_module():
    net, weights = network(), torch.arange(10, **DOUBLE)
    net.set_weights(weights)
    assert torch.equal(nn.utils.parameters_to_vector(net.module.parameters()).detach(), weights)
    net.set_weights_along(weights, torch.ones(10, **DOUBLE), 0.5)
    assert torch.equal(net.flat(net.parameters).detach(), weights + 0.5)


def test_every_pass_draws_the_same_numbers_and_restores_the_buffers():
    net, x = network(), torch.ones(3, 4, **DOUBLE)
    with torch.no_grad():
        first = net(x)
        assert torch.equal(net(x), first) and float(net.module.passes) == 0
        assert torch.equal(net.functional_call(net.parameters, x), first) and float(net.module.passes) == 0
