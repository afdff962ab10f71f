import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.landscape import network
from studio.landscape.network import Objective

N, CLASSES = 7, 3


class Tied(nn.Module):
    """Two layers that share one weight, between two of their own."""

    def __init__(self):
        super().__init__()
        self.enter, self.middle, self.again, self.leave = (nn.Linear(a, b) for a, b in pairwise((8, 5, 5, 5, CLASSES)))
        self.again.weight = self.middle.weight

    def forward(self, x):
        x = torch.tanh(self.middle(torch.tanh(self.enter(x.flatten(1)))))
        return self.leave(torch.tanh(self.again(x)))


class Careless(nn.Module):
    """Calls dropout as a function and owns a layer that it never uses."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(8, CLASSES), nn.Linear(8, 2)

    def forward(self, x):
        return self.used(F.dropout(x.flatten(1), 0.5, self.training))


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Softplus(), nn.Flatten(),
                         nn.Linear(12, CLASSES))


def layered() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.3),
                         nn.Linear(6, CLASSES))


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(8, CLASSES, bias=False))


NETS = {"convolution and batch norm": convolutional, "layer norm and dropout": layered, "tied weights": Tied,
        "unused layer": Careless}


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 2, 2, 2, dtype=torch.float64, generator=generator)
    return x, torch.randint(CLASSES, (N,), generator=generator)


def net(make) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return make().double()


def theta(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters() if p.requires_grad])


def dense(objective: Objective, model: nn.Module, x, y) -> torch.Tensor:
    """The Hessian by torch's own dense differentiation of the loss written out once more."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    buffers = {name: b.clone() for name, b in model.named_buffers()}

    def loss(vector):
        parts = vector.split([p.numel() for p in named.values()])
        weights = {name: part.view(p.shape) for part, (name, p) in zip(parts, named.items(), strict=True)}
        with network.fixed_masks("cpu"):
            return F.cross_entropy(torch.func.functional_call(model, {**buffers, **weights}, (x,)), y)
    return torch.autograd.functional.hessian(loss, theta(model))


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_products_are_those_of_the_dense_hessian(make, mode, samples):
    model = net(make)
    objective = Objective(model, {}, *samples, mode)
    product = objective.product(theta(model))
    columns = torch.stack([product(v) for v in torch.eye(objective.size, dtype=torch.float64)])
    # float64 on both sides: differences are rounding
    torch.testing.assert_close(columns, dense(objective, model.train(mode == "train"), *samples), rtol=1e-9, atol=1e-11)


def test_softmax_regression_has_its_closed_form(samples):
    x, y = samples
    model = net(linear)
    objective = Objective(model, {}, x, y)
    p = F.softmax(model(x), 1).detach()
    blocks = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    wanted = torch.einsum("nab,ni,nj->aibj", blocks, x.flatten(1), x.flatten(1)).reshape(24, 24) / N
    product = objective.product(theta(model))
    found = torch.stack([product(v) for v in torch.eye(24, dtype=torch.float64)])
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_weights_of_zero_leave_the_loss_of_a_guess(samples):
    objective = Objective(net(linear), {}, *samples)
    loss, accuracy = objective.measure(torch.zeros(objective.size, dtype=torch.float64))
    assert float(loss) == pytest.approx(math.log(CLASSES), rel=1e-12)
    assert float(accuracy) == pytest.approx(100 * float((samples[1] == 0).double().mean()))      # a tie goes to class 0


def test_the_subset_passes_as_one_batch_in_train_mode(samples, monkeypatch):
    monkeypatch.setitem(network.CHUNK, "cpu", 3)
    model = net(convolutional)
    loss, _ = Objective(model, {}, *samples, "train").measure(theta(model))
    wanted = float(F.cross_entropy(model.train()(samples[0]), samples[1]).detach())
    assert float(loss) == pytest.approx(wanted, rel=1e-12)


def test_running_statistics_count_in_eval_mode_only(samples):
    model = net(convolutional)
    moved = {"1.running_mean": torch.full((3,), 2.0), "1.running_var": torch.full((3,), 0.1)}
    def losses(mode):
        return [float(Objective(model, buffers, *samples, mode).measure(theta(model))[0]) for buffers in ({}, moved)]
    assert losses("train")[0] == losses("train")[1]
    assert losses("eval")[0] != losses("eval")[1]


def test_short_last_batches_weigh_by_their_samples(samples, monkeypatch):
    model = net(convolutional)
    whole = Objective(model, {}, *samples)
    monkeypatch.setitem(network.CHUNK, "cpu", 3)          # 3 + 3 + 1
    pieces = Objective(model, {}, *samples)
    v = torch.ones(whole.size, dtype=torch.float64)
    torch.testing.assert_close(pieces.measure(theta(model)), whole.measure(theta(model)), rtol=1e-12, atol=0)
    torch.testing.assert_close(pieces.product(theta(model))(v), whole.product(theta(model))(v), rtol=1e-10, atol=1e-12)


def test_keeping_the_graphs_or_not_gives_the_same_bytes(samples, monkeypatch):
    monkeypatch.setitem(network.CHUNK, "cpu", 3)
    model = net(convolutional)
    objective = Objective(model, {}, *samples)
    v = torch.ones(objective.size, dtype=torch.float64)
    kept = objective.product(theta(model))(v)
    monkeypatch.setattr(network, "KEPT", 0)
    assert torch.equal(objective.product(theta(model))(v), kept)


@pytest.mark.parametrize("path", ["plain", "folded"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_model_and_the_random_numbers_stay_as_they_were(mode, path, samples):
    model = net(convolutional)
    model[0].bias.requires_grad_(False)
    model.train(mode == "eval")
    state, flags = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    random = torch.get_rng_state()
    objective = Objective(model, {"1.running_mean": torch.ones(3)}, *samples, mode, path=path)
    objective.measure(theta(model) + 1)
    objective.product(theta(model) + 1)(torch.ones(objective.size))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == flags and model.training == (mode == "eval")
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_frozen_tensor_is_no_coordinate(samples):
    model = net(convolutional)
    total = theta(model).numel()
    model[0].weight.requires_grad_(False)
    objective = Objective(model, {}, *samples)
    assert objective.size == total - model[0].weight.numel()
    assert objective.product(theta(model))(torch.ones(objective.size)).shape == (objective.size,)


def test_dropout_draws_one_mask_for_all_points(samples):
    model = net(layered)
    objective = Objective(model, {}, *samples, "train")
    first = float(objective.measure(theta(model))[0])
    torch.rand(5)
    assert float(objective.measure(theta(model))[0]) == first
    assert float(Objective(model, {}, *samples, "eval").measure(theta(model))[0]) != first


def test_an_exploding_loss_stays_as_measured(samples):
    objective = Objective(net(linear).float(), {}, samples[0].float(), samples[1])
    assert not math.isfinite(float(objective.measure(torch.full((24,), 3e38))[0]))
    # beyond what float32 could take the exponential of, the loss is a plain number in float64
    large = float(objective.measure(torch.cat([torch.full((8,), 1e6), torch.zeros(16)]))[0])
    assert 1e4 < large < math.inf
