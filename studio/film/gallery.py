"""All the looks there are, by name, and what may be said of any: who can read its colours, what it is fit for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studio.config.reading import read
from studio.film.colour import lab, linear, ordered, spread, table
from studio.film.look import Look, looks


def gallery(folder: Path | None = None) -> dict[str, Look]:
    """Every look that comes with studio and every one in a folder of the user's, by name; the user's come first.

    Raises SceneError, with the place, if one of them is none.
    """
    own = sorted(folder.glob("*.yaml")) if folder else []
    return {path.stem: read(path, Look) for path in (*own, *looks().values())}


def marks(look: Look) -> tuple[str, ...]:
    """What may be said of a look: `colour-blind`, `print`.

    colour-blind: its map goes from dark to light or back by 25 in L* or more, for anyone, also without red, green or
    blue cones; or it has one colour, and lines or light tell the heights. print: on light paper, without glow, and in
    colours that inks reach, of a chroma up to 75. Nothing is said of one with a look-up table: it may make any colour
    of any other.
    """
    if look.grade.lut:
        return ()
    found = []
    stops = lab(table(look.colour.map))
    if look.engraving or not spread(look.colour.map) or ordered(look.colour.map) >= 25:
        found.append("colour-blind")
    paper = min(lab(linear(colour))[0] for colour in (look.background.bottom, look.background.top))
    if paper >= 85 and look.grade.bloom == 0 and np.hypot(stops[:, 1], stops[:, 2]).max() <= 75:
        found.append("print")
    return tuple(found)
