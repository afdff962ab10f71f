"""The reference of every key of a scene, in Markdown, from the records' own JSON Schema and docstrings.

A record explains its fields as sentences `key: text.` in its docstring. Run as a program, it prints the page:
`python docs/scene_reference.py > docs/scene-reference.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.scene.scene import Scene

Schema = dict[str, Any]
HEAD = """\
# Scene reference

Every key of a scene, with its type, its default and its meaning. This page is generated from the program:
`python docs/scene_reference.py > docs/scene-reference.md`. [How to](how-to.md) shows the keys at work.

A key without a default must be written. A kind that needs no other key may be written as its bare word,
`directions: pca`; `{}` is a record with its own defaults.
"""
_PICTURES = Path(__file__).parent / "pictures"  # of the moves, by `docs/pictures.py`
_NOUNS = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "keys"}
_LIMITS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}


def reference_text() -> str:
    """The page: one section for every record that can be reached from `Scene`, in the order of its keys."""
    return "\n".join([HEAD, *_Reference().sections()])


class _Reference:
    """The records of a scene's JSON Schema by name (the scene itself is ""), and the paths of keys to each."""

    def __init__(self) -> None:
        schema, written = Scene.model_json_schema(), Scene.model_json_schema(mode="serialization")
        self.records: dict[str, Schema] = {"": schema, **schema.pop("$defs")}
        self.defaults: dict[str, Schema] = {"": written, **written.pop("$defs")}  # times and sizes as text
        self.paths: dict[str, list[str]] = {}
        self._visit("", "")

    def _visit(self, name: str, path: str) -> None:
        """Adds a path to a record; the first one goes on to the records below."""
        self.paths.setdefault(name, []).append(path)
        if len(self.paths[name]) == 1:
            for key, field in self.records[name].get("properties", {}).items():
                for other in _references(field):
                    self._visit(other, f"{path}.{key}".lstrip("."))

    def sections(self) -> Iterator[str]:
        """One section per record, as Markdown."""
        for name, paths in self.paths.items():
            record = self.records[name]
            if "properties" not in record:  # a choice of words or a tuple: the table shows it
                continue
            summary, meanings = _parse_docstring(record)
            others = ", ".join(f"`{path}`" for path in dict.fromkeys(paths) if path != paths[0])
            yield f"## {self._heading(name)}\n\n{summary}{f' Also at {others}.' if others else ''}\n"
            if keys := [key for key, field in record["properties"].items() if key != "kind" or "const" not in field]:
                rows = [self._row(name, key, meanings.get(key)) for key in keys]
                yield "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""])

    def _heading(self, name: str) -> str:
        """The first path, with the kind if there is one; of two records that share it the second has its next path."""
        path, kind = self.paths[name][0], self._kind(name)
        if not kind and any(paths[0] == path and not self._kind(other) for other, paths in self._before(name)):
            path = self.paths[name][-1]
        return f"{path}: {kind}" if kind else path or "The scene"

    def _kind(self, name: str) -> str | None:
        kind: str | None = self.records[name].get("properties", {}).get("kind", {}).get("const")
        return kind

    def _before(self, name: str) -> list[tuple[str, list[str]]]:
        """The records before one that have a section, with their paths."""
        names = list(self.paths)
        return [(n, self.paths[n]) for n in names[: names.index(name)] if "properties" in self.records[n]]

    def _row(self, name: str, key: str, meaning: str | None) -> str:
        record, default = self.records[name], self.defaults[name]["properties"][key].get("default")
        field = record["properties"][key]
        unit = next((unit for unit in ("deg", "mm") if f'"{unit}$"' in json.dumps(field)), "")
        text = "nothing" if default is None else f"`{_to_yaml(default)}{unit}`"
        meaning = meaning or _parse_docstring(self.records[_references(field)[0]])[0]
        if name == "Move" and (_PICTURES / f"{key}.jpg").exists():
            meaning += f" ![](pictures/{key}.jpg)"
        return f"| `{key}` | {self._type(field)} | {'' if key in record.get('required', ()) else text} | {meaning} |"

    def _type(self, field: Schema) -> str:
        """A field's type in words; records are links to their sections."""
        match field:
            case {"$ref": reference}:
                name = reference.rsplit("/", 1)[1]
                if "properties" not in self.records[name]:
                    return self._type(self.records[name])
                heading = self._heading(name)
                anchor = re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")
                return f"[{heading.partition(': ')[2] or 'keys'}](#{anchor})"
            case {"anyOf": [{"discriminator": _} as options, {"enum": _}]}:  # the bare words of kinds
                return self._type(options)
            case {"anyOf": options} | {"oneOf": options}:
                return " or ".join(
                    dict.fromkeys(self._type(option) for option in options if option != {"type": "null"})
                )
            case {"const": word}:
                return f"`{word}`"
            case {"enum": words}:
                return ", ".join(f"`{word}`" for word in words)
            case {"prefixItems": items}:
                return f"[{', '.join(map(self._type, items))}]"
            case {"items": items}:
                return f"list of {self._type(items)}"
            case {"additionalProperties": dict(items)}:
                return f"{self._type(field.get('propertyNames', {}))}: {self._type(items)}, ..."
        kind = field.get("type", "anything")
        noun = field.get("description") or field.get("format") or _NOUNS.get(kind, kind)
        limits = "".join(f" {word} {field[limit]:g}" for limit, word in _LIMITS.items() if limit in field)
        examples = ", ".join(f"`{example}`" for example in field.get("examples", ()))
        return f"{noun}{limits}{' such as ' + examples if examples else ''}"


def _references(field: Schema) -> list[str]:
    """The names of the records that a field's schema refers to."""
    return list(dict.fromkeys(re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(field))))


def _parse_docstring(record: Schema) -> tuple[str, dict[str, str]]:
    """(the docstring up to the first key, {key: meaning}), from sentences `key: text` or `key, key: text`."""
    text, names = " ".join(record.get("description", "").split()), "|".join(record.get("properties", "$"))
    summary, *parts = re.split(rf"(?:^|(?<=[.;)] ))((?:{names})(?:, (?:{names}))*): ", text)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return summary.strip(), {key: part.strip().rstrip(";") for keys, part in pairs for key in keys.split(", ")}


def _to_yaml(value: Any) -> str:
    """A default as YAML; a record by its kind or base alone, since its own section has the rest."""
    match value:
        case {"kind": word}:
            return str(word)
        case {"base": str(word)}:
            return f"{{base: {word}}}"
        case list():
            return f"[{', '.join(map(_to_yaml, value))}]"
        case str():
            return value
        case float():
            return f"{value:g}"
    return "{}" if isinstance(value, dict) else json.dumps(value)


if __name__ == "__main__":
    print(reference_text(), end="")
