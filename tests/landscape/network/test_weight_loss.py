import copy
import math
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from studio.errors import SceneError
from studio.landscape.network import weight_loss as module
from studio.landscape.network.random_numbers import fixed_masks
from studio.landscape.network.weight_loss import WeightLoss

N, CLASSES = 7, 3
DOUBLE = {"dtype": torch.float64}


class Writing(nn.Module):
    """Counts its passes in a buffer that it uses, and follows its inputs in another that it replaces."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, CLASSES)
        self.register_buffer("passes", torch.zeros(1))
        self.register_buffer("middle", torch.zeros(8), persistent=False)

    def forward(self, x):
        x = x.flatten(1)
        self.passes.add_(1)
        self.middle = 0.9 * self.middle + 0.1 * x.detach().mean(0)
        return self.layer(x - self.middle) * self.passes


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory, self.leave = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.leave(self.memory(x.flatten(2))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.leave = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, CLASSES)

    def forward(self, x):
        x = x.flatten(2)
        return self.leave(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Deciding(nn.Module):
    """Its control flow depends on its data."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, CLASSES), nn.Linear(8, CLASSES)

    def forward(self, x):
        x = x.flatten(1)
        return self.first(x) if float(self.first(x).detach().sum()) > 0 else self.second(x)


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, CLASSES))
    model[0].requires_grad_(False)
    return model


NETS = {
    **{name: name for name in ("convolution", "layer norm", "tied weights", "unused layer", "number")},
    "written buffers": Writing,
    "LSTM": Recurrent,
    "attention": Attentive,
    "data-dependent control flow": Deciding,
    "frozen layer": frozen,
}


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 2, 2, 2, generator=generator, **DOUBLE)
    return x, torch.randint(CLASSES, (N,), generator=generator)


def loss(weight_loss: WeightLoss, weights: torch.Tensor) -> float:
    return float(weight_loss.losses(weight_loss.forward_all(weights), weight_loss.targets).mean())


def by_hand(model: nn.Module, weights: torch.Tensor, x, y, mode: str) -> torch.Tensor:
    """Losses of a copy of the model, its weights set one by one, in one batch."""
    model = copy.deepcopy(model).train(mode == "train")
    nn.utils.vector_to_parameters(weights, [p for p in model.parameters() if p.requires_grad])
    with torch.no_grad(), fixed_masks("cpu"):
        return F.cross_entropy(model(x), y, reduction="none")


