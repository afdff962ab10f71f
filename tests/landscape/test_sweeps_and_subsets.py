import numpy as np
import pytest
from pydantic import TypeAdapter

from studio.config.reading import parse
from studio.errors import RunError, SceneError
from studio.landscape.loss import Loss
from studio.landscape.sweeps import Epochs, Sweep
from studio.training.data import Data

HAVE = (0.0, 0.5, 1.0, 1.5, 2.0)


def test_all_epochs_are_those_the_run_has():
    assert Epochs().coordinates(HAVE) == HAVE


def test_listed_epochs_come_in_order_and_once():
    assert parse("at: [2, 0, 0.5, 2]", Epochs).coordinates(HAVE) == (0.0, 0.5, 2.0)


def test_a_missing_epoch_names_its_neighbours():
    with pytest.raises(SceneError, match="epoch 0.7: .* 0.5, 1"):
        Epochs(at=(0.7,)).coordinates(HAVE)


@pytest.mark.parametrize("text", ["at: al", "at: []", "at: [0, two]", "at: {a: 1}"])
def test_keys_that_are_not_understood_are_one_mistake_with_a_place(text):
    with pytest.raises(SceneError) as caught:
        parse(text, Epochs)
    assert len(caught.value.mistakes) == 1
    assert caught.value.mistakes[0].startswith("scene:1:") and "[0, 2, 6]" in caught.value.mistakes[0]


def test_a_sweep_may_be_a_bare_word_and_survives_json():
    family = TypeAdapter(Sweep)
    assert family.validate_python("epochs") == Epochs()
    some = Epochs(at=(0, 2))
    assert family.validate_json(family.dump_json(some)) == some


def data(count: int) -> Data:
    x, y = np.zeros((count, 1, 2, 2), np.float32), np.arange(count)
    return Data(x, y, x, y, classes=count)


def test_a_larger_subset_begins_with_the_smaller_one():
    small, large = (Loss(subset=n).samples(data(50)) for n in (5, 20))
    assert list(large[:5]) == list(small) and len(set(large)) == 20


@pytest.mark.parametrize(("subset", "count"), [("5%", 10), ("100%", 200), ("0.1%", 1), (128, 128), ("128", 128)])
def test_subsets_are_counts_or_shares(subset, count):
    assert len(Loss(subset=subset).samples(data(200))) == count


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_subset_is_the_first_of_its_seeds_own_shuffle_by_numpy(seed):
    assert list(Loss(seed=seed, subset=5).samples(data(50))) == list(np.random.default_rng(seed).permutation(50)[:5])
    loss = Loss(seed=seed, subset=5, mode="recalibrated", calibration=9)
    assert list(loss.calibrating(data(50))) == list(np.random.default_rng(seed).permutation(50)[:9])


def test_seeds_shuffle_differently():
    assert list(Loss(seed=0).samples(data(50))) != list(Loss(seed=1).samples(data(50)))


@pytest.mark.parametrize("text", ["0", "-3", "0%", "101%", "many", "1.5", "%"])
def test_a_subset_that_cannot_be_is_a_mistake(text):
    with pytest.raises(SceneError, match="128 or 5%"):
        parse(f"subset: '{text}'", Loss)


def test_more_images_than_there_are_is_a_mistake():
    with pytest.raises(RunError, match="300 images are asked for, the training set holds 200"):
        Loss(subset=300).samples(data(200))


def test_what_asks_for_more_images_than_there_are_is_named_before_any_is_read():
    loss = Loss(subset=300, mode="recalibrated", calibration=201)
    assert list(loss.excess(300)) == []
    assert [key for key, _ in loss.excess(200)] == ["subset", "calibration"]
    assert list(Loss(subset="100%").excess(1)) == []
