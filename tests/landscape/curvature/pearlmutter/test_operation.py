"""The four passes of every operation, against torch's derivatives of the module that it stands for."""

import pytest
import torch
from torch import nn
from torch.autograd.functional import jvp
from torch.func import functional_call

from studio.landscape.curvature.pearlmutter.convolutions import Convolution, DenseConv, InputConv
from studio.landscape.curvature.pearlmutter.linear import Linear, SamplesLastLinear
from studio.landscape.curvature.pearlmutter.norms import FixedNorm, feature_norm, image_norm
from studio.landscape.curvature.pearlmutter.operation import channels_to_points, points_to_channels
from studio.landscape.curvature.pearlmutter.parameterless import Identity, LinearMap, MaxPool, Pointwise, ReLU, Sum

CONV, SMALL_CONV = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.Conv2d(2, 3, 3, padding=1)
POOL, AVERAGE, LINEAR = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.Linear(4, 3)
IMAGE_NORM, FEATURE_NORM = (norm(4, track_running_stats=False) for norm in (nn.BatchNorm2d, nn.BatchNorm1d))
RUNNING_NORM = nn.BatchNorm2d(4).double().eval()
RUNNING_NORM.running_mean.copy_(torch.linspace(-1, 1, 4))
RUNNING_NORM.running_var.copy_(torch.linspace(0.5, 2, 4))
IMAGES = (5, 4, 6, 6)
"""Of one point; features are [5, 4]."""

OPERATIONS = {
    "linear": (LINEAR, lambda: Linear(), (5, 4)),
    "linear on pixels": (LINEAR, lambda: Linear(), (5, 2, 4)),
    "linear, samples last": (LINEAR, lambda: SamplesLastLinear(), (5, 4)),
    "convolution": (CONV, lambda: Convolution(CONV), IMAGES),
    "dense convolution": (SMALL_CONV, lambda: DenseConv(SMALL_CONV), (5, 2, 2, 2)),
    "batch norm of images": (IMAGE_NORM, lambda: image_norm(IMAGE_NORM, torch.empty(0), True), IMAGES),
    "batch norm of features": (FEATURE_NORM, lambda: feature_norm(FEATURE_NORM, torch.empty(1, 5, 4), True), (5, 4)),
    "running statistics": (
        RUNNING_NORM,
        lambda: FixedNorm(RUNNING_NORM.running_mean, RUNNING_NORM.running_var, RUNNING_NORM.eps),
        IMAGES,
    ),
    "relu": (nn.ReLU(), ReLU, IMAGES),
    "pointwise": (nn.Tanh(), lambda: Pointwise(torch.tanh), IMAGES),
    "max pooling": (POOL, lambda: MaxPool(POOL), IMAGES),
    "linear map": (AVERAGE, lambda: LinearMap(AVERAGE), IMAGES),
    "identity": (nn.Identity(), Identity, IMAGES),
}


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_torch(module: nn.Module):
    """The module at several points: x [B, ...] and its weights [B, *shape]."""

    def forward(x, *weights):
        names = [name for name, _ in module.named_parameters()]
        points = [
            functional_call(module, dict(zip(names, (w[i] for w in weights), strict=True)), (x[i],))
            for i in range(len(x))
        ]
        return torch.stack(points)

    return forward


def gradients(forward, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Cotangents of all inputs, from them and the gradient by the result, which comes last."""
    *inputs, g = tensors
    with torch.enable_grad():
        inputs = [tensor if tensor.requires_grad else tensor.requires_grad_() for tensor in inputs]
        return torch.autograd.grad(forward(*inputs), inputs, g, create_graph=True)


def check(operation, forward, inputs: list[torch.Tensor], count: int) -> None:
    """Compares the passes; the first `count` tensors are the operation's inputs, the others its weights."""
    tangents = [normal(*tensor.shape, seed=10 + i) for i, tensor in enumerate(inputs)]
    y = operation.forward(*inputs)
    g, dg = normal(*y.shape, seed=20), normal(*y.shape, seed=21)
    first = operation.vjp(g, True)
    dy, second = operation.jvp(*tangents), operation.vjp_tangent(dg, True)
    torch.testing.assert_close((y, dy), jvp(forward, tuple(inputs), tuple(tangents)), rtol=1e-10, atol=1e-11)
    expected = jvp(lambda *tensors: gradients(forward, *tensors), (*inputs, g), (*tangents, dg))
    for cotangents, tensors in zip((first, second), expected, strict=True):
        actual = (*cotangents.inputs, *(cotangents.weights[name] for name in operation.weights))
        assert len(cotangents.inputs) == count
        # float64 on both sides: differences are rounding
        torch.testing.assert_close(actual, tensors, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("points", [1, 2])
@pytest.mark.parametrize(("module", "make", "shape"), OPERATIONS.values(), ids=OPERATIONS)
def test_the_four_passes_are_torchs_derivatives(module, make, shape, points):
    weights = [normal(points, *p.shape, seed=i + 1) for i, p in enumerate(module.parameters())]
    check(make(), by_torch(module.double()), [normal(points, *shape, seed=0), *weights], 1)


@pytest.mark.parametrize("groups", [1, 2], ids=["unfolded", "grouped"])
def test_the_passes_of_a_first_convolution_move_its_weights_alone(groups):
    layer = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=groups).double()
    x, weights = normal(1, 5, 2, 6, 6, seed=0), [normal(2, *p.shape, seed=1) for p in layer.parameters()]
    operation, forward = InputConv(layer), by_torch(layer)
    y = operation.forward(x, *weights)
    both = x.expand(2, *x.shape[1:])
    g, tangents = normal(*y.shape, seed=2), [normal(*w.shape, seed=3) for w in weights]
    expected, dy = jvp(lambda *tensors: forward(both, *tensors), tuple(weights), tuple(tangents))
    torch.testing.assert_close((y, operation.jvp(None, *tangents)), (expected, dy), rtol=1e-10, atol=1e-11)
    by_weights = gradients(lambda *tensors: forward(both, *tensors), *weights, g)
    for cotangents in (operation.vjp(g, False), operation.vjp_tangent(g, False)):  # linear in g
        assert cotangents.inputs == (None,)
        torch.testing.assert_close(tuple(cotangents.weights.values()), by_weights, rtol=1e-10, atol=1e-11)


def test_a_sum_passes_its_gradient_to_both_terms():
    check(Sum(), torch.add, [normal(2, 3, 4, seed=0), normal(2, 3, 4, seed=1)], 2)
    g = normal(2, 3, 4, seed=2)
    assert torch.equal(Sum().jvp(None, g), g) and torch.equal(Sum().jvp(g, None), g)


@pytest.mark.parametrize("shape", [(2, 5, 3, 4, 4), (1, 5, 1, 4, 4), (3, 2, 4, 1, 1)], ids=str)
def test_images_come_back_from_the_layout_of_one_convolution(shape):
    x = normal(*shape, seed=0)
    images = points_to_channels(x)
    assert images.permute(0, 2, 3, 1).is_contiguous()
    assert torch.equal(channels_to_points(images, len(x)), x)
