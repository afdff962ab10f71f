"""The scene language: YAML text becomes frozen records, and every mistake keeps its place in the file.

A record's fields are its YAML keys. Every scalar reaches the record as text, and the record's own types parse it,
so `5e-4` is a number, `no` a word, and `12s` a time. All mistakes are reported at once, each as
`file:line:column: key.path: what was found; what was expected`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import ValidationError

from studio.config.records import Record, nearest
from studio.errors import SceneError

R = TypeVar("R", bound=Record)
Mistake = tuple[yaml.Node, str]
"""Where, and what is wrong."""


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: str | Path, kind: type[R]) -> R:
    """The record a YAML file describes; its folders are relative to it. Raises SceneError with every mistake."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SceneError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SceneError(f"{path}: is not UTF-8 text") from error
    return parse(text, kind, name=str(path), folder=path.parent)


def parse(text: str, kind: type[R], *, name: str = "scene", folder: Path = Path()) -> R:
    """The record that YAML text describes. name: what complaints call it. folder: that relative paths start from."""
    node = compose(text, name)
    mistakes: list[Mistake] = []
    data = _data(node, mistakes)
    if not isinstance(data, dict):
        raise SceneError(f"{name}:1:1: expected keys and values, such as `title: First light`")
    try:
        record = kind.model_validate(data, context={"folder": folder})
        errors = [{"loc": path, "type": "mistake", "what": what} for path, what in record.mistakes()]
    except ValidationError as error:
        errors = error.errors()
    mistakes += _complaints(errors, kind, node)
    if mistakes:
        raise SceneError(*_placed(mistakes, name))
    return record


def from_options(kind: type[R], **given: Any) -> R:
    """The record that options of a command describe; None is not given. Raises SceneError with every mistake."""
    try:
        return kind.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        told = ((one["loc"], _words(one, kind)) for one in error.errors())
        raise SceneError(*(f"--{loc[0]}: {what}" if loc else what for loc, what in told)) from error


def load_raw(text: str, *, name: str) -> Any:
    """YAML text as dicts, lists and text scalars, for files whose record is built elsewhere. Raises SceneError."""
    mistakes: list[Mistake] = []
    data = _data(compose(text, name), mistakes)
    if mistakes:
        raise SceneError(*_placed(mistakes, name))
    return data


