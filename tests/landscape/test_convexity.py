import pytest
from pydantic import ValidationError

from studio.field import Grid
from studio.landscape.convexity import Convexity, Spectrum


def test_a_spectrum_is_asked_for_by_its_keys():
    convexity = Convexity(spectrum={"probes": 4}, ignore="bias-and-norm")
    assert convexity.spectrum == Spectrum(probes=4) and Convexity().spectrum is None


def test_the_points_of_the_curvature_span_the_range_of_the_loss():
    grid = Convexity(points=5).grid(Grid(range=(-1.9, 1.9), points=51))
    assert grid == Grid(range=(-1.9, 1.9), points=5)


def test_an_even_number_of_points_has_no_centre():
    with pytest.raises(ValidationError, match="odd"):
        Convexity(points=10)


def test_one_probe_has_no_standard_error():
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        Spectrum(probes=1)


def test_the_curvature_may_be_measured_at_the_middle_alone():
    grid = Convexity(points=1).grid(Grid(range=((0.0, 2.0), (-1.0, 1.0)), points=51))
    assert (grid.alpha.tolist(), grid.beta.tolist(), grid.size) == ([1.0], [0.0], 1)
