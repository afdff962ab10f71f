import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from studio.film.format import QUALITIES, Format, Quality, QualityField, subframes
from studio.film.look import Look


def test_an_open_shutter_without_subframes_is_refused_with_the_way_out():
    with pytest.raises(ValidationError, match="needs sub-frames: write `quality: master`"):
        Format(shutter="180deg")
    assert Format(shutter="180deg", quality="master").shutter == 180.0
    with pytest.raises(ValidationError, match="less than or equal to 360"):
        Format(shutter="361deg", quality="master")


READ = TypeAdapter(QualityField)


def test_a_quality_is_a_name_or_numbers():
    assert READ.validate_python("final") == QUALITIES["final"]
    assert READ.validate_python({"samples": "3", "subframes": "16"}) == Quality(samples=3, subframes=16)
    assert (
        READ.validate_python({"samples": "2"}) == QUALITIES["final"]
    )  # so it is the same picture, and the same digest


def test_the_named_qualities_rise_in_samples_and_mesh():
    counts = [(quality.samples**2 * quality.subframes, quality.mesh) for quality in QUALITIES.values()]
    assert list(QUALITIES) == ["draft", "preview", "final", "master"] and sorted(set(counts)) == counts


@pytest.mark.parametrize(
    ("asked", "share", "vertices"), [(401, 0.5, 201), (401, 0.75, 301), (401, 1.0, 401), (35, 0.1, 33)]
)
def test_a_mesh_has_its_share_of_the_vertices_and_a_vertex_in_the_middle(asked, share, vertices):
    look = Look.model_validate({"base": "ember", "mesh": asked})
    assert Quality(mesh=share).scale_mesh(look) == look.model_copy(update={"mesh": vertices})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("finall", "did you mean 'final'"),
        ({"samples": "9"}, "less than or equal to 8"),
        ({"samples": "0"}, "greater than or equal to 1"),
        ({"subframes": "0"}, "greater than or equal to 1"),
    ],
    ids=str,
)
def test_what_is_no_quality_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        READ.validate_python(wrong)


def test_a_single_subframe_is_in_the_middle_of_the_pixel_the_lens_and_the_shutter():
    assert subframes(1) == (((0.0, 0.0), (0.0, 0.0), 0.5),)


@pytest.mark.parametrize("count", [2, 5, 16, 64])
def test_subframes_divide_each_side_of_a_pixel_and_the_shutter_into_equal_steps(count):
    frames = subframes(count)
    steps = (np.arange(count) + 0.5) / count
    for values in ([f.jitter[0] + 0.5 for f in frames], [f.jitter[1] + 0.5 for f in frames], [f.time for f in frames]):
        assert sorted(values) == pytest.approx(steps)


@pytest.mark.parametrize("count", [16, 64, 256])
def test_places_on_the_lens_fill_its_disc_evenly(count):
    places = np.array([f.lens_point for f in subframes(count)])
    radius = np.hypot(*places.T)
    assert radius.max() < 1
    # half of the area lies within 1 / sqrt(2), and a quarter in each quarter; one place more or less on each border
    slack = 2 / np.sqrt(count)
    assert (radius < 2**-0.5).mean() == pytest.approx(0.5, abs=slack)
    for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        assert ((places * (x, y)) > 0).all(axis=1).mean() == pytest.approx(0.25, abs=slack)


def test_a_subframes_jitter_lens_and_time_are_uncorrelated():
    values = np.array([(*f.jitter, *f.lens_point, f.time) for f in subframes(64)])
    # independent columns of 64 numbers correlate by 1 / 8 in the mean
    assert np.abs(np.corrcoef(values.T) - np.eye(5)).max() < 0.125
