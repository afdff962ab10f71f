import torch
from torch import nn
from torch.autograd.functional import jvp

from studio.landscape.curvature.pearlmutter.program import HvpProgram
from studio.landscape.curvature.pearlmutter.tape import Tape
from studio.landscape.network.weight_loss import WeightLoss

MODEL = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
WEIGHTS = {name: torch.stack([p.detach(), 2 * p.detach()]) for name, p in MODEL.named_parameters()}
"""At two points."""
X = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def tape(moving: set[str], weights: dict[str, torch.Tensor] = WEIGHTS) -> Tape:
    program = HvpProgram.of(WeightLoss(MODEL, {}, X, torch.zeros(5, dtype=torch.long)))
    return Tape(program, weights, moving, X)


def outputs(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    points = [{name: w[i] for name, w in weights.items()} for i in range(2)]
    return torch.stack([torch.func.functional_call(MODEL, point, (X,)) for point in points])


def test_outputs_and_their_tangents_are_the_networks():
    tangents = {name: torch.ones_like(w) for name, w in WEIGHTS.items()}
    expected, tangent = jvp(
        lambda *weights: outputs(dict(zip(WEIGHTS, weights, strict=True))),
        tuple(WEIGHTS.values()),
        tuple(tangents.values()),
    )
    run = tape(set(WEIGHTS))
    torch.testing.assert_close(run.outputs, expected)
    torch.testing.assert_close(run.jvp(tangents), tangent)


def test_gradients_arrive_at_the_weights_that_move():
    run = tape({"2.weight"})
    g = torch.ones_like(run.outputs)
    expected = torch.func.vjp(outputs, WEIGHTS)[1](g)[0]
    gradients = run.vjp(g)
    assert gradients.keys() == {"2.weight"}
    torch.testing.assert_close(gradients["2.weight"], expected["2.weight"])


def test_nothing_is_recorded_where_no_weight_moves():
    run = tape(set())
    assert run.jvp({}) is None and run.vjp(torch.ones_like(run.outputs)) == {}
