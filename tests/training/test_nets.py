import numpy as np
import pytest
import torch
from torch.nn import functional as F

from studio.training import nets
from studio.training.models import Gan, Mlp, Resnet, Transformer

DIGITS, CIFAR = (1, 8, 8), (3, 32, 32)


def test_a_module_is_drawn_from_its_seed_and_the_global_generator_is_restored():
    before = torch.get_rng_state()
    first, same, other = (nets.initialise(lambda: torch.nn.Linear(3, 2), seed).weight for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu", "elu"])
def test_a_perceptron_is_linear_norm_activation_layer_by_layer(activation):
    net = Mlp(depth=2, width=6, norm="batch", activation=activation).build(DIGITS, 10).double()
    x = torch.randn(9, *DIGITS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, _, _, second, _, _, last = (module for module in net[1:])
    h, function = x.flatten(1), getattr(F, activation)
    for layer in (first, second):
        h = F.linear(h, layer.weight)
        h = function((h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt())
    torch.testing.assert_close(net(x), last(h), rtol=0, atol=1e-12)  # float64: sums in another order
    assert first.bias is None and second.bias is None


@pytest.mark.parametrize(("stride", "wider"), [(1, False), (2, True)])
def test_a_block_with_dead_convolutions_is_its_shortcut_and_without_one_is_zero(stride, wider):
    x = torch.rand(2, 3, 8, 8)
    for skip in (True, False):
        block = nets.Block(3, 6 if wider else 3, skip, batch_norm=False)
        for p in block.parameters():
            torch.nn.init.zeros_(p)
        y = block(x)
        assert torch.equal(y[:, :3], x[:, :, ::stride, ::stride] if skip else torch.zeros_like(y[:, :3]))
        assert not y[:, 3:].any()


def test_convolutions_start_with_he_variance():
    convs = [m for m in Resnet(depth=20, width=16).build(CIFAR, 10).modules() if isinstance(m, torch.nn.Conv2d)]
    for conv in convs:
        expected = (2 / (9 * conv.out_channels)) ** 0.5
        # the deviation of n normal draws is known to 1 / sqrt(2 n); five of those
        assert conv.weight.std().item() == pytest.approx(expected, rel=5 / (2 * conv.weight.numel()) ** 0.5)


def test_a_residual_net_without_norm_starts_near_the_loss_of_a_guess():
    torch.manual_seed(0)
    net = Resnet(depth=56, width=16, norm="none").build(CIFAR, 10)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((64, *CIFAR), np.float32))
    loss = F.cross_entropy(net(x), torch.arange(64) % 10).item()
    assert 2.2 < loss < 3.0  # log 10 = 2.30; unscaled, 27 doublings of the variance give thousands


def test_a_later_token_changes_no_earlier_output_of_a_transformer():
    net = Transformer(depth=2, width=8, heads=2).build((6,), 5).double()
    x = torch.randint(5, (3, 6), generator=torch.Generator().manual_seed(0))
    for place in range(6):
        changed = x.clone()
        changed[:, place] = (x[:, place] + 1) % 5
        moved = (net(changed) != net(x)).any(-1)
        assert not moved[:, :place].any() and moved[:, place:].all()
    torch.testing.assert_close(net(x[:, :4]), net(x)[:, :4], rtol=1e-9, atol=1e-12)  # float64; a shorter row, too


@pytest.mark.parametrize("skip", [False, True])
def test_dropout_of_a_perceptron_stands_behind_each_hidden_activation_and_moves_no_name_of_a_weight(skip):
    plain, dropped = (Mlp(depth=3, width=50, skip=skip, dropout=p).build(DIGITS, 10) for p in (0, 0.4))
    x = torch.randn(200, *DIGITS, generator=torch.Generator().manual_seed(0))
    assert [*plain.state_dict()] == [*dropped.state_dict()] and torch.equal(plain.eval()(x), dropped.eval()(x))
    masks = [module for module in dropped.modules() if isinstance(module, torch.nn.Dropout)]
    shares = []
    for mask in masks:
        mask.register_forward_hook(
            lambda _, inputs, output: shares.append(float((output[inputs[0] > 0] == 0).float().mean()))
        )
    dropped.train()(x)
    assert len(shares) == len(masks) == 3
    assert shares == pytest.approx([0.4] * 3, abs=0.03)  # of some 5000 units each: 4 standard errors


def test_a_gan_is_a_generator_of_samples_and_a_critic_of_them():
    net = Gan(depth=1, width=4).build((3,), 64)
    made = net(torch.randn(5, 3))
    assert made.shape == (5, 64) and net.critic(made.view(5, 1, 8, 8)).shape == (5, 1)
    assert {name.partition(".")[0] for name, _ in net.named_parameters()} == {"generator", "critic"}
