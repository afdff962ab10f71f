from itertools import product

import pytest

from studio.film.fields import ColourMapping
from studio.film.gallery import gallery, suitability
from studio.film.look import Look, looks

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
