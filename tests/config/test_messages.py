from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field, ValidationError

from studio.config.messages import explain
from studio.config.records import BY_KIND, Record


class Circle(Record):
    kind: Literal["circle"] = "circle"
    radius: float = Field(1.0, gt=0)


class Square(Record):
    kind: Literal["square"] = "square"


class Drawing(Record):
    former: ClassVar[Mapping[str, str]] = {"tint": "colour", "colour: plain": "grey"}

    shape: Annotated[Circle | Square, *BY_KIND] = Circle()
    colour: Literal["grey", "gold"] = "grey"
    count: int = Field(1, ge=1, le=9)
    names: tuple[str, ...] = Field(("a",), min_length=1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tint": "gold"}, "the key 'tint' is called 'colour' now"),
        ({"colour": "plain"}, "colour 'plain' is called 'grey' now"),
        ({"colour": "golt"}, "no colour 'golt'; did you mean 'gold'?"),
        ({"cuont": 3}, "unknown key 'cuont'; did you mean 'count'?"),
        ({"count": 0}, "expected at least 1, found '0'"),
        ({"count": 12}, "expected at most 9, found '12'"),
        ({"count": "two"}, "expected a whole number, found 'two'"),
        ({"count": None}, "a value is missing; a word that starts with # needs quotes"),
        ({"names": []}, "expected at least 1, found 0"),
        ({"names": "a"}, "expected a list, found 'a'"),
        ({"shape": {"kind": "circel"}}, "unknown kind 'circel'; did you mean 'circle'?"),
        ({"shape": {"radius": 2}}, "the key 'kind' is missing"),
        ({"shape": {"kind": "circle", "radius": 0}}, "expected more than 0, found '0'"),
        ({"shape": 3}, "expected keys and values, found '3'"),
    ],
)
def test_a_message_says_what_was_found_and_what_was_expected(keys, message):
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(keys)
    [error] = caught.value.errors()
    assert explain(error, Drawing) == message
