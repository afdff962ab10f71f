"""The reference of every key of a scene, in Markdown, from the records' own JSON Schema and docstrings.

A record explains its fields as sentences `key: text.` in its docstring. Run as a program, it prints the page:
`python -m studio.cli.reference > docs/scene-reference.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from studio.scene.scene import Scene

Schema = dict[str, Any]
HEAD = """\
# Scene reference

Every key of a scene, with its type, its default and its meaning. This page is generated from the program:
`python -m studio.cli.reference > docs/scene-reference.md`. [How to](how-to.md) shows the keys at work.

A key without a default must be written. A kind that needs no other key may be written as its bare word,
`directions: pca`.
"""


def reference_text() -> str:
    """The page: one section for every record that can be reached from `Scene`, in the order of its keys."""
    return HEAD + "".join(f"\n{section}" for section in _Reference(Scene.model_json_schema()).sections())


class _Reference:
    """Sections of the page, and the names by which they refer to each other."""

    def __init__(self, schema: Schema) -> None:
        self.records: dict[str, Schema] = {"": schema, **schema.pop("$defs")}
        self.paths: dict[str, list[str]] = {"": [""]}
        self._visit("")

    def _visit(self, name: str) -> None:
        """Assigns each record the paths of keys that lead to it; one below its own path is not visited again."""
        for key, field in self.records[name].get("properties", {}).items():
            path = f"{self.paths[name][0]}.{key}".lstrip(".")
            for other in dict.fromkeys(_references(field)):
                known = other in self.paths
                self.paths.setdefault(other, []).append(path)
                if not known:
                    self._visit(other)

    def sections(self) -> Iterator[str]:
        """One section per record, as Markdown."""
        for name in self.paths:
            record = self.records[name]
            if "properties" not in record:  # a choice of words or a tuple: the table shows it
                continue
            summary, meanings = _explained(record)
            others = ", ".join(f"`{path}`" for path in dict.fromkeys(self.paths[name][1:]))
            text = f"{summary}{f' Also at {others}.' if others else ''}".strip()
            rows = [self._row(key, field, record, meanings) for key, field in _keys(record).items()]
            table = "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows]) if rows else ""
            yield "\n\n".join(part for part in (f"## {self._heading(name)}", text, table) if part) + "\n"

    def _heading(self, name: str) -> str:
        path, kind = self.paths[name][0], _kind(self.records[name])
        return f"{path}: {kind}" if kind else path or "The scene"

    def _row(self, key: str, field: Schema, record: Schema, meanings: dict[str, str]) -> str:
        default = "" if key in record.get("required", ()) else self._default(field.get("default"), field)
        inner = next(_references(field), None)
        meaning = meanings.get(key) or (_explained(self.records[inner])[0] if inner and not _is_union(field) else "")
        return f"| `{key}` | {self._type(field)} | {default} | {_escaped(meaning)} |"

    def _type(self, field: Schema) -> str:
        """A field's type in words; records are links to their sections."""
        match field:
            case {"$ref": reference}:
                name = reference.rsplit("/", 1)[1]
                if "properties" in self.records[name]:
                    return _link(_kind(self.records[name]) or "keys", self._heading(name))
                return self._type(self.records[name])
            case {"anyOf": options} | {"oneOf": options}:
                words = [self._type(option) for option in options if not self._is_bare_word(option, options)]
                return " or ".join(dict.fromkeys(word for word in words if word != "nothing"))
            case {"const": word}:
                return f"`{word}`"
            case {"enum": options}:
                return ", ".join(f"`{word}`" for word in options)
            case {"type": "array", "prefixItems": items}:
                return f"[{', '.join(map(self._type, items))}]"
            case {"type": "array", "items": items}:
                return f"list of {self._type(items)}"
            case {"type": "object", "additionalProperties": dict(items)}:
                return f"{self._type(field.get('propertyNames', {}))}: {self._type(items)}, ..."
            case {"type": "null"}:
                return "nothing"
        noun = field.get("description") or field.get("format") or _NOUNS.get(field.get("type", ""), "anything")
        examples = ", ".join(f"`{example}`" for example in field.get("examples", ()))
        return _escaped(f"{noun}{_bounds(field)}{' such as ' + examples if examples else ''}")

    def _is_bare_word(self, option: Schema, options: list[Schema]) -> bool:
        """Whether an option is the list of bare words beside a union of kinds."""
        return "enum" in option and any("discriminator" in other for other in options)

    def _default(self, value: Any, field: Schema) -> str:
        """A default as YAML; a record by its kind or base alone, since its own section has the rest."""
        if value is None:
            return "nothing"
        if isinstance(value, dict):
            if value.keys() == {"amount", "unit"}:
                return f"`{value['amount']:g}{value['unit']}`"
            word = value.get("kind") or (f"{{base: {value['base']}}}" if value.get("base") else None)
            return f"`{word}`" if word else "its defaults" if value else "none"
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            return ", ".join(self._default(item, {}) for item in value)
        if field.get("description") == "size":
            return f"`{'x'.join(map(str, value))}`"
        unit = next((unit for unit in ("deg", "mm") if f'"{unit}$"' in json.dumps(field)), "")
        return f"`{_yaml(value)}{unit}`"


_NOUNS = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false", "object": "keys"}


def _references(field: Any) -> Iterator[str]:
    """The names of the records that a field's schema refers to."""
    if isinstance(field, dict):
        if "$ref" in field:
            yield field["$ref"].rsplit("/", 1)[1]
        for key, part in field.items():
            if key not in ("discriminator", "default"):
                yield from _references(part)
    elif isinstance(field, list):
        for part in field:
            yield from _references(part)


def _is_union(field: Schema) -> bool:
    return len(set(_references(field))) > 1


def _keys(record: Schema) -> dict[str, Schema]:
    """The record's fields without `kind`, which its heading says."""
    return {key: field for key, field in record["properties"].items() if not (key == "kind" and "const" in field)}


def _kind(record: Schema) -> str | None:
    word: str | None = record.get("properties", {}).get("kind", {}).get("const")
    return word


def _explained(record: Schema) -> tuple[str, dict[str, str]]:
    """(the docstring up to the first key, {key: meaning}), from sentences `key: text` or `key, key: text`."""
    text = " ".join(record.get("description", "").split())
    names = "|".join(sorted(record.get("properties", {}), key=len, reverse=True)) or "$"
    starts = list(re.finditer(rf"(?:^|(?<=[.;)] ))((?:{names})(?:, (?:{names}))*): ", text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    meanings = {
        key: text[start.end() : end].strip().rstrip(";")
        for start, end in zip(starts, ends, strict=False)  # no key, no end
        for key in start[1].split(", ")
    }
    return text[: starts[0].start()].strip() if starts else text, meanings


def _bounds(field: Schema) -> str:
    """The range of a number in words, such as ` from 0 to 1`."""
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    words = [f"from {low:g}"] if low is not None else [f"above {above:g}"] if above is not None else []
    words += [f"to {high:g}"] if high is not None else [f"below {below:g}"] if below is not None else []
    return "".join(f" {word}" for word in words)


def _yaml(value: Any) -> str:
    """A plain value as YAML writes it in one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _link(word: str, heading: str) -> str:
    return f"[{word}](#{re.sub(r'[^a-z0-9_ -]', '', heading.lower()).replace(' ', '-')})"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference_text(), end="")
