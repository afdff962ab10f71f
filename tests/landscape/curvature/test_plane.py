import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from studio.field import negative_share
from studio.landscape.curvature.plane import (
    classify_centre,
    compare_curvatures,
    interlaces,
    plane_curvatures,
    rank_correlation,
)


def symmetric(size: int, seed: int) -> torch.Tensor:
    random = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return random + random.mT


def along(matrix: torch.Tensor):
    return lambda v: v.to(matrix) @ matrix


def test_the_curvatures_of_a_plane_of_axes_are_a_block_of_the_matrix():
    matrix, axes = symmetric(6, 0), torch.eye(6, dtype=torch.float64)
    result = plane_curvatures(along(matrix), 3 * axes[1], axes[4], 2)
    expected = np.linalg.eigvalsh(matrix[[1, 4]][:, [1, 4]].numpy())
    np.testing.assert_allclose(result, [expected, expected], rtol=1e-12)


def test_the_curvatures_depend_on_the_plane_and_not_on_the_directions_that_span_it():
    matrix, (delta, eta) = symmetric(9, 1), torch.randn(2, 9, generator=torch.Generator().manual_seed(2)).double()
    first, second = (
        plane_curvatures(along(matrix), *pair, 1) for pair in ((delta, eta), (5 * eta - delta, 0.01 * delta))
    )
    np.testing.assert_allclose(first, second, rtol=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_the_curvatures_of_a_plane_interlace_with_those_of_the_space(seed):
    matrix, (delta, eta) = symmetric(8, seed), torch.randn(2, 8, generator=torch.Generator().manual_seed(seed)).double()
    (low, high), ends = plane_curvatures(along(matrix), delta, eta, 1)[0], np.linalg.eigvalsh(matrix.numpy())[[0, -1]]
    assert interlaces(*ends, low, high, tol=1e-9)


def test_the_plane_of_the_extreme_eigenvectors_shows_the_hessian_extremes():
    matrix = symmetric(7, 3)
    values, vectors = torch.linalg.eigh(matrix)
    result = plane_curvatures(along(matrix), vectors[:, -1], vectors[:, 0], 1)[0]
    assert result == pytest.approx(values[[0, -1]].numpy(), rel=1e-12)


def test_directions_that_span_no_plane_have_no_curvature():
    axis = torch.ones(4, dtype=torch.float64)
    for other in (-2 * axis, 0 * axis):
        assert np.isnan(plane_curvatures(along(symmetric(4, 0)), axis, other, 3)).all()


def test_a_product_that_is_not_finite_leaves_the_plane_unknown():
    delta, eta = torch.eye(5, dtype=torch.float64)[:2]
    assert np.isnan(plane_curvatures(lambda v: v * math.nan, delta, eta, 1)).all()


def test_shares_of_negative_curvature_are_0_where_convex_and_1_where_concave():
    low, high = np.array([0.5, -1.0, -2.0, -3.0, 0.0, np.nan]), np.array([2.0, 4.0, 1.0, -1.0, 0.0, 1.0])
    np.testing.assert_array_equal(negative_share(low, high), [0, 0.25, 1, 1, np.nan, np.nan])


def test_a_curvature_outside_the_range_of_the_space_is_detected():
    ends = np.array([-1.0]), np.array([10.0])
    assert interlaces(*ends, np.array([-1.0005]), np.array([9.0]), tol=1e-3)  # within its tolerance
    assert not interlaces(*ends, np.array([-1.01]), np.array([9.0]), tol=1e-3)
    assert not interlaces(*ends, np.array([0.0]), np.array([10.1]), tol=1e-3)
    assert interlaces(*ends, np.array([np.nan]), np.array([np.nan]), tol=1e-3)


def test_ranks_agree_whatever_the_scale_and_need_something_to_rank():
    plane = np.array([0.1, 0.2, 0.4, np.nan, 0.9])
    assert rank_correlation(plane, plane**3) == pytest.approx(1) and rank_correlation(plane, -plane) == pytest.approx(
        -1
    )
    assert math.isnan(rank_correlation(plane, np.ones(5))) and math.isnan(rank_correlation(plane[:2], plane[:2]))


def test_a_keyframe_is_compared_over_its_known_points():
    lambda_min, lambda_max = np.array([[-1.0, -2.0], [-3.0, np.nan]]), np.full((2, 2), 10.0)
    kappa_min, kappa_max = np.array([[1.0, -1.0], [-2.0, 1.0]]), np.array([[2.0, 2.0], [20.0, 2.0]])
    result = compare_curvatures(lambda_min, lambda_max, kappa_min, kappa_max, tol=1e-3)
    assert result["hidden_share"] == pytest.approx(1 / 3) and result["interlacing_share"] == pytest.approx(2 / 3)
    # shares 0, 1/2 and 1/10 in the plane, 1/10, 2/10 and 3/10 in the space
    assert result["rank_correlation"] == pytest.approx(0.5)
    assert all(math.isnan(value) for value in compare_curvatures(*[np.full((2, 2), np.nan)] * 4, tol=1e-3).values())


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ((0.0, 0.1, 0.5, 9.0), "minimum"),
        ((0.0, 0.1, -1e-4, 9.0), "minimum"),  # negative by less than the tolerance
        ((0.0, 0.1, -1.0, 9.0), "saddle"),
        ((0.0, 0.1, -9.0, -1.0), "maximum"),
        ((2.0, 0.1, 0.5, 9.0), "not stationary"),
        ((math.nan, 0.1, 0.5, 9.0), "unknown"),
        ((0.0, 0.1, math.nan, math.nan), "unknown"),
    ],
)
def test_a_centre_is_classified_by_its_gradient_and_its_extremes(numbers, kind):
    assert classify_centre(*numbers, tol=1e-3) == kind


@pytest.mark.parametrize("gradient", [0.03, 0.05])
def test_the_class_of_a_centre_does_not_depend_on_the_units_of_loss_and_weights(gradient):
    result = {
        classify_centre(gradient * loss / weights, 0.1 * loss, 0.5 * loss / weights**2, 9 * loss / weights**2, tol=1e-3)
        for loss in (1e-3, 1, 1e3)
        for weights in (1e-2, 1, 1e2)
    }
    # on both sides of |g|^2 = 2 lambda_max tol loss = 0.0018
    assert result == {"minimum" if gradient**2 < 0.0018 else "not stationary"}


def test_comparing_needs_no_torch():
    modules = "studio.landscape.curvature.plane, studio.landscape.curvature.spectrum, studio.landscape.convexity"
    code = f"import {modules}, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
