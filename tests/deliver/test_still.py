"""Stills: exactly the frame that was drawn, or nothing."""

import shutil
from fractions import Fraction

import numpy as np
import pytest

from studio.config.units import Size, Time
from studio.deliver.still import Still
from studio.errors import MachineError

SIZE = Size(31, 17)
FPS = Fraction(24)
STILL = Still(at=Time(6.0))
FORMATS = ["png", "png16", "tiff16", "jpg", "exr"]


def test_a_still_is_exactly_the_frame_with_its_provenance(tmp_path, noise, still, read_pixels, read_provenance):
    path = still(tmp_path)
    assert np.array_equal(read_pixels(path), noise(5)) and read_provenance(path) == {"frame": 144}


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_still_of_another_size_format_or_profile_is_not_handed_over(tmp_path, format_name, still):
    path = still(tmp_path, format=format_name, profile="display-p3", dpi=300)
    segment = tmp_path / f"again{path.suffix}"
    shutil.copyfile(path, segment)
    out, options = tmp_path / f"out{path.suffix}", {"format": format_name, "profile": "display-p3", "dpi": 300}
    for change, size, message in (
        ({}, Size(32, 17), "32x17"),
        ({"dpi": 72}, SIZE, "dpi is 300, not 72"),
        ({"profile": "adobe-rgb"}, SIZE, "not adobe-rgb"),
    ):
        with pytest.raises(MachineError, match=message):
            Still(at=Time(6.0), **options | change).join([segment], out, frames=1, size=size, fps=FPS, provenance={})
    assert not out.exists()


def test_a_png_of_eight_bits_is_no_png_of_sixteen(tmp_path, still):
    path = still(tmp_path)
    with pytest.raises(MachineError, match="bits is 8, not 16"):
        Still(at=Time(6.0), format="png16").join(
            [path], tmp_path / "out.png", frames=1, size=SIZE, fps=FPS, provenance={}
        )


def test_a_picture_upside_down_in_memory_is_written_as_it_is_seen(tmp_path, noise, read_pixels):
    STILL.write_segment([noise(5)[::-1]], tmp_path / "segment.png", SIZE, FPS)  # renderers hand over flipped views
    assert np.array_equal(read_pixels(tmp_path / "segment.png"), noise(5)[::-1])


def test_a_still_is_the_same_segment_whatever_time_chose_it():
    assert STILL.identity() == Still(at=Time(144, "f")).identity()
    assert STILL.identity() != Still(at=Time(6.0), dpi=300).identity()


def test_only_a_jpeg_has_a_largest_size():
    large = Size(70_000, 40_000)
    assert "ends at 65500" in Still(at=Time(6), format="jpg").mistake_at(large)
    assert [
        Still(at=Time(6), format=format_name).mistake_at(large) for format_name in ("png", "png16", "tiff16", "exr")
    ] == [None] * 4


def test_the_largest_jpeg_is_one_that_can_be_written(tmp_path, still, read_pixels):
    size = Size(65500, 2)
    record = Still(at=Time(6.0), format="jpg")
    assert record.mistake_at(size) is None and record.mistake_at(Size(65501, 2))
    path = still(tmp_path, np.zeros((*size[::-1], 3), np.uint8), format="jpg")
    assert read_pixels(path).shape == (2, 65500, 3)
