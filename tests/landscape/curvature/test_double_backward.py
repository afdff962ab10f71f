import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from studio.landscape.curvature.double_backward import _Convolution, quick_layers

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


def quick(*given, **settings):
    with quick_layers():
        return F.conv2d(*given, **settings)


def derivatives(run, given: list[torch.Tensor], settings: dict) -> list[torch.Tensor]:
    """The gradient of a sum of cubes, and its Hessian times a vector, by each of x, weight and bias."""
    generator = torch.Generator().manual_seed(3)
    v = [torch.randn(part.shape, dtype=part.dtype, generator=generator) for part in given]
    slopes = torch.autograd.grad((run(*given, **settings) ** 3).sum(), given, create_graph=True)
    along = sum((slope * part).sum() for slope, part in zip(slopes, v, strict=True))
    return [*(slope.detach() for slope in slopes), *torch.autograd.grad(along, given)]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_values_and_both_derivatives_are_right(settings):
    given = tensors(**settings)
    torch.testing.assert_close(quick(*given, **settings), F.conv2d(*given, **settings), rtol=1e-12, atol=1e-12)
    ours, theirs = (derivatives(run, given, settings) for run in (quick, F.conv2d))
    assert len(ours) == 6 and all(part.any() for part in ours)
    for one, other in zip(ours, theirs, strict=True):
        # float64: sums in another order, of a few hundred numbers of about 10
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-9)
    assert gradcheck(lambda *given: quick(*given, **settings), given, fast_mode=True)
    assert gradgradcheck(lambda *given: quick(*given, **settings), given, fast_mode=True)


@pytest.mark.parametrize("still", [0, 1])
def test_what_does_not_move_needs_no_derivative(still):
    given = tensors()[:2]
    given[still] = given[still].detach()
    assert gradgradcheck(
        lambda moving: quick(*[moving if i != still else given[still] for i in (0, 1)]),
        given[1 - still],
        fast_mode=True,
    )


def test_it_is_used_inside_and_the_librarys_own_outside():
    x, weight, _ = tensors()
    assert type(quick(x, weight).grad_fn).__name__ == f"{_Convolution.__name__}Backward"
    assert "Convolution" in type(F.conv2d(x, weight).grad_fn).__name__
    assert type(F.conv2d(x, weight).grad_fn).__name__ != type(quick(x, weight).grad_fn).__name__


def test_paddings_by_name_and_single_pictures_are_left_to_the_library():
    x, weight, bias = tensors()
    torch.testing.assert_close(quick(x, weight, bias, padding="same"), F.conv2d(x, weight, bias, padding=1))
    torch.testing.assert_close(quick(x[0], weight, bias), F.conv2d(x[0], weight, bias))


def picture() -> torch.Tensor:
    """Numbers whose differences are larger than a gradient check's steps: no maximum and no sign is in doubt."""
    order = torch.randperm(2 * 3 * 36, generator=torch.Generator().manual_seed(1)).double()
    return (order - 100.5).div(20).view(2, 3, 6, 6).requires_grad_()


PICKING = {
    "relu": F.relu,
    "method": lambda x: x.relu(),
    "module": torch.nn.ReLU(),
    "in place": torch.nn.ReLU(True),
    "pooling": lambda x: F.max_pool2d(x, 2),
    "overlapping": torch.nn.MaxPool2d(3, 2, 1),
    "where": torch.nn.MaxPool2d(2, return_indices=True),
}


@pytest.mark.parametrize("name", PICKING)
def test_what_picks_numbers_out_has_the_librarys_values_and_derivatives(name):
    def one(x):
        y = PICKING[name](2 * x)
        return y[0] if isinstance(y, tuple) else y

    def ours(x):
        with quick_layers():
            return one(x)

    x = picture()
    assert torch.equal(ours(x), one(x))
    assert gradcheck(ours, x, fast_mode=True) and gradgradcheck(ours, x, fast_mode=True)
    # channels last, as networks pass them; of a cube the second derivative lives in what is picked
    v, found = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2)), []
    for run in (ours, one):
        given = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        (slope,) = torch.autograd.grad((run(given) ** 3).sum(), given, create_graph=True)
        found.append(torch.autograd.grad(slope, given, v)[0])
    assert torch.equal(*found) and found[0].any()


def test_no_zeros_go_back_through_what_picks_numbers_out():
    x = picture()
    with quick_layers():
        y = F.max_pool2d(F.relu(x), 2)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert slope.any() and not slope.requires_grad  # the library's own does, and its second derivative is zeros
