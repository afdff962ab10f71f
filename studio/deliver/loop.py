"""Check that a film loops: its last frame must lead into its first as any frame leads into the next."""

from __future__ import annotations

import numpy as np

from studio.field import Array

_BLOCK = 8  # pixels: grain averages out over so many, movement does not
_TOLERANCE = 0.5  # codes: no eye sees it


def loop_gap(first: Array, second: Array, before: Array, last: Array) -> str | None:
    """What is wrong with the loop of a film with these ends, uint8 [height, width, 3]; None if it closes.

    The jump from the last frame to the first may be twice the larger of the two steps beside it: a move that speeds up
    or slows down evenly over those three steps stays below that.
    """
    jump, step = difference(last, first), max(difference(first, second), difference(before, last))
    if jump <= 2 * step + _TOLERANCE:
        return None
    return (
        f"from the last frame to the first the picture changes by {jump:.1f} codes, from frame to frame there by "
        f"{step:.1f}; end the camera, and `along`, where they begin"
    )


def difference(a: Array, b: Array) -> float:
    """Root mean square between two pictures, in codes, after the mean over blocks."""
    height, width = (side - side % _BLOCK or side for side in a.shape[:2])
    change = a[:height, :width].astype(np.float32) - b[:height, :width]
    rows, columns = (np.arange(0, side, _BLOCK) for side in (height, width))
    sums = np.add.reduceat(np.add.reduceat(change, rows, axis=0), columns, axis=1)
    return float(np.sqrt(np.mean((sums / min(_BLOCK, height) / min(_BLOCK, width)) ** 2)))
