import subprocess
import sys

import pytest

from studio.config.reading import parse
from studio.config.records import Record
from studio.errors import SceneError
from studio.training.data import Layout
from studio.training.objectives import CROSS_ENTROPY, BinaryCrossEntropy, CrossEntropy, MeanSquares, Objective


class Of(Record):
    objective: Objective = CROSS_ENTROPY


def read(word: str, folder) -> Objective:
    return parse(f"objective: {word}", Of, folder=folder).objective


def layout(target=(), ends=(0.0, 9.0), classes=10, shape=(3, 4)) -> Layout:
    return Layout(8, shape, False, target, ends, classes)


LABELS, REAL = layout(), layout((2,), (-1.5, 1.5), 0)
BINARY, NOTHING = layout((2,), (0, 1), 2), layout(None, (0, 0), 0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine_of_objectives.py").write_text("def vae(model, batch):\n    return model(batch)\n")
    return tmp_path


def test_an_objective_is_a_word_or_the_name_of_a_function(folder):
    assert parse("{}", Of).objective == CROSS_ENTROPY == read("cross-entropy", folder)
    assert read("mean-squares", folder) == MeanSquares()
    own = read("mine_of_objectives:vae", folder)
    assert own == read("{kind: python, function: mine_of_objectives:vae}", folder)
    assert (str(own), own.field("kl"), own.field("loss")) == (
        "mine_of_objectives:vae",
        "mine_of_objectives:vae.kl",
        "loss",
    )


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
    assert CrossEntropy().outputs(LABELS) == 10 == own.outputs(LABELS)
    assert MeanSquares().outputs(LABELS) == 1 and BinaryCrossEntropy().outputs(BINARY) == 2 == own.outputs(REAL)
    assert MeanSquares().outputs(NOTHING) == 12 == own.outputs(NOTHING)


def test_targets_that_an_objective_cannot_take_are_said_with_the_way_out(folder):
    for data, found in ((REAL, r"\[2\] each, real or negative numbers from -1.5 to 1.5"), (NOTHING, "missing")):
        text = CrossEntropy().misfit(data)
        assert text.startswith(
            f"cross-entropy needs labels, whole numbers from 0, and the targets are {found}".replace("\\", "")
        )
        assert "mean-squares" in text and MeanSquares().misfit(data) is None
    assert "0 to 1, and they are whole numbers from 0 to 9" in BinaryCrossEntropy().misfit(LABELS)
    assert BinaryCrossEntropy().misfit(NOTHING) and BinaryCrossEntropy().misfit(BINARY) is None
    assert CrossEntropy().misfit(LABELS) is read("mine_of_objectives:vae", folder).misfit(NOTHING) is None


@pytest.mark.parametrize("objective", [CrossEntropy(), MeanSquares(), BinaryCrossEntropy()], ids=str)
def test_the_metrics_that_a_record_names_are_those_of_its_functions(objective):
    assert tuple(objective.functions()) == ("loss", *objective.metrics)


def test_reading_an_objective_loads_no_torch():
    code = "import sys, studio.training.objectives; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
