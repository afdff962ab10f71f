"""User functions, named in a scene as `package.module:name`: a model, a criterion, an extra field to measure.

Reading a scene looks a name up, beside the scene first and then among the installed packages, but imports nothing;
`Function.load` imports. In a digest, a function is its name and the SHA-256 of its source, so that results of an
edited function get another digest.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import pkgutil
import re
import symtable
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from studio.config.records import FrozenDict, nearest
from studio.config.units import scene_folder
from studio.config.user_files import reason
from studio.errors import SceneError

FORM = "package.module:name"
SCHEMA = {
    "type": "string",
    "description": "function",
    "pattern": r"^(\./)?\w+([./]\w+)*:\w+(\.\w+)*$",
    "examples": [FORM],
}
LARGEST_SOURCE = 2**20
"""Bytes of a module whose text is read to see whether a function is in it: half a second's work."""
_DEFINES_MORE = re.compile(
    r"import\s*\(?\s*\*|__getattr__|__dict__|sys\.modules|^\s*global\s|(?<!\.)\b(exec|eval|globals|locals|vars|setattr)\s*\(",
    re.MULTILINE,
)
"""What by which a module may define names that its own lines do not."""
_loaded_sources: dict[str, str] = {}
"""SHA-256 of each file that a function was loaded from in this process, to notice later edits."""


