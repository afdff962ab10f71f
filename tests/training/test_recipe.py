import re
import subprocess
import sys

import pytest
from pydantic import ValidationError

from studio.training.recipe import Every, Recipe


@pytest.mark.parametrize(
    ("every", "epochs", "expected"),
    [
        (1, 3, (0, 1, 2, 3)),
        (0.5, 2, (0, 0.5, 1, 1.5, 2)),
        (2, 5, (0, 2, 4, 5)),
        (7, 5, (0, 5)),
        (0.333, 1, (0, 0.333, 0.667, 1)),
    ],
    ids=str,
)
def test_the_first_and_the_last_epoch_are_always_saved(every, epochs, expected):
    assert Recipe(epochs=epochs, checkpoint={"every": every}).instants == expected


@pytest.mark.parametrize(
    ("every", "epochs", "steps", "expected"),
    [
        (0.5, 2, 23, {0: 0, 12: 0.5, 23: 1, 35: 1.5, 46: 2}),
        (0.333, 1, 24, {0: 0, 8: 0.333, 16: 0.667, 24: 1}),
        (2, 3, 10, {0: 0, 20: 2, 30: 3}),
    ],
    ids=str,
)
def test_an_instant_between_two_steps_is_saved_at_the_later(every, epochs, steps, expected):
    assert Every(every=every).instants(epochs, steps) == expected


@pytest.mark.parametrize(
    ("every", "way_out"), [(1.5, "does not is 2"), (0.3, "is 0.333"), (0.7, "is 1$"), (0, "least"), (-1, "least")]
)
def test_an_interval_that_misses_epochs_is_refused_with_a_way_out(every, way_out):
    with pytest.raises(ValidationError) as caught:
        Every(every=every)
    message = str(caught.value.errors()[0]["ctx"]["error"])
    assert re.search(way_out, message), message


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch": 1}, {"seed": -1}, {"momentum": 0.9}], ids=str)
def test_a_recipe_that_cannot_be_trained_is_refused(wrong):
    with pytest.raises(ValidationError):
        Recipe(**wrong)


def test_reading_records_and_finding_checkpoints_loads_no_heavy_library():
    code = (
        "import sys; from studio.training import models, data, optimizers, runs, checkpoints, formats; "
        "runs.RecipeRun(recipe={}); checkpoints.epochs('.'); "
        "print(*{'torch', 'sklearn', 'safetensors', 'pandas', 'mlxtend'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
