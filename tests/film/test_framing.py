import numpy as np
import pytest

from studio.film.framing import distance_to_fit, land_points
from studio.film.pose import Orbit, project

LAND = land_points(0.3 * np.random.default_rng(0).random((61, 61)), (1.0, 1.0), 0.95)


@pytest.mark.parametrize("aspect", [16 / 9, 1.0, 9 / 16])
@pytest.mark.parametrize("share", [0.4, 0.8, 1.0])
@pytest.mark.parametrize(
    ("azimuth", "elevation", "lens"), [(-60.0, 35.0, 30.0), (10.0, 80.0, 50.0), (100.0, 5.0, 24.0)]
)
def test_the_subject_fills_the_share_of_the_picture_and_no_more(aspect, share, azimuth, elevation, lens):
    orbit = Orbit(azimuth, elevation, 1.0, lens, pan=(0.0, 0.0, 0.1))
    focal_point = (0.0, 0.0, 0.2)
    distance = distance_to_fit(LAND - focal_point, orbit, aspect, share)
    pose = Orbit(azimuth, elevation, distance, lens, pan=(0.0, 0.0, 0.1)).pose(focal_point)
    x, y = project(LAND, pose, aspect).T
    across, down = np.abs(2 * x / aspect - 1).max(), np.abs(2 * y - 1).max()
    assert max(across, down) == pytest.approx(share, abs=1e-6)
