from itertools import product

import pytest

from studio.film.fields import ColourMapping
from studio.film.gallery import gallery, marks
from studio.film.look import Look, looks

LIGHT = {"key": {"azimuth": "70deg", "elevation": "30deg"}, "rim": {"azimuth": "200deg", "elevation": "15deg"}}
BITS = tuple(product((0, 1), repeat=3))


def test_the_gallery_holds_ours_and_those_of_a_folder_which_may_replace_ours(tmp_path):
    (tmp_path / "mine.yaml").write_text("{base: ember, mesh: 65}")
    (tmp_path / "gold.yaml").write_text("{base: gold, mesh: 97}")
    found = gallery(tmp_path)
    assert set(found) == {"mine", *looks()} and found["mine"].mesh == 65
    assert gallery()["gold"].mesh != 97 and found["ember"] == gallery()["ember"]


def test_a_map_that_turns_back_in_lightness_is_not_for_everyone_and_one_that_rises_is():
    def of(name: str, **more) -> tuple[str, ...]:
        return marks(Look(light=LIGHT, colour=ColourMapping(map=name), **more))

    assert "colour-blind" in of("viridis") and "colour-blind" in of("viridis_r")
    assert "colour-blind" not in of("jet") and "colour-blind" not in of("RdYlGn")


def test_print_asks_for_light_paper_no_glow_and_inks_that_exist():
    plaster = gallery()["plaster"]
    assert marks(plaster) == ("colour-blind", "print")
    for part in (
        {"grade": plaster.grade.model_copy(update={"bloom": 0.1})},
        {"background": gallery()["gold"].background},
        {"colour": ColourMapping(map=((0.0, "#00ff00"), (1.0, "#ffffff")))},
    ):
        assert "print" not in marks(plaster.model_copy(update=part))


def test_nothing_is_said_of_a_look_whose_colours_go_through_a_table(tmp_path):
    (tmp_path / "swapped.cube").write_text("LUT_3D_SIZE 2\n" + "".join(f"{g} {r} {b}\n" for b, g, r in BITS))
    (tmp_path / "swapped.yaml").write_text("{base: plaster, grade: {lut: swapped.cube}}")
    assert marks(gallery(tmp_path)["swapped"]) == ()


@pytest.mark.parametrize("name", sorted(looks()))
def test_a_look_that_comes_with_studio_says_in_its_second_line_what_it_is_safe_for(name):
    said = looks()[name].read_text(encoding="utf-8").splitlines()[1]
    found = marks(gallery()[name])
    assert said == f"# Safe for: {', '.join(found)}" if found else not said.startswith("# Safe")
