"""The four passes of an operation, compared with torch's derivatives of the module that it computes."""

import pytest
import torch
from torch import nn
from torch.autograd.functional import jvp
from torch.func import functional_call


@pytest.fixture(scope="session")
def normal():
    """Normal numbers, float64, of a shape and a seed."""
    return _normal


@pytest.fixture(scope="session")
def by_torch():
    """Makes of a module a function of x [B, N, ...] and its weights [B, *shape] at B points."""
    return _by_torch


@pytest.fixture(scope="session")
def gradients():
    """Cotangents of all inputs of a function, from them and the gradient by the result, which comes last."""
    return _gradients


@pytest.fixture(scope="session")
def check_passes():
    """Compares an operation with a function of torch; the first `count` tensors are inputs, the others weights."""
    return _check_passes


@pytest.fixture(scope="session")
def check_module():
    """Compares an operation with a module at points, on an input [N, ...] of a shape."""

    def check(operation, module: nn.Module, shape: tuple[int, ...], points: int) -> None:
        weights = [_normal(points, *p.shape, seed=i + 1) for i, p in enumerate(module.parameters())]
        _check_passes(operation, _by_torch(module.double()), [_normal(points, *shape, seed=0), *weights], 1)

    return check


def _normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _by_torch(module: nn.Module):
    def forward(x, *weights):
        names = [name for name, _ in module.named_parameters()]
        points = [
            functional_call(module, dict(zip(names, (w[i] for w in weights), strict=True)), (x[i],))
            for i in range(len(x))
        ]
        return torch.stack(points)

    return forward


def _gradients(forward, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    *inputs, g = tensors
    with torch.enable_grad():
        inputs = [tensor if tensor.requires_grad else tensor.requires_grad_() for tensor in inputs]
        return torch.autograd.grad(forward(*inputs), inputs, g, create_graph=True)


def _check_passes(operation, forward, inputs: list[torch.Tensor], count: int) -> None:
    tangents = [_normal(*tensor.shape, seed=10 + i) for i, tensor in enumerate(inputs)]
    y = operation.forward(*inputs)
    g, dg = _normal(*y.shape, seed=20), _normal(*y.shape, seed=21)
    first = operation.vjp(g, True)
    dy, second = operation.jvp(*tangents), operation.vjp_tangent(dg, True)
    torch.testing.assert_close((y, dy), jvp(forward, tuple(inputs), tuple(tangents)), rtol=1e-10, atol=1e-11)
    expected = jvp(lambda *tensors: _gradients(forward, *tensors), (*inputs, g), (*tangents, dg))
    for cotangents, tensors in zip((first, second), expected, strict=True):
        actual = (*cotangents.inputs, *(cotangents.weights[name] for name in operation.weights))
        assert len(cotangents.inputs) == count
        # float64 on both sides: differences are rounding
        torch.testing.assert_close(actual, tensors, rtol=1e-9, atol=1e-10)
