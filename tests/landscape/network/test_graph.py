import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.landscape.network.graph import channels_last, inplace_ops, pool_before_relu, trace_graph
from studio.training.models import Resnet, Vgg


class Reused(nn.Module):
    """Reads the input of a ReLU, and of a sum, twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.other = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        y = self.conv(x)
        x = F.relu(y) - y
        return F.relu(self.other(x).flatten(1)) + torch.relu(x).flatten(1)


def relus_in_place(model: nn.Module) -> int:
    module = inplace_ops(model)
    return sum(node.target is torch.relu_ for node in module.graph.nodes)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "model",
    [Vgg(widths=(4, 5)), Resnet(depth=8, width=4), Resnet(depth=8, width=4, norm="none")],
    ids=lambda record: record.kind,
)
def test_a_network_with_operations_in_place_is_the_same_function_of_the_same_tensors(model, train):
    model = model.build((2, 8, 8), 3).train(train)
    x = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    module = inplace_ops(model)
    with torch.no_grad():
        before = x.clone()
        assert torch.equal(module(x), model(x)) and torch.equal(x, before)
        next(model.parameters()).mul_(2)
        assert torch.equal(module(x), model(x))


def test_relus_work_in_place_where_nothing_else_reads_their_input():
    assert relus_in_place(Resnet(depth=8, width=4).build((1, 8, 8), 3)) == 7  # one a convolution
    assert relus_in_place(Vgg(widths=(4, 5)).build((1, 8, 8), 3)) == 2


def test_a_relu_moves_behind_the_pooling_after_it():
    model = Vgg(widths=(4, 5)).build((1, 8, 8), 3).eval()
    kinds = [
        type(model.get_submodule(node.target)).__name__
        for node in pool_before_relu(model).graph.nodes
        if node.op == "call_module"
    ]
    assert kinds[:8] == ["Conv2d", "BatchNorm2d", "MaxPool2d", "ReLU"] * 2
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pool_before_relu(model)(x), model(x))


class Pooling(nn.Module):
    """Reads the input of a pooling, and the indices of its maxima, twice."""

    def __init__(self):
        super().__init__()
        self.relu, self.pool, self.where = nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2, return_indices=True)

    def forward(self, x):
        y = self.relu(x)
        largest, where = self.where(self.relu(-x))
        return self.pool(y) + y[:, :, ::2, ::2] + largest * where


def test_a_relu_whose_result_is_read_twice_or_pooled_with_indices_stays_where_it_is():
    model, x = Pooling(), torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    targets = [node.target for node in pool_before_relu(model).graph.nodes if node.op == "call_module"]
    assert targets == ["relu", "relu", "where", "pool"] and torch.equal(pool_before_relu(model)(x), model(x))


def test_a_tensor_that_is_read_twice_or_shares_its_memory_is_not_overwritten():
    model = Reused()
    assert relus_in_place(model) == 0
    x = torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(inplace_ops(model)(x), model(x))


def test_an_input_is_never_overwritten():
    assert relus_in_place(nn.Sequential(nn.ReLU(), nn.Identity(), nn.ReLU())) == 0


def test_data_dependent_control_flow_has_no_graph():
    class Deciding(nn.Module):
        def forward(self, x):
            return F.relu(x) if x.sum() > 0 else x

    model = Deciding()
    assert trace_graph(model) is None and inplace_ops(model) is model


class Counting(nn.Module):
    """Creates a tensor during the pass, as an embedding of positions does."""

    def forward(self, x):
        return x + torch.arange(3.0)


class Remembering(nn.Module):
    """Counts its passes in a buffer, where a tracer does not see it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        self.passes += 1
        return x * self.passes


class Drawing(nn.Module):
    """Skips a layer by chance, as networks of stochastic depth do."""

    def forward(self, x):
        return x + 1 if torch.rand(()) < 0.5 else x


class Labelled(nn.Module):
    """May be given labels, as networks of transformers are."""

    def forward(self, x, labels=None):
        return x if labels is None else F.mse_loss(x, labels)


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Identity())
    model.register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


@pytest.mark.parametrize("make", [Counting, Remembering, Drawing, Labelled, hooked])
def test_a_network_whose_graph_would_be_incomplete_has_none(make):
    model, before = make(), torch.get_rng_state()
    assert trace_graph(model) is None and inplace_ops(model) is model
    assert torch.equal(torch.get_rng_state(), before) and all(not buffer for buffer in model.buffers())


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_last_even_when_there_is_one(channels):
    x = torch.randn(2, channels, 4, 5)
    module = channels_last(x)
    assert torch.equal(module, x) and module.stride() == (20 * channels, 1, 5 * channels, channels)
    assert torch.equal(channels_last(x[0]), x[0])
