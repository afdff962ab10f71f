import pytest
from pydantic import TypeAdapter

from studio.config.reading import parse
from studio.errors import SceneError
from studio.landscape.sweeps import Epochs, Sweep

AVAILABLE = (0.0, 0.5, 1.0, 1.5, 2.0)


def test_all_epochs_are_those_the_run_has():
    assert Epochs().coordinates(AVAILABLE) == AVAILABLE


def test_listed_epochs_come_in_order_and_once():
    assert parse("at: [2, 0, 0.5, 2]", Epochs).coordinates(AVAILABLE) == (0.0, 0.5, 2.0)


def test_a_missing_epoch_names_its_neighbours():
    with pytest.raises(SceneError, match=r"epoch 0\.7: .* 0\.5, 1"):
        Epochs(at=(0.7,)).coordinates(AVAILABLE)


@pytest.mark.parametrize("text", ["at: al", "at: []", "at: [0, two]", "at: {a: 1}"])
def test_epochs_that_are_not_understood_are_one_mistake_with_a_place(text):
    with pytest.raises(SceneError) as caught:
        parse(text, Epochs)
    assert len(caught.value.mistakes) == 1
    assert caught.value.mistakes[0].startswith("scene:1:") and "[0, 2, 6]" in caught.value.mistakes[0]


def test_a_sweep_may_be_a_bare_word_and_survives_json():
    family = TypeAdapter(Sweep)
    assert family.validate_python("epochs") == Epochs()
    some = Epochs(at=(0, 2))
    assert family.validate_json(family.dump_json(some)) == some
