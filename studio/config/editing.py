"""Edits of a scene's text: some keys of one mapping get other values, and every other character stays."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from studio.config.reading import Location, compose, load_raw
from studio.errors import SceneError

WIDTH = 130
"""Letters of a line, beyond which a value is written over several."""


def set_values(text: str, path: Location, values: Mapping[str, Any], *, name: str) -> str:
    """A scene's text in which the mapping at `path` says `values`: texts, and lists and mappings of them.

    Comments inside an old value go with it. Raises SceneError if the layout does not allow that change alone.
    """
    expected = copy.deepcopy(load_raw(text, name=name))
    try:
        place = expected
        for step in path:
            place = place[step]
        place.update(values)
        changed = text
        for key, value in values.items():
            changed = _set(changed, _find(compose(changed, name), path), key, value)
        if load_raw(changed, name=name) == expected:
            return changed
    except (AttributeError, IndexError, KeyError, TypeError, StopIteration, SceneError):
        pass
    way_out = f"write these keys yourself: {_flow(values)}"
    raise SceneError(f"{name}: its layout (an alias, or braces) leaves no place to write in; {way_out}")


def _find(node: Any, path: Location) -> Any:
    """The YAML node that a path leads to. Raises StopIteration at a key that a merge brings."""
    for step in path:
        node = node.value[step] if isinstance(step, int) else next(v for k, v in node.value if k.value == step)
    return node


def _set(text: str, mapping: Any, key: str, value: Any) -> str:
    pair = next((pair for pair in mapping.value if pair[0].value == key), None)
    first, last = mapping.value[0][0], mapping.value[-1][1]
    if mapping.flow_style:
        new = f"{key}: {_flow(value)}"
        start, end = (int(pair[0].start_mark.index), int(pair[1].end_mark.index)) if pair else (_end(last),) * 2
        return text[:start] + (new if pair else f", {new}") + text[end:]
    line_end, indent, body = "\r\n" if "\r\n" in text else "\n", " " * int(first.start_mark.column), _lines(value)
    new = f"{key}: {body[0]}" if len(body) == 1 else line_end.join([f"{key}:", *(f"{indent}  {x}" for x in body)])
    if pair:
        return text[: int(pair[0].start_mark.index)] + new + text[_end(pair[1]) :]
    rest = text[_end(last) :]
    after = len(text) - len(rest) + len(rest.partition(line_end)[0])  # behind a comment on the last line
    return text[:after] + line_end + indent + new + text[after:]


def _end(node: Any) -> int:
    """Where a value ends: YAML's parser counts what follows a block up to the next word to it."""
    while isinstance(node.value, list) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    text = str(value)
    return text if re.fullmatch(r"[-+\w./%]+", text) else json.dumps(text, ensure_ascii=False)


def _lines(value: Any) -> list[str]:
    """A value on as many lines as it takes."""
    if isinstance(value, str) or len(flow := _flow(value)) <= WIDTH:
        return [_flow(value)]
    lines: list[str] = []
    for part in value.items() if isinstance(value, Mapping) else value:
        if isinstance(part, tuple):
            key, (first, *more) = part[0], _lines(part[1])
            lines += [f"{key}: {first}"] if not more else [f"{key}:", *(f"  {line}" for line in (first, *more))]
        else:
            first, *more = _lines(part)
            lines += [f"- {first}", *(f"  {line}" for line in more)]
    return lines or [flow]
