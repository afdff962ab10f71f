import numpy as np
import pytest

from studio.film.targets import landmark, weights

AXIS = np.linspace(-1, 1, 121)
X, Y = np.meshgrid(AXIS, AXIS)
# two wells, of depth 1 and 0.7, with the pass between them at the middle; far out it rises
WELLS = (X**2 + Y**2) - np.exp(-(((X - 0.5) ** 2) + Y**2) / 0.05) - 0.7 * np.exp(-(((X + 0.5) ** 2) + Y**2) / 0.05)


def test_landmarks_of_two_wells_are_the_deeper_one_the_rim_and_the_pass_between_them():
    x, y = landmark(WELLS, "lowest", (1.0, 1.0), 0.9)
    assert (x, y) == pytest.approx((0.5, 0.0), abs=0.05)
    x, y = landmark(WELLS, "saddle", (1.0, 1.0), 0.9)
    assert (x, y) == pytest.approx((0.0, 0.0), abs=0.05)
    gradient, curvatures = np.gradient(WELLS, AXIS, AXIS), []
    row, column = np.abs(AXIS - y).argmin(), np.abs(AXIS - x).argmin()
    assert np.hypot(gradient[0][row, column], gradient[1][row, column]) < 0.1
    for along, rows, columns in (("x", 0, 1), ("y", 1, 0)):
        pair = WELLS[row + rows, column + columns] + WELLS[row - rows, column - columns]
        curvatures.append((along, np.sign(pair - 2 * WELLS[row, column])))
    assert dict(curvatures) == {"x": -1, "y": 1}
    assert np.hypot(*landmark(WELLS, "highest", (1.0, 1.0), 0.9)) == pytest.approx(0.9, abs=0.03)


def test_a_landmark_lies_in_the_drawn_part_and_outside_of_holes():
    holed = np.where(np.hypot(X - 0.5, Y) < 0.3, np.nan, WELLS)
    assert landmark(holed, "lowest", (1.0, 1.0), 0.9)[0] == pytest.approx(-0.5, abs=0.05)
    assert np.hypot(*landmark(-X, "lowest", (1.0, 1.0), 0.5)) == pytest.approx(0.5, abs=0.03)


def test_one_basin_has_no_saddle():
    with pytest.raises(ValueError, match="a single basin, and so no saddle; look at another target"):
        landmark(X**2 + Y**2, "saddle", (1.0, 1.0), 0.9)


def test_weights_of_a_blend_sum_to_one():
    assert weights({"minimiser": 1.0, "highest": 3.0}) == {"minimiser": 0.25, "highest": 0.75}
    assert weights((0.1, 0.2)) == {(0.1, 0.2): 1.0}
