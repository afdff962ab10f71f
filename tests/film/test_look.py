import numpy as np
import pytest

from studio.errors import SceneError
from studio.film import look
from studio.film.look import Height, Look, Paint, assets, decode, linear, looks, table
from studio.spec import Record, digest, parse

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
    "part, told",
    [
        ("mesh: 600", "600 vertices: expected an odd number"),
        ("mesh: 9", "greater than or equal to 33"),
        ("fade: {start: 0.9, end: 0.5}", "fade from 0.9 to 0.5 is empty or reversed"),
        ("colour: {map: infernno}", "no colormap 'infernno'; did you mean 'inferno'"),
        ("colour: {range: [3, 1]}", r"range \[3, 1\] is empty or reversed"),
        ("colour: {map: [[0, '#000000'], [0.5, '#ffffff']]}", "stops must rise from 0 to 1"),
        ("colour: {map: [[0, '#000000'], [1, black]]}", r"map\[1\]\[1\]: 'black' is not a colour"),
        ("grade: {exposure: 0}", "greater than 0"),
        ("height: {cap: -1}", "greater than 0"),
        ("marker: {halo: '#fff'}", "'#fff' is not a colour"),
        ("sparkle: 3", "unknown key 'sparkle'"),
    ],
)
def test_a_look_that_cannot_be_is_one_mistake(part, told):
    with pytest.raises(SceneError, match=told) as caught:
        parse(f"look: {{base: ember, {part}}}", Scene)
    assert len(caught.value.mistakes) == 1


@pytest.mark.parametrize(
    "scale, expected", [("linear", [0.25, 4, 9]), ("sqrt", [0.5, 2, 3]), ("log", np.log([0.25, 4, 9]))]
)
def test_a_height_is_the_value_on_its_scale(scale, expected):
    assert Height(scale=scale).of(np.array([0.25, 4.0, 9.0])) == pytest.approx(np.array(expected))


def test_the_cap_is_in_the_units_of_the_field_and_takes_inf_but_not_nan():
    drawn = Height(scale="sqrt", cap=16.0).of(np.array([4.0, 100.0, np.inf, np.nan]))
    assert drawn[:3].tolist() == [2.0, 4.0, 4.0] and np.isnan(drawn[3])


def test_a_loss_of_zero_has_a_height_on_every_scale():
    assert all(np.isfinite(Height(scale=scale).of(np.zeros(1))).all() for scale in ("log", "sqrt", "linear"))


def test_colours_are_written_in_srgb_and_used_in_linear_light():
    assert linear("#ffffff").tolist() == [1, 1, 1] and linear("#000000").tolist() == [0, 0, 0]
    # IEC 61966-2-1: the code 188 is half the light, to the nearest code; 10 is on the straight foot of the curve
    assert linear("#bcbcbc") == pytest.approx([0.5] * 3, abs=0.005)
    assert linear("#0a0a0a") == pytest.approx([10 / 255 / 12.92] * 3)
    assert (np.diff(decode(np.linspace(0, 1, 1000))) > 0).all()


def test_stops_are_met_exactly_and_mixed_in_srgb_between():
    stops = table(((0.0, "#000000"), (0.5, "#804020"), (1.0, "#ffffff")))
    assert stops.shape == (1024, 3) and stops.dtype == np.float32
    assert stops[0].tolist() == [0, 0, 0] and stops[-1].tolist() == [1, 1, 1]
    # the middle is between two of the 1024 entries: half a step of 1/512 of the way to a neighbour
    assert stops[511] == pytest.approx(linear("#804020"), abs=1e-3)
    quarter = 255.75 / 1023 / 0.5 * np.array([0x80, 0x40, 0x20]) / 255
    assert (stops[255] + stops[256]) / 2 == pytest.approx(decode(quarter), abs=1e-4)


@pytest.mark.parametrize(
    "name", ["inferno", "viridis", "lajolla", "cmc.lajolla", "thermal", "cmo.thermal", "fire", "cet_fire", "lajolla_r"]
)
def test_the_colormaps_of_four_libraries_go_by_their_own_names(name):
    assert Paint(map=name).map == name
    assert table(name).shape == (1024, 3) and 0 <= table(name).min() < table(name).max() <= 1


def test_a_prefix_is_not_needed_and_r_turns_a_map_round():
    assert np.array_equal(table("thermal"), table("cmo.thermal"))
    assert np.array_equal(table("lajolla_r"), table("lajolla")[::-1])


def test_matplotlibs_own_map_comes_first_where_two_share_a_name():
    from matplotlib import colormaps

    assert look._colormap("gray") is look._colormaps()["gray"]
    assert np.array_equal(look._colormap("gray")(0.3), colormaps["gray"](0.3))


def test_a_look_has_a_digest_that_any_of_its_numbers_changes():
    base = Look.model_validate({"light": LIGHT})
    others = [{"mesh": 65}, {"grade": base.grade.model_copy(update={"grain": 0.006})}, {"colour": Paint(map="viridis")}]
    assert len({digest(base), *(digest(base.model_copy(update=other)) for other in others)}) == 4


def test_the_assets_are_found_beside_the_package_or_inside_it():
    assert (assets() / "fonts").is_dir() and (assets() / "looks" / "ember.yaml").is_file()
