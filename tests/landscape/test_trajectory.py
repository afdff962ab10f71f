import numpy as np
import pytest

from studio.landscape.trajectory import project_trajectory

RANDOM = np.random.default_rng(0)
DELTA, ETA = RANDOM.standard_normal((2, 40))
CENTRE = RANDOM.standard_normal(40)


def plane(theta: np.ndarray, delta: np.ndarray = DELTA, eta: np.ndarray = ETA) -> dict[str, np.ndarray]:
    return {"theta": theta, "delta": delta, "eta": eta}


def test_places_in_the_plane_are_in_units_of_both_directions_however_oblique():
    places = np.array([[0.0, 0.0], [0.5, -0.2], [-0.3, 0.9]])
    oblique = ETA + DELTA
    trajectory = project_trajectory(
        (0.0, 1.0, 4.0), [plane(CENTRE + a * DELTA + b * oblique, eta=oblique) for a, b in places]
    )
    assert trajectory.coordinates == (0.0, 1.0, 4.0) and trajectory.share_in_plane == pytest.approx(1.0)
    # rounding of sums over 40 weights
    np.testing.assert_allclose(trajectory.places, places[None] - places[:, None], atol=1e-12)


def test_a_checkpoint_outside_the_plane_stands_at_its_nearest_point():
    normal = CENTRE - np.stack([DELTA, ETA], 1) @ np.linalg.lstsq(np.stack([DELTA, ETA], 1), CENTRE)[0]
    unit = normal / np.linalg.norm(normal) * np.linalg.norm(DELTA)
    trajectory = project_trajectory((0.0, 1.0), [plane(CENTRE), plane(CENTRE + 0.3 * DELTA + 0.4 * unit)])
    np.testing.assert_allclose(trajectory.places[0, 1], [0.3, 0.0], atol=1e-12)
    assert trajectory.share_in_plane == pytest.approx(0.6)  # 3 of the hypotenuse of 3 and 4


def test_each_plane_has_its_own_directions():
    trajectory = project_trajectory((0.0, 1.0), [plane(CENTRE), plane(CENTRE + DELTA, 2 * DELTA, 5 * ETA)])
    np.testing.assert_allclose(trajectory.places[:, :, 0], [[0.0, 1.0], [-0.5, 0.0]], atol=1e-12)


def test_directions_that_span_no_plane_give_no_places():
    trajectory = project_trajectory((0.0, 1.0), [plane(CENTRE, eta=-3 * DELTA), plane(CENTRE + DELTA)])
    assert np.isnan(trajectory.places[0]).all() and np.isfinite(trajectory.places[1]).all()


def test_a_run_that_does_not_move_lies_in_its_plane():
    assert project_trajectory((0.0, 1.0), [plane(CENTRE)] * 2).share_in_plane == 1.0
