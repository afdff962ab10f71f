import math

import pytest
import torch
from torch.nn import functional as F

from studio.config.functions import Function
from studio.errors import SceneError
from studio.training.losses import (
    accuracy,
    binary_accuracy,
    binary_cross_entropy,
    cross_entropy,
    entropy,
    mean_squares,
    sample_numbers,
)
from studio.training.objectives import FunctionLoss, OutputLoss, Wasserstein


def test_entropy_is_log_2_for_two_equal_classes_and_zero_for_certainty():
    outputs = torch.tensor([[0.0, 0.0], [1e4, 0.0]])
    assert entropy(outputs, torch.tensor([0, 0])).tolist() == pytest.approx([math.log(2), 0.0])


def test_a_sequence_has_the_mean_of_its_elements():
    outputs = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    y = torch.randint(3, (4, 5), generator=torch.Generator().manual_seed(1))
    expected = torch.stack([F.cross_entropy(o.T.double(), t) for o, t in zip(outputs, y, strict=True)])
    torch.testing.assert_close(cross_entropy(outputs, y), expected)
    assert accuracy(outputs, y).shape == entropy(outputs, y).shape == (4,)


def test_there_is_no_accuracy_without_classes():
    assert accuracy(torch.zeros(3, 1), torch.zeros(3, 1)).isnan().all()


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_mean_squares_are_those_of_torch_whatever_the_targets_are():
    outputs, y = numbers(5, 3), numbers(5, 3, seed=1)
    torch.testing.assert_close(mean_squares(outputs, y), ((outputs - y).double() ** 2).mean(1), rtol=1e-6, atol=0)
    whole = torch.tensor([18, 89, -3, 0, 2])
    assert torch.equal(mean_squares(outputs[:, :1], whole), mean_squares(outputs[:, 0], whole[:, None]))


def test_binary_cross_entropy_is_that_of_two_classes():
    outputs, y = numbers(6, 1), torch.tensor([0, 1, 1, 0, 1, 0])
    expected = cross_entropy(torch.cat([torch.zeros_like(outputs), outputs], 1), y)
    torch.testing.assert_close(binary_cross_entropy(outputs, y), expected)
    hits = (outputs[:, 0] > 0) == (y == 1)
    assert torch.equal(binary_accuracy(outputs, y), 100 * hits.double())


@pytest.mark.parametrize("shapes", [((4, 6), (4, 2, 3)), ((4, 2, 3), (4, 6)), ((4,), (4, 1)), ((4, 2, 3), (4, 2, 3))])
def test_a_list_of_numbers_is_compared_with_a_picture_of_as_many(shapes):
    outputs, y = (numbers(*shape) for shape in shapes)
    assert not mean_squares(outputs, y).any() and mean_squares(outputs, y + 1).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize("shapes", [((4, 3), (4, 2)), ((4, 2, 3), (4, 3, 2)), ((4, 4), (4,))])
def test_outputs_of_another_shape_than_the_targets_are_refused(shapes):
    with pytest.raises(SceneError, match=r"run.objective: outputs \[4, .* and targets \[4.* must be of one shape"):
        mean_squares(*(numbers(*shape) for shape in shapes))


def own(monkeypatch, function):
    """The numbers of an objective that is this function."""
    monkeypatch.setattr(Function, "load", lambda _: function)
    return sample_numbers(FunctionLoss(function=Function("mine:own")))


def test_the_users_function_returns_losses_or_names_them(monkeypatch):
    x, y, model = numbers(5, 2), numbers(5), torch.nn.Linear(2, 1)
    losses = own(monkeypatch, lambda model, batch: (model(batch[0])[:, 0] - batch[1]) ** 2)(model, x, y)
    assert list(losses) == ["loss"] and losses["loss"].dtype == torch.float64
    alone = own(monkeypatch, lambda model, x: {"norm": x.norm(dim=1), "loss": model(x)[:, 0]})(model, x, None)
    assert list(alone) == ["loss", "norm"] and torch.equal(alone["norm"], x.norm(dim=1).double())


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (torch.zeros(()), r"mine:own returned \[\] for 5 samples; it must return one number for each, \[5\]"),
        (None, "mine:own returned NoneType for 5 samples"),
        ({"kl": torch.zeros(5)}, "mine:own returned kl; it must name the 'loss'"),
        ({"loss": torch.zeros(5), "kl": torch.zeros(2)}, r"mine:own returned \[2\] for 5 samples"),
        (
            {"loss": torch.zeros(5), "losses": torch.zeros(5)},
            "mine:own returned loss, losses; .* own words losses",
        ),
    ],
    ids=str,
)
def test_anything_else_that_the_users_function_returns_is_refused(monkeypatch, returned, words):
    with pytest.raises(SceneError, match=f"run.objective: {words}"):
        own(monkeypatch, lambda model, batch: returned)(torch.nn.Identity(), numbers(5, 2), None)


def test_a_built_in_loss_takes_one_tensor_of_outputs():
    numbers = sample_numbers(OutputLoss(kind="mean-squares"))
    with pytest.raises(SceneError, match="mean-squares takes a tensor, and the model returns a dict; write a function"):
        numbers(lambda x: {"output": x}, torch.zeros(3, 2), None)
    assert numbers(lambda x: x + 2, torch.zeros(3, 2), None)["loss"].tolist() == [4, 4, 4]


class Pair(torch.nn.Module):
    """G(z) = A z and C(x) = w.x, whose slope is w everywhere."""

    def __init__(self):
        super().__init__()
        self.generator, self.critic = (torch.nn.Linear(*sizes, bias=False) for sizes in ((2, 3), (3, 1)))


@pytest.mark.parametrize("of", ["critic", "generator"])
def test_the_losses_of_a_linear_critic_are_those_of_its_formula(of):
    pair, z, x = Pair().eval(), numbers(5, 2), numbers(5, 1, 3, seed=1)
    with torch.inference_mode():
        found = sample_numbers(Wasserstein(of=of, penalty=2.0))(pair, z, x)
    made, w = z @ pair.generator.weight.T, pair.critic.weight[0]
    critic = made @ w - x.flatten(1) @ w + 2 * (w.norm() - 1) ** 2
    expected = {"critic": critic.detach(), "generator": -(made @ w).detach()}
    for name, values in ({"loss": found["loss"]} if of == "generator" else found).items():
        torch.testing.assert_close(values.float(), expected.get(name, expected[of]), rtol=1e-5, atol=1e-6)  # float32


def test_training_draws_new_latents_and_what_is_measured_uses_the_datas_own():
    pair, z, x = Pair(), numbers(5, 2), numbers(5, 3, seed=1)
    losses = sample_numbers(Wasserstein())
    first, second = (losses(pair.train(), z, x)["loss"] for _ in range(2))
    assert not torch.equal(first, second)
    apart = torch.cat([losses(pair.eval(), *part)["loss"] for part in zip(z.split(2), x.split(2), strict=True)])
    torch.testing.assert_close(losses(pair.eval(), z, x)["loss"], apart)  # each pair by itself


def test_of_more_places_than_targets_the_last_ones_count():
    outputs, y = numbers(1, 6, 7), torch.tensor([[2, 5]])
    expected = F.cross_entropy(outputs[0, -2:].double(), y[0])
    assert float(cross_entropy(outputs, y)) == pytest.approx(float(expected), rel=1e-12)
    by_place = numbers(1, 2, 7)  # as many classes as a network of images has positions
    assert torch.equal(cross_entropy(by_place, y), cross_entropy(by_place.mT, y))
