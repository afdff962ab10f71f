import time
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field, TypeAdapter

from studio.config import reading
from studio.config.reading import from_options, load_raw, parse, read
from studio.config.records import BY_KIND, FrozenDict, Record
from studio.config.units import Angle, Colour, Duration, FocalLength, FrameRate, Name, PixelSize, ScenePath, Size, Time
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


# --- any text at all -------------------------------------------------------------------------------------------------

BOMB = "title: a\nmoves:\n- &a0 [x]\n" + "".join(f"- &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
HOSTILE = {
    "an alias in itself": ("title: &d {kind: *d}", "1:18: the alias *d contains itself"),
    "a merge of itself": ("title: a\ncamera: &d {<<: *d}", "2:17: the alias *d contains itself"),
    "aliases of aliases": (BOMB, f"more than {reading.MOST_VALUES} values, with aliases written out"),
    "merges of merges": (
        "beats: &a {" + ", ".join(f"k{i}: 1" for i in range(2000)) + "}\ncamera: {<<: [" + "*a, " * 2000 + "]}",
        f"more than {reading.MOST_VALUES} values, with aliases written out",
    ),
    "deep brackets": ("title: " + "[" * 100_000, f"nested more than {reading.DEEPEST} levels deep"),
    "deep lists": ("- " * 5000 + "x", f"nested more than {reading.DEEPEST} levels deep"),
    "a long comment": (
        "title: a # " + "x" * 10_000_000,
        "1:1: has 10000011 characters; a scene or a look has at most",
    ),
    "a long text": ("title: " + "x" * 5000, "1:8: 'xxx"),
    "many mistakes": ("title: a\n" + "".join(f"k{i}: 1\n" for i in range(5000)), "51:1: k49: unknown key 'k49'"),
    "a surrogate": ('title: "\\ud800"', "1:11: found invalid Unicode character escape code"),
    "a control character": ("title: a\x1b[2J", "1:9: the character '\\x1b' is no text; take it out"),
    "an escaped one": ('title: "a\\e[2J"', "1:8: 'a\\x1b[2J' has characters of no text"),
    "a NUL": ("title: a\npages: \0", "2:8: the character '\\x00' is no text; take it out"),
    "a tag": ("title: !!python/object:os.system x", "1:8: the tag tag:yaml.org,2002:python/object:os.system means"),
    "bytes": ("title: !!binary aGk=", "1:8: the tag tag:yaml.org,2002:binary means nothing here; take it out"),
    "a tag of one's own": ("title: !mine a", "1:8: the tag !mine means nothing here; take it out"),
    "two documents": ("title: a\n---\ntitle: b", "2:1: but found another document"),
    "a merge of a text": ("title: a\n<<: x", "2:5: `<<` takes keys and values, or a list of them"),
    "a merge of texts": ("title: a\n<<: [{pages: 1}, x]", "2:18: `<<` takes keys and values, or a list of them"),
    "a mistake in what is merged": ("title: a\ncamera: {<<: {kind: wide, lens: x}}", "2:33: camera.lens: 'x' is not"),
    "a number without end": ("title: a\npace: 1e999", "2:7: pace: expected a finite number, found '1e999'"),
    "a number beyond reach": ("title: a\npace: -1e200", "2:7: pace: expected 0, or 1e-15 to 1e+30 of either sign"),
    "a huge whole number": ("title: a\npages: " + "9" * 400, "2:8: pages: expected"),
    "a long time": ("title: a\ncut: 9999999999s", "2:6: cut: '9999999999s' is too long"),
    "a rate of a billion digits": ("title: a\nfps: 1e999999999", "2:6: fps: '1e999999999' is not a frame rate"),
    "a division by zero": ("title: a\nfps: 1/0", "2:6: fps: '1/0' is not a frame rate"),
    "a size of a thousand digits": ("title: a\nsize: 9x" + "9" * 1000, "2:7: size: '9x999"),
}


@pytest.mark.parametrize(("text", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_a_mistake_with_its_place_at_once(text, words):
    start = time.process_time()
    mistakes = mistakes_in(text)
    assert any(mistake.startswith("s.yaml:") and words in mistake for mistake in mistakes), mistakes
    assert time.process_time() - start < 1
    assert len(mistakes) <= reading.MOST_MISTAKES + 1 and max(map(len, mistakes)) < 1050


def test_merge_keys_mean_what_they_mean_elsewhere():
    text = (
        "title: a\nmoves:\n- &a {by: 1deg, over: 1s}\n- {<<: *a, by: 2deg}\n- {by: 3deg, <<: [{over: 3s}, *a]}\n"
        "- {<<: {<<: *a, over: 4s}, '<<': x}\n"
    )
    assert mistakes_in(text) == ["s.yaml:6:28: moves[3].<<: unknown key '<<'; one of by, over, tint"]
    moves = parse(text.replace(", '<<': x", ""), Story).moves
    assert [(move.by, str(move.over)) for move in moves] == [(1, "1s"), (2, "1s"), (3, "3s"), (1, "4s")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_fast_parser_has_the_marks_of_the_other(end, mark):
    if not yaml.__with_libyaml__:
        pytest.skip("PyYAML without libyaml")

    def places(node):
        yield type(node), node.tag, node.start_mark.line, node.start_mark.column
        for inner in node.value if not isinstance(node, yaml.ScalarNode) else ():
            for part in inner if isinstance(inner, tuple) else (inner,):
                yield from places(part)

    root = Path(reading.__file__).parents[2]
    for path in (*(root / "scenes").glob("*.yaml"), *(root / "assets").rglob("*.yaml")):
        text = mark + path.read_text(encoding="utf-8").replace("\n", f" # \u00e9\U0001f600{end}")
        assert list(places(reading.compose(text, "s"))) == list(places(yaml.compose(text, Loader=yaml.SafeLoader)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("title: a".encode("utf-16"), "s.yaml:1:1: is not UTF-8 text; save the file as UTF-8"),
        (b"title: a\npages: \xff", "s.yaml:2:8: is not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_another_encoding_is_a_mistake_with_its_place(tmp_path, content, words):
    (tmp_path / "s.yaml").write_bytes(content)
    with pytest.raises(SceneError) as error:
        read(tmp_path / "s.yaml", Story)
    assert str(error.value) == f"{tmp_path}/{words}"


@pytest.mark.parametrize(
    "name", ["x/../../evil", "..", ".", "", "a\\b", "c:d", "x" * 121, " a", "a.", "\u00e9" * 61, "*"]
)
def test_a_name_is_part_of_a_files_name(name):
    with pytest.raises(ValueError, match="is no name: files are named after it"):
        TypeAdapter(Name).validate_python(name)
    assert TypeAdapter(Name).validate_python("last light 2 \u00e9") == "last light 2 \u00e9"
