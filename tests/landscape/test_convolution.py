import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from studio.landscape.convolution import _Convolution, quick_convolutions

SETTINGS = [
    {"padding": 1}, {"stride": 2, "padding": (0, 1)}, {"dilation": 2, "padding": 2}, {"groups": 2, "stride": (1, 2)}]


def tensors(groups: int = 1, **_) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 4, 5, 5), (6, 4 // groups, 3, 3), (6,)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]


def quick(*given, **settings):
    with quick_convolutions():
        return F.conv2d(*given, **settings)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_values_and_both_derivatives_are_right(settings):
    given = tensors(**settings)
    torch.testing.assert_close(quick(*given, **settings), F.conv2d(*given, **settings), rtol=1e-12, atol=1e-12)
    assert gradcheck(lambda *given: quick(*given, **settings), given)
    assert gradgradcheck(lambda *given: quick(*given, **settings), given)


@pytest.mark.parametrize("still", [0, 1])
def test_what_does_not_move_needs_no_derivative(still):
    given = tensors()[:2]
    given[still] = given[still].detach()
    assert gradgradcheck(lambda moving: quick(*[moving if i != still else given[still] for i in (0, 1)]),
                         given[1 - still])


def test_it_is_used_inside_and_the_librarys_own_outside():
    x, weight, _ = tensors()
    assert type(quick(x, weight).grad_fn).__name__ == f"{_Convolution.__name__}Backward"
    assert "Convolution" in type(F.conv2d(x, weight).grad_fn).__name__
    assert type(F.conv2d(x, weight).grad_fn).__name__ != type(quick(x, weight).grad_fn).__name__


def test_paddings_by_name_and_single_pictures_are_left_to_the_library():
    x, weight, bias = tensors()
    torch.testing.assert_close(quick(x, weight, bias, padding="same"), F.conv2d(x, weight, bias, padding=1))
    torch.testing.assert_close(quick(x[0], weight, bias), F.conv2d(x[0], weight, bias))
