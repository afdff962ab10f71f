import pickle
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.interpolate import CubicSpline

from studio.field import (
    DETAIL,
    Field,
    Grid,
    Markers,
    Surfaces,
    Trajectory,
    definiteness,
    from_scale,
    hidden_curvature,
    to_scale,
    zoom,
)
from studio.film.fields import derive

GRID = Grid(range=(-2, 2), points=3)


def field(*values: float, scale="linear", coordinates=None) -> Field:
    """A field whose nodes all have the same value at each keyframe."""
    coordinates = coordinates or tuple(float(k) for k in range(len(values)))
    return Field(coordinates, GRID, np.stack([np.full((3, 3), v) for v in values]), scale)


def test_the_minimiser_is_the_middle_node_and_stands_exactly_on_zero():
    for points in (3, 51, 101):
        grid = Grid(range=(-1.9, 1.9), points=points)
        assert grid.alpha[points // 2] == 0.0 and np.array_equal(grid.alpha, grid.beta)
        assert (grid.alpha[0], grid.alpha[-1], len(grid.alpha), grid.size) == (-1.9, 1.9, points, points**2)


@pytest.mark.parametrize("points", [40, 41])
def test_an_axis_is_even_and_symmetric_to_the_last_bit(points):
    axis = Grid(range=(-0.7, 0.7), points=points).alpha
    assert np.array_equal(axis, -axis[::-1]) and len(axis) == points
    assert np.diff(axis) == pytest.approx(1.4 / (points - 1), rel=1e-12)  # rounding of 41 sums


def test_the_sides_of_a_grid_may_differ_and_lie_anywhere():
    grid = Grid(range=((-0.3, 0.6), (2.0, 2.5)), points=(4, 11))
    assert grid.alpha == pytest.approx([-0.3, 0, 0.3, 0.6]) and grid.alpha[1] == 0.0  # the minimiser is a node
    assert (grid.beta[0], grid.beta[-1]) == (2.0, 2.5) and grid.shape == (11, 4) and grid.size == 44
    assert grid.centre == pytest.approx((0.15, 2.25)) and grid.half_sides == pytest.approx((0.45, 0.25))
    assert grid.spacing == pytest.approx((0.3, 0.05)) and grid.reach == "-0.3 to 0.6 by 2 to 2.5"
    assert Grid.over(grid.alpha, grid.beta) == grid
    assert grid.contains(Grid(range=((0, 0.6), (2.1, 2.2)))) and not grid.contains(Grid(range=((0, 0.7), (2.1, 2.2))))


def test_one_grid_has_one_way_to_be_written():
    assert Grid(range=((-1, 1), (-1, 1)), points=(5, 5)).model_dump() == Grid(points=5).model_dump()


@pytest.mark.parametrize(("start", "end"), [((-1, 1), (-0.1, 0.1)), ((0, 8), (6, 7)), ((6, 7), (0, 8))])
def test_a_zoom_keeps_its_fixed_point_in_place_and_its_pace(start, end):
    ranges = [zoom(start, end, share) for share in (0, 0.3, 0.6, 1)]
    lengths = np.array([high - low for low, high in ranges])
    assert np.diff(np.log(lengths)) / np.log(lengths[-1] / lengths[0]) == pytest.approx([0.3, 0.3, 0.4])
    still = (start[0] * lengths[-1] - end[0] * lengths[0]) / (lengths[-1] - lengths[0])
    assert {round((still - low) / (high - low), 9) for low, high in ranges} == {
        round((still - start[0]) / lengths[0], 9)
    }


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"points": 2}, "at least 3"),
        ({"points": (5, 1)}, "1 points: expected at least 3"),
        ({"range": (1, -1)}, "reversed"),
        ({"range": ((0, 1), (2, 1))}, r"\[2, 1\] is empty or reversed"),
        ({"range": (1, 1)}, "empty"),
        ({"range": (float("nan"), 1)}, "finite"),
    ],
    ids=str,
)
def test_a_grid_of_too_few_points_or_no_range_is_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        Grid(**keys)


