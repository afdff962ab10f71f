"""Reader of the scene language: YAML text becomes frozen records, and every mistake keeps its place in the file.

A record's fields are its YAML keys. Every scalar reaches the record as text, and the record's own types parse it,
so `5e-4` is a number, `no` a word, and `12s` a time. All mistakes are reported at once, each as
`file:line:column: key.path: what was found; what was expected`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args, get_origin

import yaml
from pydantic import ValidationError

from studio.config.messages import explain
from studio.config.records import Record, alternatives
from studio.errors import SceneError

R = TypeVar("R", bound=Record)
Mistake: TypeAlias = tuple[yaml.Node, str]
"""Where it is, and what is wrong."""
Location: TypeAlias = tuple[Any, ...]
"""Keys and indices from the top of the file."""


def read(path: str | Path, record_type: type[R]) -> R:
    """The record in a YAML file; its folders are relative to the file. Raises SceneError with every mistake."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SceneError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SceneError(f"{path}: is not UTF-8 text") from error
    return parse(text, record_type, name=str(path), folder=path.parent)


def parse(text: str, record_type: type[R], *, name: str = "scene", folder: Path = Path()) -> R:
    """The record in YAML text. Raises SceneError with every mistake.

    name: the file's name in messages. folder: where relative paths start.
    """
    node = compose(text, name)
    mistakes: list[Mistake] = []
    data = _to_python(node, mistakes)
    if node is None or not isinstance(data, dict):
        raise SceneError(f"{name}:1:1: expected keys and values, such as `title: First light`")
    try:
        record = record_type.model_validate(data, context={"folder": folder})
        errors: list[Any] = [{"loc": path, "type": "mistake", "what": text} for path, text in record.mistakes()]
    except ValidationError as error:
        errors = error.errors()
    placed = [{**error, "loc": record_type.place(tuple(error["loc"]), data)} for error in errors]
    mistakes += _locate(placed, record_type, node)
    if mistakes:
        raise SceneError(*_with_places(mistakes, name))
    return record


def from_options(record_type: type[R], **options: Any) -> R:
    """The record that command-line options describe; None means not set. Raises SceneError with every mistake."""
    try:
        return record_type.model_validate({name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        explained = ((problem["loc"], explain(problem, record_type)) for problem in error.errors())
        raise SceneError(*(f"--{loc[0]}: {text}" if loc else text for loc, text in explained)) from error


def load_raw(text: str, *, name: str) -> Any:
    """YAML text as dicts, lists and text scalars, for files whose record is built elsewhere. Raises SceneError."""
    mistakes: list[Mistake] = []
    data = _to_python(compose(text, name), mistakes)
    if mistakes:
        raise SceneError(*_with_places(mistakes, name))
    return data


def compose(text: str, name: str) -> yaml.Node | None:
    """The tree of YAML nodes, each with its line and column; None if the text is empty. Raises SceneError."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise SceneError(f"{place}: {_syntax_problem(error)}") from error
    except yaml.YAMLError as error:
        raise SceneError(f"{name}: {error}") from error


def _syntax_problem(error: yaml.MarkedYAMLError) -> str:
    """The YAML parser's message; for a bracket that is not closed, also where it was opened."""
    context, problem, mark = error.context or "", error.problem or str(error), error.context_mark
    if "flow" not in context or mark is None:
        return problem
    bracket, expected = "{" if "mapping" in context else "[", problem.partition(", but got")[0]
    return f"{expected}; the {bracket} in line {mark.line + 1}, column {mark.column + 1} is not closed yet"


def _to_python(node: yaml.Node | None, mistakes: list[Mistake]) -> Any:
    """The node as dicts, lists and text; appends repeated keys and keys that are no words to `mistakes`."""
    if isinstance(node, yaml.SequenceNode):
        return [_to_python(item, mistakes) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        mapping = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                mistakes.append((key, "a key is a single word; a text with braces or brackets needs quotes"))
                continue
            if key.value in mapping:
                mistakes.append((key, f"'{key.value}' stands here for the second time; keep one"))
            mapping[key.value] = _to_python(value, mistakes)
        return mapping
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return None
    return node.value


# --- where a mistake is ----------------------------------------------------------------------------------------------


def _with_places(mistakes: list[Mistake], name: str) -> list[str]:
    """Mistakes as `file:line:column: text`, from top to bottom."""
    places = sorted(
        ((node.start_mark.line + 1, node.start_mark.column + 1, text) for node, text in mistakes), key=lambda m: m[:2]
    )
    return [f"{name}:{line}:{column}: {text}" for line, column, text in places]


def _locate(errors: Iterable[Mapping[str, Any]], record_type: type[Record], root: yaml.Node) -> Iterator[Mistake]:
    """Pydantic's errors as mistakes, the first at each path: a value that fits no member of a union is one mistake.

    A mistake inside a value hides the mistakes of the value itself, which only follow from it.
    """
    first: dict[Location, Mistake] = {}
    for error in errors:
        path, node, record = _follow(error["loc"], record_type, root)
        first.setdefault(path, (node, explain(error, record)))
    for path, (node, text) in first.items():
        if not any(len(path) < len(other) and other[: len(path)] == path for other in first):
            dotted = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
            yield node, f"{dotted + ': ' if dotted else ''}{text}"


def _follow(loc: Location, annotation: Any, node: yaml.Node) -> tuple[Location, yaml.Node, type[Record] | None]:
    """Walks the tree along a pydantic location: (the path in the file, the node at its end, the record there)."""
    steps: list[Any] = []
    record, key = annotation, node
    for step in loc:
        if step == "[key]":  # pydantic's mark for the key itself instead of its value
            node = key
            continue
        if len(_record_types(annotation)) > 1 and (member := _union_member(annotation, step)) is not annotation:
            annotation = member  # a union's tag, which may be the name of one of its member's keys too
            continue
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node, annotation = node.value[step], _item_type(annotation)
        elif isinstance(node, yaml.MappingNode):
            record = next(iter(_record_types(annotation)), None)
            pair = next((pair for pair in node.value if pair[0].value == str(step)), None)
            field = record.model_fields.get(step) if record else None
            if pair is None and field is None:  # a union's tag
                annotation = _union_member(annotation, step)
                continue
            if pair is not None:
                key = pair[0]
                node = key if record and field is None else pair[1]
            annotation = field.annotation if field else _item_type(annotation)
        else:
            annotation = _union_member(annotation, step)
            continue
        steps.append(step)
    return tuple(steps), node, record


def _record_types(annotation: Any) -> list[type[Record]]:
    return [option for option in alternatives(annotation) if isinstance(option, type) and issubclass(option, Record)]


def _union_member(annotation: Any, tag: Any) -> Any:
    """The member of a union of records whose kind is `tag`; if there is none, the annotation itself."""
    kinds = ((record, record.model_fields.get("kind")) for record in _record_types(annotation))
    return next((record for record, field in kinds if field and tag in get_args(field.annotation)), annotation)


def _item_type(annotation: Any) -> Any:
    """The type of the items of a list, tuple or mapping."""
    for option in alternatives(annotation):
        arguments = [a for a in get_args(option) if a is not Ellipsis]
        if get_origin(option) in (list, tuple, dict) and arguments:
            return arguments[-1]
    return None
