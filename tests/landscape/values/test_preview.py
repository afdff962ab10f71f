import subprocess
import sys

import numpy as np
import pytest

from studio.field import Grid
from studio.landscape.values.preview import MAX_POINTS, max_points, preview

GRID = Grid(range=(-1, 1), points=101)


def preview_of(surface, grid=GRID, requests=None):
    """A preview of a surface, a function (alphas, betas); adds the measured points to `requests`."""

    def measure(alphas, betas):
        if requests is not None:
            requests.extend(zip(alphas.tolist(), betas.tolist(), strict=True))
        return surface(alphas, betas)

    return preview(measure, grid)


def values_on(surface, grid=GRID):
    """The surface on the whole grid, by (beta, alpha)."""
    beta, alpha = np.meshgrid(grid.alpha, grid.alpha, indexing="ij")
    return surface(alpha, beta)


def error(values, exact):
    """The largest error of log loss, as a share of its range."""
    return np.abs(np.log(values) - np.log(exact)).max() / np.ptp(np.log(exact))


def bowl(a, b):
    """A sharp minimum, as trained networks have: log loss turns within a tenth of the picture."""
    return 1e-3 + 3 * (a - 0.02) ** 2 + a * b + 2 * b**2


def valley(a, b):
    return 0.1 + 5 * (a + 0.6 * b - 0.4 * b**2) ** 2 + 0.05 * b**2


def crater(a, b):
    r = np.hypot(a, b)
    return 0.05 + 2.3 * (1 - np.exp(-12 * r**2)) + 4 * np.exp(-30 * (r - 0.7) ** 2) + 0.2 * np.cos(5 * a)


@pytest.mark.parametrize("surface", [bowl, valley, crater])
def test_a_smooth_surface_is_within_a_hundredth_of_its_range_from_a_thirtieth_of_the_points(surface):
    values, measured = preview_of(surface)
    assert measured.sum() <= MAX_POINTS < GRID.size / 29
    assert error(values, values_on(surface)) <= 0.01


def test_a_plane_in_log_loss_needs_only_the_first_lattice_and_one_batch():
    # both interpolants hold planes exactly, so that there is nothing to doubt but rounding
    values, measured = preview_of(lambda a, b: np.exp(2 * a - b))
    assert measured.sum() <= 49 + 32
    assert error(values, values_on(lambda a, b: np.exp(2 * a - b))) < 1e-9


def test_points_are_measured_where_the_surface_bends():
    _, measured = preview_of(lambda a, b: np.exp(np.tanh(12 * (a - 0.5))))
    step, flat = measured[:, 65:86].mean(), measured[:, 5:46].mean()
    assert step > 3 * flat


def test_measured_values_are_kept_bit_by_bit_and_only_those_are_marked():
    requests = []
    values, measured = preview_of(crater, requests=requests)
    assert np.array_equal(values[measured], values_on(crater)[measured])
    assert len(requests) == len(set(requests)) == measured.sum()  # none is measured twice
    axis = GRID.alpha.tolist()
    assert all(measured[axis.index(b), axis.index(a)] for a, b in requests)
    assert measured[50, 50] and measured[[0, 0, -1, -1], [0, -1, 0, -1]].all()


def test_alpha_goes_along_a_row_and_beta_down_the_rows():
    values, _ = preview_of(lambda a, b: np.exp(a))
    np.testing.assert_allclose(values, np.broadcast_to(np.exp(GRID.alpha), values.shape), rtol=1e-9)


@pytest.mark.parametrize("surface", [bowl, crater, lambda a, b: 0.01 + (np.abs(a) > 0.3) * 1e6])
def test_no_value_is_below_the_smallest_measurement_nor_above_the_largest(surface):
    values, measured = preview_of(surface)
    assert values.min() == values[measured].min() and values.max() == values[measured].max()


def test_a_rough_surface_stops_at_the_bound():
    _, measured = preview_of(lambda a, b: 2 + np.sin(40 * a) * np.cos(37 * b))
    assert measured.sum() == MAX_POINTS


@pytest.mark.parametrize("points", [3, 17])
def test_a_small_grid_is_measured_whole(points):
    grid = Grid(range=(-2, 2), points=points)
    values, measured = preview_of(bowl, grid)
    assert measured.all() and np.array_equal(values, values_on(bowl, grid)) and max_points(grid) == points**2


@pytest.mark.parametrize("points", [19, 33, 201])
def test_any_grid_has_a_preview(points):
    grid = Grid(range=(-0.5, 0.5), points=points)
    values, measured = preview_of(bowl, grid)
    assert measured.sum() <= MAX_POINTS and error(values, values_on(bowl, grid)) <= 0.01


def test_the_same_values_give_the_same_bytes():
    (values, measured), (repeated, repeated_mask) = preview_of(crater), preview_of(crater)
    assert values.tobytes() == repeated.tobytes() and np.array_equal(measured, repeated_mask)


def test_values_that_are_not_finite_stay_so_and_spread_half_way_to_the_next_measurement():
    def broken(a, b):
        return np.where(a > 0.8, np.inf, np.where(b < -0.85, np.nan, bowl(a, b)))

    values, measured = preview_of(broken)
    exact = values_on(broken)
    assert np.array_equal(values[measured], exact[measured], equal_nan=True)
    inner = values[20:, :80]  # two first-lattice steps away from what is broken
    assert np.isfinite(inner).all() and error(inner, exact[20:, :80]) < 0.02
    assert np.isposinf(values[30:, 97:]).all() and np.isnan(values[:5, :80]).all()


def test_the_edge_of_the_finite_region_is_measured_and_the_region_beyond_is_not():
    requests = []
    preview_of(lambda a, b: np.where(a > 0.3, np.inf, bowl(a, b)), requests=requests)
    later = np.array(requests[49:])
    assert (later[:, 0] > 0.7).mean() < 0.05 < ((later[:, 0] > 0.2) & (later[:, 0] < 0.5)).mean()


def test_a_surface_without_finite_values_stays_so():
    values, measured = preview_of(lambda a, b: np.full_like(a, np.nan))
    assert np.isnan(values).all() and measured.sum() == 49


def test_a_surface_that_is_finite_in_one_point_stays_finite_around_it():
    values, _ = preview_of(lambda a, b: np.where((a == 0) & (b == 0), 0.5, np.inf))
    assert values[50, 50] == 0.5 and np.isposinf(values[0]).all()


def test_huge_values_do_not_overflow():
    def steep(a, b):
        return np.exp(80 * (a**2 + b**2) / 2)  # up to 5e34

    values, _ = preview_of(steep)
    assert np.isfinite(values).all() and error(values, values_on(steep)) <= 0.01


def test_a_criterion_that_falls_below_zero_is_interpolated_without_logarithm():
    def margin(a, b):
        return a**2 + b**2 - 0.5

    values, measured = preview_of(margin)
    assert np.abs(values - values_on(margin)).max() <= 0.01 * 2  # of its range, which is 2
    assert values.min() == values[measured].min() < 0


def test_a_preview_loads_no_torch():
    code = "import studio.landscape.values.preview, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
