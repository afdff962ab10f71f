import pytest

from studio.config.reading import parse
from studio.config.records import digest
from studio.errors import SceneError
from studio.film.light import Grade, Lamp, Light, Panel


def test_a_lamps_colour_may_be_a_temperature():
    lamp = parse("{azimuth: 0deg, elevation: 9deg, colour: 3200K}", Lamp)
    assert lamp == parse(f"{{azimuth: 0deg, elevation: 9deg, colour: '{lamp.colour}'}}", Lamp)
    red, green, blue = (int(lamp.colour[i : i + 2], 16) for i in (1, 3, 5))
    assert red == 255 > green > blue


@pytest.mark.parametrize(
    ("text", "record", "message"),
    [
        ("{azimuth: 0deg, elevation: 9deg, colour: warmK}", Lamp, "'warmK' is no colour temperature"),
        ("{azimuth: 0deg, elevation: 9deg, colour: 90K}", Lamp, "90K is no colour temperature; expected 1667K"),
        ("{azimuth: 0deg, elevation: 9deg, size: 0deg}", Lamp, "more than 0"),
        ("{azimuth: 0deg, elevation: 100deg}", Lamp, "at most 90"),
        ("{azimuth: 0deg, elevation: 9deg, width: 170deg}", Panel, "at most 160"),
        ("{key: {azimuth: 0deg, elevation: 9deg}}", Light, "the key 'rim' is missing"),
        ("{exposure: 0}", Grade, "more than 0"),
        ("{lut: none.cube}", Grade, "none.cube cannot be read: No such file"),
    ],
)
def test_invalid_light_is_one_mistake(text, record, message):
    with pytest.raises(SceneError, match=message) as caught:
        parse(text, record)
    assert len(caught.value.mistakes) == 1


def test_a_changed_look_up_table_is_another_grade(tmp_path):
    (tmp_path / "a.cube").write_text("LUT_3D_SIZE 2\n" + "0 0 0\n" * 8)
    first = parse("{lut: a.cube}", Grade, folder=tmp_path)
    (tmp_path / "a.cube").write_text("LUT_3D_SIZE 2\n" + "0 0 1\n" * 8)
    second = parse("{lut: a.cube}", Grade, folder=tmp_path)
    assert first.lut.file == second.lut.file and digest(first) != digest(second)
