"""Functions of the user's, named in a scene as `package.module:name`: a model, a criterion, one more number to measure.

A name is looked up when the scene is read, beside the scene first and then among the installed packages, but nothing is
imported until the function is wanted. Wherever a record is digested, a function stands there with the SHA-256 of its
source, so that what was computed by another text of it is another thing on the shelf.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema

from studio.config.records import nearest
from studio.config.units import scene_folder
from studio.errors import SceneError

FORM = "package.module:name"
SCHEMA = {"type": "string", "pattern": r"^\w+(\.\w+)*:\w+(\.\w+)*$", "examples": [FORM]}
_loaded: dict[str, str] = {}
"""SHA-256 of each file that a function was taken from in this process, to notice that it was edited since."""


@dataclass(frozen=True)
class Function:
    """A function by its name, `package.module:name`, and the folder it is looked for first: the scene's.

    Usable as the type of a record's field. Raises ValueError if the name has another form.
    """

    name: str
    folder: Path = Path()

    def __post_init__(self):
        module, colon, attribute = self.name.partition(":")
        if not (colon and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))):
            raise ValueError(f"'{self.name}' names no function; write it like {FORM}")

    def __str__(self):
        return self.name

    @property
    def module(self) -> str:
        return self.name.partition(":")[0]

    @property
    def attribute(self) -> str:
        """Its name in the module."""
        return self.name.partition(":")[2]

    def load(self) -> Callable:
        """The function itself. Its folder is importable from then on; a file edited since the last load is read again.

        Raises SceneError if the module is missing or fails, or has nothing callable of that name.
        """
        module = self._imported()
        try:
            found = pkgutil.resolve_name(self.name)
        except AttributeError as error:
            known = [name for name in vars(module) if not name.startswith("_")]
            raise SceneError(f"{self}: {error}{nearest(self.attribute, known)}") from error
        if not callable(found):
            raise SceneError(f"{self}: cannot be called; it is of type {type(found).__name__}")
        return found

    def identity(self) -> str:
        """SHA-256, in hex, over the lines of its module that it depends on; of a package, over all sources in it.

        What the module imports in its turn is not looked into. Raises SceneError if there is no source.
        """
        spec = self._spec()
        if spec.submodule_search_locations is not None or not spec.origin.endswith(".py"):
            return _sha256(spec)
        try:
            text = importlib.util.decode_source(Path(spec.origin).read_bytes())
            lines = source_of_function(self.attribute.partition(".")[0], text)
        except (SyntaxError, ValueError):  # no Python: `load` says so
            return _sha256(spec)
        return hashlib.sha256(lines.encode()).hexdigest()

    def _spec(self) -> ModuleSpec:
        """Where its module lies. Raises SceneError if there is none, or no file of it."""
        spec = _found(self.module, self.folder)
        if spec is None:
            raise SceneError(f"{self}: {_missing(self)}")
        if not spec.has_location:
            raise SceneError(
                f"{self}: '{self.module}' has no source file; name a function in a file of your own, which calls it"
            )
        return spec

    def _imported(self) -> ModuleType:
        """The module, as its source now is. Raises SceneError if it fails, or Python holds another of that name."""
        spec = self._spec()
        place, now = spec.origin, _sha256(spec)
        if (folder := str(self.folder.resolve())) not in sys.path:
            sys.path.insert(0, folder)  # as Python does with the folder of a script
        if _loaded.setdefault(place, now) != now:
            _unload(self.module)
        try:
            module = importlib.import_module(self.module)
        except Exception as error:  # whatever the user's module does when it is imported
            raise SceneError(f"{self}: its module cannot be imported: {type(error).__name__}: {error}") from error
        if Path(module.__file__ or "").resolve() != Path(place).resolve():
            raise SceneError(
                f"{self}: Python already holds another '{self.module}', from {module.__file__}; rename {place}"
            )
        _loaded[place] = now
        return module

    @classmethod
    def read(cls, given: Any, info: Any) -> Function:
        """The function that a scene names. Raises ValueError, with the way out, if there is no such module."""
        if isinstance(given, cls):
            return given
        if not isinstance(given, str):
            raise ValueError(f"expected a function, written like {FORM}, found '{given}'")
        function = cls(given.strip(), scene_folder(info))
        if _found(function.module, function.folder) is None:
            raise ValueError(_missing(function))
        return function

    def _identity(self) -> dict[str, str | None]:
        """What stands for it in a digest. A source that is missing is no failure here: `load` says so better."""
        try:
            return {"function": self.name, "source": self.identity()}
        except SceneError:
            return {"function": self.name, "source": None}

    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        return handler.generate_schema(
            Annotated[
                Any, PlainValidator(cls.read), PlainSerializer(cls._identity, when_used="json"), WithJsonSchema(SCHEMA)
            ]
        )


def word_or_function(*words: str) -> tuple:
    """What makes a field one of some words or a function: `Annotated[str | Function, *word_or_function("entropy")]`."""

    def read(given, info):
        if isinstance(given, str) and given not in words and ":" not in given:
            raise ValueError(
                f"'{given}' is not known{nearest(given, words)}; a function of your own is written like {FORM}"
            )
        return given if isinstance(given, str) and given in words else Function.read(given, info)

    return BeforeValidator(read), WithJsonSchema({"anyOf": [{"enum": list(words)}, SCHEMA]})


def source_of_function(name: str, text: str) -> str:
    """The lines of a module's text that a function in it may depend on: a text that changes when its results may.

    All are but functions and classes without decorators whose names are nowhere in the others, nor in it. So another
    number that is measured by the same file does not make its model another one.
    """
    body = ast.parse(text).body
    apart = {
        node.name: node
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.decorator_list
    }
    kept = [node for node in body if node not in apart.values()]
    names = {name}.union(*map(_names, kept))
    while reached := names & apart.keys():
        nodes = [apart.pop(one) for one in sorted(reached)]
        kept, names = kept + nodes, names.union(*map(_names, nodes))
    lines = text.split("\n")
    return "\n".join("\n".join(lines[_first(node) - 1 : node.end_lineno]) for node in sorted(kept, key=_first))


def _first(node: ast.stmt) -> int:
    """The line a statement begins on, with what decorates it."""
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])


def _names(node: ast.AST) -> set[str]:
    """Every word in the code that may name something: names, attributes and texts."""
    found = ((getattr(inner, field, None) for field in ("id", "attr", "value")) for inner in ast.walk(node))
    return {word for words in found for word in words if isinstance(word, str)}


def _found(module: str, folder: Path) -> ModuleSpec | None:
    """Where a module lies, without importing it or the packages around it; None if there is none."""
    path, spec = [str(folder.resolve()), *sys.path], None
    for name in accumulate(module.split("."), "{}.{}".format):
        if path is None:  # what came before is a file, and files hold no modules
            return None
        spec = next(filter(None, (finder.find_spec(name, path) for finder in sys.meta_path)), None)
        path = spec.submodule_search_locations if spec else None
    return spec


def _unload(module: str) -> None:
    """Makes Python import a module, and what is inside it, anew."""
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        del sys.modules[name]


def _sha256(spec: ModuleSpec) -> str:
    """Over a module's file, or over all sources of a package."""
    files = [Path(spec.origin)]
    if (folders := spec.submodule_search_locations) is not None:
        files = sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def _missing(function: Function) -> str:
    return (
        f"no module '{function.module}' beside the scene, in {function.folder.resolve()}, nor among the installed "
        f"packages; a function is written like {FORM}"
    )
