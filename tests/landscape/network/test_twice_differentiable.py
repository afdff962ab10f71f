import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from studio.errors import SceneError
from studio.landscape.network.twice_differentiable import twice_differentiable


@pytest.mark.parametrize("dim", [0, 1, None])
def test_a_weight_norm_computes_the_same_and_has_a_symmetric_second_derivative(dim):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = nn.Sequential(weight_norm(nn.Linear(3, 2), dim=dim), nn.Tanh()).double()
        x = torch.randn(5, 3, dtype=torch.float64)
    before = copy.deepcopy(model)
    replacement = twice_differentiable(model)
    torch.testing.assert_close(replacement(x), model(x), rtol=1e-12, atol=1e-12)
    names = [name for name, _ in replacement.named_parameters()]

    def outputs(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(replacement, dict(zip(names, tensors, strict=True)), (x,))

    leaves = tuple(p.detach().clone().requires_grad_() for p in replacement.parameters())
    assert torch.autograd.gradgradcheck(outputs, leaves)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before.parameters(), strict=True))


def test_the_old_weight_norm_is_refused():
    with pytest.warns(FutureWarning):
        model = nn.utils.weight_norm(nn.Linear(2, 2))
    with pytest.raises(SceneError, match="parametrizations.weight_norm"):
        twice_differentiable(model)
