"""Sheets of paper: their sizes in pixels, and the bleed, the margin of picture that the cutter takes away.

ISO 216: a sheet is half of the one before it, in whole millimetres.
"""

from __future__ import annotations

import math
from dataclasses import replace

from studio.config.records import nearest
from studio.config.units import Size
from studio.film.frame import Frame
from studio.film.timeline import Region

INCH = 25.4  # millimetres


def _halvings(name: str, short: int, long: int) -> dict[str, tuple[float, float]]:
    sheets: dict[str, tuple[float, float]] = {}
    for number in range(7):
        sheets[f"{name}{number}"] = long, short
        short, long = long // 2, short
    return sheets


SHEETS = {
    **_halvings("A", 841, 1189),
    **_halvings("B", 1000, 1414),
    "letter": (11 * INCH, 8.5 * INCH),
    "tabloid": (17 * INCH, 11 * INCH),
}
"""Width and height in millimetres, lying on the longer side, by name."""


def sheet_pixels(word: str, dpi: int) -> Size:
    """The size of a sheet, such as `A2`, or `A2-portrait` on its shorter side. Raises ValueError at another name.

    >>> str(sheet_pixels("A4", 300))
    '3508x2480'
    """
    name, _, orientation = word.partition("-")
    if name not in SHEETS or orientation not in ("", "portrait"):
        raise ValueError(f"no paper '{word}'{nearest(word, [*SHEETS, *(f'{sheet}-portrait' for sheet in SHEETS)])}")
    width, height = (mm_to_pixels(side, dpi) for side in SHEETS[name])
    return Size(height, width) if orientation else Size(width, height)


def mm_to_pixels(millimetres: float, dpi: int) -> int:
    """A length in millimetres as whole pixels at `dpi` pixels to an inch, to the nearest."""
    return round(millimetres / INCH * dpi)


def add_bleed(frame: Frame, size: Size, bleed: int) -> Frame:
    """The frame of a picture `bleed` pixels larger on every side than `size`; inside, the picture is the same.

    Every lens sees more, and the titles keep their place. Lines become wider in proportion to the height.
    """
    share, across = size.height / (size.height + 2 * bleed), size.width / (size.width + 2 * bleed)

    def shrunk(region: Region) -> Region:
        left, top, right, bottom = (s * edge + (1 - s) / 2 for s, edge in zip((across, share) * 2, region, strict=True))
        return left, top, right, bottom

    views = []
    for view in frame.views:
        if view.panel.region:  # an inset keeps its picture and its place
            region = shrunk(view.panel.region)
            views.append(replace(view, panel=replace(view.panel, region=region), region=region))
            continue
        angle = math.degrees(2 * math.atan(math.tan(math.radians(view.pose.view_angle) / 2) / share))
        pose, hole = replace(view.pose, view_angle=angle), view.hole and shrunk(view.hole)
        views.append(replace(view, pose=pose, hole=hole))
    beside = (1 - share) / share / 2
    return replace(frame, views=tuple(views), overlays=tuple(o.placed(beside, beside, share) for o in frame.overlays))
