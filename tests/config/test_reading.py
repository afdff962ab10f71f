from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from studio.config.reading import from_options, load_raw, parse, read
from studio.config.records import BY_KIND, FrozenDict, Record
from studio.config.units import Angle, Colour, Duration, FocalLength, FrameRate, PixelSize, ScenePath, Size, Time
from studio.errors import SceneError


class Wide(Record):
    kind: Literal["wide"] = "wide"
    lens: FocalLength = 24.0


class Tall(Record):
    kind: Literal["tall"] = "tall"
    height: float = 1.0


Camera = Annotated[Wide | Tall, *BY_KIND]


class Move(Record):
    by: Angle
    over: Duration
    tint: Colour = "#ffffff"


class Story(Record):
    title: str
    pages: int = 1
    pace: float = 1.0
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    colour: bool = True
    size: PixelSize = Size(64, 36)
    fps: FrameRate = Fraction(24)
    camera: Camera = Wide()
    moves: tuple[Move, ...] = Field((), min_length=1)
    beats: Annotated[dict[Duration, float], Field(min_length=1)] = FrozenDict()
    stops: Literal["none"] | tuple[tuple[float, Colour], ...] = "none"
    folder: ScenePath = Path()
    cut: Duration | None = None

    def mistakes(self):
        if self.pages > 9:
            yield ("pages",), f"{self.pages} pages are too many"
        for index, move in enumerate(self.moves):
            if move.by > 360:
                yield ("moves", index, "by"), "more than once around"


TWELVE = """\
title:
pages: 2.5
pace: fast
size: 1920:1080
fps: 24/0
camera: {kind: wise}
moves:
  - {by: 20, over: 1s, tint: white, ove: 3}
  - over: 3 minutes
  - 7
beats: {0x: 1, 1s: one}
stops: [[0, "#000000"], [1, black]]
cut: [1s]
pages: 3
colur: yes
"""


def mistakes_in(text: str) -> list[str]:
    with pytest.raises(SceneError) as caught:
        parse(text, Story, name="s.yaml")
    return list(caught.value.mistakes)


def test_every_mistake_is_reported_at_once_at_its_place_and_from_top_to_bottom():
    assert mistakes_in(TWELVE) == [
        "s.yaml:1:7: title: a value is missing; a word that starts with # needs quotes",
        "s.yaml:3:7: pace: expected a number, found 'fast'",
        "s.yaml:4:7: size: '1920:1080' is not a picture size; write it like 1920x1080, at most 100000 a side",
        "s.yaml:5:6: fps: '24/0' is not a frame rate; write it like 24, 23.976 or 24000/1001",
        "s.yaml:6:9: camera: unknown kind 'wise'; did you mean 'wide'?",
        "s.yaml:8:10: moves[0].by: '20' is not understood; write it like 120deg",
        "s.yaml:8:30: moves[0].tint: 'white' is not a colour; write it like #ff8a2b",
        "s.yaml:8:37: moves[0].ove: unknown key 'ove'; did you mean 'over'?",
        "s.yaml:9:5: moves[1].by: the key 'by' is missing",
        "s.yaml:9:11: moves[1].over: '3 minutes' is not understood; write it like 12s, 288f or 1:30",
        "s.yaml:10:5: moves[2]: expected keys and values, found '7'",
        "s.yaml:11:9: beats.0x: '0x' is not understood; write it like 12s, 288f or 1:30",
        "s.yaml:11:20: beats.1s: expected a number, found 'one'",
        "s.yaml:12:29: stops[1][1]: 'black' is not a colour; write it like #ff8a2b",
        "s.yaml:13:6: cut: expected a single value, found '['1s']'",
        "s.yaml:14:1: 'pages' stands here for the second time; keep one",
        "s.yaml:15:1: colur: unknown key 'colur'; did you mean 'colour'?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml:1:1: expected keys and values, such as `title: First light`"),
        ("- a\n- b", "s.yaml:1:1: expected keys and values, such as `title: First light`"),
        ("title: [a", "s.yaml:2:1: expected ',' or ']'; the [ in line 1, column 8 is not closed yet"),
        (
            "title: a\ncamera: {kind: wide\npages: 1",
            "s.yaml:3:6: expected ',' or '}'; the { in line 2, column 9 is not closed yet",
        ),
        ("title: a\n\tpages: 1", "s.yaml:2:1: found a tab character that violates indentation"),
        ("title: {{epoch}}", "s.yaml:1:9: a key is a single word; a text with braces or brackets needs quotes"),
        ("title: a\nmoves: []", "s.yaml:2:8: moves: expected at least 1, found 0"),
        ("title: a\nbeats: {}", "s.yaml:2:8: beats: expected at least 1, found 0"),
        ("title: a\nmoves: three", "s.yaml:2:8: moves: expected a list, found 'three'"),
        ("title: a\nmoves: [{}]", "s.yaml:2:9: moves[0].by: the key 'by' is missing"),
        ("title: a\nmoves: [{}]", "s.yaml:2:9: moves[0].over: the key 'over' is missing"),
        ("title: a\nbeats: 3", "s.yaml:2:8: beats: expected keys and values, found '3'"),
        ("title: [a]", "s.yaml:1:8: title: expected a text, found '['a']'"),
        ("title: a\ncolour: maybe", "s.yaml:2:9: colour: expected true or false, found 'maybe'"),
        ("title: a\nshare: 2", "s.yaml:2:8: share: expected at most 1, found '2'"),
        ("title: a\nshare: 0", "s.yaml:2:8: share: expected more than 0, found '0'"),
        ("title: a\npace: nan", "s.yaml:2:7: pace: expected a finite number, found 'nan'"),
        ("title: a\npace: 1e999", "s.yaml:2:7: pace: expected a finite number, found '1e999'"),
        ("title: a\ncamera: {lens: 35mm}", "s.yaml:2:9: camera: the key 'kind' is missing"),
        (
            "title: a\ncamera: {kind: tall, lens: 35mm}",
            "s.yaml:2:22: camera.lens: unknown key 'lens'; one of kind, height",
        ),
        ("title: a\ncamera: tal", "s.yaml:2:9: camera: unknown kind 'tal'; did you mean 'tall'?"),
        (
            "title: a\nsize: {w: 1}",
            "s.yaml:2:7: size: '{'w': '1'}' is not a picture size; write it like 1920x1080, at most 100000 a side",
        ),
        (
            "title: a\nsize: 0x9",
            "s.yaml:2:7: size: '0x9' is not a picture size; write it like 1920x1080, at most 100000 a side",
        ),
        ("title: a\nfps: 1000", "s.yaml:2:6: fps: 1000 frames per second; expected 1 to 240"),
        ("title: a\ncut: -1s", "s.yaml:2:6: cut: '-1s' is before the start; times are 0s or later"),
        ("title: a\ncut: 1e400s", "s.yaml:2:6: cut: '1e400s' is not understood; write it like 12s, 288f or 1:30"),
        ("title: a\npages: 12", "s.yaml:2:8: pages: 12 pages are too many"),
        (
            "title: a\nmoves: [{by: 1deg, over: 1s}, {by: 400deg, over: 1s}]",
            "s.yaml:2:36: moves[1].by: more than once around",
        ),
    ],
    ids=lambda value: value if ":" not in value else "",
)
def test_a_mistake_names_its_place_what_was_found_and_the_way_out(text, message):
    assert message in mistakes_in(text)


