"""A sheet of looks: one frame of a film in each of them, named, with what may be said of it, beside one another."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from ..film.frame import Reel
from ..film.gallery import marks
from ..film.look import Look
from ..film.overlays import Text, Type
from ..film.quality import WORDS
from ..spec import Size
from .stage import Stage
from .type import set_type

CELL = Size(640, 360)
_GROUND, _INK = 24, "#e4e2de"
_SAID = {"colour-blind": "colour-blind safe", "print": "print safe"}


def sheet(reel: Reel, number: int, looks: Mapping[str, Look], *, cell: Size = CELL, columns: int = 3) -> np.ndarray:
    """Frame `number` of a reel in every look [H, W, 3], uint8, at final quality. cell: the size of each, in pixels.

    A look that draws what was not measured is told in words, in its place.
    """
    small = replace(reel, size=cell, type=Type(live=None, notes=False, legend=False), quality=WORDS["final"])
    gap, strip = cell.height // 24, cell.height // 8
    rows = -(-len(looks) // columns)
    canvas = np.full((rows * (cell.height + strip) + gap, columns * (cell.width + gap) + gap, 3), _GROUND, np.uint8)
    tall, texts = len(canvas), []
    with ExitStack() as open_stages:
        stages: dict[int, Stage] = {}
        for index, (name, look) in enumerate(looks.items()):
            row, column = divmod(index, columns)
            top, left = gap + row * (cell.height + strip), gap + column * (cell.width + gap)
            said = ", ".join(_SAID[mark] for mark in marks(look))
            try:
                frame = small.dressed(look).frame(number)
            except ValueError as error:
                said = str(error)
            else:
                if look.mesh not in stages:
                    stages[look.mesh] = open_stages.enter_context(Stage(cell, look.mesh, small.quality.samples))
                canvas[top : top + cell.height, left : left + cell.width] = stages[look.mesh].draw(frame)
            line, size = (top + cell.height + 0.62 * strip) / tall, 0.4 * strip / tall
            texts += [
                Text(name, left / tall, line, size, 0.95, colour=_INK),
                Text(said, (left + cell.width) / tall, line, 0.7 * size, 0.6, align="right", colour=_INK),
            ]
    return set_type(canvas, tuple(texts))