@pytest.mark.parametrize("scale", ["linear", "log", "signed-log"])
def test_a_scale_is_undone_by_its_inverse(scale):
    values = np.array([1e-12, 0.3, 1.0, 40.0, 1e6])
    assert from_scale(to_scale(values, scale), scale) == pytest.approx(
        values, rel=1e-12
    )  # rounding of exp(log x) at 1e6


def test_at_a_keyframe_the_measured_values_come_back_bit_for_bit():
    f = Field((0.0, 0.5, 2.0), GRID, np.random.default_rng(0).lognormal(size=(3, 3, 3)), "log")
    for k, coordinate in enumerate(f.coordinates):
        assert np.array_equal(f.at(coordinate), f.values[k])


def test_before_the_first_keyframe_and_after_the_last_nothing_moves():
    f = field(3.0, 5.0)
    assert f.at(-7.0)[0, 0] == 3.0 and f.at(99.0)[0, 0] == 5.0
    assert field(4.0).at(0.3)[1, 1] == 4.0


def test_between_two_keyframes_a_log_field_moves_along_the_geometric_mean():
    assert field(1.0, 100.0, scale="log").at(0.5)[0, 0] == pytest.approx(10.0)
    assert field(1.0, 3.0).at(0.5)[0, 0] == pytest.approx(2.0)


