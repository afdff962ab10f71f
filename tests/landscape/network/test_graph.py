import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.landscape.network.graph import channels_last, reordered, tightened, traced
from studio.training.models import Resnet, Vgg


class Reused(nn.Module):
    """Uses what it rectifies, or what it adds, once more."""

    def __init__(self):
        super().__init__()
        self.conv, self.other = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        y = self.conv(x)
        x = F.relu(y) - y
        return F.relu(self.other(x).flatten(1)) + torch.relu(x).flatten(1)


def rectified_in_place(model: nn.Module) -> int:
    made = tightened(model)
    return sum(node.target is torch.relu_ for node in made.graph.nodes)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "model",
    [Vgg(widths=(4, 5)), Resnet(depth=8, width=4), Resnet(depth=8, width=4, norm="none")],
    ids=lambda record: record.kind,
)
def test_a_tightened_network_is_the_same_function_of_the_same_tensors(model, train):
    model = model.build((2, 8, 8), 3).train(train)
    x = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    made = tightened(model)
    with torch.no_grad():
        before = x.clone()
        assert torch.equal(made(x), model(x)) and torch.equal(x, before)
        next(model.parameters()).mul_(2)
        assert torch.equal(made(x), model(x))


def test_rectifiers_work_in_place_where_nobody_else_looks():
    assert rectified_in_place(Resnet(depth=8, width=4).build((1, 8, 8), 3)) == 7  # one a convolution
    assert rectified_in_place(Vgg(widths=(4, 5)).build((1, 8, 8), 3)) == 2


def test_a_rectifier_waits_for_the_pooling_after_it():
    model = Vgg(widths=(4, 5)).build((1, 8, 8), 3).eval()
    kinds = [
        type(model.get_submodule(node.target)).__name__
        for node in reordered(model).graph.nodes
        if node.op == "call_module"
    ]
    assert kinds[:8] == ["Conv2d", "BatchNorm2d", "MaxPool2d", "ReLU"] * 2
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(reordered(model)(x), model(x))


class Pooling(nn.Module):
    """Uses what it pools, or where the largest were, once more."""

    def __init__(self):
        super().__init__()
        self.relu, self.pool, self.where = nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2, return_indices=True)

    def forward(self, x):
        y = self.relu(x)
        largest, where = self.where(self.relu(-x))
        return self.pool(y) + y[:, :, ::2, ::2] + largest * where


def test_a_rectifier_whose_result_is_used_twice_or_told_apart_stays_where_it_is():
    model, x = Pooling(), torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    targets = [node.target for node in reordered(model).graph.nodes if node.op == "call_module"]
    assert targets == ["relu", "relu", "where", "pool"] and torch.equal(reordered(model)(x), model(x))


def test_what_is_used_twice_or_shares_its_memory_is_not_written():
    model = Reused()
    assert rectified_in_place(model) == 0
    x = torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(tightened(model)(x), model(x))


def test_an_input_is_never_written():
    assert rectified_in_place(nn.Sequential(nn.ReLU(), nn.Identity(), nn.ReLU())) == 0


def test_a_path_by_the_data_has_no_graph():
    class Deciding(nn.Module):
        def forward(self, x):
            return F.relu(x) if x.sum() > 0 else x

    model = Deciding()
    assert traced(model) is None and tightened(model) is model


class Counting(nn.Module):
    """Makes a tensor of its own in passing, as an embedding of positions does."""

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


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Identity())
    model.register_forward_hook(lambda module, given, result: 2 * result)
    return model


@pytest.mark.parametrize("make", [Counting, Remembering, Drawing, hooked])
def test_what_a_graph_would_leave_out_has_none(make):
    model, before = make(), torch.get_rng_state()
    assert traced(model) is None and tightened(model) is model
    assert torch.equal(torch.get_rng_state(), before) and all(not buffer for buffer in model.buffers())


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_lie_last_even_when_there_is_one(channels):
    x = torch.randn(2, channels, 4, 5)
    made = channels_last(x)
    assert torch.equal(made, x) and made.stride() == (20 * channels, 1, 5 * channels, channels)
    assert torch.equal(channels_last(x[0]), x[0])
