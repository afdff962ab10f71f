"""Sheets of paper: how many pixels they have, and the rim of picture around them that the cutter takes away.

ISO 216: a sheet is half of the one before it, in whole millimetres.
"""

from __future__ import annotations

import math
from dataclasses import replace

from studio.config.records import nearest
from studio.config.units import Size
from studio.film.frame import Frame
from studio.film.overlays import Bar, Overlay

INCH = 25.4  # millimetres


def _halved(name: str, short: int, long: int) -> dict[str, tuple[float, float]]:
    sheets = {}
    for number in range(7):
        sheets[f"{name}{number}"] = long, short
        short, long = long // 2, short
    return sheets


SHEETS = {
    **_halved("A", 841, 1189),
    **_halved("B", 1000, 1414),
    "letter": (11 * INCH, 8.5 * INCH),
    "tabloid": (17 * INCH, 11 * INCH),
}
"""Width and height in millimetres, lying on the longer side."""


def pixels(word: str, dpi: int) -> Size:
    """The size of a sheet, such as `A2`, or `A2-portrait` on its shorter side. Raises ValueError if there is none."""
    name, _, stands = word.partition("-")
    if name not in SHEETS or stands not in ("", "portrait"):
        raise ValueError(f"no paper '{word}'{nearest(word, [*SHEETS, *(f'{sheet}-portrait' for sheet in SHEETS)])}")
    width, height = (rim(side, dpi) for side in SHEETS[name])
    return Size(height, width) if stands else Size(width, height)


def rim(millimetres: float, dpi: int) -> int:
    """So many millimetres in pixels."""
    return round(millimetres / INCH * dpi)


def bled(frame: Frame, size: Size, rim: int) -> Frame:
    """The frame of a picture that is `rim` pixels larger on every side than `size`, and the same inside of that.

    Every lens sees more, and the type keeps its place. Lines become wider by as much as the picture becomes higher.
    """
    share = size.height / (size.height + 2 * rim)
    views = tuple(
        replace(view, pose=replace(view.pose, view_angle=_wider(view.pose.view_angle, share))) for view in frame.views
    )
    return replace(frame, views=views, overlays=tuple(_moved(overlay, share) for overlay in frame.overlays))


def _wider(angle: float, share: float) -> float:
    """The angle, in degrees, of which another sees a share of the height."""
    return math.degrees(2 * math.atan(math.tan(math.radians(angle) / 2) / share))


def _moved(overlay: Overlay, share: float) -> Overlay:
    """The same type in a picture of which the old one is a share of the height, in the middle."""
    place = {"x": overlay.x * share + (1 - share) / 2, "y": overlay.y * share + (1 - share) / 2}
    if isinstance(overlay, Bar):
        return replace(overlay, **place, width=overlay.width * share, height=overlay.height * share)
    return replace(overlay, **place, size=overlay.size * share)