@dataclass(frozen=True)
class Function:
    """A function's name, `package.module:name`, and the folder that is searched first: the scene's.

    Usable as the type of a record's field. `folder/module.py:name` is the same. Raises ValueError for another form.

    >>> Function("scipy.special:expit").load()(0.0).item()
    0.5
    """

    name: str
    folder: Path = Path()

    def __post_init__(self) -> None:
        module, colon, attribute = self.name.partition(":")
        if module.endswith(".py"):
            module = module.removesuffix(".py").removeprefix("./").replace("/", ".")
            object.__setattr__(self, "name", f"{module}:{attribute}")
        if not (colon and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))):
            raise ValueError(f"'{self.name}' names no function; write it like {FORM}")

    def __str__(self) -> str:
        return self.name

    @property
    def module(self) -> str:
        """The dotted name of its module."""
        return self.name.partition(":")[0]

    @property
    def attribute(self) -> str:
        """Its name in the module."""
        return self.name.partition(":")[2]

    def resolve(self) -> Any:
        """What has the name. Adds its folder to `sys.path`; imports a file again if it was edited since.

        Raises SceneError if the module is missing or fails, or has nothing of that name.
        """
        module = self._import()
        try:
            return pkgutil.resolve_name(self.name)
        except AttributeError as error:
            known = [name for name in vars(module) if not name.startswith("_")]
            raise SceneError(f"{self}: {error}{nearest(self.attribute, known)}") from error

    def load(self) -> Callable[..., Any]:
        """The function itself. Raises as `resolve` does, and SceneError if it cannot be called."""
        function: Callable[..., Any] = self.resolve()
        if not callable(function):
            raise SceneError(f"{self}: cannot be called; it is of type {type(function).__name__}")
        return function

    def source_digest(self) -> str:
        """SHA-256, in hex, of the lines of its module that it depends on; for a package, of all sources in it.

        Does not follow imports of the module. Raises SceneError if there is no source.
        """
        spec, path = self._source()
        if spec.submodule_search_locations is not None or path.suffix != ".py":
            return _sha256(spec, path)
        try:
            text = importlib.util.decode_source(path.read_bytes())
            lines = source_of_function(self.attribute.partition(".")[0], text)
        except (SyntaxError, ValueError):  # not Python: `load` reports it
            return _sha256(spec, path)
        return hashlib.sha256(lines.encode()).hexdigest()

    def _source(self) -> tuple[ModuleSpec, Path]:
        """The spec of its module, and the module's file. Raises SceneError if either is missing."""
        spec = _find_spec(self.module, self.folder)
        if spec is None:
            raise SceneError(f"{self}: {self._absence}")
        if not spec.has_location or spec.origin is None:
            raise SceneError(f"{self}: '{self.module}' has no source file; name a function in a file of your own")
        return spec, Path(spec.origin)

    def _import(self) -> ModuleType:
        """The module, from its present source. Raises SceneError if it fails, or another of that name is loaded."""
        spec, path = self._source()
        current = _sha256(spec, path)
        if (folder := str(self.folder.resolve())) not in sys.path:
            sys.path.insert(0, folder)  # as Python does for the folder of a script
        if _loaded_sources.setdefault(str(path), current) != current:  # so that it and its submodules run again
            importlib.invalidate_caches()
            for name in [name for name in sys.modules if f"{name}.".startswith(f"{self.module}.")]:
                del sys.modules[name]
        try:
            module = importlib.import_module(self.module)
        except Exception as error:  # importing runs user code
            raise SceneError(f"{self}: its module cannot be imported: {type(error).__name__}: {error}") from error
        if Path(module.__file__ or "").resolve() != path.resolve():
            raise SceneError(f"{self}: Python already holds another '{self.module}', {module.__file__}; rename {path}")
        _loaded_sources[str(path)] = current
        return module

    @classmethod
    def read(cls, value: Any, info: ValidationInfo) -> Function:
        """The function that a scene names. Raises ValueError if there is no such module, or surely no such function."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ValueError(f"expected a function, written like {FORM}, found '{value}'")
        if (info.context or {}).get("safe"):
            raise ValueError(f"'{value}' is a function of somebody's, which --safe refuses")
        function = cls(value.strip(), scene_folder(info))
        if text := function._mistake():
            raise ValueError(text)
        return function

    @property
    def _absence(self) -> str:
        place = f"beside the scene, in {self.folder.resolve()}, nor among the installed packages"
        return f"no module '{self.module}' {place}; a function is written like {FORM}"

    def _mistake(self) -> str | None:
        """What is certainly wrong with it, by its module's text; None if only importing could tell."""
        spec, name = _find_spec(self.module, self.folder), self.attribute.partition(".")[0]
        if spec is None:
            return self._absence
        path = Path(spec.origin) if spec.has_location and spec.origin else Path()
        if path.suffix != ".py" or not path.is_file() or path.stat().st_size > LARGEST_SOURCE:
            return None
        try:
            text = importlib.util.decode_source(path.read_bytes())
            symbols = symtable.symtable(text, "module", "exec").get_symbols()
        except SyntaxError as error:
            return f"{path}:{error.lineno}: {error.msg}; Python cannot read the module of {self}"
        except (ValueError, RecursionError, MemoryError):  # `load` reports it
            return None
        names = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
        if name in names or _DEFINES_MORE.search(text) or _find_spec(f"{self.module}.{name}", self.folder):
            return None
        return f"{self.module} has no '{name}'{nearest(name, sorted(n for n in names if n[0] != '_'))}"

    def _to_json(self) -> dict[str, str | None]:
        """Its part of a digest; a missing source is None here, and an error in `load`."""
        try:
            return {"function": self.name, "source": self.source_digest()}
        except SceneError:
            return {"function": self.name, "source": None}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        written = PlainSerializer(cls._to_json, when_used="json")
        return handler.generate_schema(Annotated[Any, PlainValidator(cls.read), written, WithJsonSchema(SCHEMA)])


@dataclass(frozen=True)
class HeldFunction(Function):
    """A function of this process, which no file has, under a name of its own; another process gets the name alone."""

    held: Callable[..., Any] | None = field(default=None, compare=False, repr=False)

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        assert self.held
        return self.held

    def source_digest(self) -> str:
        """Its name."""
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.folder)


class NameIsFunction:
    """Adds a function's bare name to the JSON Schema."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core_schema), SCHEMA]}


def _made_by(value: Any) -> Any:
    return {"kind": "python", "make": value} if isinstance(value, str) and ":" in value else value


MADE_BY_NAME = (BeforeValidator(_made_by), NameIsFunction())
"""Annotations of a family of which a function's bare name is the kind `python`."""


def _parse_arguments(values: dict[str, Any]) -> FrozenDict[str, Any]:
    """Parses texts that are numbers, true or false; lists become tuples, so that the record is hashable."""
    return FrozenDict((name, _parse_argument(value)) for name, value in values.items())


def _parse_argument(value: Any) -> Any:
    if isinstance(value, dict):
        return _parse_arguments(value)
    if isinstance(value, (list, tuple)):
        return tuple(_parse_argument(item) for item in value)
    return {"true": True, "false": False}.get(value, _parse_number(value)) if isinstance(value, str) else value


