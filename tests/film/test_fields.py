from itertools import combinations

import numpy as np
import pytest

from studio.config.reading import parse
from studio.errors import SceneError
from studio.field import from_scale
from studio.film.colour import _DICHROMATS, lab, lookup_table
from studio.film.fields import (
    CATEGORIES,
    DERIVED,
    SIGNED,
    ColourMapping,
    HeightMapping,
    derive,
    grid_of,
    measured_fields,
)
from studio.film.look import Look
from studio.film.surface import UNKNOWN

# --- fields


def test_every_field_is_measured_on_one_of_the_scenes_two_grids():
    assert {grid_of(field) for field in ("loss", "accuracy", "entropy", "my.metrics:margin")} == {"loss"}
    assert {grid_of(field) for field in (*SIGNED, *DERIVED, "taylor")} == {"convexity"}


def test_a_measured_field_is_its_own_source():
    assert measured_fields("loss") == ("loss",) and derive("loss", [np.eye(2)]) is not None
    assert set(measured_fields("hidden")) == set(SIGNED)


@pytest.mark.parametrize(
    ("low", "high", "share"),
    [(1.0, 2.0, 0.0), (-1.0, 1.0, 1.0), (-1.0, 4.0, 0.25), (-4.0, -1.0, 1.0), (-8.0, 2.0, 1.0), (0.0, 3.0, 0.0)],
)
@pytest.mark.parametrize("field", ["convexity", "plane-convexity"])
def test_convexity_is_the_share_of_negative_curvature(field, low, high, share):
    assert derive(field, [np.array([low]), np.array([high])])[0] == share


def test_convexity_is_unknown_where_flat_and_where_a_curvature_is_unknown():
    low, high = np.array([0.0, np.nan, -1.0]), np.array([0.0, 1.0, np.nan])
    assert np.isnan(derive("convexity", [low, high])).all()


def test_the_signs_of_a_hessian_have_the_values_of_their_categories_in_order():
    low, high = np.array([-2.0, -1.0, 1.0, np.nan]), np.array([-1.0, 1.0, 2.0, 1.0])
    assert derive("definiteness", [low, high]).tolist()[:3] == list(CATEGORIES["definiteness"]) == [-1, 0, 1]


def test_definiteness_has_colours_of_its_own_whatever_the_base_unless_a_map_stands_beside_it():
    own = ColourMapping(field="definiteness")
    # this base colours by another field, from 0 to 0.9
    look = Look.model_validate({"base": "convexity", "colour": {"field": "definiteness"}})
    assert look.colour == own and own.scale == "linear" and own.range == "film"
    changed = Look.model_validate({"base": "convexity", "colour": {"field": "definiteness", "map": "vik"}})
    assert changed.colour.map == "vik" and changed.colour.range == "film"


def test_every_kind_of_eye_tells_the_colours_of_definiteness_from_each_other_and_from_unknown():
    light = np.stack([*lookup_table(ColourMapping(field="definiteness").map)[[0, 512, -1]], UNKNOWN])
    for eye in (np.eye(3), *map(np.array, _DICHROMATS.values())):
        seen = lab(np.clip(light @ eye.T, 0, 1))
        # a difference of 2.3 in CIELAB is just noticeable; 30 is so at a glance
        assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 30


# --- mappings


@pytest.mark.parametrize(
    ("scale", "expected"), [("linear", [0.25, 4, 9]), ("sqrt", [0.5, 2, 3]), ("log", np.log([0.25, 4, 9]))]
)
def test_a_height_is_the_value_on_its_scale(scale, expected):
    assert HeightMapping(scale=scale).to_scale(np.array([0.25, 4.0, 9.0])) == pytest.approx(np.array(expected))


def test_the_cap_is_in_the_units_of_the_field_and_takes_inf_but_not_nan():
    drawn = HeightMapping(scale="sqrt", cap=16.0).to_scale(np.array([4.0, 100.0, np.inf, np.nan]))
    assert drawn[:3].tolist() == [2.0, 4.0, 4.0] and np.isnan(drawn[3])


def test_a_loss_of_zero_has_a_height_on_every_scale():
    assert all(
        np.isfinite(HeightMapping(scale=scale).to_scale(np.zeros(1))).all() for scale in ("log", "sqrt", "linear")
    )


def test_a_signed_logarithm_is_odd_and_near_0_the_value_itself():
    drawn = HeightMapping(field="lambda_min", scale="signed-log").to_scale(np.array([-1e6, -1e-3, 0.0, 1e-3, 1e6]))
    # arcsinh x = x - x^3/6: 2e-10 at a thousandth
    assert drawn[:2] == pytest.approx(-drawn[:2:-1]) and drawn[3] == pytest.approx(1e-3, abs=2e-10) and drawn[2] == 0
    assert drawn[4] == pytest.approx(np.log(2e6))


@pytest.mark.parametrize("scale", ["log", "sqrt", "linear", "signed-log"])
def test_unscaling_undoes_a_height_scale(scale):
    values = np.array([0.25, 4.0, 9.0])
    assert from_scale(HeightMapping(scale=scale).to_scale(values), scale) == pytest.approx(values)


def test_a_metric_of_the_users_may_be_height_and_colour():
    text = "{field: 'my.metrics:margin', scale: linear}"
    assert parse(text, HeightMapping).field == parse(text, ColourMapping).field == "my.metrics:margin"


@pytest.mark.parametrize(
    ("text", "record", "message"),
    [
        ("{field: kappa_max, scale: sqrt}", HeightMapping, "kappa_max may be negative, which has no sqrt"),
        ("{field: hidden}", HeightMapping, "no field 'hidden'"),
        ("{field: definiteness}", HeightMapping, "no field 'definiteness'"),
        ("{field: definiteness, map: vic}", ColourMapping, "no colormap 'vic'"),
        ("{smoothing: 2}", HeightMapping, "at most 1"),
        ("{cap: -1}", HeightMapping, "more than 0"),
        ("{field: lambda_min, scale: log}", ColourMapping, "lambda_min may be negative, which has no log"),
        ("{field: convexty}", ColourMapping, "no field 'convexty'; did you mean 'convexity'"),
        ("{map: infernno}", ColourMapping, "no colormap 'infernno'; did you mean 'inferno'"),
        ("{map: [[0, '#000000'], [0.5, '#ffffff']]}", ColourMapping, "stops must rise from 0 to 1"),
        ("{map: [[0, '#000000'], [1, black]]}", ColourMapping, r"map\[1\]\[1\]: 'black' is not a colour"),
        ("{range: [3, 1]}", ColourMapping, r"range \[3, 1\] is empty or reversed"),
        ("{range: [0, 1], centre: 0}", ColourMapping, "range and centre are two ways"),
        ("{range: [0, 1], scale: log}", ColourMapping, "range 0 has no log; write one above 0"),
        ("{centre: -1, scale: sqrt}", ColourMapping, "centre -1 has no sqrt"),
    ],
)
def test_an_invalid_mapping_is_one_mistake(text, record, message):
    with pytest.raises(SceneError, match=message) as caught:
        parse(text, record)
    assert len(caught.value.mistakes) == 1
