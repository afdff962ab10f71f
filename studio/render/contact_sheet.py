"""Contact sheets: small pictures with names under them: one frame in every look, or of every candidate; every shot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from studio.config.units import Size
from studio.field import Array
from studio.film.frame_source import COARSE_MESH, FrameSource
from studio.film.look import Look, suitability
from studio.film.marks import Text
from studio.film.ranges import ranges
from studio.render.stage import Stage
from studio.render.text import draw_overlays

CELL = Size(640, 360)
_STORYBOARD_CELL = 480 * 270  # pixels of a picture on a storyboard, whatever its shape
_STRIP_COLUMNS = 4
_BACKGROUND, _TEXT_COLOUR = 24, "#e4e2de"
_SUITABILITY = {"colour-blind": "colour-blind safe", "print": "print safe"}


class Cell(NamedTuple):
    """A picture [h, w, 3], uint8, or None for an empty place, with the text under it."""

    picture: Array | None
    name: str
    caption: str


def look_sheet(source: FrameSource, number: int, looks: Mapping[str, Look], cell: Size = CELL) -> Array:
    """Frame `number` of a film in every look [H, W, 3], uint8, at final quality. cell: size of each picture, in pixels.

    A look that draws what was not measured leaves its place empty; the caption says what is missing.
    """
    small = source.without_titles(cell, "final")
    cells = []
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
            caption = ", ".join(_SUITABILITY[purpose] for purpose in suitability(look))
            cells.append(Cell(stages[look.mesh].draw(frame), name, caption))
    return _sheet(cells, cell, 2, gap=cell.height // 24, strip=cell.height // 8)


def storyboard(source: FrameSource, title: str, only: str | None = None, pictures: int = 3) -> Array:
    """The first, the middle and the last frame of every shot [H, W, 3], uint8, a row each; small, at draft quality.

    A shot that dissolves is shown without its neighbour. only: one shot. pictures: of each, evenly in time.
    """
    small, cut, cells = _small(source), source.cut, []
    cell = small.size
    with Stage(cell, small.look.mesh, small.quality.samples) as stage:
        for start, film in zip(cut.starts, small.split_shots(), strict=True):
            [shot] = film.cut.shots
            places = np.linspace(0, film.cut.length - 1, pictures).astype(int).tolist()
            for number in places if only in (None, shot.shot) else ():
                seconds = float((start + number) / cut.fps)
                caption = f"{seconds:.2f} s   {film.label(number)}"
                cells.append(Cell(stage.draw(film.frame(number)), shot.shot, caption))
    facts = f"{float(cut.length / cut.fps):g} s   {cut.length} frames of {source.size} at {float(cut.fps):g} fps"
    columns = min(pictures, _STRIP_COLUMNS)
    return _sheet(cells, cell, columns, gap=cell.height // 12, strip=cell.height // 6, heading=Cell(None, title, facts))


def cast_sheet(
    source: FrameSource,
    every: slice,
    number: int,
    texts: Sequence[tuple[str, str]],
    heading: tuple[str, str],
    *,
    own_ranges: bool,
) -> Array:
    """Frame `number` of some shots, each of another landscape, with two texts under it [H, W, 3], uint8; small.

    own_ranges: of height and colour, each landscape's, in place of those of all. One without them has an empty place.
    """
    small, cells = _small(source), []
    with Stage(small.size, small.look.mesh, small.quality.samples) as stage:
        for film, (name, caption) in zip([*small.split_shots()][every], texts, strict=True):
            [shot] = film.cut.shots
            film = replace(film, surfaces={landscape: film.surfaces[landscape] for landscape in shot.show})
            try:
                if own_ranges:
                    colour = shot.colour or film.look.colour
                    film = replace(film, ranges=ranges(film.surfaces.values(), film.look, (colour,)))
            except ValueError as error:
                cells.append(Cell(None, name, str(error)))
                continue
            cells.append(Cell(stage.draw(film.frame(number)), name, caption))
    gap, columns = small.size.height // 12, max(3, round(math.sqrt(len(cells))))
    return _sheet(cells, small.size, columns, gap=gap, strip=2 * gap, heading=Cell(None, *heading))


def _small(source: FrameSource) -> FrameSource:
    """The film as the pictures of a sheet show it: of their size, at draft quality, with no text."""
    ratio = math.sqrt(_STORYBOARD_CELL / math.prod(source.size))
    cell = Size(*(max(2, 2 * round(ratio * side / 2)) for side in source.size))  # even sides
    small = source.without_titles(cell, "draft")
    return replace(small.with_mesh(min(small.look.mesh, COARSE_MESH)), shutter=0.0)


def _sheet(
    cells: Sequence[Cell], cell: Size, columns: int, *, gap: int, strip: int, heading: Cell | None = None
) -> Array:
    """Cells row by row [H, W, 3], `gap` apart, each with its text on a strip under it; the heading over all of them.

    cell: size of a picture. gap, strip: pixels.
    """
    head = gap + (3 * strip // 2 if heading else 0)
    width, height = columns * (cell.width + gap) + gap, head + -(-len(cells) // columns) * (cell.height + strip)
    sheet = np.full((height, width, 3), _BACKGROUND, np.uint8)
    texts: list[Text] = []

    def write(name: str, caption: str, left: int, right: int, baseline: float, size: float) -> None:
        y, small = baseline / height, 0.7 * size / height
        texts.append(Text(name, left / height, y, size / height, 0.95, colour=_TEXT_COLOUR))
        texts.append(Text(caption, right / height, y, small, 0.6, align="right", colour=_TEXT_COLOUR))

    for index, (picture, name, caption) in enumerate(cells):
        row, column = divmod(index, columns)
        top, left = head + row * (cell.height + strip), gap + column * (cell.width + gap)
        if picture is not None:
            sheet[top : top + cell.height, left : left + cell.width] = picture
        write(name, caption, left, left + cell.width, top + cell.height + 0.62 * strip, 0.4 * strip)
    if heading:
        write(heading.name, heading.caption, gap, width - gap, gap + 0.75 * strip, 0.6 * strip)
    return draw_overlays(sheet, tuple(texts))
