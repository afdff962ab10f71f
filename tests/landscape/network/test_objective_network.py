import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from studio.landscape.curvature.hvp import HessianOperator
from studio.landscape.network.objective_network import ObjectiveNetwork
from studio.landscape.network.weight_loss import WeightLoss
from studio.landscape.values.evaluator import Evaluator
from studio.training.losses import mean_squares

N, WIDTH = 600, 3
"""More samples than pass in one chunk."""


class Autoencoder(nn.Module):
    """Its output is a dictionary, and its mean depends on a buffer."""

    def __init__(self):
        super().__init__()
        self.encode, self.norm, self.decode = nn.Linear(WIDTH, 2), nn.BatchNorm1d(2), nn.Linear(2, WIDTH)
        self.register_buffer("shift", torch.tensor(0.5))

    def forward(self, x):
        code = self.norm(self.encode(x)).tanh()
        return {"code": code, "output": self.decode(code) + self.shift}


def rebuild(model, batch):
    x = batch[0] if isinstance(batch, tuple) else batch
    outputs = model(x)
    return {"loss": (outputs["output"] - x).square().mean(1), "code": outputs["code"].norm(dim=1)}


class Plain(nn.Module):
    """The same network with the same weights' names, its output alone."""

    def __init__(self, model):
        super().__init__()
        self.encode, self.norm, self.decode, self.shift = model.encode, model.norm, model.decode, model.shift

    def forward(self, x):
        return self.decode(self.norm(self.encode(x)).tanh()) + self.shift


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Autoencoder()
    model.norm.running_mean.normal_()
    return model


@pytest.fixture
def x():
    return torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(1))


def numbers_of(function):
    def numbers(model, x, y):
        returned = function(model, x if y is None else (x, y))
        values = returned if isinstance(returned, dict) else {"loss": returned}
        return {name: value.double() for name, value in values.items()}

    return numbers


NUMBERS = numbers_of(rebuild)


def test_its_weights_are_the_models_by_their_names_and_the_columns_are_the_numbers(model, x):
    before = copy.deepcopy(model.state_dict())
    network = ObjectiveNetwork(model, NUMBERS, x, None).eval()
    assert list(dict(network.named_parameters())) == list(dict(model.named_parameters())) and network.columns == (
        "loss",
        "code",
    )
    indices = torch.tensor([5, 2, 9])
    expected = rebuild(model.eval(), x[indices])
    torch.testing.assert_close(network(indices), torch.stack([expected["loss"], expected["code"]], 1).double())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["decode.bias", "shift", "norm.running_mean"])
def test_other_tensors_by_name_are_the_models_in_a_copy_too(model, x, name):
    network, indices = copy.deepcopy(ObjectiveNetwork(model, NUMBERS, x, None)).eval(), torch.arange(4)
    tensor = dict(model.named_parameters()) | dict(model.named_buffers())
    moved = functional_call(network, {name: tensor[name].detach() + 1}, (indices,))
    assert not torch.allclose(moved, network(indices))
    model.eval().state_dict()[name].add_(1)
    torch.testing.assert_close(moved[:, 0], rebuild(model, x[:4])["loss"].double())


@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_values_and_curvature_are_those_of_a_built_in_objective_on_the_same_network(model, x, mode, precision):
    plain = Plain(model)
    own = WeightLoss(model, {}, x, None, mode, numbers=NUMBERS, precision=precision)
    built_in = WeightLoss(plain, {}, x, None, mode, criterion=mean_squares, fields={}, precision=precision)
    assert own.names == built_in.names and own.size == built_in.size and own.sample_count == N
    assert own.single_batch is built_in.single_batch is (mode == "train") and own.chunk_size == built_in.chunk_size
    theta = own.flat(dict(model.named_parameters()))
    delta, eta = torch.randn(2, own.size, generator=torch.Generator().manual_seed(2)).to(theta)
    rows = [Evaluator(loss, theta, delta, eta, keep_samples=True).row([-0.5, 0, 1], 0.5) for loss in (own, built_in)]
    assert list(rows[0]) == ["loss", "code", "losses"]
    torch.testing.assert_close(rows[0]["losses"], rows[1]["losses"], rtol=1e-5, atol=1e-7)
    hessians = [HessianOperator(loss) for loss in (own, built_in)]
    products = [hessian.products(theta[None])(delta[None]) for hessian in hessians]
    # float32 sums in another order
    torch.testing.assert_close(*products, rtol=1e-3, atol=1e-3 * float(products[1].abs().max()))
    assert hessians[0].asymmetry(theta) < 1e-3


def test_the_first_samples_alone_are_a_loss_over_them(model, x):
    own, few = WeightLoss(model, {}, x, x[:, 0], numbers=NUMBERS), 7
    part, theta = own.subset(few), own.flat(dict(model.named_parameters()))
    assert part.sample_count == few
    torch.testing.assert_close(part.forward_all(theta), own.forward_all(theta)[:few])


def test_an_objective_that_compares_samples_gets_them_all_at_once(model, x):
    def spread(model, x):
        code = model(x)["code"]
        return (code - code.mean(0)).square().sum(1) - 3

    own = WeightLoss(model, {}, x, None, numbers=numbers_of(spread))
    outputs = own.forward_all(own.flat(dict(model.named_parameters())))
    assert own.chunk_size == N and outputs.min() < 0
    torch.testing.assert_close(outputs[:, 0], spread(model.eval(), x).double())


def test_random_numbers_of_an_objective_are_the_same_at_every_point(model, x):
    def noisy(model, batch):
        x, y = batch
        return F.mse_loss(model(x + torch.randn_like(x))["output"], y, reduction="none").mean(1)

    state = torch.get_rng_state()
    own = WeightLoss(model, {}, x, x, numbers=numbers_of(noisy))
    theta = own.flat(dict(model.named_parameters()))
    assert torch.equal(own.forward_all(theta), own.forward_all(theta)) and torch.equal(state, torch.get_rng_state())
