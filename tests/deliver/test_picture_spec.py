"""Picture specs: what pictures deliverables are made of, and pictures that are refused."""

from fractions import Fraction

import numpy as np
import pytest

from studio.config.units import Size, Time
from studio.deliver.movie import Movie
from studio.deliver.picture_spec import PictureSpec
from studio.deliver.sequence import Sequence
from studio.deliver.still import Still

SIZE = Size(31, 17)
FPS = Fraction(24)
STILL = Still(at=Time(6.0))
FORMATS = ["png", "png16", "tiff16", "jpg", "exr"]


@pytest.mark.parametrize("deliverable", [Sequence(), STILL, Movie()])
@pytest.mark.parametrize(
    "change",
    [lambda x: x.astype(np.float32), lambda x: x[..., 0], lambda x: x.astype(np.float16), lambda x: x[:-1]],
    ids=["float32", "grey", "float16", "short"],
)
def test_a_frame_of_another_kind_is_refused(tmp_path, deliverable, change, noise):
    with pytest.raises(ValueError, match=r"expected uint8 \(17, 31, 3\)"):
        deliverable.write_segment([change(noise(0))], tmp_path / "segment.png", SIZE, FPS)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_without_the_aovs_of_the_spec_is_refused(tmp_path, noise, noise_with_aovs):
    sequence = Sequence(format="exr", aovs=("depth", "mask"))
    for frame in (
        noise(0, sequence.picture_spec),
        noise_with_aovs(Sequence(format="exr", aovs=("depth",)).picture_spec),
    ):
        with pytest.raises(ValueError, match=r"expected float16 .* with depth mask"):
            sequence.write_segment([frame], tmp_path / "0.frames", SIZE, FPS)


def test_deliverables_say_what_pictures_they_are_made_of():
    assert {format_name: Still(at=Time(6), format=format_name).picture_spec.bits for format_name in FORMATS} == {
        "png": 8,
        "png16": 16,
        "tiff16": 16,
        "jpg": 8,
        "exr": None,
    }
    assert Still(at=Time(6), format="jpg", profile="adobe-rgb").picture_spec.bits == 16  # 8 would show its steps
    assert Sequence(format="dcp-source").picture_spec == PictureSpec(16)
    options = {"alpha": True, "aovs": ("mask",)}
    assert Sequence(format="exr", **options).picture_spec == PictureSpec(None, **options)
