import numpy as np
import pytest

from studio.render.bake import REACH, occlusion, sunlight

N = 121
AXIS = np.linspace(-1, 1, N, dtype=np.float32)
X, Y = np.meshgrid(AXIS, AXIS)
STEP = float(AXIS[1] - AXIS[0])
INSIDE = (slice(30, -30), slice(30, -30))  # further from the edge than occlusion looks


def hills(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return sum(
        (a * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / 0.02) for a, x, y in random.uniform(-0.6, 0.6, (12, 3))),
        np.zeros_like(X),
    )


def test_a_flat_surface_sees_the_whole_sky_at_any_height():
    for height in (0.0, 0.37, -2.0):
        assert occlusion(np.full((N, N), height, np.float32), STEP) == pytest.approx(1.0, abs=1e-6)  # float32


def test_a_pit_sees_less_of_the_sky_and_a_peak_all_of_it():
    hill = np.exp(-(X**2 + Y**2) / 0.04).astype(np.float32) * 0.5
    centre = (N // 2, N // 2)
    assert occlusion(-hill, STEP)[centre] < 0.7
    assert occlusion(hill, STEP)[centre] == pytest.approx(
        1.0, abs=0.05
    )  # softened with its neighbours, which see a slope of 0.4
    assert occlusion(hill, STEP).max() <= 1 + 1e-6 and occlusion(-hill, STEP).min() >= 0


def test_a_deeper_pit_is_darker():
    seen = [occlusion(depth * (X**2 + Y**2), STEP)[N // 2, N // 2] for depth in (0.0, 1.0, 3.0, 9.0)]
    assert (np.diff(seen) < 0).all()


def test_a_slope_without_end_hides_half_the_sky_it_rises_into():
    # a plane of slope s: horizon s*cos(t) uphill, none downhill; the mean over directions of 1 - sin(horizon angle)
    turns = 2 * np.pi * (np.arange(16) + 0.5) / 16
    rise = np.maximum(0.0, 0.8 * np.cos(turns))
    expected = np.mean(1 - rise / np.sqrt(1 + rise**2))
    # the march goes to whole vertices, which turns the 16 directions by some degrees
    assert occlusion(0.8 * X, STEP)[INSIDE] == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_occlusion_turns_with_the_heights(turn):
    height = hills()
    assert occlusion(np.rot90(height, turn).copy(), STEP) == pytest.approx(
        np.rot90(occlusion(height, STEP), turn), abs=2e-6
    )  # float32


def test_occlusion_does_not_depend_on_the_unit_of_length_but_for_its_reach():
    height = hills()
    near = np.maximum(np.abs(X), np.abs(Y)) < 0.6
    shallow = occlusion(height, STEP)
    # twice as large in every direction: the same slopes, but the march covers half of the hill
    large = occlusion(2 * height, 2 * STEP)
    assert (large[near] >= shallow[near] - 0.02).all()


def test_a_wall_beyond_the_reach_does_not_darken():
    wall = np.where(X > REACH + 3 * STEP, 5.0, 0.0).astype(np.float32)
    lit = occlusion(wall, STEP)
    assert lit[N // 2, N // 2] == pytest.approx(1.0, abs=1e-3) and lit[N // 2, N // 2 + 14] < 0.8


def test_a_flat_surface_is_in_full_light():
    for elevation in (6, 30, 90):  # a lamp lower than its own softness is partly behind the horizon
        assert sunlight(np.zeros((N, N), np.float32), STEP, 0.3, np.radians(elevation)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("elevation", [20, 30, 45])
@pytest.mark.parametrize("azimuth", [0, 90, 180, 270])
def test_the_shadow_of_a_wall_is_as_long_as_its_height_over_the_tangent(azimuth, elevation):
    # the ridge stands where the lamp comes from; its shadow falls to the other side
    along = X * np.cos(np.radians(azimuth)) + Y * np.sin(np.radians(azimuth))
    wall = np.where(along > 0.5, 0.2, 0.0).astype(np.float32)
    lit = sunlight(wall, STEP, np.radians(azimuth), np.radians(elevation))
    middle = np.abs(X * np.sin(np.radians(azimuth)) - Y * np.cos(np.radians(azimuth))) < STEP / 2
    order = np.argsort(along[middle])
    place, light = along[middle][order], lit[middle][order]
    shadow = place[(light < 0.5) & (place < 0.5)]
    # geometric steps reach only some distances: they lie 12 % apart; and the light is softened over 1.4 vertices
    assert 0.5 + STEP - shadow.min() == pytest.approx(0.2 / np.tan(np.radians(elevation)), rel=0.13, abs=2 * STEP)
    assert light[place > 0.55].min() > 0.9 and light[place < 0.5 - 0.8].min() > 0.99  # on the wall, and far behind it


def test_a_lower_lamp_throws_a_longer_shadow_and_none_from_straight_above():
    wall = np.where(X > 0.5, 0.2, 0.0).astype(np.float32)
    dark = [float((1 - sunlight(wall, STEP, 0.0, np.radians(e))).sum()) for e in (15, 30, 60, 89.9)]
    assert (np.diff(dark) < 0).all() and dark[-1] < 0.01 * dark[0]


def test_light_is_a_share_and_its_edge_has_the_softness():
    height = hills(1)
    for softness in (0.02, 0.3):
        lit = sunlight(height, STEP, 0.7, 0.4, softness)
        assert lit.min() >= -1e-6 and lit.max() <= 1 + 1e-6
    between = [
        int(((lit > 0.1) & (lit < 0.9)).sum())
        for lit in (sunlight(height, STEP, 0.7, 0.4, s) for s in (0.02, 0.1, 0.3))
    ]
    assert between[0] < between[1] < between[2]


def test_the_same_heights_give_the_same_light_to_the_last_bit():
    height = hills(2)
    assert np.array_equal(occlusion(height, STEP), occlusion(height.copy(), STEP))
    assert np.array_equal(sunlight(height, STEP, 1.0, 0.5), sunlight(height.copy(), STEP, 1.0, 0.5))
