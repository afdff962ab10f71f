"""EXR files: copied with a comment, whatever their height and channels."""

import numpy as np
import OpenEXR
import pytest

from studio.config.units import Size, Time
from studio.deliver import comments
from studio.deliver.still import Still


@pytest.mark.parametrize("height", [1, 16, 17, 700])  # a chunk has 16 rows
def test_a_copy_has_the_compressed_pixels_of_the_exr_and_a_comment(tmp_path, height, noise, still, read_pixels):
    frame = noise(2, Still(at=Time(6.0), format="exr").picture_spec, Size(40, height))
    still(tmp_path, frame, format="exr")
    source, copy = tmp_path / "segment.exr", tmp_path / "copy.exr"
    comments.add_to_exr(source, copy, "seed \u00c9")
    assert np.array_equal(read_pixels(copy), frame)
    with OpenEXR.File(str(source)) as old, OpenEXR.File(str(copy)) as new:
        assert new.header()["comments"] == "seed \u00c9" and set(new.header()) == {*old.header(), "comments"}
    pixels = height * 40 * 3  # as noise they compress to more than half of their two bytes
    assert copy.read_bytes()[-pixels:] == source.read_bytes()[-pixels:]


def test_aovs_are_copied_with_the_colours(tmp_path, noise_with_aovs, still):
    options = {"format": "exr", "aovs": ["depth", "normal"]}
    frame = noise_with_aovs(Still(at=Time(6.0), **options).picture_spec)
    still(tmp_path, frame, **options)
    comments.add_to_exr(tmp_path / "segment.exr", tmp_path / "copy.exr", "x" * 100_000)
    with OpenEXR.File(str(tmp_path / "copy.exr"), separate_channels=True) as file:
        channels = file.channels()
        assert np.array_equal(channels["depth.Z"].pixels, frame.aovs["depth"][..., 0])
        assert np.array_equal(channels["normal.Y"].pixels, frame.aovs["normal"][..., 1])
