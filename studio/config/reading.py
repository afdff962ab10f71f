"""Reader of the scene language: YAML text becomes frozen records, and every mistake keeps its place in the file.

A record's fields are its YAML keys. Every scalar reaches the record as text, and the record's own types parse it,
so `5e-4` is a number, `no` a word, and `12s` a time. All mistakes are reported at once, each as
`file:line:column: key.path: what was found; what was expected`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, get_args, get_origin

import yaml
from pydantic import ValidationError
from yaml.composer import Composer
from yaml.reader import Reader
from yaml.resolver import Resolver

from studio.config.messages import explain
from studio.config.records import Record, alternatives
from studio.config.user_files import read_regular, reason
from studio.errors import SceneError

R = TypeVar("R", bound=Record)
Mistake: TypeAlias = tuple[yaml.Node, str]
"""Where it is, and what is wrong."""
Location: TypeAlias = tuple[Any, ...]
"""Keys and indices from the top of the file."""

LARGEST = 2**18
"""Characters of a file: a scene of a thousand shots. Ten times as many would take seconds to parse."""
DEEPEST = 40
"""Levels of keys and lists; the deepest key of a scene lies nine below the top."""
MOST_VALUES = 20_000
"""Values in a file, with all aliases and merge keys written out: as many as `LARGEST` holds in lines of scenes."""
LONGEST = 4096
"""Characters of one text: the longest path of a file."""
MOST_MISTAKES = 50
"""Mistakes that are told at once: more than a screen holds helps nobody."""


def read(path: str | Path, record_type: type[R], **context: Any) -> R:
    """The record in a YAML file; its folders are relative to the file. Raises SceneError with every mistake."""
    path = Path(path)
    return parse(read_text(path), record_type, name=str(path), folder=path.parent, **context)


def read_text(path: Path) -> str:
    """The text of a file of UTF-8. Raises SceneError if it is no such file, or too large."""
    try:
        return read_regular(path, 4 * LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place(error.object.decode("latin-1"), error.start)
        raise SceneError(f"{path}:{place}: is not UTF-8 text; save the file as UTF-8") from error
    except (OSError, ValueError) as error:
        raise SceneError(f"{path}: cannot be read: {reason(error)}") from error


def parse(text: str, record_type: type[R], *, name: str = "scene", folder: Path = Path(), **context: Any) -> R:
    """The record in YAML text. Raises SceneError with every mistake.

    name: the file's name in messages. folder: where relative paths start. context: for the records' validators.
    """
    node = compose(text, name)
    mistakes: list[Mistake] = []
    data = _Values(name, mistakes).of(node)
    if node is None or not isinstance(data, dict):
        raise SceneError(f"{name}:1:1: expected keys and values, such as `title: First light`")
    try:
        record = record_type.model_validate(data, context={"folder": folder, **context})
        errors: list[Any] = [{"loc": path, "type": "mistake", "what": text} for path, text in record.mistakes()]
    except ValidationError as error:
        errors = error.errors(include_url=False)
    errors = errors[: 20 * MOST_MISTAKES]  # a key that fits no member of a union is an error for each of them
    placed = [{**error, "loc": record_type.place(tuple(error["loc"]), data)} for error in errors]
    mistakes += _locate(placed, record_type, node)
    if mistakes:
        raise SceneError(*_with_places(mistakes, name))
    return record


def from_options(record_type: type[R], mark: str = "--", /, **options: Any) -> R:
    """The record that options describe, of the command line by their mark; None is not set. Raises SceneError."""
    try:
        return record_type.model_validate({name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        explained = ((problem["loc"], explain(problem, record_type)) for problem in error.errors())
        raise SceneError(*(f"{mark}{loc[0]}: {text}" if loc else text for loc, text in explained)) from error


def load_raw(text: str, *, name: str) -> Any:
    """YAML text as dicts, lists and text scalars, for files whose record is built elsewhere. Raises SceneError."""
    mistakes: list[Mistake] = []
    data = _Values(name, mistakes).of(compose(text, name))
    if mistakes:
        raise SceneError(*_with_places(mistakes, name))
    return data


def compose(text: str, name: str) -> yaml.Node | None:
    """The tree of YAML nodes, each with its line and column; None if the text is empty. Raises SceneError."""
    if len(text) > LARGEST:
        raise SceneError(f"{name}:1:1: has {len(text)} characters; a scene or a look has at most {LARGEST}")
    if found := Reader.NON_PRINTABLE.search(text):
        raise SceneError(f"{name}:{_place(text, found.start())}: the character {found[0]!a} is no text; take it out")
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{name}:1:1"
        raise SceneError(f"{place}: {_short(_syntax_problem(error))}") from error


if TYPE_CHECKING or not yaml.__with_libyaml__:
    _Base = yaml.SafeLoader
else:
    from yaml.cyaml import CParser

    # libyaml is seven times as fast, and its nodes have the same marks
    class _Base(Composer, CParser, Resolver):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            Resolver.__init__(self)


class _Loader(_Base):
    """Composes a tree without circles, of bounded depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; one that is not complete yet has no end."""
        event, problem = self.peek_event(), ""  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self.anchors and self.anchors[event.anchor].end_mark is None:
                problem = f"the alias *{event.anchor} contains itself"
        elif self.depth > DEEPEST:
            problem = f"nested more than {DEEPEST} levels deep"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def line_of(root: yaml.Node | None, path: Location) -> int:
    """The line on which the file says what a path of keys leads to, or the deepest part of it that it says."""
    line = 1
    for step in path:
        if isinstance(root, yaml.MappingNode):
            root = next((value for key, value in root.value if key.value == str(step)), None)
        elif isinstance(root, yaml.SequenceNode) and isinstance(step, int) and step < len(root.value):
            root = root.value[step]
        else:
            break
        if root is None:
            break
        line = root.start_mark.line + 1
    return line


def _place(text: str, index: int) -> str:
    """Line and column of an index in a text."""
    return f"{text.count(chr(10), 0, index) + 1}:{index - text.rfind(chr(10), 0, index)}"


def _syntax_problem(error: yaml.MarkedYAMLError) -> str:
    """The YAML parser's message; for a bracket that is not closed, also where it was opened."""
    context, mark = error.context or "", error.context_mark
    problem = (error.problem or str(error)).replace("did not find expected", "expected")
    if "flow" not in context or mark is None:
        return problem
    bracket, expected = "{" if "mapping" in context else "[", problem.partition(", but got")[0]
    return f"{expected}; the {bracket} in line {mark.line + 1}, column {mark.column + 1} is not closed yet"


