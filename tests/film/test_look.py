import numpy as np
import pytest

from studio.config.reading import parse
from studio.config.records import Record, digest
from studio.errors import SceneError
from studio.film.fields import ColourMapping, HeightMapping
from studio.film.look import Look, assets, looks

LIGHT = {"key": {"azimuth": "70deg", "elevation": "30deg"}, "rim": {"azimuth": "200deg", "elevation": "15deg"}}


class Scene(Record):
    look: Look


@pytest.mark.parametrize("name", sorted(looks()))
def test_every_look_that_comes_with_studio_loads(name):
    assert Look.model_validate({"base": name}).base == name


def test_a_key_replaces_one_part_of_the_base_and_leaves_all_others():
    base = Look.model_validate({"base": "ember"})
    changed = parse("look: {base: ember, light: {key: {intensity: 9}}, mesh: 65}", Scene).look
    assert changed.light.key.intensity == 9.0 and changed.mesh == 65
    key = changed.light.key.model_copy(update={"intensity": base.light.key.intensity})
    assert (
        changed.model_copy(update={"mesh": base.mesh, "light": changed.light.model_copy(update={"key": key})}) == base
    )


def test_an_unknown_base_is_told_at_its_place_with_the_nearest():
    with pytest.raises(SceneError, match="scene:1:7: look: no look 'embers'; did you mean 'ember'?"):
        parse("look: {base: embers}", Scene)


def test_without_a_base_a_look_needs_its_light():
    with pytest.raises(SceneError, match="the key 'light' is missing"):
        parse("look: {mesh: 65}", Scene)
    assert Look.model_validate({"light": LIGHT}).contours is None


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("mesh: 600", "600 vertices: expected an odd number"),
        ("mesh: 9", "at least 33"),
        ("fade: {start: 0.9, end: 0.5}", "fade from 0.9 to 0.5 is empty or reversed"),
        ("colour: {map: infernno}", "no colormap 'infernno'; did you mean 'inferno'"),
        ("colour: {range: [3, 1]}", r"range \[3, 1\] is empty or reversed"),
        ("colour: {map: [[0, '#000000'], [0.5, '#ffffff']]}", "stops must rise from 0 to 1"),
        ("colour: {map: [[0, '#000000'], [1, black]]}", r"map\[1\]\[1\]: 'black' is not a colour"),
        ("grade: {exposure: 0}", "more than 0"),
        ("height: {cap: -1}", "more than 0"),
        ("marker: {halo: '#fff'}", "'#fff' is not a colour"),
        ("sparkle: 3", "unknown key 'sparkle'"),
    ],
)
def test_a_look_that_cannot_be_is_one_mistake(part, told):
    with pytest.raises(SceneError, match=told) as caught:
        parse(f"look: {{base: ember, {part}}}", Scene)
    assert len(caught.value.mistakes) == 1


@pytest.mark.parametrize(
    ("scale", "expected"), [("linear", [0.25, 4, 9]), ("sqrt", [0.5, 2, 3]), ("log", np.log([0.25, 4, 9]))]
)
def test_a_height_is_the_value_on_its_scale(scale, expected):
    assert HeightMapping(scale=scale).of(np.array([0.25, 4.0, 9.0])) == pytest.approx(np.array(expected))


def test_the_cap_is_in_the_units_of_the_field_and_takes_inf_but_not_nan():
    drawn = HeightMapping(scale="sqrt", cap=16.0).of(np.array([4.0, 100.0, np.inf, np.nan]))
    assert drawn[:3].tolist() == [2.0, 4.0, 4.0] and np.isnan(drawn[3])


def test_a_loss_of_zero_has_a_height_on_every_scale():
    assert all(np.isfinite(HeightMapping(scale=scale).of(np.zeros(1))).all() for scale in ("log", "sqrt", "linear"))


def test_a_look_has_a_digest_that_any_of_its_numbers_changes():
    base = Look.model_validate({"light": LIGHT})
    others = [
        {"mesh": 65},
        {"grade": base.grade.model_copy(update={"grain": 0.006})},
        {"colour": ColourMapping(map="viridis")},
    ]
    assert len({digest(base), *(digest(base.model_copy(update=other)) for other in others)}) == 4


def test_the_assets_are_found_beside_the_package_or_inside_it():
    assert (assets() / "fonts").is_dir() and (assets() / "looks" / "ember.yaml").is_file()


# --- bases of one's own


