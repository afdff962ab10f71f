import pytest
import torch
from pydantic import ValidationError

from studio.training.optimizers import Adam, Sgd


@pytest.mark.parametrize("optimizer", [Sgd, Adam])
@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("cosine", [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0]),
        ("step", [1, 1, 0.1, 0.01, 0.01]),
    ],
)
def test_schedules_have_their_closed_forms(optimizer, schedule, expected):
    rates = [optimizer(lr=0.2, schedule=schedule).rate(progress) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert rates == pytest.approx([0.2 * share for share in expected], abs=1e-15)


def test_sgd_takes_the_steps_of_its_formula():
    w = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = Sgd(lr=0.1, momentum=0.5, weight_decay=0.01).build([w])
    expected, velocity = 3.0, 0.0
    for _ in range(3):
        optimizer.zero_grad()
        (w**2).sum().backward()
        optimizer.step()
        velocity = 0.5 * velocity + 2 * expected + 0.01 * expected
        expected -= 0.1 * velocity
    assert w.item() == pytest.approx(expected, rel=1e-6)  # float32


def test_the_first_step_of_adam_is_lr_long_whatever_the_gradient():
    w = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = Adam(lr=0.01).build([w])
    (w * torch.tensor([1e-3, 1e3])).sum().backward()
    optimizer.step()
    assert w.tolist() == pytest.approx([0.99, 0.99], rel=1e-6)  # float32; Adam's eps of 1e-8 is 1e-5 of 1e-3, of 0.01


@pytest.mark.parametrize(
    ("optimizer", "plain"), [(Sgd(lr=0.1), torch.optim.SGD), (Adam(lr=0.1), torch.optim.AdamW)], ids=["sgd", "adam"]
)
def test_the_layout_of_the_weights_in_memory_changes_no_step(optimizer, plain):
    torch.manual_seed(0)
    x, nets = torch.randn(4, 3, 5, 5), [torch.nn.Conv2d(3, 4, 3) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    nets[0].to(memory_format=torch.channels_last)
    options = {"momentum": 0.9} if plain is torch.optim.SGD else {"weight_decay": 0.0}
    for net, steps in zip(
        nets,
        (optimizer.build(nets[0].parameters()), plain(nets[1].parameters(), lr=0.1, foreach=False, **options)),
        strict=True,
    ):
        for _ in range(3):
            steps.zero_grad()
            (net(x) ** 2).mean().backward()
            steps.step()
    torch.testing.assert_close(nets[0].weight, nets[1].weight, rtol=1e-4, atol=1e-5)  # float32, sums in another order


@pytest.mark.parametrize(
    "wrong",
    [{"lr": 0}, {"lr": -1}, {"lr": "inf"}, {"momentum": 1}, {"weight_decay": -1}, {"schedule": "linear"}],
    ids=str,
)
def test_a_step_that_cannot_descend_is_refused(wrong):
    with pytest.raises(ValidationError):
        Sgd(**wrong)
