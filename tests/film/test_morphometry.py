"""Numbers of a land in closed form, over the disc in which it is drawn."""

import numpy as np
import pytest

from studio.field import Grid
from studio.film.morphometry import Morphometry, morphometry

GRID = Grid(range=(-2, 2), points=41)
A, B = np.meshgrid(GRID.alpha / 2, GRID.beta / 2)
BOWL, RIDGES = A**2 + B**2, np.sin(40 * A)


def of(height, loss=None, grid=GRID) -> Morphometry:
    return morphometry(height, height if loss is None else loss, grid)


def test_a_bowl_is_smooth_the_same_on_both_sides_and_nowhere_curved_downwards():
    # the share of the unit disc within r is r^2, so the percentiles of r^2 are the shares; a node's cell is 1/20 wide
    assert of(BOWL) == pytest.approx(Morphometry(0.9, 0, 0, 0), abs=0.02)
    assert of(BOWL).ruggedness < 1e-12 > of(BOWL).asymmetry


def test_any_land_of_degree_four_is_smooth():
    assert of(A**4 - 3 * A * B**3 + B - 7).ruggedness < 1e-12 < of(A**5).ruggedness


def test_ripples_on_a_bowl_are_rugged_by_their_rms_over_the_relief():
    # no polynomial of degree 4 follows seven periods; the rms of a sine is its amplitude by sqrt 2
    rugged = of(BOWL + 0.01 * RIDGES)
    assert rugged.ruggedness == pytest.approx(0.01 / np.sqrt(2) / rugged.relief, rel=0.05)


def test_an_odd_land_differs_from_its_mirror_image_by_twice_its_rms():
    # over the disc the mean of a^2 is 1/4, so the rms of 2 a is 1; the 5th and 95th percentile of a are where the
    # segment beyond has a twentieth of pi, at 0.806
    assert of(A).asymmetry == pytest.approx(1 / (2 * 0.806), rel=0.03)


def test_the_mirror_is_in_the_middle_of_the_picture():
    shifted = Grid(range=((1, 5), (-2, 2)), points=41)
    assert of(BOWL, grid=shifted).asymmetry < 1e-12


@pytest.mark.parametrize(("loss", "share"), [(-BOWL, 1), (A * B, 1), (A, 0), (A**3, 0.5), (0 * A + 3, 0)])
def test_the_share_of_negative_curvature_counts_points_with_a_way_down(loss, share):
    assert of(BOWL, loss).negative == pytest.approx(share, abs=0.05)  # a column of 41 nodes has no sign


def test_units_of_the_plane_and_of_the_loss_change_no_share():
    land, wide = BOWL + 0.3 * A * RIDGES, Grid(range=((-6, 6), (-1, 1)), points=41)
    for other in (of(land, grid=wide), of(50 * land)):
        assert other[1:] == pytest.approx(of(land)[1:], rel=1e-9)


def test_what_is_not_finite_or_not_drawn_counts_for_nothing():
    corners, holes = np.where(A**2 + B**2 > 1.01, 1e9, BOWL), BOWL.copy()
    holes[20, 5] = np.inf
    assert of(corners) == of(BOWL)
    assert np.isfinite(of(holes)).all() and of(holes).ruggedness < 1e-12
    assert np.isnan(of(np.full_like(A, np.nan))).all()


def test_a_flat_land_is_neither_rugged_nor_lopsided():
    assert of(np.full_like(A, 3.0)) == Morphometry(0, 0, 0, 0)
