from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from studio.field import Field, Grid, Surfaces
from studio.film.camera import Camera, Start
from studio.film.frame import Format, Reel
from studio.film.gallery import gallery
from studio.film.look import Lamp, Light, Look, Paint
from studio.film.overlays import Type
from studio.film.timeline import Shot
from studio.render.sheet import sheet
from studio.render.stage import Stage
from studio.spec import Size, Time

GRID = Grid(points=9)
SQUARED = GRID.axis[:, None] ** 2 + GRID.axis[None] ** 2
LIGHT = Light(key=Lamp(azimuth=70.0, elevation=30.0), rim=Lamp(azimuth=200.0, elevation=15.0))
LOOK = Look(light=LIGHT, mesh=65)
CELL, GAP = Size(192, 108), 108 // 24


@pytest.fixture(scope="module")
def reel() -> Reel:
    surfaces = Surfaces({"loss": Field((0.0,), GRID, (1 + SQUARED)[None], "log")})
    shot = Shot(shot="one", duration=Time(1.0), along={Time(0.0): 0.0}, colour=Paint(map="gray"))
    form = Format(size=Size(640, 360), fps=Fraction(8))
    return Reel.of((shot,), surfaces, LOOK, Type(title="A film"), form, {"loss": ""})


def test_every_look_has_its_own_picture_with_nothing_written_on_it(reel):
    other = LOOK.model_copy(update={"colour": Paint(map="viridis"), "mesh": 33})
    made = sheet(reel, 3, {"one": LOOK, "other": other}, cell=CELL, columns=2)
    for place, look in enumerate((LOOK, other)):
        left = GAP + place * (192 + GAP)
        bare = replace(reel.dressed(look), type=Type(live=None, notes=False, legend=False), size=CELL)
        with Stage(CELL, look.mesh) as stage:
            assert np.array_equal(made[GAP : GAP + 108, left : left + 192], stage.draw(bare.frame(3)))


def test_a_look_that_needs_what_was_not_measured_leaves_its_place_empty_and_says_why(reel):
    needy = LOOK.model_copy(update={"colour": Paint(field="convexity")})
    made = sheet(reel, 0, {"one": LOOK, "needy": needy}, cell=CELL, columns=2)
    left = 2 * GAP + 192
    assert (made[GAP : GAP + 108, left : left + 192] == made[0, 0]).all()
    assert made[GAP + 108 :, left : left + 192].max() > 100  # words stand under it


def test_looks_fill_the_sheet_row_by_row(reel):
    one, five = (sheet(reel, 0, {str(n): LOOK for n in range(count)}, cell=CELL, columns=2) for count in (1, 5))
    assert one.shape[1] == five.shape[1] and five.shape[0] - GAP == 3 * (one.shape[0] - GAP) and one.dtype == np.uint8


def test_every_look_that_comes_with_studio_draws_and_no_two_are_alike():
    lambdas = {"lambda_min": SQUARED - 1.2, "lambda_max": 1 + SQUARED}
    crater = np.exp(-((np.sqrt(SQUARED) - 0.6) ** 2) / 0.05) + 0.1
    fields = {"loss": Field((0.0,), GRID, crater[None], "log")}
    fields |= {name: Field((0.0,), GRID, values[None], "signed-log") for name, values in lambdas.items()}
    camera = Camera(look_at="centre", start=Start(elevation=50.0, distance=2.4))
    shot = Shot(shot="one", duration=Time(1.0), along={Time(0.0): 0.0}, camera=camera)
    form = Format(size=CELL, fps=Fraction(8))
    notes = {"loss": "", "convexity": ""}
    film = Reel.of((shot,), Surfaces(fields), LOOK, Type(live=None, notes=False, legend=False), form, notes)
    pictures = {}
    for name, look in gallery().items():
        small = look.model_copy(update={"mesh": 97})
        with Stage(CELL, 97) as stage:
            pictures[name] = stage.draw(film.dressed(small).frame(0)).astype(int)
    for one, other in combinations(pictures, 2):
        # codes; a key lamp moved by ten degrees is one or two
        assert np.abs(pictures[one] - pictures[other]).mean() > 12, (one, other)
