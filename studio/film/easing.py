"""Eases: functions from [0, 1] to [0, 1] that set the pace of a move, a dissolve or a walk through the sweep.

The name says which end is slow: `out-cubic` slows down on arrival, `in-cubic` starts slowly, `in-out` does both. A new
ease is an entry of `EASES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from studio.config.records import nearest

EASES: dict[str, Callable[[float], float]] = {
    "linear": lambda u: u,
    "step": lambda u: 0.0 if u < 1 else 1.0,
    "in-out": lambda u: u**3 * (u * (6 * u - 15) + 10),  # smootherstep, Perlin (2002): no acceleration at the ends
    "in-sine": lambda u: 1 - math.sin((1 - u) * math.pi / 2),  # 1 - cos(pi u / 2) would miss 1 by one bit
    "out-sine": lambda u: math.sin(u * math.pi / 2),
    "in-out-sine": lambda u: (1 - math.cos(u * math.pi)) / 2,
    "in-cubic": lambda u: u**3,
    "out-cubic": lambda u: 1 - (1 - u) ** 3,
    "in-out-cubic": lambda u: 4 * u**3 if u < 0.5 else 1 - (2 - 2 * u) ** 3 / 2,
}
"""Every ease by the name a scene writes."""


class Ease(str):
    """The name of an ease, which can be called: outside [0, 1] it holds the value of the nearer end.

    >>> Ease("in-cubic")(0.5), Ease("in-cubic")(7.0)
    (0.125, 1.0)
    """

    def __call__(self, u: float) -> float:
        """The ease at u."""
        return EASES[self](min(1.0, max(0.0, u)))


def _parse(value: object) -> Ease:
    if not isinstance(value, str) or value not in EASES:
        raise ValueError(f"no ease '{value}'{nearest(str(value), EASES)}")
    return Ease(value)


EaseField = Annotated[Ease, BeforeValidator(_parse), PlainSerializer(str), WithJsonSchema({"enum": list(EASES)})]
"""The type of a record's `ease` field."""
