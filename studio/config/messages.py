"""Validation errors of pydantic as messages for the author of a scene."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from studio.config.records import Record, nearest


def explain(error: Mapping[str, Any], record_type: type[Record] | None) -> str:
    """A message for one of pydantic's errors. record_type: where it happened, for its keys and their former names."""
    context, value, key = error.get("ctx", {}), error.get("input"), error["loc"][-1] if error["loc"] else ""
    former = record_type.former if record_type else {}
    match error["type"]:
        case "extra_forbidden" if key in former:
            return former[key] if " " in former[key] else f"the key '{key}' is called '{former[key]}' now"
        case "literal_error" if f"{key}: {value}" in former:
            return f"{key} '{value}' is called '{former[f'{key}: {value}']}' now"
        case "mistake":
            return str(error["what"])
        case "extra_forbidden":
            return f"unknown key '{key}'{nearest(str(key), record_type.model_fields if record_type else [])}"
        case "missing":
            return f"the key '{key}' is missing"
        case _ if value is None:
            return "a value is missing; a word that starts with # needs quotes"
        case "literal_error":
            return f"no {key} '{value}'{nearest(str(value), _quoted(context['expected']))}"
        case "union_tag_invalid":
            return f"unknown kind '{context['tag']}'{nearest(context['tag'], _quoted(context['expected_tags']))}"
        case "union_tag_not_found":
            return "the key 'kind' is missing"
        case "value_error":
            return str(context["error"])
        case "list_type" | "tuple_type":
            return f"expected a list, found '{value}'"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected keys and values, found '{value}'"
        case "too_short":
            return f"expected at least {context['min_length']}, found {context['actual_length']}"
        case "too_long":
            return f"expected at most {context['max_length']}, found {context['actual_length']}"
        case "greater_than_equal" | "less_than_equal" | "greater_than" | "less_than":
            words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
            [(end, number)] = context.items()
            return f"expected {words[end]} {number:g}, found '{value}'"
        case "int_parsing" | "int_type" | "int_from_float":
            return f"expected a whole number, found '{value}'"
        case "float_parsing" | "float_type":
            return f"expected a number, found '{value}'"
        case "finite_number":
            return f"expected a finite number, found '{value}'"
        case "bool_parsing" | "bool_type":
            return f"expected true or false, found '{value}'"
        case "string_type":
            return f"expected a text, found '{value}'"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}, found '{value}'"


def _quoted(text: str) -> list[str]:
    """The quoted words in pydantic's lists of choices."""
    return re.findall("'(.*?)'", text)
