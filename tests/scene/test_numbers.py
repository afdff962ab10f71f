import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import spearmanr

from studio.scene.numbers import Interval, Number


def of(values, *against, reaches=(), **keys):
    number = Number(**{"measure": "loss", **keys})
    return number.of(np.atleast_2d(values), *map(np.atleast_2d, against), reaches=reaches)


@pytest.mark.parametrize(
    ("take", "value"),
    [("first", 1.0), ("last", 3.0), ("smallest", 1.0), ("largest", 8.0), ("rise", 6.0), ("ratio", 3.0)],
)
def test_a_number_takes_one_value_of_those_along_the_sweep(take, value):
    assert of([1.0, 8.0, 3.0], take=take) == (Interval(value, value, value),)


def test_the_spread_of_a_number_is_that_of_its_repetitions():
    assert of([[1.0, 5.0], [2.0, 9.0], [3.0, 6.0]], take="largest") == (Interval(6.0, 5.0, 9.0),)
    assert of([[1.0, 5.0], [2.0, 9.0], [3.0, 6.0]], take="each") == (Interval(2.0, 1.0, 3.0), Interval(6.0, 5.0, 9.0))


def test_a_median_reaches_from_the_5th_to_the_95th_percentile_of_all_values():
    assert of(np.arange(101.0).reshape(1, -1), take="median") == (Interval(50.0, 5.0, 95.0),)


def test_a_correlation_is_spearmans_with_the_interval_of_its_bootstrap():
    x = np.arange(14.0)
    [same] = of(x, np.exp(x), take="correlation", against="trace")
    assert same == Interval(pytest.approx(1), pytest.approx(1), pytest.approx(1))
    noisy = np.random.default_rng(0).normal(size=14)
    [found] = of(x, x + 4 * noisy, take="correlation", against="trace")
    assert found.value == pytest.approx(spearmanr(x, x + 4 * noisy).statistic)
    assert -1 < found.low < found.value < found.high < 1 and found.high - found.low > 0.2


def test_a_quadratic_range_ends_where_the_reliefs_exponent_leaves_2():
    reaches = 2.0 ** -np.arange(9)  # as a zoom has them, from wide to narrow
    quartic = reaches**2 + reaches**4  # its exponent between r / 2 and r passes 2.2 between r = 1/2 and 1
    assert of(quartic, reaches=reaches, measure="relief", take="quadratic-range") == (Interval(0.25, 0.25, 0.25),)
    tilted = reaches**2 + 0.01 * reaches  # a slope at the centre rules the smallest ranges, and takes nothing away
    assert of(tilted, reaches=reaches, measure="relief", take="quadratic-range")[0].value == 1.0
    assert np.isnan(of(reaches, reaches=reaches, measure="relief", take="quadratic-range")[0].value)


def test_a_number_is_written_with_its_spread_unless_it_has_none():
    assert Number(measure="loss", format=".2f").text(Interval(2.456, 2.3, 2.6)) == "2.46 (2.30 to 2.60)"
    assert Number(measure="accuracy", format=".0%").text(Interval(0.971, 0.97, 0.972)) == "97%"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"take": "correlation"}, "write both `take: correlation` and `against`"),
        ({"against": "trace"}, "write both `take: correlation` and `against`"),
        ({"take": "quadratic-range"}, "is of the relief; write `measure: relief`"),
        ({"format": ".999999f"}, "formats no number"),
        ({"times": 101}, "less than or equal to 100"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        Number(**{"measure": "loss", **keys})
