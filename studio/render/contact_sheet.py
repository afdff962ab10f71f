"""Contact sheets: small pictures of a film, named, on a dark ground: a frame in every look, or every shot in order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from studio.config.units import Size
from studio.film.frame_source import FrameSource
from studio.film.gallery import marks
from studio.film.look import Look
from studio.film.overlays import Text, Titles
from studio.film.quality import QUALITIES as WORDS
from studio.film.quality import Word
from studio.film.timeline import Cut, Transition
from studio.render.stage import Stage
from studio.render.text import set_type

CELL = Size(640, 360)
_BOARD = 480 * 270
"""Pixels of a picture on a storyboard, whatever its shape."""
_MESH = 241
_GROUND, _INK = 24, "#e4e2de"
_SAID = {"colour-blind": "colour-blind safe", "print": "print safe"}


class Cell(NamedTuple):
    """A picture [h, w, 3], uint8, or none in its place; its name, and what is said of it."""

    picture: np.ndarray | None
    name: str
    said: str


def sheet(
    reel: FrameSource, number: int, looks: Mapping[str, Look], *, cell: Size = CELL, columns: int = 3
) -> np.ndarray:
    """Frame `number` of a reel in every look [H, W, 3], uint8, at final quality. cell: the size of each, in pixels.

    A look that draws what was not measured is told in words, in its place.
    """
    small, cells = _bare(reel, cell, "final"), []
    with ExitStack() as open_stages:
        stages: dict[int, Stage] = {}
        for name, look in looks.items():
            try:
                frame = small.with_look(look).frame(number)
            except ValueError as error:
                cells.append(Cell(None, name, str(error)))
                continue
            if look.mesh not in stages:
                stages[look.mesh] = open_stages.enter_context(Stage(cell, look.mesh, small.quality.samples))
            cells.append(Cell(stages[look.mesh].draw(frame), name, ", ".join(_SAID[mark] for mark in marks(look))))
    return _contact(cells, cell, columns, gap=cell.height // 24, strip=cell.height // 8)


def storyboard(reel: FrameSource, title: str) -> np.ndarray:
    """The first, the middle and the last frame of every shot [H, W, 3], uint8, a row each; small, at draft quality.

    A shot is shown alone, also where it dissolves.
    """
    cell, cut = _shaped(reel.size), reel.cut
    small = _bare(reel, cell, "draft")
    small = replace(small.with_mesh(min(small.look.mesh, _MESH)), shutter=0.0)
    with Stage(cell, small.look.mesh, small.quality.samples) as stage:
        cells = [
            Cell(stage.draw(alone.frame(inside)), alone.cut.shots[0].shot, _place(alone.cut, start, inside))
            for start, alone in zip(cut.starts, _apart(small), strict=True)
            for inside in (0, (alone.cut.length - 1) // 2, alone.cut.length - 1)
        ]
    facts = f"{float(cut.length / cut.fps):g} s   {cut.length} frames of {reel.size} at {float(cut.fps):g} fps"
    return _contact(cells, cell, 3, gap=cell.height // 12, strip=cell.height // 6, heading=Cell(None, title, facts))


def _apart(reel: FrameSource) -> Iterator[FrameSource]:
    """Every shot of a reel as a reel of its own, on the ranges of the whole."""
    for shot in reel.cut.shots:
        yield replace(reel, cut=Cut((shot.model_copy(update={"to_next": Transition()}),), reel.cut.fps))


def _place(alone: Cut, start: int, inside: int) -> str:
    """Film time, and coordinate, of a frame of a lone shot that begins at the film's frame `start`."""
    [shot] = alone.shots
    epoch = shot.coordinate(float(inside / alone.fps), alone.fps)
    return f"{float((start + inside) / alone.fps):.2f} s   epoch {epoch:.1f}"


def _bare(reel: FrameSource, size: Size, quality: Word) -> FrameSource:
    """The film small, with no type on it."""
    return replace(reel, size=size, titles=Titles(live=None, notes=False, legend=False), quality=WORDS[quality])


def _shaped(size: Size) -> Size:
    """As a picture of some size is shaped, small."""
    ratio = math.sqrt(_BOARD / math.prod(size))
    return Size(*(max(2, 2 * round(ratio * side / 2)) for side in size))


def _contact(
    cells: Sequence[Cell], cell: Size, columns: int, *, gap: int, strip: int, heading: Cell | None = None
) -> np.ndarray:
    """Cells row by row [H, W, 3], `gap` apart, each with its words on a strip under it; the heading over all of them.

    gap, strip: pixels.
    """
    above = gap + (3 * strip // 2 if heading else 0)
    wide, tall = columns * (cell.width + gap) + gap, above + -(-len(cells) // columns) * (cell.height + strip)
    canvas, texts = np.full((tall, wide, 3), _GROUND, np.uint8), []

    def write(words: Cell, left: int, right: int, baseline: float, size: float) -> None:
        texts.append(Text(words.name, left / tall, baseline / tall, size / tall, 0.95, colour=_INK))
        said = Text(words.said, right / tall, baseline / tall, 0.7 * size / tall, 0.6, align="right", colour=_INK)
        texts.append(said)

    for index, one in enumerate(cells):
        row, column = divmod(index, columns)
        top, left = above + row * (cell.height + strip), gap + column * (cell.width + gap)
        if one.picture is not None:
            canvas[top : top + cell.height, left : left + cell.width] = one.picture
        write(one, left, left + cell.width, top + cell.height + 0.62 * strip, 0.4 * strip)
    if heading:
        write(heading, gap, wide - gap, gap + 0.75 * strip, 0.6 * strip)
    return set_type(canvas, tuple(texts))
