import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studio.config.units import Size, Time
from studio.field import DETAIL, Field, Grid, Surfaces
from studio.film.camera import Camera, Move, Start
from studio.film.fields import HeightMapping
from studio.film.format import Format
from studio.film.frame_source import FrameSource
from studio.film.light import Lamp, Light
from studio.film.look import Look
from studio.film.overlays import Titles
from studio.film.survey import assumed_surfaces, camera_height, cell_pixels, survey
from studio.film.timeline import Shot

LIGHT = Light(key=Lamp(azimuth=70.0, elevation=30.0), rim=Lamp(azimuth=200.0, elevation=15.0))
GRID = Grid(range=(-2, 2), points=101)
LINEAR = HeightMapping(scale="linear", exaggeration=0.5)


def film(
    surface: np.ndarray | Surfaces, camera: Camera, size: str = "1920x1080", height: HeightMapping = LINEAR
) -> FrameSource:
    surfaces = (
        surface if isinstance(surface, Surfaces) else Surfaces({"loss": Field((0.0,), GRID, surface[None], "log")})
    )
    shot = Shot(shot="a", duration=Time(1.0), along={Time(0.0): 0.0}, camera=camera)
    look, notes = Look(light=LIGHT, mesh=241, height=height), {"loss": "", "convexity": ""}
    return FrameSource.of((shot,), {"": surfaces}, look, Titles(), Format(size=Size.parse(size)), {"": notes})


FLAT = np.where(np.arange(101)[:, None] + np.arange(101) == 0, 2.0, 1.0)  # one node away, so that it has a range
LEVEL = (0.0, 0.0, 0.25)  # where cells are laid
ABOVE = Start(azimuth=0.0, elevation=90.0, distance=2.0, lens=30.0)
CELL = 0.02 / 2 * 30 / 24 * 1080  # 2 / 100 of a unit, from 2 units, by a lens of 30 mm over a 24 mm gate of 1080 lines


def sizes(source: FrameSource) -> np.ndarray:
    share, _, pose = source.standpoint(source.cut.shots[0], 0)
    return cell_pixels(source.instant(share), pose, source.look, source.size.width / source.size.height)


@pytest.mark.parametrize(("size", "across", "down"), [("1920x1080", 0.98, 0.8), ("1080x1080", 0.8, 0.8)])
def test_a_cell_seen_from_straight_above_has_the_size_of_the_pinhole_formula(size, across, down):
    pixels = sizes(film(FLAT, Camera(look_at=LEVEL, start=ABOVE), size))
    assert pixels == pytest.approx(CELL, rel=1e-6)
    axis = (np.arange(100) - 49.5) / 50
    y, x = np.meshgrid(axis, axis)  # the camera's right is beta
    visible = (np.abs(y) <= across) & (np.abs(x) <= down) & (np.hypot(x, y) <= 0.98)
    assert len(pixels) == visible.sum()


def test_only_cells_in_focus_count():
    tilted = Start(azimuth=0.0, elevation=30.0, distance=1.0, lens=30.0)
    sharp, blurred = (
        sizes(film(FLAT, Camera(look_at=LEVEL, start=tilted.model_copy(update={"aperture": stop}))))
        for stop in (None, 2.0)
    )
    assert 0 < len(blurred) < len(sharp) / 2 and np.ptp(blurred) < np.ptp(sharp) / 2


def test_where_a_finer_grid_was_measured_its_cells_count():
    fine = Grid(range=(-1, 1), points=201)
    fields = {"loss": Field((0.0,), GRID, FLAT[None]), "loss" + DETAIL: Field((0.0,), fine, np.ones((1, 201, 201)))}
    pixels = sizes(film(Surfaces(fields), Camera(look_at=LEVEL, start=ABOVE)))
    assert set(np.round(pixels, 3)) == {round(CELL, 3), round(CELL / 4, 3)}  # half the range, twice the points
    assert np.sum(pixels < 5) > 0.7 * 200**2  # a square with round corners


def test_a_still_has_the_cell_sizes_that_were_read_off_it():
    # 181 points, azimuth 235, elevation 42, distance 1.55, 32 mm: 11, 20 and 25 pixels were read off it
    grid = Grid(range=(-1.25, 1.25), points=181)
    surface = Surfaces({"loss": Field((0.0,), grid, 0.4 + np.hypot(*np.meshgrid(grid.alpha, grid.alpha))[None], "log")})
    camera = Camera(start=Start(azimuth=235.0, elevation=42.0, distance=1.55, lens=32.0))
    source = film(surface, camera, height=HeightMapping(scale="sqrt", exaggeration=0.56))
    assert np.percentile(sizes(source), [50, 95, 100]) == pytest.approx([11, 20, 25], abs=0.6)  # whole pixels


