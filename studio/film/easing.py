"""Eases: functions of [0, 1] from 0 to 1 that set the pace of a move, a dissolve or a walk through the sweep.

The name says which end is slow: `out-cubic` slows down on arrival, `in-cubic` starts slowly, `in-out` does both. A new
ease is an entry of `EASES`, one with numbers an entry of `FAMILIES`. Only `back` and `bezier` leave [0, 1] on the way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from studio.config.records import nearest

Curve = Callable[[float], float]
HIGHEST_SPEED = 100.0
"""Speed at an end, in shares of the way a length, above which the ease jumps there or is upright, as `circ` is."""


def _both_ends(name: str, slow: Curve) -> Iterator[tuple[str, Curve]]:
    """The eases that are slow at the start, at the arrival and at both, from the one that starts slowly."""
    yield f"in-{name}", slow
    yield f"out-{name}", lambda u: 1 - slow(1 - u)
    yield f"in-out-{name}", lambda u: slow(2 * u) / 2 if u < 0.5 else 1 - slow(2 - 2 * u) / 2


EASES: dict[str, Curve] = {
    "linear": lambda u: u,
    "step": lambda u: 0.0 if u < 1 else 1.0,
    "in-out": lambda u: u**3 * (u * (6 * u - 15) + 10),  # smootherstep, Perlin (2002): no acceleration at the ends
    "in-sine": lambda u: 1 - math.sin((1 - u) * math.pi / 2),  # 1 - cos(pi u / 2) would miss 1 by one bit
    "out-sine": lambda u: math.sin(u * math.pi / 2),
    "in-out-sine": lambda u: (1 - math.cos(u * math.pi)) / 2,
    "in-cubic": lambda u: u**3,
    "out-cubic": lambda u: 1 - (1 - u) ** 3,
    "in-out-cubic": lambda u: 4 * u**3 if u < 0.5 else 1 - (2 - 2 * u) ** 3 / 2,
    **dict(_both_ends("quad", lambda u: u**2)),
    **dict(_both_ends("quart", lambda u: u**4)),
    **dict(_both_ends("quint", lambda u: u**5)),
    **dict(_both_ends("expo", lambda u: (2 ** (10 * u) - 1) / 1023)),  # not 2^(10u - 10), which jumps at 0
    **dict(_both_ends("circ", lambda u: 1 - math.sqrt(1 - u * u))),
    **dict(_both_ends("back", lambda u: u * u * (u + 1.70158 * (u - 1)))),  # 10 % beyond, Penner (2002)
}
"""Every ease without numbers, by the name a scene writes."""


def _bezier(x1: float, y1: float, x2: float, y2: float) -> Curve:
    """The curve of CSS: y at the place where x is u, of a cubic Bezier curve from (0, 0) to (1, 1)."""
    if not (0 <= x1 <= 1 and 0 <= x2 <= 1 and abs(y1) <= 10 and abs(y2) <= 10):
        raise ValueError

    def cubic(p: float, q: float, s: float) -> float:
        return 3 * (1 - s) * s * ((1 - s) * p + s * q) + s**3

    def ease(u: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60 if 0 < u < 1 else 0):  # bisection: Newton's steps fail where the curve is upright
            middle = (low + high) / 2
            low, high = (middle, high) if cubic(x1, x2, middle) < u else (low, middle)
        return cubic(y1, y2, (low + high) / 2) if 0 < u < 1 else u

    return ease


def _steps(count: float) -> Curve:
    if count != int(count) or not 1 <= count <= 1e6:
        raise ValueError
    return lambda u: math.floor(u * count) / count


FAMILIES: dict[str, tuple[Callable[..., Curve], str]] = {
    "bezier": (_bezier, '"bezier(0.4, 0, 0.2, 1)", in quotes: x1 and x2 from 0 to 1, y1 and y2 from -10 to 10'),
    "steps": (_steps, "steps(4): a whole number from 1"),
}
"""Eases with numbers by their names: a function of the numbers, and how a scene writes them."""


class Ease(str):
    """The name of an ease, which can be called: outside [0, 1] it holds the value of the nearer end.

    >>> Ease("in-cubic")(0.5), Ease("in-cubic")(7.0), Ease("steps(4)")(0.3)
    (0.125, 1.0, 0.25)
    """

    def __call__(self, u: float) -> float:
        """The ease at u."""
        return _curve(self)(min(1.0, max(0.0, u)))

    def speed(self, u: float) -> float:
        """The speed at an end, u = 0 or 1, in shares of the way a length; 0 where the ease jumps or is upright."""
        h = 1e-5 if u == 0 else -1e-5
        speed = (4 * self(u + h) - 3 * self(u) - self(u + 2 * h)) / (2 * h)
        return speed if abs(speed) < HIGHEST_SPEED else 0.0


@lru_cache(maxsize=256)
def _curve(name: str) -> Curve:
    """The curve of an ease. Raises ValueError with the nearest name, or with the numbers that a family takes."""
    if name in EASES:
        return EASES[name]
    family, _, numbers = name.partition("(")
    if family not in FAMILIES:
        raise ValueError(f"no ease '{name}'{nearest(name, [*EASES, *FAMILIES])}")
    make, form = FAMILIES[family]
    try:
        return make(*map(float, re.fullmatch(r"(.*)\)", numbers)[1].split(",")))  # type: ignore[index]  # TypeError
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"'{name}' is no ease; write it like {form}") from None


def _parse(value: object) -> Ease:
    _curve(str(value).strip())
    return Ease(str(value).strip())


_SCHEMA = {"anyOf": [{"enum": list(EASES)}, {"type": "string", "pattern": r"^(bezier|steps)\(.*\)$"}]}
EaseField = Annotated[Ease, BeforeValidator(_parse), PlainSerializer(str), WithJsonSchema(_SCHEMA)]
"""The type of a record's `ease` field."""
