"""The one writer and reader of picture files: bounded, reproducible, and never silent about a failure."""

import errno
import os
import resource

import numpy as np
import pytest

from studio.config.units import Size
from studio.deliver import image_io

RGB = {letter: np.dtype(np.uint16) for letter in "RGB"}
TYPES = {".png": np.uint16, ".tif": np.uint16, ".exr": np.float16}
SIZE = Size(40, 300)


def write(path, pixels, attributes=()):
    height, width, count = pixels.shape
    channels = dict.fromkeys("RGBAX"[:count], pixels.dtype)
    bands = (pixels[top : top + image_io.ROWS] for top in range(0, height, image_io.ROWS))
    image_io.write(path, Size(width, height), channels, bands, dict(attributes))


def noise(suffix, size=SIZE, channels=3):
    values = np.random.default_rng(0).integers(0, 256, (size.height, size.width, channels))
    return values.astype(TYPES[suffix])


def damaged(path) -> bool:
    try:
        with image_io.open_image(path) as image:
            for _ in image.bands():
                pass
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("suffix", TYPES)
def test_what_is_read_is_what_was_written(tmp_path, suffix):
    pixels = noise(suffix, channels=4)
    write(tmp_path / f"picture{suffix}", pixels)
    with image_io.open_image(tmp_path / f"picture{suffix}") as image:
        assert np.array_equal(np.concatenate(list(image.bands())), pixels)
        assert image.size == SIZE and list(image.channels) == ["R", "G", "B", "A"]


def test_mixed_channels_keep_every_bit_even_of_what_is_no_number(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, (20, 9, 2), np.uint32)
    bands = bits.view(np.float32)
    bands[..., 0] = bits[..., 0].astype(np.uint16).view(np.float16)  # infinities and NaN among them
    channels = {"R": np.dtype(np.float16), "depth.Z": np.dtype(np.float32)}
    image_io.write(tmp_path / "mixed.exr", Size(9, 20), channels, [bands], {"compression": "zip"})
    with image_io.open_image(tmp_path / "mixed.exr") as image:
        [actual] = image.bands()
        assert image.channels == channels and np.array_equal(actual.view(np.uint32), bands.view(np.uint32))


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("bytes_cut", [13, 20, 100, 1000])
def test_a_file_that_is_cut_off_is_damaged(tmp_path, suffix, bytes_cut):
    path = tmp_path / f"picture{suffix}"
    write(path, noise(suffix))
    assert not damaged(path)
    path.write_bytes(path.read_bytes()[:-bytes_cut])
    assert damaged(path)


@pytest.mark.parametrize("suffix", [".png", ".exr"])
@pytest.mark.parametrize("place", np.linspace(0.1, 0.95, 9))
def test_a_changed_bit_in_the_pixels_of_a_png_or_an_exr_is_noticed(tmp_path, suffix, place):
    path = tmp_path / f"picture{suffix}"
    write(path, noise(suffix))
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    assert damaged(path)


@pytest.mark.parametrize("name", ["nothing.png", "text.png"])
def test_what_is_no_picture_is_damaged(tmp_path, name):
    (tmp_path / "text.png").write_text("not a picture")
    assert damaged(tmp_path / name)


@pytest.mark.parametrize("suffix", TYPES)
def test_a_full_disk_is_an_error_that_says_so(tmp_path, suffix):
    path = tmp_path / f"full{suffix}"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
        write(path, noise(suffix, Size(600, 600)))
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("suffix", TYPES)
def test_a_disk_that_fills_up_midway_is_an_error_that_says_so(tmp_path, suffix):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limit[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            write(tmp_path / f"picture{suffix}", noise(suffix, Size(600, 600)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_failure_that_is_not_the_disks_is_quoted(tmp_path):
    with pytest.raises(OSError, match="5-channel"):
        write(tmp_path / "picture.png", np.zeros((2, 2, 5), np.uint16))


def test_a_tiff_of_more_than_four_gigabytes_is_a_big_one(tmp_path):
    class EnoughError(Exception):
        pass

    def bands():
        yield np.zeros((1, 30_000, 3), np.uint16)
        raise EnoughError

    for height, version in ((1, b"II*\0"), (24_000, b"II+\0")):
        with pytest.raises(EnoughError):
            image_io.write(tmp_path / "big.tif", Size(30_000, height), RGB, bands(), {"compression": "none"})
        assert (tmp_path / "big.tif").read_bytes()[:4] == version


@pytest.mark.parametrize("suffix", TYPES)
def test_an_exception_while_drawing_passes_through(tmp_path, suffix):
    def bands():
        yield noise(suffix)[:100]
        raise KeyboardInterrupt

    channels = dict.fromkeys("RGB", np.dtype(TYPES[suffix]))
    with pytest.raises(KeyboardInterrupt):
        image_io.write(tmp_path / f"picture{suffix}", SIZE, channels, bands(), {})
