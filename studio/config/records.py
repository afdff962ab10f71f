"""Frozen records, the base of every part of a scene: hashable, compared by value, digested by content."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, field_validator

K = TypeVar("K")
V = TypeVar("V")


SMALLEST, LARGEST, LARGEST_WHOLE = 1e-15, 1e30, 2**63 - 1
"""Numbers of a record, apart from 0: geometry squares them; seeds are whole numbers of up to 63 bits."""


class Record(BaseModel):
    """Frozen, hashable and comparable by value; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    former: ClassVar[Mapping[str, str]] = {}
    """Keys and words of earlier versions, `key` or `key: word`, and their present names, or sentences: for messages."""

    @field_validator("*")
    @classmethod
    def _is_in_reach(cls, value: Any) -> Any:
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, tuple):
                cls._is_in_reach(number)
            elif isinstance(number, int) and abs(number) > LARGEST_WHOLE:
                raise ValueError(f"expected a whole number of up to {LARGEST_WHOLE}, found {number}")
            elif isinstance(number, float) and number and not SMALLEST <= abs(number) <= LARGEST:
                raise ValueError(f"expected 0, or {SMALLEST:g} to {LARGEST:g} of either sign, found {number}")
        return value

    def mistakes(self) -> Iterable[tuple[tuple[Any, ...], str]]:
        """(path of keys, what is wrong) across fields. `parse` calls it once, on the top record."""
        return ()

    @classmethod
    def place(cls, loc: tuple[Any, ...], data: Mapping[str, Any]) -> tuple[Any, ...]:
        """The path of keys in the file's own `data` that holds what a record has at `loc`; for the top record."""
        return loc


class FrozenDict(dict[K, V]):
    """A hashable mapping inside a record; by convention nothing changes it after reading."""

    def __hash__(self) -> int:  # type: ignore[override]  # dict declares that it has none
        return hash(tuple(self.items()))


def merge(under: Any, over: Any) -> Any:
    """Raw values over others, key by key at every depth; a record of another kind, or of `definiteness`, replaces."""
    if not isinstance(under, Mapping) or not isinstance(over, Mapping):
        return over
    if over.get("kind", under.get("kind")) != under.get("kind") or over.get("field") == "definiteness":
        return over
    return {**under, **{key: merge(under[key], over[key]) if key in under else over[key] for key in over}}


OMIT_DEFAULT = {"omit_default": True}
"""Metadata of a dataclass's field that came later: a digest contains it only where it is not the default."""


def digest(*parts: Any) -> str:
    """32 hex digits that name the parts: records, numbers, texts, and lists or mappings of them."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_to_json)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _to_json(part: Any) -> Any:
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json", warnings=False)  # a sweep that no scene names is in no union
    if is_dataclass(part):
        kept = (f for f in fields(part) if not ("omit_default" in f.metadata and getattr(part, f.name) == f.default))
        return [[field.name, getattr(part, field.name)] for field in kept]
    if isinstance(part, (Fraction, Path)):
        return str(part)
    raise TypeError(f"{type(part).__name__} has no digest")


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the closest word, or `; one of a, b, c` when none is close."""
    words = list(words)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; one of {', '.join(words)}"


def alternatives(annotation: Any) -> list[Any]:
    """The types a type may stand for, with Annotated, Optional and unions taken apart.

    >>> alternatives(Annotated[int | str, "note"] | None)
    [<class 'int'>, <class 'str'>, <class 'NoneType'>]
    """
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [option for part in get_args(annotation) for option in alternatives(part)]
    return [annotation]


# --- kinds -----------------------------------------------------------------------------------------------------------


class _WordIsKind:
    """Adds the bare word to the JSON Schema of a kind, for a kind that needs no other key."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        words = list(schema.get("discriminator", {}).get("mapping", {}))
        return {"anyOf": [schema, {"enum": words}]} if words else schema


BY_KIND = (
    Field(discriminator="kind"),
    BeforeValidator(lambda value: {"kind": value} if isinstance(value, str) else value),
    _WordIsKind(),
)
"""Makes a union of records a family, told apart by `kind`: `Model = Annotated[Mlp | Resnet, *BY_KIND]`."""
