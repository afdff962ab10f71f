import math

import numpy as np
import pytest

from studio.film.appearance import HeightScale, Panel, direction


@pytest.mark.parametrize("azimuth", [0.0, 0.7, 3.0])
@pytest.mark.parametrize("elevation", [-0.4, 0.0, 1.2])
def test_a_direction_is_a_unit_vector_at_its_angles(azimuth, elevation):
    x, y, z = direction(azimuth, elevation)
    assert math.hypot(x, y, z) == pytest.approx(1.0)
    assert math.atan2(y, x) == pytest.approx(azimuth) and math.asin(z) == pytest.approx(elevation)


def test_the_width_of_a_panel_is_level_and_across_its_direction():
    right = Panel(0.4, 0.2, (0.3, 0.1), (1.0, 1.0, 1.0)).right
    assert np.dot(right, direction(0.4, 0.2)) == pytest.approx(0.0) and right[2] == 0


def test_a_height_scale_rises_from_low_to_high_over_the_exaggeration():
    scale = HeightScale("log", low=-1.0, high=3.0, exaggeration=0.5)
    assert scale.low + scale.slope * scale.exaggeration == scale.high
