"""Shake: the tremble of a camera in a hand, a seeded sum of slow sinusoids; a pure function of time.

    angle(t) = amplitude sum_k w_k sin(2 pi n_k t / length + phi_k),    sum_k w_k = 1

with whole numbers n_k, so that its mean over its length is 0 and a shot that it fills closes into a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studio.field import Array
from studio.film.easing import Ease

FREQUENCIES = np.array([0.4, 0.9, 1.5, 2.3, 3.4])
"""Hertz, before they are rounded to whole cycles: a hand's drift and tremble; faster reads as an engine."""
WEIGHTS = FREQUENCIES**-0.5 / (FREQUENCIES**-0.5).sum()
AXES = np.array([1.0, 1.0, 0.3])
"""Shares of the amplitude in yaw, pitch and roll: a hand tilts the horizon less than it sways."""
FADE = 0.5
"""Seconds in which a shake fades in or out."""


@dataclass(frozen=True)
class Shake:
    """amplitude: at most, degrees. start, length: seconds. fades_in, fades_out: where it begins or ends in a shot."""

    amplitude: float
    seed: int
    start: float
    length: float
    fades_in: bool
    fades_out: bool

    def at(self, seconds: float) -> tuple[float, float, float]:
        """Yaw, pitch and roll that it adds at a time, degrees."""
        since = seconds - self.start
        if not 0 <= since <= self.length:
            return 0.0, 0.0, 0.0
        fade, smooth = min(FADE, self.length / 2), Ease("in-out")
        fading = smooth(since / fade) if self.fades_in else 1.0
        fading *= smooth((self.length - since) / fade) if self.fades_out else 1.0
        cycles = np.maximum(1, np.round(FREQUENCIES * self.length))
        waves = np.sin(2 * np.pi * cycles * since / self.length + self._phases) @ WEIGHTS
        yaw, pitch, roll = (self.amplitude * fading * AXES * waves).tolist()
        return yaw, pitch, roll

    @cached_property
    def _phases(self) -> Array:
        """Phases of every axis and frequency [3, 5]."""
        return np.random.Generator(np.random.SFC64(self.seed)).uniform(0, 2 * np.pi, (len(AXES), len(FREQUENCIES)))
