from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from studio.config.units import Size, Time
from studio.field import Field, Grid, Surfaces
from studio.film.camera import Camera, Start
from studio.film.fields import ColourMapping
from studio.film.format import Format
from studio.film.frame_source import FrameSource
from studio.film.light import Lamp, Light
from studio.film.look import Look, gallery
from studio.film.overlays import Titles
from studio.film.timeline import Shot, Transition
from studio.render.contact_sheet import look_sheet, storyboard
from studio.render.stage import Stage

GRID = Grid(points=9)
SQUARED = GRID.alpha[:, None] ** 2 + GRID.alpha[None] ** 2
LIGHT = Light(key=Lamp(azimuth=70.0, elevation=30.0), rim=Lamp(azimuth=200.0, elevation=15.0))
LOOK = Look(light=LIGHT, mesh=65)
CELL, GAP = Size(192, 108), 108 // 24


@pytest.fixture(scope="module")
def source() -> FrameSource:
    surfaces = Surfaces({"loss": Field((0.0,), GRID, (1 + SQUARED)[None], "log")})
    shot = Shot(shot="one", duration=Time(1.0), along={Time(0.0): 0.0}, colour=ColourMapping(map="gray"))
    form = Format(size=Size(640, 360), fps=Fraction(8))
    return FrameSource.of((shot,), {"": surfaces}, LOOK, Titles(title="A film"), form, {"": {"loss": ""}})


def test_every_look_has_its_own_picture_with_nothing_written_on_it(source):
    second = LOOK.model_copy(update={"colour": ColourMapping(map="viridis"), "mesh": 33})
    sheet = look_sheet(source, 3, {"one": LOOK, "other": second}, CELL)
    for place, look in enumerate((LOOK, second)):
        left = GAP + place * (192 + GAP)
        bare = replace(source.with_look(look), titles=Titles(live=None, notes=False, legend=False), size=CELL)
        with Stage(CELL, look.mesh) as stage:
            assert np.array_equal(sheet[GAP : GAP + 108, left : left + 192], stage.draw(bare.frame(3)))


def test_a_look_that_needs_what_was_not_measured_leaves_its_place_empty_and_says_why(source):
    needy = LOOK.model_copy(update={"colour": ColourMapping(field="convexity")})
    sheet = look_sheet(source, 0, {"one": LOOK, "needy": needy}, CELL)
    left = 2 * GAP + 192
    assert (sheet[GAP : GAP + 108, left : left + 192] == sheet[0, 0]).all()
    assert sheet[GAP + 108 :, left : left + 192].max() > 100  # words stand under it


def test_looks_fill_the_sheet_row_by_row(source):
    first, five = (look_sheet(source, 0, {str(n): LOOK for n in range(count)}, CELL) for count in (1, 5))
    assert (
        first.shape[1] == five.shape[1]
        and five.shape[0] - GAP == 3 * (first.shape[0] - GAP)
        and first.dtype == np.uint8
    )


def test_every_look_that_comes_with_studio_draws_and_no_two_are_alike():
    lambdas = {"lambda_min": SQUARED - 1.2, "lambda_max": 1 + SQUARED}
    crater = np.exp(-((np.sqrt(SQUARED) - 0.6) ** 2) / 0.05) + 0.1
    fields = {"loss": Field((0.0,), GRID, crater[None], "log")}
    fields |= {name: Field((0.0,), GRID, values[None], "signed-log") for name, values in lambdas.items()}
    camera = Camera(look_at="centre", start=Start(elevation=50.0, distance=2.4))
    shot = Shot(shot="one", duration=Time(1.0), along={Time(0.0): 0.0}, camera=camera)
    form = Format(size=CELL, fps=Fraction(8))
    notes = {"loss": "", "convexity": ""}
    film = FrameSource.of(
        (shot,), {"": Surfaces(fields)}, LOOK, Titles(live=None, notes=False, legend=False), form, {"": notes}
    )
    pictures = {}
    for name, look in gallery().items():
        small = look.model_copy(update={"mesh": 97})
        with Stage(CELL, 97) as stage:
            pictures[name] = stage.draw(film.with_look(small).frame(0)).astype(int)
    for first, second in combinations(pictures, 2):
        # codes; a key lamp moved by ten degrees is one or two
        assert np.abs(pictures[first] - pictures[second]).mean() > 12, (first, second)


