"""Eases: functions from [0, 1] to [0, 1] that say how a move, a dissolve or a walk through the epochs spends its time.

An ease belongs to the end it arrives at: `out-cubic` slows down on arrival, `in-cubic` starts slowly, `in-out` both.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from studio.config.records import nearest


def step(u: float) -> float:
    return 0.0 if u < 1 else 1.0


def linear(u: float) -> float:
    return u


def in_out(u: float) -> float:
    """Smootherstep: still at both ends, without a jerk."""
    return u**3 * (u * (6 * u - 15) + 10)


def in_sine(u: float) -> float:
    return 1 - math.sin((1 - u) * math.pi / 2)  # a cosine would miss 1 by a bit


def out_sine(u: float) -> float:
    return math.sin(u * math.pi / 2)


def in_out_sine(u: float) -> float:
    return (1 - math.cos(u * math.pi)) / 2


def in_cubic(u: float) -> float:
    return u**3


def out_cubic(u: float) -> float:
    return 1 - (1 - u) ** 3


def in_out_cubic(u: float) -> float:
    return 4 * u**3 if u < 0.5 else 1 - (2 - 2 * u) ** 3 / 2


EASES = {
    f.__name__.replace("_", "-"): f
    for f in (linear, step, in_out, in_sine, out_sine, in_out_sine, in_cubic, out_cubic, in_out_cubic)
}


class Curve(str):
    """The name of an ease that can be called."""

    def __call__(self, u: float) -> float:
        return EASES[self](min(1.0, max(0.0, u)))


def _named(given) -> Curve:
    if not isinstance(given, str) or given not in EASES:
        raise ValueError(f"no ease '{given}'{nearest(str(given), EASES)}")
    return Curve(given)


Ease = Annotated[Curve, BeforeValidator(_named), PlainSerializer(str), WithJsonSchema({"enum": list(EASES)})]