def compose(text: str, name: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SceneError(f"{name}:{mark.line + 1}:{mark.column + 1}: {_broken(error)}") from error
    except yaml.YAMLError as error:
        raise SceneError(f"{name}: {error}") from error


def _broken(error: yaml.MarkedYAMLError) -> str:
    """What the YAML parser says, and of a bracket that is not closed, where that is."""
    if "flow" not in (error.context or ""):
        return error.problem
    opened, mark = "{" if "mapping" in error.context else "[", error.context_mark
    expected = error.problem.partition(", but got")[0]
    return f"{expected}; the {opened} in line {mark.line + 1}, column {mark.column + 1} is not closed yet"


def _data(node: yaml.Node | None, mistakes: list[Mistake]) -> Any:
    """The node as dicts, lists and text, with repeated keys and keys that are no words noted as mistakes."""
    if isinstance(node, yaml.SequenceNode):
        return [_data(item, mistakes) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        mapping = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                mistakes.append((key, "a key is a single word; a text with braces or brackets needs quotes"))
                continue
            if key.value in mapping:
                mistakes.append((key, f"'{key.value}' stands here for the second time; keep one"))
            mapping[key.value] = _data(value, mistakes)
        return mapping
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return None
    return node.value


def _placed(mistakes: list[Mistake], name: str) -> list[str]:
    """Mistakes as `file:line:column: what`, from top to bottom."""
    marks = sorted(
        ((node.start_mark.line + 1, node.start_mark.column + 1, what) for node, what in mistakes), key=lambda m: m[:2]
    )
    return [f"{name}:{line}:{column}: {what}" for line, column, what in marks]


def _complaints(errors: Iterable[Mapping[str, Any]], kind: type, root: yaml.Node) -> Iterator[Mistake]:
    """Pydantic's errors in our words. The first at each path counts: what fits no member of a union is one mistake.

    A mistake inside a value hides those of the value itself, which only follow from it.
    """
    first: dict[tuple, tuple] = {}
    for error in errors:
        steps, node, record = _follow(error["loc"], kind, root)
        first.setdefault(tuple(steps), (node, _words(error, record)))
    for steps, (node, what) in first.items():
        if not any(len(steps) < len(other) and other[: len(steps)] == steps for other in first):
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
            yield node, f"{path + ': ' if path else ''}{what}"


def _follow(loc: tuple, kind: Any, node: yaml.Node) -> tuple[list, yaml.Node, Any]:
    """Walks the tree along a pydantic location: (the path in the file, the node it ends on, the record there)."""
    steps, record, key = [], kind, node
    for step in loc:
        if step == "[key]":  # pydantic's word for: not the value, the key itself
            node = key
            continue
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node, kind = node.value[step], _element(kind)
        elif isinstance(node, yaml.MappingNode):
            record = _record(kind)
            pair = next((pair for pair in node.value if pair[0].value == str(step)), None)
            field = record.model_fields.get(step) if record else None
            if pair is None and field is None:  # a union's tag
                kind = _member(kind, step) or kind
                continue
            if pair is not None:
                key = pair[0]
                node = key if record and field is None else pair[1]
            kind = _annotated(field) if field else _element(kind)
        else:
            kind = _member(kind, step) or kind
            continue
        steps.append(step)
    return steps, node, record


def _annotated(field) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _options(kind: Any) -> list:
    """The types a type may stand for, with Annotated, Optional and unions taken apart."""
    if get_origin(kind) is Annotated:
        return _options(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [option for part in get_args(kind) for option in _options(part)]
    return [kind]


def _record(kind: Any) -> type[Record] | None:
    return next((o for o in _options(kind) if isinstance(o, type) and issubclass(o, Record)), None)


def _member(kind: Any, tag: Any) -> type[Record] | None:
    """The member of a family whose kind is `tag`."""
    for option in _options(kind):
        if isinstance(option, type) and issubclass(option, Record):
            field = option.model_fields.get("kind")
            if field is not None and tag in get_args(field.annotation):
                return option
    return None


def _element(kind: Any) -> Any:
    """The type of the items of a list, tuple or mapping."""
    for option in _options(kind):
        arguments = [a for a in get_args(option) if a is not Ellipsis]
        if get_origin(option) in (list, tuple, dict) and arguments:
            return arguments[-1]
    return None


def _words(error: Mapping[str, Any], record: type[Record] | None) -> str:
    context, found, key = error.get("ctx", {}), error.get("input"), error["loc"][-1] if error["loc"] else ""
    former = record.former if record else {}
    match error["type"]:
        case "extra_forbidden" if key in former:
            return f"the key '{key}' is called '{former[key]}' now"
        case "literal_error" if f"{key}: {found}" in former:
            return f"{key} '{found}' is called '{former[f'{key}: {found}']}' now"
        case "mistake":
            return error["what"]
        case "extra_forbidden":
            return f"unknown key '{key}'{nearest(str(key), record.model_fields if record else [])}"
        case "missing":
            return f"the key '{key}' is missing"
        case _ if found is None:
            return "a value is missing; a word that starts with # needs quotes"
        case "literal_error":
            return f"no {key} '{found}'{nearest(str(found), _quoted(context['expected']))}"
        case "union_tag_invalid":
            return f"unknown kind '{context['tag']}'{nearest(context['tag'], _quoted(context['expected_tags']))}"
        case "union_tag_not_found":
            return "the key 'kind' is missing"
        case "value_error":
            return str(context["error"])
        case "list_type" | "tuple_type":
            return f"expected a list, found '{found}'"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected keys and values, found '{found}'"
        case "too_short":
            return f"expected at least {context['min_length']}, found {context['actual_length']}"
        case "greater_than_equal" | "less_than_equal" | "greater_than" | "less_than":
            [(_, end)] = context.items()
            return f"expected {_ENDS[error['type']]} {end:g}, found '{found}'"
        case "int_parsing" | "int_type" | "int_from_float":
            return f"expected a whole number, found '{found}'"
        case "float_parsing" | "float_type":
            return f"expected a number, found '{found}'"
        case "finite_number":
            return f"expected a finite number, found '{found}'"
        case "bool_parsing" | "bool_type":
            return f"expected true or false, found '{found}'"
        case "string_type":
            return f"expected a text, found '{found}'"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}, found '{found}'"


_ENDS = {
    "greater_than_equal": "at least",
    "less_than_equal": "at most",
    "greater_than": "more than",
    "less_than": "less than",
}


def _quoted(words: str) -> list[str]:
    """What stands in quotes in pydantic's lists of words."""
    return re.findall("'(.*?)'", words)