def in_chunks(weight_loss: WeightLoss, size: int) -> WeightLoss:
    weight_loss.chunk_size = size
    return weight_loss


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_losses_are_those_of_the_model_itself(make, mode, samples, net, theta):
    model = net(make)
    weight_loss = WeightLoss(model, {}, *samples, mode)
    for weights in (theta(model), theta(model) + 0.1):
        expected = by_hand(model, weights, *samples, mode)
        losses = weight_loss.losses(weight_loss.forward_all(weights), weight_loss.targets)
        named = weight_loss.losses(weight_loss.outputs(weight_loss.split(weights), samples[0]), samples[1])
        # float64 on all sides: only the order of the sums may differ
        torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(named.detach(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_the_model_and_the_random_numbers_stay_unchanged(make, mode, samples, net, theta):
    model = net(make).train(mode == "eval")
    state = {name: b.clone() for name, b in [*model.named_buffers(), *model.named_parameters()]}
    flags, random = [p.requires_grad for p in model.parameters()], torch.get_rng_state()
    weight_loss = WeightLoss(model, {}, *samples, mode)
    weights = theta(model) + 1
    first = loss(weight_loss, weights)
    named = {name: part.clone().requires_grad_() for name, part in weight_loss.split(weights).items()}
    weight_loss.losses(weight_loss.outputs(named, samples[0]), samples[1]).sum().backward()
    assert loss(weight_loss, weights) == first  # a pass leaves nothing behind for the next
    assert all(torch.equal(tensor, state[name]) for name, tensor in [*model.named_buffers(), *model.named_parameters()])
    assert [p.requires_grad for p in model.parameters()] == flags and model.training == (mode == "eval")
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("mode", ["eval", "train", "recalibrated"])
@pytest.mark.parametrize("make", ["convolution", "layer norm", "tied weights", Recurrent, Attentive])
def test_derivatives_agree_with_central_differences(make, mode, samples, net, theta):
    model = net(make)
    weight_loss = WeightLoss(model, {}, *samples, mode)
    leaf = theta(model).requires_grad_()
    weight_loss.losses(weight_loss.outputs(weight_loss.split(leaf), samples[0]), samples[1]).mean().backward()
    v = torch.randn(weight_loss.size, generator=torch.Generator().manual_seed(1), **DOUBLE)
    step = 1e-6
    slope = (loss(weight_loss, theta(model) + step * v) - loss(weight_loss, theta(model) - step * v)) / (2 * step)
    # central differences: error step^2 times the third derivative, and 1e-16 / step
    assert slope == pytest.approx(float(leaf.grad @ v), rel=1e-6, abs=1e-8)


def test_weights_of_zero_have_the_loss_of_a_uniform_guess(samples, net):
    weight_loss = WeightLoss(net("linear"), {}, *samples)
    outputs = weight_loss.forward_all(torch.zeros(weight_loss.size, **DOUBLE))
    numbers = {name: float(each.mean()) for name, each in weight_loss.per_sample_fields(outputs, samples[1]).items()}
    assert numbers["loss"] == pytest.approx(math.log(CLASSES), rel=1e-12)
    assert numbers["accuracy"] == pytest.approx(100 * float((samples[1] == 0).double().mean()))  # a tie goes to class 0


def test_the_samples_are_one_batch_in_train_mode(samples, monkeypatch, net, theta):
    monkeypatch.setitem(module.MAX_PIXELS, "cpu", 12)
    model = net("convolution")
    assert WeightLoss(model, {}, *samples, "eval").chunk_size == 3  # 3 + 3 + 1 of 4 pixels each
    expected = float(F.cross_entropy(copy.deepcopy(model).train()(samples[0]), samples[1]).detach())
    assert loss(WeightLoss(model, {}, *samples, "train"), theta(model)) == pytest.approx(expected, rel=1e-12)


def test_running_statistics_matter_in_eval_mode_only(samples, net, theta):
    model = net("convolution")
    moved = {"1.running_mean": torch.full((3,), 2.0), "1.running_var": torch.full((3,), 0.1)}

    def losses(mode):
        return [loss(WeightLoss(model, buffers, *samples, mode), theta(model)) for buffers in ({}, moved)]

    for mode in ("train", "recalibrated"):
        assert losses(mode)[0] == losses(mode)[1]
    assert losses("eval")[0] != losses("eval")[1]


def test_a_union_costs_the_weighted_mean_of_its_parts_in_eval_mode(samples, net, theta):
    model = net("convolution")
    x, y = samples
    parts = [loss(WeightLoss(model, {}, x[s], y[s]), theta(model)) for s in (slice(0, 2), slice(2, N))]
    whole = loss(WeightLoss(model, {}, *samples), theta(model))
    assert whole == pytest.approx((2 * parts[0] + 5 * parts[1]) / N, rel=1e-12)
    assert loss(in_chunks(WeightLoss(model, {}, *samples), 3), theta(model)) == pytest.approx(whole, rel=1e-12)


def test_recalibrated_on_its_own_samples_is_train_mode_without_dropout(samples, net, theta):
    model = net("convolution")
    values = [loss(WeightLoss(model, {}, *samples, mode), theta(model)) for mode in ("recalibrated", "train")]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_recalibrated_statistics_are_those_of_the_calibration_images(samples, net, theta):
    model = net("convolution")
    x, y = samples
    others = torch.randn(11, 2, 2, 2, generator=torch.Generator().manual_seed(5), **DOUBLE) * 3
    with torch.no_grad():
        features = model[0](others)
        running = {"1.running_mean": features.mean((0, 2, 3)), "1.running_var": features.var((0, 2, 3), correction=0)}
    expected = loss(WeightLoss(model, running, x, y, "eval"), theta(model))
    recalibrated = in_chunks(WeightLoss(model, {}, x, y, "recalibrated", calibration=others), 3)
    assert loss(recalibrated, theta(model)) == pytest.approx(expected, rel=1e-12)
    outputs = recalibrated.outputs(recalibrated.split(theta(model)), x)
    assert float(recalibrated.losses(outputs, y).mean()) == pytest.approx(expected, rel=1e-12)


def test_a_frozen_tensor_is_not_a_weight_but_is_read_from_a_checkpoint(samples, net, theta):
    model = net(frozen)
    assert "0.weight" not in WeightLoss(model, {}, *samples).names
    stored = {"0.weight": torch.zeros_like(model[0].weight)}
    assert loss(WeightLoss(model, stored, *samples), theta(model)) != loss(
        WeightLoss(model, {}, *samples), theta(model)
    )


@pytest.mark.parametrize("make", ["convolution", "number", "tied weights"])
def test_flat_and_split_are_inverse_in_the_models_own_order(make, samples, net):
    model = net(make)
    weight_loss = WeightLoss(model, {}, *samples)
    flat = weight_loss.flat(dict(model.named_parameters())).detach()
    assert weight_loss.names == [name for name, _ in model.named_parameters()] and weight_loss.size == len(flat)
    many = torch.stack([flat, 2 * flat])
    assert all(
        torch.equal(part[1], 2 * p)
        for part, p in zip(weight_loss.split(many).values(), model.parameters(), strict=True)
    )
    assert torch.equal(weight_loss.network.flat(weight_loss.split(many)), many)


@pytest.mark.parametrize("mode", ["train", "recalibrated"])
def test_dropout_draws_one_mask_for_all_points(mode, samples, net, theta):
    model = net("layer norm")
    weight_loss = WeightLoss(model, {}, *samples, mode)
    first = loss(weight_loss, theta(model))
    torch.rand(5)
    assert loss(weight_loss, theta(model)) == first
    dropped = first != loss(WeightLoss(model, {}, *samples, "eval"), theta(model))
    assert dropped == (mode == "train")


def test_an_exploding_loss_stays_as_measured(samples, net):
    weight_loss = WeightLoss(net("linear").float(), {}, samples[0].float(), samples[1])
    assert not math.isfinite(loss(weight_loss, torch.full((24,), 3e38)))
    # beyond what float32 could take the exponential of, the loss is a plain number in float64
    for size in (1e6, 1e36):
        large = loss(weight_loss, torch.cat([torch.full((8,), size), torch.zeros(16)]))
        assert 0.01 * size < large < math.inf


# --- precision and per-sample fields ---------------------------------------------------------------------------------


def test_a_cpu_computes_tf32_as_float32_and_says_so(samples, net, theta):
    model = net("layer norm").float()
    x, y = samples[0].float(), samples[1]
    assert WeightLoss(model, {}, x, y, precision="tf32").precision == "float32"
    values = {
        kind: loss(WeightLoss(model, {}, x, y, precision=kind), theta(model))
        for kind in ("float32", "tf32", "bf16", "float64")
    }
    assert values["tf32"] == values["float32"]
    assert values["float32"] == pytest.approx(values["float64"], rel=1e-6)
    # bf16 has 8 bits
    assert values["bf16"] == pytest.approx(values["float64"], rel=2e-2) and values["bf16"] != values["float32"]


def test_the_same_loss_in_another_precision(samples, net, theta):
    model = net("convolution").float()
    single = WeightLoss(model, {"1.running_var": torch.full((3,), 0.5)}, samples[0].float(), samples[1])
    double = single.with_precision("float64")
    flat = double.flat(single.split(theta(model)))
    assert flat.dtype == torch.float64 and loss(double, flat) == pytest.approx(loss(single, theta(model)), rel=1e-6)


def test_a_criterion_of_the_users_measures_and_its_mistakes_are_explained(samples, net, theta):
    x, y = samples
    squares = lambda outputs, y: outputs.square().sum(1)  # noqa: E731
    weight_loss = WeightLoss(net("linear"), {}, x, y, criterion=squares, fields={"size": squares})
    weights = theta(net("linear"))
    numbers = weight_loss.per_sample_fields(weight_loss.forward_all(weights), y)
    torch.testing.assert_close(numbers["loss"], (x.flatten(1) @ weights.view(CLASSES, 8).T).square().sum(1))
    assert list(numbers) == ["loss", "size"]
    for wrong in (lambda outputs, y: outputs.mean(), lambda outputs, y: 1.0):
        with pytest.raises(SceneError, match=r"run.objective: <lambda> returned .*one number for each, \[7\]"):
            loss(WeightLoss(net("linear"), {}, x, y, criterion=wrong), weights)


def test_records_of_losses_load_no_torch():
    import subprocess

    code = "import sys, studio.landscape.loss; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


class Noisy(nn.Module):
    """Draws a mask in eval mode too."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.layer(F.dropout(x.flatten(1), 0.5, training=True))


def of_its_batch() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(8, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, CLASSES)
    )


@pytest.mark.parametrize(
    ("make", "mixes"), [(Noisy, True), (of_its_batch, True), ("unused layer", False), ("tied weights", False)]
)
def test_a_network_that_mixes_its_samples_gets_all_of_them(make, mixes, samples, monkeypatch, net):
    monkeypatch.setattr(module, "MAX_SAMPLES", {"cpu": 3})
    assert WeightLoss(net(make), {}, *samples).chunk_size == (N if mixes else 3)


def dead_filters(weight: float) -> nn.Module:
    """Batch norms whose running variance has died, as in a trained ResNet-56: each multiplies by 316."""
    layers = [nn.Flatten(), nn.Linear(8, 5)]
    for _ in range(20):
        layers += [norm := nn.BatchNorm1d(5), linear := nn.Linear(5, 5)]
        norm.running_var.fill_(1e-45)
        nn.init.constant_(linear.weight, weight)
    return nn.Sequential(*layers, nn.Linear(5, CLASSES)).double()


def test_mixing_is_tested_at_the_weights_of_the_checkpoint_not_at_fresh_ones(samples, monkeypatch, theta):
    monkeypatch.setattr(module, "MAX_SAMPLES", {"cpu": 3})
    fresh, trained = dead_filters(1e30), dead_filters(0.0)  # 1e30 overflows to NaN
    weight_loss = WeightLoss(fresh, trained.state_dict(), *samples)
    assert weight_loss.chunk_size == 3 and math.isfinite(loss(weight_loss, theta(trained)))
    assert WeightLoss(fresh, {}, *samples).chunk_size == 3  # NaN everywhere mixes nothing


class Gated(nn.Module):
    """Mixes its samples as far as its gate is open."""

    def __init__(self, gate: float):
        super().__init__()
        self.layer, self.gate = nn.Linear(8, CLASSES), nn.Parameter(torch.tensor(gate))

    def forward(self, x):
        y = self.layer(x.flatten(1))
        return y + self.gate * y.mean(0)


def test_mixing_that_training_opened_is_noticed(samples, monkeypatch):
    monkeypatch.setattr(module, "MAX_SAMPLES", {"cpu": 3})
    opened = WeightLoss(Gated(0.0).double(), Gated(1.0).double().state_dict(), *samples)
    assert opened.chunk_size == N and WeightLoss(Gated(0.0).double(), {}, *samples).chunk_size == 3


def test_the_old_weight_norm_is_refused_with_the_way_out(samples):
    with pytest.warns(FutureWarning):
        model = nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(8, CLASSES))).double()
    with pytest.raises(SceneError, match="parametrizations.weight_norm"):
        WeightLoss(model, {}, *samples)