def test_every_scalar_is_read_as_its_own_type_asks():
    story = parse(
        "{title: 007, pages: '3', pace: 5e-4, colour: no, size: 3840x2160, fps: 23.976, camera: tall,"
        " beats: {0s: 1, 1:30: 2, 48f: 3}, cut: .5s, moves: [{by: -90deg, over: 2s, tint: '#AABBCC'}]}",
        Story,
    )
    assert story == Story(
        title="007",
        pages=3,
        pace=0.0005,
        colour=False,
        size=Size(3840, 2160),
        fps=Fraction(24000, 1001),
        camera=Tall(),
        beats={Time(0): 1.0, Time(90): 2.0, Time(48, "f"): 3.0},
        cut=Time(0.5),
        moves=(Move(by=-90.0, over=Time(2.0), tint="#aabbcc"),),
    )


def test_a_folder_is_relative_to_the_file_and_an_absolute_one_stays(tmp_path):
    scene = tmp_path / "s.yaml"
    scene.write_text("{title: a, folder: mine}")
    assert read(scene, Story).folder == tmp_path / "mine"
    scene.write_text("{title: a, folder: /else/where}")
    assert read(scene, Story).folder == Path("/else/where")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SceneError, match="nowhere.yaml: cannot be read: No such file"):
        read(tmp_path / "nowhere.yaml", Story)
    (tmp_path / "latin.yaml").write_bytes("title: Lumi\xe8re".encode("latin-1"))
    with pytest.raises(SceneError, match="latin.yaml:1:12: is not UTF-8 text"):
        read(tmp_path / "latin.yaml", Story)


def test_plain_yaml_keeps_words_as_they_were_written():
    assert load_raw("{a: 1.50, b: [no, 5e-4, null], c: {d: ~}}", name="x") == {
        "a": "1.50",
        "b": ["no", "5e-4", None],
        "c": {"d": None},
    }
    with pytest.raises(SceneError, match="x:1:8: 'a' stands here for the second time"):
        load_raw("{a: 1, a: 2}", name="x")


def test_options_of_a_command_make_a_record_and_their_mistakes_name_the_option():
    assert from_options(Move, by="20deg", over="2s", tint=None) == Move(by=20.0, over=Time(2))
    with pytest.raises(SceneError) as caught:
        from_options(Move, by="20", over="2s", tint="red")
    assert str(caught.value).splitlines() == [
        "--by: '20' is not understood; write it like 120deg",
        "--tint: 'red' is not a colour; write it like #ff8a2b",
    ]