# --- storyboards -----------------------------------------------------------------------------------------------------

BARE = Titles(live=None, notes=False, legend=False)
FIRST = Shot(shot="first", duration=Time(1.0), along={Time(0.0): 0.0}, colour=ColourMapping(map="gray"))
THEN = Shot(shot="then", duration=Time(0.5), along={Time(0.0): 0.0}, camera=Camera(start=Start(azimuth=90.0)))


def film_of(*shots: Shot, size: Size = CELL) -> FrameSource:
    surfaces = Surfaces({"loss": Field((0.0,), GRID, (1 + SQUARED)[None], "log")})
    return FrameSource.of(
        shots, {"": surfaces}, LOOK, Titles(title="A film"), Format(size=size, fps=Fraction(8)), {"": {"loss": ""}}
    )


def places(board: np.ndarray, cell: Size) -> list[np.ndarray]:
    """The pictures on a storyboard, row by row; a row is a picture and the strip for its words under it."""
    gap, pitch = cell.height // 12, cell.height + cell.height // 6
    rows = (board.shape[0] - gap) // pitch
    tops = [board.shape[0] - (rows - row) * pitch for row in range(rows)]
    lefts = [gap + column * (cell.width + gap) for column in range(3)]
    return [board[top : top + cell.height, left : left + cell.width] for top in tops for left in lefts]


def test_a_row_of_a_storyboard_is_the_first_the_middle_and_the_last_frame_of_a_shot():
    film, cell = film_of(FIRST, THEN), Size(480, 270)
    bare = replace(film, titles=BARE, size=cell)  # a source's own quality is draft, as a storyboard's
    shown = places(storyboard(film, "A film"), cell)
    with Stage(cell, LOOK.mesh, 1) as stage:
        # the second shot is the film's frames 8 to 11; grain is by the frame's number, in a shot alone from 0
        drawn = [stage.draw(replace(bare.frame(n), number=n % 8)) for n in (0, 3, 7, 8, 9, 11)]
    assert len(shown) == 6 and all(np.array_equal(a, b) for a, b in zip(shown, drawn, strict=True))


def test_a_shot_that_dissolves_is_shown_without_its_neighbour():
    dissolving = FIRST.model_copy(update={"to_next": Transition(dissolve=Time(0.25))})
    cut, mixed = (places(storyboard(film_of(first, THEN), "A film"), Size(480, 270)) for first in (FIRST, dissolving))
    assert all(np.array_equal(a, b) for a, b in zip(cut, mixed, strict=True))


def test_a_storyboard_has_the_time_and_the_epoch_under_every_picture():
    at = {Time(0.0): 0.0}, {Time(0.0): 2.0}
    first, second = (storyboard(film_of(FIRST.model_copy(update={"along": along})), "A film") for along in at)
    apart = np.argwhere((first != second).any(axis=(1, 2)))
    # one surface at all epochs, so only the words under the pictures differ
    assert len(apart) > 0 and apart.min() >= first.shape[0] - 270 // 6


def test_pictures_on_a_storyboard_are_shaped_as_the_film_is():
    wide, tall = (storyboard(film_of(FIRST, size=size), "A film") for size in (Size(858, 360), Size(360, 640)))
    assert wide.shape[1] > wide.shape[0] and len(places(tall, Size(270, 480))) == 3
    # the same number of pixels, so that all shapes are equally large to the eye
    assert places(tall, Size(270, 480))[0].size == pytest.approx(3 * 480 * 270, rel=0.02)
