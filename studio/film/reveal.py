"""The move `reveal`: a surface that grows, from flat or from a profile of itself, to what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from studio.field import Array
from studio.film.appearance import Appearance

From = Literal["flat", "alpha", "beta"]
LEAST = 1e-3
"""Share of the height that a flat surface has, so that its height scale has an inverse."""


def grown(height: Array, start: From, share: float) -> Array:
    """Heights [N, N] of which a share has grown, read-only.

    From a profile: all rows, or all columns, are at first the one through the middle.
    """
    middle = len(height) // 2
    profile = {"flat": np.float32(0), "alpha": height[middle : middle + 1], "beta": height[:, middle : middle + 1]}
    begun, least = np.nan_to_num(np.asarray(profile[start])), LEAST if start == "flat" else 0.0
    drawn: Array = np.asarray(begun + np.float32(max(least, share)) * (height - begun), np.float32)
    drawn.flags.writeable = False
    return drawn


def as_grown(appearance: Appearance, start: From | None, share: float) -> Appearance:
    """An appearance for heights that have grown so far: contours keep to values, and without these are left out."""
    if start is None or share >= 1:
        return appearance
    if start != "flat":
        return replace(appearance, contours=None)
    scale = appearance.height_scale
    exaggeration = scale.exaggeration * max(LEAST, share)
    return replace(appearance, height_scale=replace(scale, exaggeration=exaggeration))
