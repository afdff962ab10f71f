"""All looks by name, and what each is suitable for: colour-blind eyes, print."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studio.config.reading import read
from studio.film.colour import lab, lab_diagonal, lightness_span, lookup_table, to_linear
from studio.film.look import Look, looks


def gallery(folder: Path | None = None) -> dict[str, Look]:
    """Every look that comes with studio and every one in a folder of the user's, by name; the user's come first.

    Raises SceneError, with the place, if a file is no look.
    """
    users = sorted(folder.glob("*.yaml")) if folder else []
    return {path.stem: read(path, Look) for path in (*users, *looks().values())}


def suitability(look: Look) -> tuple[str, ...]:
    """What a look is suitable for: `colour-blind`, `print`, both or nothing.

    colour-blind: its map runs from dark to light or back by 25 in L* or more, for every kind of eye; or it has a single
    colour, or an engraving's single ink, and lines or light show the heights. print: on light paper, without glow, in
    colours that inks reach, of a chroma up to 75. Nothing with a look-up table, which may turn any colour into another.
    """
    if look.grade.lut:
        return ()
    suitable = []
    if look.engraving or not lab_diagonal(look.colour.map) or lightness_span(look.colour.map) >= 25:
        suitable.append("colour-blind")
    paper = min(lab(to_linear(colour))[0] for colour in (look.background.bottom, look.background.top))
    _, a, b = lab(lookup_table(look.colour.map)).T
    if paper >= 85 and look.grade.bloom == 0 and np.hypot(a, b).max() <= 75:
        suitable.append("print")
    return tuple(suitable)
