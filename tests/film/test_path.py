from dataclasses import replace

import numpy as np
import pytest

from studio.film.path import LANE, Path
from studio.film.pose import Orbit
from studio.film.surface import height_at

ORBIT = Orbit(azimuth=180.0, elevation=20.0, distance=0.6, lens=30.0)
SHARES = np.linspace(0, 1, 201)
ROUGH = np.random.default_rng(0).random((201, 201)) * 0.3
ZIGZAG = np.array([(-0.8, -0.5), (-0.3, 0.4), (0.1, -0.2), (0.4, 0.3), (0.6, 0.3)])


def test_a_curve_goes_through_its_points_and_a_trajectory_rounds_its_corners():
    curve, trajectory = (Path.through(ZIGZAG, is_curve=is_curve) for is_curve in (True, False))
    on_curve, on_trajectory = (np.array([path.place(s) for s in SHARES]) for path in (curve, trajectory))
    for place in ZIGZAG:
        assert np.linalg.norm(on_curve - place, axis=1).min() < 0.01
    corner = np.linalg.norm(on_trajectory - ZIGZAG[1], axis=1).min()
    assert 0.01 < corner < 0.2
    assert on_curve[0] == pytest.approx(ZIGZAG[0]) and on_curve[-1] == pytest.approx(ZIGZAG[-1])


@pytest.mark.parametrize("is_curve", [True, False])
def test_shares_are_of_the_length_and_the_heading_has_no_jumps(is_curve):
    path = Path.through(ZIGZAG, is_curve=is_curve)
    steps = np.linalg.norm(np.diff([path.place(s) for s in SHARES], axis=0), axis=1)
    assert steps == pytest.approx(path.length / 200, rel=0.05)
    headings = np.array([path.heading(s) for s in SHARES])
    assert np.abs(np.diff(headings)).max() < 25
    ways = np.diff([path.place(s) for s in SHARES], axis=0)
    assert np.cos(np.radians(headings[:-1]) - np.arctan2(ways[:, 1], ways[:, 0])).min() > 0.97


def test_a_flight_stays_over_the_land_and_looks_ahead():
    path = Path.through(ZIGZAG, is_curve=False)
    for share in SHARES:
        orbit, aim = path.fly(replace(ORBIT, path=float(share)), ROUGH, 0.1)
        pose = orbit.pose(aim)
        assert pose.position[:2] == pytest.approx(path.place(share), abs=1e-9)
        around = np.array(pose.position[:2]) + LANE * np.array([(0, 0), (0.7, 0.7), (0, 1), (1, 0), (-1, 0)]) / 2
        assert pose.position[2] >= height_at(ROUGH, around).max()
        assert pose.position[2] == pytest.approx(0.1 + path.ground(ROUGH).min(), abs=0.35)
        heading = np.radians(path.heading(share))
        assert pose.axes[2][:2] @ (np.cos(heading), np.sin(heading)) > 0


def steps(count: int) -> np.ndarray:
    """Largest changes, from one of so many poses to the next, of the flight's speed and direction."""
    path = Path.through(ZIGZAG, is_curve=False)
    poses = []
    for share in np.linspace(0, 1, count + 1):
        orbit, aim = path.fly(replace(ORBIT, path=float(share)), ROUGH, 0.1)
        poses.append(orbit.pose(aim))
    velocity = np.diff([pose.position for pose in poses], axis=0) * count
    ahead = np.array([pose.axes[2] for pose in poses])
    return np.array([np.abs(np.diff(row, axis=0)).max() for row in (velocity, ahead)])


def test_a_flight_has_no_step_in_velocity_or_direction():
    assert (steps(2000) < 0.6 * steps(1000)).all()  # a step would stay as large


def test_a_camera_that_follows_stands_behind_its_subject():
    path = Path.through(np.array([(-0.5, 0.0), (0.0, 0.0), (0.5, 0.0)]), is_curve=True)
    orbit, focal_point = path.follow(replace(ORBIT, path=0.5), np.zeros((41, 41)))
    assert focal_point == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    assert orbit.pose(focal_point).position[0] < -0.5 and orbit.pose(focal_point).position[1] == pytest.approx(0)


def test_a_path_without_length_is_refused():
    with pytest.raises(ValueError, match="the path has no length"):
        Path.through(np.zeros((3, 2)), is_curve=False)
