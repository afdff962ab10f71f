"""Shake: the tremble of a camera in a hand, a seeded sum of slow sinusoids; a pure function of time.

    angle(t) = amplitude sum_k w_k sin(2 pi n_k t / length + phi_k),    sum_k w_k = 1

with whole numbers n_k, so that its mean over its length is 0 and a shot that it fills closes into a loop.
"""

from __future__ import annotations

import numpy as np

from studio.field import Array
from studio.film.easing import Ease

FREQUENCIES = np.array([0.4, 0.9, 1.5, 2.3, 3.4])
"""Hertz, before they are rounded to whole cycles: a hand's drift and tremble; faster looks like an engine."""
WEIGHTS = FREQUENCIES**-0.5 / (FREQUENCIES**-0.5).sum()
AXES = np.array([1.0, 1.0, 0.3])
"""Shares of the amplitude in yaw, pitch and roll: a hand tilts the horizon less than it sways."""
FADE = 0.5
"""Seconds in which a shake fades in or out."""


def shake(since: float, length: float, amplitude: float, seed: int, *, fade_in: bool, fade_out: bool) -> Array:
    """Yaw, pitch and roll [3] of a shake of `length` seconds, at a time since its start, degrees up to `amplitude`.

    Where it fades it is 0 outside; elsewhere it goes on.
    """
    fade, smooth = min(FADE, length / 2), Ease("in-out")
    share = smooth(since / fade if fade_in else 1) * smooth((length - since) / fade if fade_out else 1)
    phases = np.random.Generator(np.random.SFC64(seed)).uniform(0, 2 * np.pi, (len(AXES), len(FREQUENCIES)))
    cycles = np.maximum(1, np.round(FREQUENCIES * length))
    return np.asarray(amplitude * share * AXES * (np.sin(2 * np.pi * cycles * since / length + phases) @ WEIGHTS))
