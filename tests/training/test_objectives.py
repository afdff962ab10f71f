import subprocess
import sys

import pytest

from studio.config.reading import parse
from studio.config.records import Record
from studio.errors import SceneError
from studio.training.data import Layout
from studio.training.losses import BY_KIND
from studio.training.objectives import CROSS_ENTROPY, Objective, OutputLoss, drawn_name


class Of(Record):
    objective: Objective = CROSS_ENTROPY


def read(word: str, folder) -> Objective:
    return parse(f"objective: {word}", Of, folder=folder).objective


def layout(target=(), ends=(0.0, 9.0), classes=10, shape=(3, 4)) -> Layout:
    return Layout(8, shape, False, target, ends, classes)


LABELS, REAL = layout(), layout((2,), (-1.5, 1.5), 0)
BINARY, NOTHING = layout((2,), (0, 1), 2), layout(None, (0, 0), 0)
SQUARES, BINARY_LOSS = OutputLoss(kind="mean-squares"), OutputLoss(kind="binary-cross-entropy")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine_of_objectives.py").write_text("def vae(model, batch):\n    return model(batch)\n")
    return tmp_path


def test_an_objective_is_a_word_or_the_name_of_a_function(folder):
    assert parse("{}", Of).objective == CROSS_ENTROPY == read("cross-entropy", folder)
    assert read("mean-squares", folder) == SQUARES == read("{kind: mean-squares}", folder)
    own = read("mine_of_objectives:vae", folder)
    assert own == read("{kind: python, function: mine_of_objectives:vae}", folder)
    names = [drawn_name(own, name) for name in ("loss", "accuracy", "kl")]
    assert names == ["loss", "accuracy", "mine_of_objectives:vae.kl"] and drawn_name(SQUARES, "loss") == "loss"


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("mean-square", "1:12: objective: unknown kind 'mean-square'; did you mean 'mean-squares'?"),
        ("nowhere_at_all:vae", "1:12: objective: no module 'nowhere_at_all' beside the scene"),
        ("{kind: python}", "1:12: objective.function: the key 'function' is missing"),
    ],
)
def test_a_mistake_has_its_place(folder, word, words):
    with pytest.raises(SceneError) as caught:
        read(word, folder)
    assert str(caught.value).startswith(f"scene:{words}")


def test_a_built_in_model_has_as_many_outputs_as_the_targets_ask_for(folder):
    own = read("mine_of_objectives:vae", folder)
    assert CROSS_ENTROPY.outputs(LABELS) == 10 == own.outputs(LABELS)
    assert SQUARES.outputs(LABELS) == 1 and BINARY_LOSS.outputs(BINARY) == 2 == own.outputs(REAL)
    assert SQUARES.outputs(NOTHING) == 12 == own.outputs(NOTHING)


def test_targets_that_an_objective_cannot_take_are_said_with_the_way_out(folder):
    for data in (REAL, NOTHING):
        text = CROSS_ENTROPY.misfit(data)
        assert text.startswith("cross-entropy needs labels, whole numbers from 0") and "mean-squares" in text
        assert SQUARES.misfit(data) is None and BINARY_LOSS.misfit(data)
    assert BINARY_LOSS.misfit(LABELS).endswith("from 0 to 1, and they go from 0 to 9")
    assert BINARY_LOSS.misfit(BINARY) is None
    assert CROSS_ENTROPY.misfit(LABELS) is read("mine_of_objectives:vae", folder).misfit(NOTHING) is None


@pytest.mark.parametrize("kind", BY_KIND)
def test_the_numbers_that_a_record_names_are_those_of_its_functions(kind):
    assert OutputLoss(kind=kind).numbers() == tuple(BY_KIND[kind])


def test_reading_an_objective_loads_no_torch():
    code = "import sys, studio.training.objectives; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
