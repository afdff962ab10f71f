from itertools import product

import pytest

from studio.config.reading import parse
from studio.config.records import Record, digest
from studio.errors import SceneError
from studio.film.fields import ColourMapping
from studio.film.look import Look, assets_folder, gallery, looks, suitability

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


def test_an_unknown_base_is_refused_at_its_place_with_the_nearest():
    with pytest.raises(SceneError, match=r"scene:1:7: look: no look 'embers'; did you mean 'ember'\?"):
        parse("look: {base: embers}", Scene)


def test_without_a_base_a_look_needs_its_light():
    with pytest.raises(SceneError, match="the key 'light' is missing"):
        parse("look: {mesh: 65}", Scene)
    assert Look.model_validate({"light": LIGHT}).contours is None


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("mesh: 600", "600 vertices: expected an odd number"),
        ("mesh: 9", "at least 33"),
        ("mesh: 2003", "at most 2001"),
        ("colour: {centre: -1}", "the colour's end -1 has no sqrt"),  # ember's heights are roots
        ("sparkle: 3", "unknown key 'sparkle'"),
    ],
)
def test_an_invalid_look_is_one_mistake(part, message):
    with pytest.raises(SceneError, match=message) as caught:
        parse(f"look: {{base: ember, {part}}}", Scene)
    assert len(caught.value.mistakes) == 1


def test_a_look_has_a_digest_that_any_of_its_numbers_changes():
    base = Look.model_validate({"light": LIGHT})
    others = [
        {"mesh": 65},
        {"grade": base.grade.model_copy(update={"grain": 0.006})},
        {"colour": ColourMapping(map="viridis")},
    ]
    assert len({digest(base), *(digest(base.model_copy(update=other)) for other in others)}) == 4


def test_the_assets_are_found_beside_the_package_or_inside_it():
    assert (assets_folder() / "fonts").is_dir() and (assets_folder() / "looks" / "ember.yaml").is_file()


# --- the user's own bases


def test_a_base_may_be_a_file_beside_the_scene_with_a_base_in_turn(tmp_path):
    (tmp_path / "looks").mkdir()
    (tmp_path / "looks" / "dim.yaml").write_text("{base: ember, grade: {exposure: 0.5}, mesh: 65}")
    (tmp_path / "looks" / "dimmer.yaml").write_text("{base: ./dim.yaml, grade: {bloom: 0}}")
    look = parse("look: {base: looks/dimmer.yaml, mesh: 97}", Scene, folder=tmp_path).look
    ember = Look.model_validate({"base": "ember"})
    grade = ember.grade.model_copy(update={"exposure": 0.5, "bloom": 0.0})
    assert look == ember.model_copy(update={"base": "looks/dimmer.yaml", "grade": grade, "mesh": 97})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no look in .*mine.yaml: cannot be read: No such file"),
        ("{base: ./mine.yaml}", "mine.yaml is a base of itself"),
        ("[1, 2]", "mine.yaml holds no keys and values, so it is no look"),
        ("{base: embr}", "no look 'embr'; did you mean 'ember'"),
        ("{base: ember, base: ember}", "mine.yaml:1:15: 'base' stands here for the second time"),
    ],
)
def test_a_base_file_that_cannot_be_used_says_why(text, message, tmp_path):
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SceneError, match=message):
        parse("look: {base: mine.yaml}", Scene, folder=tmp_path)


def test_a_look_up_table_of_a_base_is_relative_to_that_base(tmp_path):
    (tmp_path / "looks").mkdir()
    (tmp_path / "looks" / "a.cube").write_text("LUT_3D_SIZE 2\n" + "0 0 0\n" * 8)
    (tmp_path / "looks" / "mine.yaml").write_text("{base: ember, grade: {lut: a.cube}}")
    look = parse("look: {base: looks/mine.yaml}", Scene, folder=tmp_path).look
    assert look.grade.lut.file == tmp_path / "looks" / "a.cube"


LIGHT = {"key": {"azimuth": "70deg", "elevation": "30deg"}, "rim": {"azimuth": "200deg", "elevation": "15deg"}}
BITS = tuple(product((0, 1), repeat=3))


def test_the_gallery_holds_studios_looks_and_those_of_a_folder_which_may_replace_them(tmp_path):
    (tmp_path / "mine.yaml").write_text("{base: ember, mesh: 65}")
    (tmp_path / "gold.yaml").write_text("{base: gold, mesh: 97}")
    all_looks = gallery(tmp_path)
    assert set(all_looks) == {"mine", *looks()} and all_looks["mine"].mesh == 65
    assert gallery()["gold"].mesh != 97 and all_looks["ember"] == gallery()["ember"]


def test_a_map_is_safe_for_colour_blind_eyes_only_if_its_lightness_is_monotone():
    def of(name: str, **more) -> tuple[str, ...]:
        return suitability(Look(light=LIGHT, colour=ColourMapping(map=name), **more))

    assert "colour-blind" in of("viridis") and "colour-blind" in of("viridis_r")
    assert "colour-blind" not in of("jet") and "colour-blind" not in of("RdYlGn")


def test_print_needs_light_paper_no_glow_and_colours_that_inks_reach():
    plaster = gallery()["plaster"]
    assert suitability(plaster) == ("colour-blind", "print")
    for part in (
        {"grade": plaster.grade.model_copy(update={"bloom": 0.1})},
        {"background": gallery()["gold"].background},
        {"colour": ColourMapping(map=((0.0, "#00ff00"), (1.0, "#ffffff")))},
    ):
        assert "print" not in suitability(plaster.model_copy(update=part))


def test_a_look_with_a_look_up_table_has_no_marks(tmp_path):
    (tmp_path / "swapped.cube").write_text("LUT_3D_SIZE 2\n" + "".join(f"{g} {r} {b}\n" for b, g, r in BITS))
    (tmp_path / "swapped.yaml").write_text("{base: plaster, grade: {lut: swapped.cube}}")
    assert suitability(gallery(tmp_path)["swapped"]) == ()


@pytest.mark.parametrize("name", sorted(looks()))
def test_the_second_line_of_a_look_that_comes_with_studio_lists_its_marks(name):
    line = looks()[name].read_text(encoding="utf-8").splitlines()[1]
    expected = suitability(gallery()[name])
    assert line == f"# Safe for: {', '.join(expected)}" if expected else not line.startswith("# Safe")
