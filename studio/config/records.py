"""Frozen records, the base of everything a scene says: hashable, compared by value, digested by content."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Record(BaseModel):
    """Frozen, hashable and comparable by value; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    former: ClassVar[Mapping[str, str]] = {}
    """Keys and words of earlier versions, `key` or `key: word`, and what each is called now: for messages only."""

    def mistakes(self) -> Iterable[tuple[tuple, str]]:
        """(path of keys, what is wrong) for what no single field can tell. Asked once, of the whole scene."""
        return ()


class FrozenDict(dict):
    """A mapping inside a record: hashable, since nothing changes it once it was read."""

    def __hash__(self):
        return hash(tuple(self.items()))


def digest(*parts: Any) -> str:
    """32 hex digits that name the parts: records, numbers, words, and lists or mappings of them."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_to_json)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _to_json(part: Any) -> Any:
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    if is_dataclass(part):
        return [[field.name, getattr(part, field.name)] for field in fields(part)]
    if isinstance(part, (Fraction, Path)):
        return str(part)
    raise TypeError(f"{type(part).__name__} has no digest")


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the closest word, or `; one of a, b, c` when none is close."""
    words = list(words)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; one of {', '.join(words)}"


# --- kinds -----------------------------------------------------------------------------------------------------------


class _WordIsKind:
    """Lets a kind without further keys be written as its bare word, in YAML and in the JSON Schema."""

    def __get_pydantic_json_schema__(self, core_schema, handler):
        schema = handler(core_schema)
        words = list(schema.get("discriminator", {}).get("mapping", {}))
        return {"anyOf": [schema, {"enum": words}]} if words else schema


BY_KIND = (
    Field(discriminator="kind"),
    BeforeValidator(lambda given: {"kind": given} if isinstance(given, str) else given),
    _WordIsKind(),
)
"""What turns a union of records into a family: `Model = Annotated[Mlp | Resnet, *BY_KIND]`."""
