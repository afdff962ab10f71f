"""Track: one coordinate of a camera over time, through its knots at exact times, without a stop that nobody asked for.

Between two knots the coordinate follows the ease that the later one names, or flows: a cubic with the slopes of the C2
spline, limited to three times the slower of the two mean speeds beside a knot, so that nothing overshoots (Fritsch and
Carlson, 1980; Hyman, 1983). It rests where it turns, beside a stretch in which it stays, and where a knot says so.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from studio.film.easing import Ease


class Knot(NamedTuple):
    """A value at a time. ease: how it is reached from the knot before; None to flow. rest: whether the speed is 0."""

    time: float
    value: float
    ease: Ease | None = None
    rest: bool = False


class Segment(NamedTuple):
    """The stretch between two knots: its start, its length in seconds, the values at both ends and its ease."""

    start: float
    length: float
    a: float
    b: float
    ease: Ease | None

    @property
    def flows(self) -> bool:
        """Whether it has no ease; one without length is a jump."""
        return self.ease is None and self.length > 0

    @property
    def mean_speed(self) -> float:
        """The difference of the values over the length."""
        return (self.b - self.a) / self.length if self.length else 0.0

    def ease_speed(self, end: int) -> float:
        """The speed that the ease has at an end, 0 or 1; 0 in a jump."""
        return self.ease.speed(end) * self.mean_speed if self.ease else 0.0

    def at(self, seconds: float, slopes: tuple[float, float]) -> float:
        """The value at a time, of a flow with Hermite's form of the cubic. slopes: at both ends."""
        u, rise = (seconds - self.start) / self.length, self.b - self.a
        if self.ease is not None:
            return self.a + rise * self.ease(u)
        m, n = slopes[0] * self.length, slopes[1] * self.length
        return self.a + u * (m + u * (3 * rise - 2 * m - n + u * (m + n - 2 * rise)))


@dataclass(frozen=True)
class Track:
    """A coordinate through knots in order of time; outside of them it goes on at the speed of their ends, or rests.

    geometric: interpolated by ratios instead of differences. loop: the last knot is the first one again, and outside
    it goes round.
    """

    knots: tuple[Knot, ...]
    geometric: bool = False
    loop: bool = False

    def at(self, seconds: float) -> float:
        """The value at a time."""
        first, last = self.knots[0], self.knots[-1]
        if len(self.knots) == 1:
            return first.value
        if first.time <= seconds < last.time:
            index = bisect_right(self.knots, seconds, key=lambda knot: knot.time)
            value = self._segments[index - 1].at(seconds, (self._slopes[index - 1], self._slopes[index]))
            return math.exp(value) if self.geometric else value
        if self.loop:
            turns, rest = divmod(seconds - first.time, last.time - first.time)
            return self.at(first.time + rest) + turns * (last.value - first.value)
        knot, speed = (first, self.end_speeds[0]) if seconds < first.time else (last, self.end_speeds[1])
        change = 0.0 if knot.rest else speed * (seconds - knot.time)
        return knot.value * math.exp(change) if self.geometric else knot.value + change

    @property
    def end_speeds(self) -> tuple[float, float]:
        """The speeds at the first and at the last knot, of the logarithm if geometric."""
        first, last = self._segments[0], self._segments[-1]
        start = self._slopes[0] if first.flows else first.ease_speed(0)
        return start, self._slopes[-1] if last.flows else last.ease_speed(1)

    @cached_property
    def _segments(self) -> list[Segment]:
        knots = [knot._replace(value=math.log(knot.value)) for knot in self.knots] if self.geometric else self.knots
        return [Segment(a.time, b.time - a.time, a.value, b.value, b.ease) for a, b in pairwise(knots)]

    @cached_property
    def _slopes(self) -> list[float]:
        """The speed at every knot, as the segments that flow have it.

        A slope that the limit holds back becomes fixed and the others are solved again: they stay C2.
        """
        knots = range(len(self.knots) - self.loop)
        fixed = {knot: self._limit(knot, speed) for knot in knots if (speed := self._fixed_speed(knot)) is not None}
        while True:
            slopes = self._spline_slopes(len(knots), fixed)
            limited = {knot: self._limit(knot, slopes[knot]) for knot in knots if knot not in fixed}
            if not (held := {knot: slope for knot, slope in limited.items() if slope != slopes[knot]}):
                return [*slopes, slopes[0]] if self.loop else slopes
            fixed |= held

    def _beside(self, knot: int) -> tuple[Segment | None, Segment | None]:
        """The segments before and after a knot; in a loop the last one is before the first knot."""
        before = self._segments[knot - 1] if knot or self.loop else None
        return before, self._segments[knot] if knot < len(self._segments) else None

    def _fixed_speed(self, knot: int) -> float | None:
        """The speed that a rest, a turn or an ease beside a knot prescribes; None where the spline is free."""
        before, after = self._beside(knot)
        flows = [segment for segment in (before, after) if segment and segment.flows]
        if not flows or self.knots[knot].rest or (self.loop and not knot and self.knots[-1].rest):
            return 0.0
        if before and not before.flows:
            return before.ease_speed(1)
        if after and not after.flows:
            return after.ease_speed(0)
        return 0.0 if flows[0].mean_speed * flows[-1].mean_speed <= 0 else None

    def _limit(self, knot: int, slope: float) -> float:
        """The nearest slope with which the segments beside a knot are monotone."""
        for segment in self._beside(knot):
            if segment and segment.flows:
                low, high = sorted((0.0, 3 * segment.mean_speed))
                slope = min(max(slope, low), high)
        return slope

    def _spline_slopes(self, count: int, fixed: dict[int, float]) -> list[float]:
        """Slopes with which the acceleration is continuous at every knot that is not fixed, and 0 at a free end."""
        matrix, right = np.eye(count), np.zeros(count)
        for knot in range(count):
            if knot in fixed:
                right[knot] = fixed[knot]
                continue
            matrix[knot] = 0
            for segment, other in zip(self._beside(knot), (knot - 1, knot + 1), strict=True):
                if segment:  # the acceleration at this end is a multiple of 3 mean speeds - 2 slopes here - that there
                    matrix[knot, knot] += 2 / segment.length
                    matrix[knot, other % count] += 1 / segment.length
                    right[knot] += 3 * segment.mean_speed / segment.length
        return [float(slope) for slope in np.linalg.solve(matrix, right)]
