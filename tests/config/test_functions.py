import pickle
import sys
from pathlib import Path
from typing import Annotated

import pytest

from studio.config.functions import Function, source_of_function, word_or_function
from studio.config.reading import parse
from studio.config.records import Record, digest
from studio.errors import SceneError


class Measured(Record):
    by: Function


class Chosen(Record):
    by: Annotated[str | Function, *word_or_function("entropy", "margin")] = "entropy"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A scene's folder; what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two texts of one second would share their bytecode
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_function_beside_the_scene_is_found_and_called(folder):
    write(folder / "mine.py", "def double(x):\n    return 2 * x\n")
    record = parse("by: mine:double", Measured, folder=folder)
    assert record.by.load()(21) == 42


def test_reading_a_scene_imports_nothing(folder):
    write(folder / "explosive.py", "raise RuntimeError('imported')\nf = len\n")
    write(folder / "house" / "__init__.py", "raise RuntimeError('imported')\n")
    write(folder / "house" / "room.py", "f = len\n")
    assert str(parse("by: explosive:f", Measured, folder=folder).by) == "explosive:f"
    inner = parse("by: house.room:f", Measured, folder=folder).by
    assert len(inner.source_digest()) == 64 and "house" not in sys.modules


def test_a_function_of_an_installed_package_is_found_too():
    assert parse("by: scipy.special:expit", Measured).by.load()(0.0) == 0.5


def test_a_name_inside_a_class_is_reached(folder):
    write(folder / "nested.py", "class A:\n    @staticmethod\n    def one():\n        return 1\n")
    assert Function("nested:A.one", folder).load()() == 1


def test_a_file_beside_the_scene_comes_before_an_installed_package(folder):
    write(folder / "colorsys.py", "def rgb_to_hsv(*rgb):\n    return 'mine'\n")
    sys.modules.pop("colorsys", None)
    assert Function("colorsys:rgb_to_hsv", folder).load()() == "mine"


def test_modules_beside_the_function_can_be_imported_by_it_even_later(folder):
    write(folder / "helping.py", "value = 3\n")
    write(folder / "leaning.py", "def f():\n    import helping\n    return helping.value\n")
    assert Function("leaning:f", folder).load()() == 3


def test_an_edited_function_gets_another_digest(folder):
    path = write(folder / "edited.py", "def f():\n    return 1\n")
    function = Function("edited:f", folder)
    first, before = function.source_digest(), digest(Measured(by=function))
    assert function.load()() == 1
    write(path, "def f():\n    return 2\n")
    assert function.source_digest() != first and digest(Measured(by=function)) != before
    assert function.load()() == 2