def test_a_base_may_be_a_file_beside_the_scene_which_has_a_base_of_its_own(tmp_path):
    (tmp_path / "looks").mkdir()
    (tmp_path / "looks" / "dim.yaml").write_text("{base: ember, grade: {exposure: 0.5}, mesh: 65}")
    (tmp_path / "looks" / "dimmer.yaml").write_text("{base: ./dim.yaml, grade: {bloom: 0}}")
    found = parse("look: {base: looks/dimmer.yaml, mesh: 97}", Scene, folder=tmp_path).look
    ember = Look.model_validate({"base": "ember"})
    grade = ember.grade.model_copy(update={"exposure": 0.5, "bloom": 0.0})
    assert found == ember.model_copy(update={"base": "looks/dimmer.yaml", "grade": grade, "mesh": 97})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no look in .*mine.yaml: No such file"),
        ("{base: ./mine.yaml}", "mine.yaml is a base of itself"),
        ("[1, 2]", "mine.yaml holds no keys and values, so it is no look"),
        ("{base: embr}", "no look 'embr'; did you mean 'ember'"),
        ("{base: ember, base: ember}", "mine.yaml:1:15: 'base' stands here for the second time"),
    ],
)
def test_a_base_of_ones_own_that_cannot_be_used_says_why(text, told, tmp_path):
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SceneError, match=told):
        parse("look: {base: mine.yaml}", Scene, folder=tmp_path)


# --- lamps, lines and tables


def test_a_lamp_may_be_as_warm_as_so_many_kelvin():
    lamp = parse("look: {base: ember, light: {key: {colour: 3200K}}}", Scene).look.light.key
    assert lamp == parse(f"look: {{base: ember, light: {{key: {{colour: '{lamp.colour}'}}}}}}", Scene).look.light.key
    red, green, blue = (int(lamp.colour[i : i + 2], 16) for i in (1, 3, 5))
    assert red == 255 > green > blue


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("light: {key: {colour: warmK}}", "'warmK' is no colour temperature"),
        ("light: {key: {colour: 90K}}", "90K is no colour temperature; expected 1667K"),
        ("contours: {labels: true}", "labels need round numbers to tell"),
        ("wire: {along: gamma}", "no along 'gamma'"),
        ("colour: {field: lambda_min, scale: log}", "lambda_min may be negative, which has no log"),
        ("height: {field: kappa_max, scale: sqrt}", "kappa_max may be negative, which has no sqrt"),
        ("colour: {field: convexty}", "no field 'convexty'; did you mean 'convexity'"),
        ("height: {field: hidden}", "no field 'hidden'"),
        ("colour: {range: [0, 1], centre: 0}", "range and centre are two ways"),
        ("colour: {range: [0, 1], scale: log}", "range 0 has no log; write one above 0"),
        ("colour: {centre: -1, scale: sqrt}", "centre -1 has no sqrt"),
        ("colour: {centre: -1}", "the colour's end -1 has no sqrt"),  # ember's heights are roots
        ("light: {key: {size: 0deg}}", "more than 0"),
        ("light: {rim: {elevation: 100deg}}", "at most 90"),
        ("light: {environment: [{azimuth: 0deg, elevation: 9deg, width: 170deg}]}", "at most 160"),
        ("height: {smoothing: 2}", "at most 1"),
        ("grade: {lut: none.cube}", "none.cube cannot be read: No such file"),
    ],
)
def test_a_part_that_cannot_be_is_one_mistake(part, told):
    with pytest.raises(SceneError, match=told) as caught:
        parse(f"look: {{base: ember, {part}}}", Scene)
    assert len(caught.value.mistakes) == 1


def test_a_metric_of_the_users_may_be_height_and_colour():
    both = "{field: 'my.metrics:margin', scale: linear}"
    found = parse(f"look: {{base: ember, height: {both}, colour: {both}}}", Scene).look
    assert found.height.field == found.colour.field == "my.metrics:margin"


def test_a_signed_logarithm_is_odd_and_near_0_the_value_itself():
    drawn = HeightMapping(field="lambda_min", scale="signed-log").of(np.array([-1e6, -1e-3, 0.0, 1e-3, 1e6]))
    # arcsinh x = x - x^3/6: 2e-10 at a thousandth
    assert drawn[:2] == pytest.approx(-drawn[:2:-1]) and drawn[3] == pytest.approx(1e-3, abs=2e-10) and drawn[2] == 0
    assert drawn[4] == pytest.approx(np.log(2e6))


def test_a_table_of_other_contents_is_another_look(tmp_path):
    (tmp_path / "a.cube").write_text("LUT_3D_SIZE 2\n" + "0 0 0\n" * 8)
    one = parse("look: {base: ember, grade: {lut: a.cube}}", Scene, folder=tmp_path).look
    (tmp_path / "a.cube").write_text("LUT_3D_SIZE 2\n" + "0 0 1\n" * 8)
    other = parse("look: {base: ember, grade: {lut: a.cube}}", Scene, folder=tmp_path).look
    assert one.grade.lut.file == other.grade.lut.file and digest(one) != digest(other)


def test_a_table_named_in_a_base_lies_beside_the_base(tmp_path):
    (tmp_path / "looks").mkdir()
    (tmp_path / "looks" / "a.cube").write_text("LUT_3D_SIZE 2\n" + "0 0 0\n" * 8)
    (tmp_path / "looks" / "mine.yaml").write_text("{base: ember, grade: {lut: a.cube}}")
    found = parse("look: {base: looks/mine.yaml}", Scene, folder=tmp_path).look
    assert found.grade.lut.file == tmp_path / "looks" / "a.cube"
