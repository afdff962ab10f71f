import math

import numpy as np
import pytest
from pydantic import ValidationError

from studio.config.records import Record
from studio.film.easing import EASES, Ease, EaseField

NAMES = [*sorted(EASES), "bezier(0.4, 0, 0.2, 1)", "bezier(1, 0, 0, 1)", "bezier(0,0,0,1)", "steps(1)", "steps(7)"]


class Eased(Record):
    ease: EaseField


@pytest.mark.parametrize("name", NAMES)
def test_an_ease_starts_at_0_and_arrives_at_1(name):
    assert Ease(name)(0.0) == 0.0
    assert Ease(name)(1.0) == 1.0


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("back")])
def test_an_ease_is_monotone_and_stays_within_0_and_1(name):
    values = [Ease(name)(u) for u in np.linspace(0, 1, 1001)]
    assert min(values) >= 0 and max(values) <= 1
    assert (np.diff(values) >= -1e-15).all()  # rounding of a polynomial near 1


@pytest.mark.parametrize("name", NAMES)
def test_outside_0_to_1_an_ease_holds(name):
    assert Ease(name)(-3.0) == 0.0 and Ease(name)(7.0) == 1.0


@pytest.mark.parametrize(
    ("name", "start", "arrival"),
    [
        ("linear", 1, 1),
        ("in-out", 0, 0),
        ("in-sine", 0, math.pi / 2),
        ("out-sine", math.pi / 2, 0),
        ("in-out-sine", 0, 0),
        ("in-cubic", 0, 3),
        ("out-cubic", 3, 0),
        ("in-out-cubic", 0, 0),
    ],
)
def test_an_ease_is_named_after_the_end_where_it_is_slow(name, start, arrival):
    h = 1e-6  # one-sided differences of smooth curves: error of order h times the second derivative, at most 10
    assert Ease(name)(h) / h == pytest.approx(start, abs=1e-5)
    assert (1 - Ease(name)(1 - h)) / h == pytest.approx(arrival, abs=1e-5)


@pytest.mark.parametrize("name", ["linear", "in-out", "in-out-sine", "in-out-cubic"])
def test_a_symmetric_ease_is_halfway_at_half_time(name):
    assert Ease(name)(0.5) == pytest.approx(0.5, abs=1e-15)
    assert Ease(name)(0.2) + Ease(name)(0.8) == pytest.approx(1.0, abs=1e-15)


def test_an_in_is_an_out_played_backwards():
    for kind in ("sine", "cubic"):
        for u in np.linspace(0, 1, 11):
            assert Ease(f"in-{kind}")(u) == pytest.approx(1 - Ease(f"out-{kind}")(1 - u), abs=1e-15)


def test_a_step_is_0_until_its_end():
    assert (Ease("step")(0.999), Ease("step")(1.0)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [("out-cubik", "did you mean 'out-cubic'"), ("zzz", "one of linear, step"), (["linear"], "no ease")],
)
def test_an_unknown_ease_is_refused_with_the_nearest(value, message):
    with pytest.raises(ValidationError, match=message):
        Eased(ease=value)


def test_a_scene_writes_an_ease_by_its_name():
    assert Eased(ease="in-sine").model_dump(mode="json") == {"ease": "in-sine"}
    assert Eased.model_json_schema()["properties"]["ease"]["anyOf"][0]["enum"] == list(EASES)