def test_a_soft_shot_a_camera_under_the_surface_and_a_fast_turn_are_reported_with_the_cure():
    bowl = 0.1 + np.hypot(*np.meshgrid(GRID.alpha, GRID.alpha))
    near = Camera(start=Start(azimuth=0.0, elevation=5.0, distance=0.6), moves=(Move(orbit=90.0, over=Time(1.0)),))
    [shot] = survey(film(bowl, near))
    soft, low, fast = shot.warnings()
    assert soft.startswith("shot a is soft, most at 0.00 s: a measured cell is ") and "times the points" in soft
    assert low.startswith("shot a: at 0.") and "raise its elevation" in low
    assert "turns by up to 90 degrees a second" in fast and "1.5 times the time" in fast
    [fine] = survey(film(bowl, Camera(start=Start(azimuth=0.0, elevation=50.0, distance=3.0))))
    assert list(fine.warnings()) == [] and {0, 23} < fine.frames.keys() and len(fine.frames) == 9
    assert fine.lowest.value > 0


def test_the_cameras_height_is_measured_over_the_highest_vertex_near_it():
    surface = np.zeros((101, 101))
    surface[50, 90] = 0.3  # at (0.8, 0)
    orbit = Camera(look_at=(0.0, 0.0, 0.0), start=Start(azimuth=0.0, elevation=30.0, distance=1.0)).at(0.0, 24, 1.0)
    assert camera_height(surface, orbit.pose((0.0, 0.0, 0.0))) == pytest.approx(0.5 - 0.3)
    assert camera_height(surface, replace(orbit, distance=3.0).pose((0.0, 0.0, 0.0))) == np.inf


def test_the_speed_of_a_surface_that_rests_at_its_keyframes_varies_more_than_that_of_a_smooth_one():
    speed_ratio = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/bench_film.py"))["speed_ratio"]
    values = np.exp(np.cumsum(np.random.default_rng(0).standard_normal((12, 21, 21)), axis=0) * 0.2)
    grid, keyframes = Grid(points=21), tuple(float(k) for k in range(12))
    resting, smooth = (
        speed_ratio(film(Surfaces({"loss": Field(keyframes, grid, values, "log", interpolation)}), Camera()))
        for interpolation in ("monotone", "cubic")
    )
    # in a random walk half of the points turn at every keyframe, where PCHIP stops and a spline does not
    assert smooth < 2.0 < resting


def test_the_cells_of_an_oblong_grid_have_the_planes_proportions_and_end_at_its_edge():
    grid = Grid(range=((-1, 3), (0, 2)), points=(101, 26))
    rough = 1 + np.hypot(*np.meshgrid(grid.alpha, grid.beta))[None]
    pixels = sizes(film(Surfaces({"loss": Field((0.0,), grid, rough, "log")}), Camera(look_at=LEVEL, start=ABOVE)))
    assert pixels == pytest.approx(2 * CELL, rel=1e-6)  # of 0.04 by 0.08 in the plane, 0.02 by 0.04 in the scene
    x, y = np.meshgrid((np.arange(100) - 49.5) / 50, (np.arange(25) - 12) / 25)
    assert len(pixels) == ((np.hypot(x, 2 * y) <= 0.98) & (np.abs(x) <= 0.8)).sum()


def test_in_a_zoom_the_cells_of_the_grid_that_is_seen_count():
    grids = tuple(Grid(range=(-half, half), points=101) for half in (2, 1))
    losses = tuple(1 + np.hypot(*np.meshgrid(grid.alpha, grid.beta)) for grid in grids)
    zoom = Surfaces({"loss": Field((0.0, 1.0), grids, losses, "log")})
    source = film(zoom, Camera(look_at=LEVEL, start=ABOVE))
    pose, aspect = source.shot_view(source.cut.shots[0], 0).pose, 16 / 9
    found = {c: np.unique(cell_pixels(zoom.at(c), pose, source.look, aspect).round(3)) for c in (0.0, 0.8, 1.0)}
    assert found[0.0] == found[1.0] == pytest.approx(CELL, abs=1e-3)
    assert found[0.8] == pytest.approx(CELL * np.array([2**-0.2, 2**0.8]), abs=1e-3)  # inside, and around it


def test_an_unmeasured_film_assumes_a_crater():
    fine = Grid(range=(-0.5, 0.5), points=101)
    surfaces = assumed_surfaces(["loss", "lambda_min"], {"": {0.0: GRID, 40.0: GRID}, DETAIL: {20.0: fine}})
    assert set(surfaces.fields) == {"loss", "lambda_min", "loss@detail", "lambda_min@detail"}
    loss, detail = (layer.values for layer in surfaces.at(20.0).layers["loss"])
    assert loss.shape == (51, 51)  # few points show a smooth crater
    assert loss[25, 25] == loss.min() == pytest.approx(0.4) and loss[0, 0] == pytest.approx(3.5)
    assert detail[25, 25] == pytest.approx(0.4)
    zoom = assumed_surfaces(["loss"], {"": {0.0: fine, 1.0: GRID}})
    assert zoom.at(1.0).layers["loss"][0].values == pytest.approx(loss)
    assert zoom.at(0.0).layers["loss"][0].values == pytest.approx(detail)


@pytest.mark.parametrize("points", [31, 101, 1001])
def test_the_cells_of_an_assumed_surface_are_those_that_will_be_measured(points):
    surfaces = assumed_surfaces(["loss"], {"": {0.0: Grid(range=(-2, 2), points=points)}})
    source = film(surfaces, Camera(look_at=LEVEL, start=ABOVE))
    [shot] = survey(source)
    assert shot.frames[0].cell_median == pytest.approx(CELL * 100 / (points - 1), rel=0.01)
