import json
import re
from pathlib import Path

import pytest

from studio.config.reading import load_raw
from studio.film.look import assets_folder
from studio.scene.scene import Scene

SCENES = sorted((assets_folder().parent / "scenes").glob("*.yaml"))


def test_a_new_scene_is_one_that_check_accepts(invoke, tmp_path):
    assert invoke("new", "my-film") == (
        0,
        "my-film.yaml is a scene. See what it would make: studio check my-film.yaml\n",
        "",
    )
    result = invoke("check", "my-film.yaml")
    assert result.status == 0 and result.out.startswith("My film: ")
    schema = re.match(r"# yaml-language-server: \$schema=file://(\S+)\n", (tmp_path / "my-film.yaml").read_text())
    assert json.loads(Path(schema[1]).read_text(encoding="utf-8"))["title"] == "Scene"


def test_new_overwrites_nothing_and_refuses_a_name_that_is_no_file_name(invoke, tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")
    assert invoke("new", "mine") == (2, "", "mine.yaml: is there already; choose another name, or remove it\n")
    assert invoke("new", "mi ne").status == 2 and (tmp_path / "mine.yaml").read_text() == "mine"


def test_schema_prints_what_is_kept_for_editors(invoke):
    result = invoke("schema")
    assert (result.status, result.err) == (0, "")
    assert result.out == (assets_folder() / "scene.schema.json").read_text(encoding="utf-8"), (
        "run: studio schema > assets/scene.schema.json"
    )


@pytest.mark.parametrize("path", [*SCENES, assets_folder() / "starter.yaml"], ids=lambda path: path.name)
def test_every_scene_loads_and_its_first_line_leads_editors_to_the_schema(path):
    assert Scene.load(path).cut.length > 0
    words = path.read_text(encoding="utf-8").splitlines()[0]
    assert words in (
        "# yaml-language-server: $schema=../assets/scene.schema.json",
        "# yaml-language-server: $schema=SCHEMA",
    )


def _as_an_editor_reads(value):
    """YAML 1.2's own idea of which scalars are numbers, where `studio.config.reading.plain` keeps all as text."""
    if isinstance(value, dict):
        return {key: _as_an_editor_reads(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_an_editor_reads(inner) for inner in value]
    if value in ("true", "false"):
        return value == "true"
    try:
        return int(value)
    except ValueError:
        try:
            return float(value)
        except ValueError:
            return value


def _accepts(schema: dict, value, root: dict) -> bool:
    """The part of JSON Schema that the scene's schema is written in."""
    if "$ref" in schema:
        return _accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    unread = set(schema) - _READ
    assert not unread, f"this test does not know {unread}"
    for word in ("anyOf", "oneOf"):
        fits = [_accepts(option, value, root) for option in schema.get(word, ())]
        if fits and (sum(fits) < 1 or (word == "oneOf" and sum(fits) > 1)):
            return False
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        return False
    if "type" in schema and not _TYPES[schema["type"]](value):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, (int, float)):
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and value > schema.get("exclusiveMinimum", float("-inf"))
            and value < schema.get("exclusiveMaximum", float("inf"))
        )
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        rest = schema.get("items", {})
        return (
            schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
            and all(_accepts(option, item, root) for option, item in zip(first, value, strict=False))
            and all(_accepts(rest, item, root) for item in value[len(first) :])
        )
    if isinstance(value, dict):
        known, more = schema.get("properties", {}), schema.get("additionalProperties", {})
        return (
            len(value) <= schema.get("maxProperties", len(value))
            and set(schema.get("required", ())) <= set(value)
            and all(key in known or more is not False for key in value)
            and all(_accepts(known.get(key, more), inner, root) for key, inner in value.items())
        )
    return True


_READ = {
    "maxProperties",
    "$defs",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "discriminator",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "oneOf",
    "pattern",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "title",
    "type",
}


_TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int),
    "number": lambda value: isinstance(value, (int, float)),
}


@pytest.fixture(scope="module")
def schema() -> dict:
    return json.loads((assets_folder() / "scene.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [*SCENES, assets_folder() / "starter.yaml"], ids=lambda path: path.name)
def test_an_editor_finds_nothing_to_complain_of_in_our_scenes(path, schema):
    assert _accepts(schema, _as_an_editor_reads(load_raw(path.read_text(encoding="utf-8"), name=path.name)), schema)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("title: Tiny", "titel: Tiny"),
        ("kind: mlp", "kind: mpl"),
        ("points: 9", "points: many"),
        ("size: 64x36", "size: small"),
        ("orbit: 40deg", "orbit: 40"),
        ("width: 8", "wide: 8"),
    ],
)
def test_an_editor_underlines_a_mistake(tiny, schema, right, wrong):
    text = tiny.read_text()
    assert _accepts(schema, _as_an_editor_reads(load_raw(text, name="tiny")), schema)
    assert not _accepts(schema, _as_an_editor_reads(load_raw(text.replace(right, wrong, 1), name="tiny")), schema)
