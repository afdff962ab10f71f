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


DENSE = [{"every": 0.1, "from": 0, "to": 0.3}, {"every": 1, "from": 1, "to": 3}]


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        (DENSE, (0, 0.1, 0.2, 0.3, 1, 2, 3, 4)),
        ([{"log": 4, "from": 0.004, "to": 4}], (0, 0.004, 0.04, 0.4, 4)),
        ([{"every": 1, "from": 0.5, "to": 3}], (0, 0.5, 1.5, 2.5, 4)),
    ],
    ids=str,
)
def test_windows_of_checkpoints_are_saved_beside_the_start_and_the_end(windows, expected):
    assert Recipe(epochs=4, checkpoint=windows).instants == expected


def test_an_instant_in_a_window_is_saved_at_the_later_step():
    assert Recipe(epochs=4, checkpoint=DENSE).steps(25) == {0: 0, 3: 0.1, 5: 0.2, 8: 0.3, 25: 1, 50: 2, 75: 3, 100: 4}


def test_a_recipe_without_windows_has_the_digest_it_had():
    assert Recipe().determinants["checkpoint"] == {"every": 1.0}
    assert Recipe(checkpoint=[{"every": 1, "from": 0, "to": 20}]).determinants != Recipe().determinants


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ({"from": 0, "to": 1}, "either `every: 0.5` or `log: 12`"),
        ({"every": 1, "log": 3, "from": 1, "to": 2}, "either `every: 0.5` or `log: 12`"),
        ({"every": 1, "from": 2, "to": 1}, "from 2 to 1 is no window; write the smaller end first"),
        ({"log": 3, "to": 1}, "a logarithm starts from 0.001"),
        ({"every": 0.001, "to": 11}, "more than 10000 instants; write a larger step"),
        ({"every": 1, "to": 21}, "a window of checkpoints ends at 21, and the run at 20"),
    ],
    ids=str,
)
def test_a_window_without_instants_in_the_run_is_refused(window, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        Recipe(epochs=20, checkpoint=[window])


def test_windows_closer_than_steps_are_told():
    [(keys, text)] = Recipe(checkpoint=[{"log": 9, "from": 0.001, "to": 1}]).misfits(640)
    assert keys == ("checkpoint",)
    assert text == "two checkpoints fall on one step; an epoch has 10 steps of 64 samples, so 0.1 is the least"