class _Values:
    """Makes dicts, lists and texts of nodes; appends to `mistakes` what is no word, no text, or stands twice."""

    def __init__(self, name: str, mistakes: list[Mistake]) -> None:
        self.name, self.mistakes, self.count = name, mistakes, 0

    def of(self, node: yaml.Node | None) -> Any:
        """The value of a node. Raises SceneError once there are too many."""
        if node is None:
            return None
        self._count(node)
        if node.tag not in _TAGS:
            self.mistakes.append((node, f"the tag {node.tag} means nothing here; take it out"))
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if len(node.value) > LONGEST or Reader.NON_PRINTABLE.search(node.value):
            what = f"more than {LONGEST} characters" if len(node.value) > LONGEST else "characters of no text"
            self.mistakes.append((node, f"{node.value[:100]!a} has {what}"))
            return "?"
        return None if node.tag == f"{_YAML}null" else node.value

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        self._merge(node)
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.mistakes.append((key, "a key is a single word; a text with braces or brackets needs quotes"))
                continue
            if key.value in mapping:
                self.mistakes.append((key, f"'{key.value[:100]}' stands here for the second time; keep one"))
            self.of(key)
            mapping[key.value] = self.of(value)
        return mapping

    def _merge(self, node: yaml.MappingNode) -> None:
        """Replaces `<<` in a mapping's node by the pairs it names: own pairs first, then those of the first named."""
        merged = [value for key, value in node.value if key.tag == f"{_YAML}merge"]
        node.value = [pair for pair in node.value if pair[0].tag != f"{_YAML}merge"]
        known = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
        for source in (part for one in merged for part in (one.value if isinstance(one, yaml.SequenceNode) else [one])):
            if not isinstance(source, yaml.MappingNode):
                self.mistakes.append((source, "`<<` takes keys and values, or a list of them"))
                continue
            self._merge(source)
            for key, value in source.value:
                self._count(key)
                if isinstance(key, yaml.ScalarNode) and key.value not in known:
                    known.add(key.value)
                    node.value.append((key, value))

    def _count(self, node: yaml.Node) -> None:
        self.count += 1
        if self.count > MOST_VALUES:
            [text] = _with_places([(node, f"more than {MOST_VALUES} values, with aliases written out")], self.name)
            raise SceneError(text)


_YAML = "tag:yaml.org,2002:"
_TAGS = {_YAML + word for word in ["str", "int", "float", "bool", "null", "timestamp", "value", "merge", "seq", "map"]}


# --- where a mistake is ----------------------------------------------------------------------------------------------


def _with_places(mistakes: list[Mistake], name: str) -> list[str]:
    """Mistakes as `file:line:column: text`, from top to bottom; of very many the first ones, and how many follow."""
    marked = ((node.start_mark, text) for node, text in mistakes)
    places = sorted(((mark.line + 1, mark.column + 1, text) for mark, text in marked), key=lambda place: place[:2])
    if len(places) > MOST_MISTAKES:
        more = len(places) - MOST_MISTAKES
        places = [*places[:MOST_MISTAKES], (*places[MOST_MISTAKES][:2], f"this and {more - 1} more mistakes follow")]
    return [f"{name}:{line}:{column}: {_short(text)}" for line, column, text in places]


def _short(text: str) -> str:
    """The text on one line, its middle left out if it is long."""
    text = Reader.NON_PRINTABLE.sub("?", text.replace("\n", "\\n"))  # files that are quoted may hold anything
    return text if len(text) <= 1000 else f"{text[:500]} ... {text[-500:]}"


def _locate(errors: Iterable[Mapping[str, Any]], record_type: type[Record], root: yaml.Node) -> Iterator[Mistake]:
    """Pydantic's errors as mistakes, the first at each path: a value that fits no member of a union is one mistake.

    A mistake inside a value hides the mistakes of the value itself, which only follow from it.
    """
    first: dict[Location, Mistake] = {}
    for error in errors:
        path, node, record = _follow(error["loc"], record_type, root)
        first.setdefault(path, (node, explain(error, record)))
    outer = {path[:length] for path in first for length in range(len(path))}
    for path, (node, text) in first.items():
        if path not in outer:
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
