import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from studio.landscape.curvature.double_backward import QuickLayers, _Convolution

SETTINGS = [
    {"padding": 1},
    {"stride": 2, "padding": (0, 1)},
    {"dilation": 2, "padding": 2},
    {"groups": 2, "stride": (1, 2)},
]


def tensors(groups: int = 1, **_) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 4, 5, 5), (6, 4 // groups, 3, 3), (6,)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]


def quick(*inputs, **settings):
    with QuickLayers():
        return F.conv2d(*inputs, **settings)


def derivatives(run, inputs: list[torch.Tensor], settings: dict) -> list[torch.Tensor]:
    """The gradient of a sum of cubes, and its Hessian times a vector, by each of x, weight and bias."""
    generator = torch.Generator().manual_seed(3)
    v = [torch.randn(part.shape, dtype=part.dtype, generator=generator) for part in inputs]
    slopes = torch.autograd.grad((run(*inputs, **settings) ** 3).sum(), inputs, create_graph=True)
    along = sum((slope * part).sum() for slope, part in zip(slopes, v, strict=True))
    return [*(slope.detach() for slope in slopes), *torch.autograd.grad(along, inputs)]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_values_and_both_derivatives_are_right(settings):
    inputs = tensors(**settings)
    torch.testing.assert_close(quick(*inputs, **settings), F.conv2d(*inputs, **settings), rtol=1e-12, atol=1e-12)
    quick_parts, library_parts = (derivatives(run, inputs, settings) for run in (quick, F.conv2d))
    assert len(quick_parts) == 6 and all(part.any() for part in quick_parts)
    for first, second in zip(quick_parts, library_parts, strict=True):
        # float64: sums in another order, of a few hundred numbers of about 10
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-9)
    assert gradcheck(lambda *inputs: quick(*inputs, **settings), inputs, fast_mode=True)
    assert gradgradcheck(lambda *inputs: quick(*inputs, **settings), inputs, fast_mode=True)


@pytest.mark.parametrize("constant", [0, 1])
def test_a_constant_input_needs_no_derivative(constant):
    inputs = tensors()[:2]
    inputs[constant] = inputs[constant].detach()
    assert gradgradcheck(
        lambda x: quick(*[x if i != constant else inputs[constant] for i in (0, 1)]),
        inputs[1 - constant],
        fast_mode=True,
    )


def test_it_replaces_the_librarys_convolution_inside_the_context_only():
    x, weight, _ = tensors()
    assert type(quick(x, weight).grad_fn).__name__ == f"{_Convolution.__name__}Backward"
    assert "Convolution" in type(F.conv2d(x, weight).grad_fn).__name__
    assert type(F.conv2d(x, weight).grad_fn).__name__ != type(quick(x, weight).grad_fn).__name__


def test_paddings_by_name_and_single_images_are_left_to_the_library():
    x, weight, bias = tensors()
    torch.testing.assert_close(quick(x, weight, bias, padding="same"), F.conv2d(x, weight, bias, padding=1))
    torch.testing.assert_close(quick(x[0], weight, bias), F.conv2d(x[0], weight, bias))


def picture() -> torch.Tensor:
    """Numbers whose differences are larger than a gradient check's steps: no maximum and no sign is in doubt."""
    order = torch.randperm(2 * 3 * 36, generator=torch.Generator().manual_seed(1)).double()
    return (order - 100.5).div(20).view(2, 3, 6, 6).requires_grad_()


SELECTIONS = {
    "relu": F.relu,
    "method": lambda x: x.relu(),
    "module": torch.nn.ReLU(),
    "in place": torch.nn.ReLU(True),
    "pooling": lambda x: F.max_pool2d(x, 2),
    "overlapping": torch.nn.MaxPool2d(3, 2, 1),
    "where": torch.nn.MaxPool2d(2, return_indices=True),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_relu_and_max_pooling_have_the_librarys_values_and_derivatives(name):
    def library(x):
        y = SELECTIONS[name](2 * x)
        return y[0] if isinstance(y, tuple) else y

    def replacement(x):
        with QuickLayers():
            return library(x)

    x = picture()
    assert torch.equal(replacement(x), library(x))
    assert gradcheck(replacement, x, fast_mode=True) and gradgradcheck(replacement, x, fast_mode=True)
    # channels last, as networks pass them; with a cube, the second derivative is that of the picked numbers
    v, result = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2)), []
    for run in (replacement, library):
        inputs = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        (slope,) = torch.autograd.grad((run(inputs) ** 3).sum(), inputs, create_graph=True)
        result.append(torch.autograd.grad(slope, inputs, v)[0])
    assert torch.equal(*result) and result[0].any()


def test_no_zeros_go_back_through_relu_and_max_pooling():
    x = picture()
    with QuickLayers():
        y = F.max_pool2d(F.relu(x), 2)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert slope.any() and not slope.requires_grad  # the library's own does, and its second derivative is zeros
