import numpy as np
import pytest

from studio.landscape.trajectory import positions, share_in_plane

RANDOM = np.random.default_rng(0)
DELTA, ETA = RANDOM.standard_normal((2, 40))
CENTRE = RANDOM.standard_normal(40)


def plane(theta: np.ndarray = CENTRE, delta: np.ndarray = DELTA, eta: np.ndarray = ETA) -> dict[str, np.ndarray]:
    return {"theta": theta, "delta": delta, "eta": eta}


def normal() -> np.ndarray:
    """A vector perpendicular to the plane, as long as delta."""
    away = CENTRE - np.stack([DELTA, ETA], 1) @ np.linalg.lstsq(np.stack([DELTA, ETA], 1), CENTRE)[0]
    return away / np.linalg.norm(away) * np.linalg.norm(DELTA)


def test_places_in_the_plane_are_in_units_of_both_directions_however_oblique():
    places, oblique = np.array([[0.0, 0.0], [0.5, -0.2], [-0.3, 0.9]]), ETA + DELTA
    networks = [CENTRE + a * DELTA + b * oblique for a, b in places]
    found = positions([plane(theta, eta=oblique) for theta in networks], networks)
    # rounding of sums over 40 weights
    np.testing.assert_allclose(found["places"], places[None] - places[:, None], atol=1e-12)
    np.testing.assert_allclose(found["distances"], 0, atol=1e-12)
    assert share_in_plane(found["distances"], found["lengths"]) == pytest.approx(1.0)


def test_a_network_outside_the_plane_stands_at_its_nearest_point_at_a_stated_distance():
    found = positions([plane()], [CENTRE, CENTRE + 0.3 * DELTA + 0.4 * normal()])
    np.testing.assert_allclose(found["places"][0], [[0, 0], [0.3, 0.0]], atol=1e-12)
    np.testing.assert_allclose(found["distances"][0], [0, 0.4 * np.linalg.norm(DELTA)], atol=1e-12)
    assert share_in_plane(found["distances"], found["lengths"]) == pytest.approx(0.6)  # 3 of the hypotenuse of 3 and 4


def test_each_plane_has_its_own_directions():
    planes = [plane(), plane(CENTRE + DELTA, 2 * DELTA, 5 * ETA)]
    places = positions(planes, [CENTRE, CENTRE + DELTA])["places"]
    np.testing.assert_allclose(places[:, :, 0], [[0.0, 1.0], [-0.5, 0.0]], atol=1e-12)


def test_directions_that_span_no_plane_give_no_places():
    places = positions([plane(eta=-3 * DELTA), plane(CENTRE + DELTA)], [CENTRE])["places"]
    assert np.isnan(places[0]).all() and np.isfinite(places[1]).all()


def test_a_run_that_does_not_move_lies_in_its_plane():
    found = positions([plane()] * 2, [CENTRE] * 2)
    assert share_in_plane(found["distances"], found["lengths"]) == 1.0
