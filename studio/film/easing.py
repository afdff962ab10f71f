"""Eases: functions from [0, 1] to [0, 1] that set the pace of a move, a dissolve or a walk through the sweep.

The name says which end is slow: `out-cubic` slows down on arrival, `in-cubic` starts slowly, `in-out` does both. A new
ease is a function here and an entry of `EASES`.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from studio.config.records import nearest


def step(u: float) -> float:
    """0 before the end, 1 at it."""
    return 0.0 if u < 1 else 1.0


def linear(u: float) -> float:
    """u: constant speed."""
    return u


def in_out(u: float) -> float:
    """6 u^5 - 15 u^4 + 10 u^3, smootherstep: speed and acceleration are 0 at both ends. Perlin (2002).

    >>> [in_out(u) for u in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.103515625, 0.5, 1.0]
    """
    return u**3 * (u * (6 * u - 15) + 10)


def in_sine(u: float) -> float:
    """1 - cos(pi u / 2), written so that it ends at exactly 1."""
    return 1 - math.sin((1 - u) * math.pi / 2)  # a cosine would miss 1 by one bit


def out_sine(u: float) -> float:
    """sin(pi u / 2)."""
    return math.sin(u * math.pi / 2)


def in_out_sine(u: float) -> float:
    """(1 - cos(pi u)) / 2."""
    return (1 - math.cos(u * math.pi)) / 2


def in_cubic(u: float) -> float:
    """u^3."""
    return u**3


def out_cubic(u: float) -> float:
    """1 - (1 - u)^3."""
    return 1 - (1 - u) ** 3


def in_out_cubic(u: float) -> float:
    """4 u^3 up to the middle, then its mirror image 1 - 4 (1 - u)^3."""
    return 4 * u**3 if u < 0.5 else 1 - (2 - 2 * u) ** 3 / 2


EASES = {
    f.__name__.replace("_", "-"): f
    for f in (linear, step, in_out, in_sine, out_sine, in_out_sine, in_cubic, out_cubic, in_out_cubic)
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
