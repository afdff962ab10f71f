import numpy as np

from studio.film.bands import Bands

PICTURE = np.arange(7 * 4 * 3, dtype=np.uint16).reshape(7, 4, 3)


def test_bands_concatenated_from_the_top_are_the_picture():
    bands = Bands((7, 4, 3), np.dtype(np.uint16), lambda: (PICTURE[top : top + 3] for top in range(0, 7, 3)))
    assert np.array_equal(bands.to_array(), PICTURE) and bands.to_array().dtype == np.uint16


def test_bands_can_be_iterated_again():
    bands = Bands((7, 4, 3), np.dtype(np.uint16), lambda: (row for row in np.split(PICTURE, 7)))
    assert [len(band) for band in bands] == [len(band) for band in bands] == 7 * [1]


def test_a_picture_in_memory_is_a_single_band():
    bands = Bands.from_array(PICTURE)
    assert (bands.shape, bands.dtype) == (PICTURE.shape, PICTURE.dtype)
    (band,) = bands
    assert band is PICTURE
