import pytest
import torch
from pydantic import ValidationError

from studio.training.optimizers import Adam, Sam, Sgd


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


def test_a_schedule_of_drops_has_the_factor_of_the_last_share_that_is_past():
    optimizer = Adam(lr=0.2, schedule={"60%": 0.5, "80%": 0.1})
    assert [optimizer.rate(p) for p in (0, 0.59, 0.6, 0.79, 0.8, 1)] == pytest.approx([0.2, 0.2, 0.1, 0.1, 0.02, 0.02])
    assert optimizer == Adam.model_validate(optimizer.model_dump())  # as a sweep over a hyperparameter reads it


@pytest.mark.parametrize("drops", [{}, {"0%": 1}, {"120%": 1}, {"80%": 0.1, "60%": 0.5}, {"half": 0.1}], ids=str)
def test_drops_that_do_not_rise_within_the_run_are_refused(drops):
    with pytest.raises(ValidationError, match="60%|90%"):
        Sgd(schedule=drops)


def test_sam_descends_by_the_gradient_a_little_uphill():
    curvatures, start, rho = torch.tensor([1.0, 9.0]), torch.tensor([3.0, -1.0]), 0.1
    w, record = torch.nn.Parameter(start.clone()), Sam(lr=0.01, momentum=0.5, rho=rho)
    optimizer, expected, velocity = record.build([w]), start, torch.zeros(2)

    def gradient():
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = (curvatures * w**2).sum() / 2
        loss.backward()
        return loss

    for _ in range(3):
        loss = record.step(optimizer, gradient)
        assert loss.item() == pytest.approx(float((curvatures * expected**2).sum() / 2), rel=1e-6)  # before the step
        g = curvatures * expected
        velocity = 0.5 * velocity + curvatures * (expected + rho * g / g.norm())
        expected = expected - 0.01 * velocity
        torch.testing.assert_close(w.detach(), expected, rtol=1e-6, atol=0)  # float32