def _parse_number(text: str) -> int | float | str:
    if text.lstrip("+-").isalpha():  # float would parse nan and infinity, which are words here
        return text
    for parse in (int, float):
        with contextlib.suppress(ValueError):
            return parse(text)
    return text


Arguments = Annotated[dict[str, Any], AfterValidator(_parse_arguments)]
"""Arguments of a function by name; numbers, true and false are parsed, everything else is text."""


def word_or_function(*words: str) -> tuple[Any, ...]:
    """Annotations of a word or a function: `Annotated[str | Function, *word_or_function("entropy")]`."""

    def read(value: Any, info: ValidationInfo) -> str | Function:
        if isinstance(value, str) and value not in words and ":" not in value:
            raise ValueError(f"'{value}' is not known{nearest(value, words)}; a function is written like {FORM}")
        return value if isinstance(value, str) and value in words else Function.read(value, info)

    return BeforeValidator(read), WithJsonSchema({"anyOf": [{"enum": list(words)}, SCHEMA]})


def as_users_mistake(error: BaseException, inputs: str = "") -> SceneError | None:
    """The mistake, with place and input, of the user's function that an error came through; None if of none.

    inputs: in words; the shapes of the function's arrays if empty.
    """
    steps = traceback.walk_tb(error.__traceback__)
    frames = [(frame, line) for frame, line in steps if frame.f_code.co_filename in _loaded_sources]
    if not frames:
        return None
    (called, _), (frame, line) = frames[0], frames[-1]
    code = called.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    arrays = " and ".join(text for name in names for text in shapes(name, called.f_locals.get(name)))
    place = f"{frame.f_code.co_filename}:{line}: {code.co_qualname}"
    return SceneError(f"{place} fails on {inputs or arrays or 'no arrays'}: {type(error).__name__}: {reason(error)}")


def shapes(name: str, value: Any) -> Iterator[str]:
    """Name, type and shape of an array, or of each in a tuple; nothing for other values."""
    if isinstance(value, tuple | list):
        for i, part in enumerate(value):
            yield from shapes(f"{name}[{i}]", part)
    elif hasattr(value, "shape"):
        yield f"{name} {value.dtype} {list(value.shape)}".replace("torch.", "")


def source_of_function(name: str, text: str) -> str:
    """The lines of a module's text that a function in it may depend on.

    Leaves out undecorated functions and classes whose names occur nowhere in the lines that stay, so that editing a
    metric does not change the digest of a model in the same file.
    """
    body = ast.parse(text).body
    named = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    definitions: dict[str, ast.stmt] = {node.name: node for node in named if not node.decorator_list}
    needed = [node for node in body if node not in definitions.values()]
    names = {name}.union(*map(_texts, needed))
    while defined := names & definitions.keys():
        nodes = [definitions.pop(definition) for definition in sorted(defined)]
        needed, names = needed + nodes, names.union(*map(_texts, nodes))
    lines = text.split("\n")
    needed.sort(key=_first_line)
    return "\n".join(line for node in needed for line in lines[_first_line(node) - 1 : node.end_lineno])


def _first_line(node: ast.stmt) -> int:
    """The line a statement begins on, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _texts(node: ast.AST) -> set[str]:
    """Every text in the code that may name something: names, attributes and string constants."""
    values = (getattr(inner, field, None) for inner in ast.walk(node) for field in ("id", "attr", "value"))
    return {value for value in values if isinstance(value, str)}


def _find_spec(module: str, folder: Path) -> ModuleSpec | None:
    """The spec of a module, without importing it or its parent packages; None if there is none."""
    path: list[str] | None = [str(folder.resolve()), *sys.path]
    spec, finders = None, sys.meta_path
    for part in module.split("."):  # not their dotted names: a folder without __init__.py looks for its loaded parent
        if path is None:  # the parent is a file, and files hold no modules
            return None
        spec = next(filter(None, (finder.find_spec(part, path) for finder in finders)), None)
        path, finders = spec.submodule_search_locations if spec else None, [PathFinder]
    return spec


def _sha256(spec: ModuleSpec, path: Path) -> str:
    """SHA-256, in hex, of a module's file, or of all sources of a package."""
    files = [path]
    if (folders := spec.submodule_search_locations) is not None:
        files = sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()