def test_eigenvalues_of_opposite_signs_pass_through_zero():
    assert field(-50.0, 50.0, scale="signed-log").at(0.5)[0, 0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("scale", ["linear", "log", "signed-log"])
def test_no_instant_shows_a_value_outside_the_two_measurements_around_it(scale):
    for seed in range(20):
        random = np.random.default_rng(seed)
        coordinates = tuple(np.cumsum(random.uniform(0.1, 3.0, 7)).tolist())
        values = random.lognormal(sigma=3.0, size=(7, 3, 3)) * (
            random.choice([-1, 1], (7, 3, 3)) if scale != "log" else 1
        )
        f = Field(coordinates, GRID, values, scale)
        for k in range(6):
            low, high = np.minimum(values[k], values[k + 1]), np.maximum(values[k], values[k + 1])
            slack = 1e-12 * np.abs(values).max()  # rounding of the spline on numbers of this size
            for u in (0.01, 0.3, 0.5, 0.99):
                shown = f.at(coordinates[k] + u * (coordinates[k + 1] - coordinates[k]))
                assert (low - slack <= shown).all() and (shown <= high + slack).all()


def test_an_ordinary_cubic_spline_would_have_overshot_where_the_field_does_not():
    from scipy.interpolate import CubicSpline

    coordinates = np.linspace(1, 2, 50)
    assert CubicSpline([0, 1, 2, 3], [1.0, 1.0, 3.0, 3.0])(np.linspace(2, 3, 50)).max() > 3.1
    assert max(field(1.0, 1.0, 3.0, 3.0).at(c)[0, 0] for c in (*coordinates, *coordinates + 1)) == 3.0


def cubic(values: np.ndarray, scale="log") -> Field:
    return Field(tuple(float(k) for k in range(len(values))), GRID, values, scale, "cubic")


def test_a_cubic_field_passes_its_keyframes_with_the_curvature_it_came_with_where_a_monotone_one_stops():
    values = np.exp([0.0, 1.0, 1.2, 2.0, 0.0])[:, None, None] * np.ones((5, 3, 3))
    h = 1e-3

    def bends(f: Field) -> list[float]:
        """The second difference on both sides of the middle keyframe."""
        at = {k: np.log(f.at(2.0 + k * h)[0, 0]) for k in range(-2, 3)}
        return [(at[0] - 2 * at[-1] + at[-2]) / h**2, (at[2] - 2 * at[1] + at[0]) / h**2]

    before, after = bends(cubic(values))
    assert after == pytest.approx(before, abs=2 * h * 20)  # its third derivative is at most 20 here
    before, after = bends(Field((0.0, 1.0, 2.0, 3.0, 4.0), GRID, values, "log"))
    assert abs(after - before) > 1
    assert np.array_equal(cubic(values).at(2.0), values[2])


def test_a_cubic_field_never_falls_below_the_least_that_was_measured():
    values = np.exp([3.0, 0.0, 0.0, 3.0])[:, None, None] * np.ones((4, 3, 3))
    plain = CubicSpline(range(4), np.log(values), axis=0, bc_type="natural")
    times = np.linspace(0, 3, 121)
    assert min(np.exp(plain(t)).min() for t in times) < 0.8  # there is something to forbid
    assert min(cubic(values).at(t).min() for t in times) == 1.0


def test_in_a_cubic_field_a_point_that_is_not_finite_once_is_monotone_and_its_neighbours_do_not_notice():
    values = np.random.default_rng(3).lognormal(size=(6, 3, 3))
    whole = cubic(values.copy())
    values[2, 1, 1], values[4, 0, 0] = np.nan, np.inf
    broken, steady = cubic(values), Field(tuple(map(float, range(6))), GRID, values, "log")
    for coordinate in np.linspace(0, 5, 61):
        shown, others = broken.at(coordinate), np.ones((3, 3), bool)
        others[1, 1] = others[0, 0] = False
        assert np.array_equal(shown[others], whole.at(coordinate)[others])
        expected = steady.at(coordinate)
        assert np.array_equal(shown[~others], expected[~others], equal_nan=True)


def test_the_detail_counts_between_its_keyframes_and_comes_and_goes_over_one_interval_of_the_sweep():
    coarse = field(*range(1, 8))
    fine = Field((2.0, 4.0), Grid(range=(-1, 1), points=3), np.ones((2, 3, 3)))
    surfaces = Surfaces({"loss": coarse, "loss" + DETAIL: fine})
    weights = {
        c: [layer.weight for layer in surfaces.at(c).layers["loss"][1:]]
        for c in (0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 4.5, 5.0, 6.0)
    }
    assert weights == {0: [], 1: [], 1.5: [0.5], 2: [1], 3: [1], 4: [1], 4.5: [0.5], 5: [], 6: []}
    assert len(Surfaces({"loss": coarse}).at(3.0).layers["loss"]) == 1


def test_surfaces_held_at_a_coordinate_show_that_one_coordinate_only():
    surfaces = Surfaces({"loss": field(1.0, 2.0, 3.0)}, held_at=1.0)
    assert surfaces.at(0.2).coordinate == 1.0 and surfaces.at(2.0).layers["loss"][0].values[0, 0] == 2.0


def test_inf_stays_as_measured_and_shows_until_halfway_to_a_finite_keyframe():
    f = field(1.0, np.inf, 3.0, 4.0)
    assert np.isinf(f.at(1.0)).all() and np.isinf(f.at(1.2)).all() and np.isinf(f.at(0.8)).all()
    assert np.isnan(f.at(0.2)).all() and np.isnan(f.at(1.8)).all()
    assert f.at(2.0)[0, 0] == 3.0 and 3.0 < f.at(2.5)[0, 0] < 4.0


def test_a_point_that_is_nan_at_one_keyframe_is_unknown_around_it_and_leaves_its_neighbours_alone():
    values = np.ones((4, 3, 3)) * np.array([1.0, 2.0, 3.0, 4.0])[:, None, None]
    whole = Field((0.0, 1.0, 2.0, 3.0), GRID, values.copy())
    values[1, 0, 2] = np.nan
    broken = Field((0.0, 1.0, 2.0, 3.0), GRID, values)
    for coordinate in (0.5, 1.0, 1.5):
        assert np.isnan(broken.at(coordinate)[0, 2]) and np.isnan(broken.at(coordinate)).sum() == 1
        others = np.isfinite(broken.at(coordinate))
        assert np.array_equal(broken.at(coordinate)[others], whole.at(coordinate)[others])
    assert 3.0 <= broken.at(2.5)[0, 2] <= 4.0


def test_a_measured_zero_survives_a_log_scale():
    f = field(0.0, 1.0, scale="log")
    assert f.at(0.0)[0, 0] == 0.0 and 0.0 < f.at(0.5)[0, 0] < 1.0


def test_the_measured_values_are_not_touched_by_looking_at_them():
    values = np.array([[[1.0, np.nan, np.inf]] * 3] * 2)
    before = values.copy()
    Field((0.0, 1.0), GRID, values, "log").at(0.5)
    assert np.array_equal(values, before, equal_nan=True)


def test_surfaces_at_an_instant_hold_every_field_and_the_metrics_between_epochs():
    surfaces = Surfaces(
        {"loss": field(2.0, 4.0), "accuracy": field(10.0, 90.0)}, (0.0, 0.5, 1.0), {"test_accuracy": (0.0, 50.0, 60.0)}
    )
    instant = surfaces.at(0.75)
    assert set(instant.layers) == {"loss", "accuracy"} and instant.coordinate == 0.75
    assert instant.layers["loss"][0].grid == GRID and instant.window == GRID
    assert instant.metrics == {"test_accuracy": 55.0}


def test_surfaces_go_to_another_process_unchanged():
    surfaces = Surfaces({"loss": field(2.0, 4.0, scale="log")}, (0.0, 1.0), {"x": (0.0, 1.0)})
    before = surfaces.at(0.3).layers["loss"][0].values
    assert np.array_equal(pickle.loads(pickle.dumps(surfaces)).at(0.3).layers["loss"][0].values, before)


# --- the trajectory


PLACES = np.array([[[j - k, 2.0 * (j - k)] for j in range(3)] for k in range(3)], float)
TRAJECTORY = Trajectory((0.0, 1.0, 3.0), PLACES, 1.0)


@pytest.mark.parametrize(
    ("coordinate", "places"),
    [
        (0.0, [[0, 0]]),
        (1.0, [[-1, -2], [0, 0]]),
        (2.0, [[-1.5, -3], [-0.5, -1], [0, 0]]),
        (3.0, [[-2, -4], [-1, -2], [0, 0]]),
    ],
)
def test_the_trajectory_ends_at_the_centre_and_moves_evenly_from_plane_to_plane(coordinate, places):
    np.testing.assert_allclose(Surfaces({}, trajectory=TRAJECTORY).at(coordinate).trajectory, places, atol=1e-12)


def test_the_trajectory_of_one_checkpoint_is_the_centre_alone():
    assert (
        Trajectory((2.0,), np.zeros((1, 1, 2)), 1.0).at(2.0).tolist() == [[0, 0]]
        and Surfaces({}).at(0.0).trajectory is None
    )


def test_the_trajectory_ends_at_the_marker_where_one_moves_and_at_a_checkpoint_where_there_is_none():
    markers = Markers((0.0, 1.0, 3.0), np.array([[0, 0], [0.5, 0.2], [np.nan, np.nan]]))
    surfaces = Surfaces({}, trajectory=TRAJECTORY, markers=markers)
    assert surfaces.at(0.5).marker == (0.25, 0.1) and surfaces.at(0.5).trajectory[-1].tolist() == [0.25, 0.1]
    assert surfaces.at(1.0).marker == (0.5, 0.2) and surfaces.at(2.0).marker is None is surfaces.at(3.0).marker
    assert len(surfaces.at(3.0).trajectory) == 2 and Surfaces({}).at(7.0).marker == (0.0, 0.0)


# --- grids that differ from keyframe to keyframe


NESTED = tuple(Grid(range=(-half, half), points=n) for half, n in ((4, 5), (2, 5), (1, 7)))
ZOOM = Field((0.0, 1.0, 3.0), NESTED, tuple(np.full(grid.shape, k + 1.0) for k, grid in enumerate(NESTED)), "log")


@pytest.mark.parametrize("field", [ZOOM, replace(ZOOM, grid=NESTED[::-1], values=ZOOM.values[::-1])])
def test_a_keyframe_of_a_zoom_is_its_own_grid_alone_and_the_window_is_that_grid(field):
    for k, coordinate in enumerate(field.coordinates):
        [layer] = field.layers(coordinate)
        assert layer.grid == field.grids[k] and layer.values is field.values[k] and layer.scale == "log"
        assert field.window(coordinate) == field.grids[k]


def test_between_two_keyframes_the_coarser_grid_covers_a_window_that_shrinks_geometrically():
    for coordinate, half in ((0.5, 2 * np.sqrt(2)), (2.0, np.sqrt(2)), (-1.0, 4), (9.0, 1)):
        assert ZOOM.window(coordinate).half_sides == pytest.approx((half, half))
    coarse, fine = ZOOM.layers(1.5)
    assert (coarse.grid, fine.grid) == NESTED[1:] and fine.weight == pytest.approx(0.15625) and coarse.weight == 1
    back = replace(ZOOM, grid=NESTED[::-1], values=ZOOM.values[::-1], coordinates=(0.0, 2.0, 3.0))
    assert back.layers(1.5) == (coarse, fine)  # the same way back


def test_the_finer_grid_comes_from_nothing_and_is_all_that_is_seen_when_the_window_reaches_it():
    start, end = ZOOM.layers(1 + 1e-9)[1], ZOOM.layers(3 - 1e-9)[1]
    assert start.weight < 1e-12 and end.weight == pytest.approx(1) and end.seam < 1e-9


def test_grids_that_are_all_the_same_are_one_grid_and_grids_side_by_side_are_refused():
    same = Field((0.0, 1.0), (GRID, GRID), (np.ones((3, 3)), np.full((3, 3), 3.0)))
    assert same.grid == GRID and same.at(0.5)[0, 0] == 2.0
    with pytest.raises(ValueError, match="neither inside"):
        Field((0.0, 1.0), (GRID, Grid(range=(0, 3), points=3)), (np.ones((3, 3)),) * 2)


# --- losses below zero


def test_a_log_field_with_negative_values_is_interpolated_on_a_signed_log_scale():
    below = field(-50.0, 50.0, scale="log")
    assert below.interpolation_scale == "signed-log" and below.at(0.5)[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert field(-1e-9, 50.0, scale="log").interpolation_scale == "log"  # rounding of a loss of 0


# --- curvature by the ends of a spectrum


@pytest.mark.parametrize(
    ("low", "high", "ratio", "signs"),
    [
        (1.0, 4.0, 0.25, 1.0),
        (-1.0, 4.0, 0.25, 0.0),  # the same ratio, and another sign
        (-4.0, -1.0, 4.0, -1.0),
        (-1e-4, 1.0, 1e-4, 1.0),  # 0 to what is measured
        (-1.0, 1e-4, 1e4, -1.0),
        (0.0, 0.0, np.nan, np.nan),
        (-1.0, 0.0, np.nan, -1.0),
        (np.nan, 1.0, np.nan, np.nan),
        (-1.0, np.nan, np.nan, np.nan),
    ],
)
def test_the_ratio_of_the_literature_has_no_sign_and_definiteness_has_nothing_else(low, high, ratio, signs):
    ends = np.array([low]), np.array([high])
    assert derive("eigenvalue-ratio", ends) == pytest.approx(np.array([ratio]), nan_ok=True)
    assert definiteness(*ends) == pytest.approx(np.array([signs]), nan_ok=True)


# --- curvature that the plane hides


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((-1.0, 4.0, 0.5, 2.0), 1.0),  # convex in the plane, not in the space
        ((1.0, 4.0, 1.5, 2.0), 0.0),  # convex in both
        ((-1.0, 4.0, -0.5, 2.0), 0.0),  # in neither
        ((-1e-4, 4.0, 0.5, 2.0), 0.0),  # the space's is 0 to what is measured
        ((-1.0, 4.0, 1e-4, 2.0), 0.0),  # and so is the plane's
        ((np.nan, 4.0, 0.5, 2.0), np.nan),
        ((-1.0, 4.0, 0.5, np.nan), np.nan),
    ],
)
def test_curvature_is_hidden_where_the_plane_is_convex_and_the_space_is_not(ends, expected):
    assert hidden_curvature(*(np.array([end]) for end in ends)) == pytest.approx(np.array([expected]), nan_ok=True)