FILE = """\
import math
SCALE = 2

def model():
    return helper() * SCALE

def helper():
    return One.value

class One:
    value = 1

def metric(x):
    return other(x)

def other(x):
    return x

@print
def registered():
    pass
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("return other(x)", "return other(x) + 1", True),
        ("return x", "return 2 * x", True),
        ("def metric", "# said of the metric\ndef metric", True),
        ("SCALE = 2", "SCALE = 3", False),
        ("return helper() * SCALE", "return helper() * SCALE + 1", False),
        ("return One.value", "return One.value + 1", False),
        ("value = 1", "value = 2", False),
        ("import math", "import cmath as math", False),
        ("    pass", "    return 1", False),  # what a decorator does with it is unknown
        ("@print", "@len", False),
    ],
)
def test_the_source_of_a_function_is_what_it_may_reach_in_its_file(old, new, same):
    assert old in FILE
    assert (source_of_function("model", FILE.replace(old, new)) == source_of_function("model", FILE)) == same


def test_a_name_in_a_string_counts_too():
    by_text = FILE.replace("return helper() * SCALE", "return globals()['metric'](1)")
    changed = by_text.replace("return x", "return 2 * x")
    assert source_of_function("model", by_text) != source_of_function("model", changed)


def test_a_name_defined_twice_counts_with_both():
    twice = FILE + "\ndef other(x):\n    return 3 * x\n"
    assert source_of_function("model", twice) != source_of_function("model", FILE)
    assert "3 * x" in source_of_function("metric", twice) and "return x" in source_of_function("metric", twice)


def test_a_function_beside_one_that_was_edited_is_loaded_again_too(folder):
    path = write(folder / "pair.py", "def f():\n    return 1\n\ndef g():\n    return 1\n")
    f, g = Function("pair:f", folder), Function("pair:g", folder)
    same = f.source_digest()
    assert f.load()() == 1
    write(path, "def f():\n    return 1\n\ndef g():\n    return 2\n")
    assert g.load()() == 2 and f.source_digest() == same


def test_any_file_of_a_named_package_counts_as_its_source(folder):
    write(folder / "suite" / "__init__.py", "from .inner import f\n")
    inner = write(folder / "suite" / "inner.py", "def f():\n    return 1\n")
    function = Function("suite:f", folder)
    assert function.load()() == 1
    first = function.source_digest()
    write(inner, "def f():\n    return 2\n")
    assert function.source_digest() != first and function.load()() == 2


def test_the_folder_of_the_scene_does_not_change_the_digest(tmp_path):
    digests = []
    for place in ("here", "there"):
        write(tmp_path / place / "moved.py", "def f():\n    return 1\n")
        digests.append(digest(parse("by: moved:f", Measured, folder=tmp_path / place)))
    assert digests[0] == digests[1]


def test_another_module_of_the_same_name_is_never_taken_for_it(folder):
    for place in ("one", "other"):
        write(folder / place / "twins.py", f"def f():\n    return '{place}'\n")
    assert Function("twins:f", folder / "one").load()() == "one"
    with pytest.raises(SceneError, match=r"already holds another 'twins'.*rename .*other"):
        Function("twins:f", folder / "other").load()


def test_a_record_with_a_function_is_hashable_and_picklable_and_dumps_its_name(folder):
    write(folder / "plain.py", "f = len\n")
    record = parse("by: plain:f", Measured, folder=folder)
    again = pickle.loads(pickle.dumps(record))
    assert again == record and hash(again) == hash(record) and again.by.load() is len
    dumped = record.model_dump(mode="json")["by"]
    assert dumped == {"function": "plain:f", "source": record.by.source_digest()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("by: mine", "'mine' names no function; write it like package.module:name"),
        ("by: 'mine:'", "'mine:' names no function"),
        ("by: mine.f", "names no function"),
        ("by: 3x:f", "names no function"),
        ("by: mine  .x:f", "names no function"),
        ("by: [a]", "expected a function"),
        (
            "by: nowhere_to_be_found:f",
            "no module 'nowhere_to_be_found' beside the scene, in .*, nor among the installed",
        ),
        ("by: numpy.nowhere:f", r"no module 'numpy\.nowhere'"),
        ("by: json.decoder.inside:f", r"no module 'json\.decoder\.inside'"),
    ],
)
def test_what_names_no_function_is_a_mistake_with_its_place(tmp_path, text, expected):
    with pytest.raises(SceneError, match=f"^scene:1:5: by: .*{expected}"):
        parse(text, Measured, folder=tmp_path)


def test_a_word_or_a_function_may_be_allowed(folder):
    write(folder / "own.py", "f = len\n")
    assert parse("{}", Chosen).by == "entropy" and parse("by: margin", Chosen).by == "margin"
    assert parse("by: own:f", Chosen, folder=folder).by == Function("own:f", folder)
    assert Chosen(by=Function("own:f")).by == Function("own:f")
    assert Chosen(by="margin").model_dump(mode="json") == {"by": "margin"}
    with pytest.raises(SceneError, match="'entrpy' is not known; did you mean 'entropy'.*package.module:name"):
        parse("by: entrpy", Chosen)


def test_the_schema_lets_an_editor_check_the_form():
    properties = Chosen.model_json_schema()["properties"]["by"]
    assert properties["anyOf"][0] == {"enum": ["entropy", "margin"]} and "pattern" in properties["anyOf"][1]
    assert Measured.model_json_schema()["properties"]["by"]["type"] == "string"


def test_a_missing_name_is_reported_with_the_nearest(folder):
    write(folder / "close.py", "def focal_loss():\n    pass\n")
    with pytest.raises(SceneError, match="close:focal_los: .*did you mean 'focal_loss'"):
        Function("close:focal_los", folder).load()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import not_installed_at_all\n", "No module named 'not_installed_at_all'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def f(:\n", "SyntaxError"),
        ("# coding: nonsense\n", "SyntaxError"),
        ("\0", "SyntaxError"),
    ],
)
def test_a_module_that_fails_says_why(folder, text, expected):
    write(folder / "failing.py", text)
    function = Function("failing:f", folder)
    assert len(function.source_digest()) == 64  # a digest needs no module that works
    with pytest.raises(SceneError, match=f"failing:f: its module cannot be imported: .*{expected}"):
        function.load()


def test_a_value_that_is_no_function_is_refused(folder):
    write(folder / "value.py", "f = 3\n")
    with pytest.raises(SceneError, match="value:f: cannot be called; it is of type int"):
        Function("value:f", folder).load()


def test_a_module_without_source_is_refused_with_a_way_out():
    with pytest.raises(SceneError, match="'sys' has no source file; name a function in a file of your own"):
        Function("sys:intern").source_digest()


@pytest.mark.parametrize(
    ("path", "name"), [("moves.py:spiral", "moves:spiral"), ("./lib/moves.py:a.b", "lib.moves:a.b")]
)
def test_a_function_may_be_named_by_its_file(path, name):
    assert Function(path) == Function(name) and str(Function(path)) == name


@pytest.mark.parametrize("path", ["../moves.py:spiral", "/moves.py:spiral", "moves.py:", ".py:spiral"])
def test_a_file_outside_of_the_scenes_folder_names_no_function(path):
    with pytest.raises(ValueError, match="names no function"):
        Function(path)
