"""JPEG files: their quality, their largest size, and comments of any length."""

import errno
import io
import json
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from studio.config.units import Size
from studio.deliver import colour_spaces, image_io

PROFILE = colour_spaces.icc("adobe-rgb")


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and data of every segment of a JPEG before its pixels."""
    file.seek(2)
    marker = 0
    while marker != 0xDA:
        marker, length = struct.unpack(">xBH", file.read(4))
        yield marker, file.read(length - 2)


def test_a_jpeg_keeps_its_colours_within_three_codes(tmp_path, still, read_pixels):
    flat = np.repeat(np.repeat(np.array([[(255, 0, 0), (0, 0, 255), (255, 138, 43)]], np.uint8), 32, 0), 32, 1)
    assert np.abs(read_pixels(still(tmp_path, flat, format="jpg")).astype(int) - flat).max() <= 3  # quality 95, 4:4:4


def test_a_jpeg_is_what_pillow_writes_at_quality_95(tmp_path, noise):
    picture, reference = noise(3, size=Size(70, 50)), io.BytesIO()
    tags = {"icc_profile": PROFILE, "dpi": (300, 300)}
    Image.fromarray(picture).save(reference, "JPEG", quality=95, subsampling=0, **tags)
    image_io.write_jpeg(tmp_path / "picture.jpg", picture, PROFILE, 300)
    assert (tmp_path / "picture.jpg").read_bytes() == reference.getvalue()


@pytest.mark.parametrize(("length", "count"), [(10, 1), (150_000, 3)])
def test_a_comment_too_long_for_one_segment_goes_into_several(tmp_path, length, count, still, read_pixels):
    (tmp_path / "short").mkdir()
    path = still(tmp_path, None, {"keyframes": "x" * length}, format="jpg")
    with open(path, "rb") as file:
        comments = [data for marker, data in jpeg_segments(file) if marker == 0xFE]
    assert len(comments) == count and json.loads(b"".join(comments)) == {"keyframes": "x" * length}
    assert np.array_equal(read_pixels(path), read_pixels(still(tmp_path / "short", format="jpg")))


def test_a_full_disk_is_an_error_that_says_so(tmp_path, noise):
    (tmp_path / "full.jpg").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        image_io.write_jpeg(tmp_path / "full.jpg", noise(0, size=Size(600, 600)), PROFILE, None)
    assert caught.value.errno == errno.ENOSPC
