from dataclasses import replace

import numpy as np
import pytest

from studio.field import Field, Grid, Instant, Layer, Markers, Surfaces, Trajectory
from studio.film import surface
from studio.film.colour import decode, lookup_table
from studio.film.fields import ColourMapping, HeightMapping
from studio.film.lines import TrajectoryLine
from studio.film.look import Look
from studio.film.ranges import ranges
from studio.film.surface import (
    UNKNOWN,
    caveats,
    colours,
    drawn_marker,
    drawn_trajectory,
    heights,
    marker_height,
    refine,
    value_at,
    values,
)

N = 11
GRID = Grid(range=(-2, 2), points=N)
GREY = ((0.0, "#000000"), (1.0, "#ffffff"))


# --- the surface through the nodes


@pytest.mark.parametrize("seed", range(12))
def test_the_surface_passes_exactly_through_every_node_and_never_below_the_lowest_around(seed):
    random = np.random.default_rng(seed)
    n, factor = int(random.choice([3, 5, 11, 17])), int(random.choice([1, 2, 4, 7]))
    nodes = random.standard_normal((n, n)) * random.choice([0.01, 1.0, 100.0])
    side = (n - 1) * factor + 1
    fine = refine(nodes, side)
    assert np.array_equal(fine[::factor, ::factor], nodes)
    padded = np.pad(nodes, 1, mode="edge")
    for row in range(side):
        for column in range(side):
            i, j = min(row // factor, n - 2), min(column // factor, n - 2)
            around = padded[i : i + 4, j : j + 4]  # the cell's corners and the nodes next to them
            assert fine[row, column] >= around.min() - 1e-12 * np.abs(nodes).max()  # rounding of the sum of products


def test_a_plain_cubic_would_dip_below_its_nodes():
    nodes = np.zeros((9, 9))
    nodes[4, 4] = 1.0
    cubic = surface._spline(9, tuple(np.linspace(-1, 1, 81)), 3)
    assert (cubic @ nodes @ cubic.T).min() < -0.05
    assert refine(nodes, 81).min() == 0.0


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 0.7])
def test_less_smoothing_is_straighter_between_the_nodes_and_moves_none_of_them(smoothing):
    nodes = np.random.default_rng(5).standard_normal((9, 9))
    fine = refine(nodes, 33, smoothing)
    assert np.array_equal(fine[::4, ::4], nodes)
    middle = (nodes[:-1, :-1] + nodes[1:, :-1] + nodes[:-1, 1:] + nodes[1:, 1:]) / 4
    off = refine(nodes, 33)[2::4, 2::4] - middle
    assert fine[2::4, 2::4] - middle == pytest.approx(smoothing * off, abs=1e-12)  # rounding; off is about 0.3


def test_a_look_without_smoothing_draws_height_and_its_colour_straight_between_the_nodes(look, surfaces):
    film, mapping = surfaces(np.exp(np.random.default_rng(6).standard_normal((N, N)))), ColourMapping(map=GREY)
    style = look(height=HeightMapping(scale="log", smoothing=0.0), colour=mapping)
    fixed = ranges([film], style, (mapping,))
    drawn, coloured = heights(film.at(0.0), style, fixed), colours(film.at(0.0), style, mapping, fixed)
    inside = drawn[20, 8:33]  # the film's range is of the disc's nodes, and beyond its edge heights are cut to it
    assert np.abs(np.diff(inside, 2)[np.arange(23) % 4 != 3]).max() < 1e-6 < 1e-2 < np.abs(np.diff(inside, 2)).max()
    expected = lookup_table(GREY)[np.round(drawn / style.height.exaggeration * 1023).astype(int)]
    assert (
        np.abs(coloured - expected).max() < 2 * np.diff(lookup_table(GREY), axis=0).max()
    )  # float32 may round to the next


def test_the_surface_reproduces_a_cubic_between_its_nodes():
    def height(x, y):
        return 3 + x**3 - 2 * x * y**2 + y + 0.3 * x

    axis, fine = np.linspace(-1, 1, 9), np.linspace(-1, 1, 65)
    smooth = refine(height(*np.meshgrid(axis, axis)), 65)
    inside = slice(16, -16)  # away from the edge the floor through the lowest nodes is far below
    assert smooth[inside, inside] == pytest.approx(height(*np.meshgrid(fine, fine))[inside, inside], abs=1e-12)


def test_the_surface_turns_and_mirrors_with_its_nodes():
    nodes = np.random.default_rng(3).standard_normal((9, 9))
    fine = refine(nodes, 33)
    for turned, expected in ((np.rot90(nodes), np.rot90(fine)), (nodes.T, fine.T), (nodes[::-1], fine[::-1])):
        assert refine(turned, 33) == pytest.approx(expected, abs=1e-12)  # rounding of the spline's matrix


def test_cells_that_touch_an_unmeasured_node_are_holes_and_no_others():
    nodes = np.ones((9, 9))
    nodes[4, 2] = np.nan
    holes = np.isnan(refine(nodes, 33))  # four steps a cell
    expected = np.zeros((33, 33), bool)
    expected[13:20, 5:12] = True  # strictly inside the four cells around the node
    assert np.array_equal(holes, expected)


def test_a_surface_without_a_known_node_is_a_single_hole():
    assert np.isnan(refine(np.full((5, 5), np.nan), 17)).all()


# --- a finer grid around the centre


def rugged(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(0.3 * np.sin(9 * x) * np.cos(7 * y) + 0.5 * (x * x + y * y))


def both(detail: float = 1.0, points: int = 33) -> Instant:
    """A surface with structure that the coarse grid of `N` nodes misses, and a finer grid over the middle half."""
    layers = [measured(GRID), replace(measured(Grid(range=(-1, 1), points=points)), weight=detail)]
    return Instant(0.0, {"loss": tuple(layers)}, {}, Grid(range=(-2, 2)))


def measured(grid: Grid, function=rugged) -> Layer:
    return Layer(grid, function(*np.meshgrid(grid.alpha, grid.beta)), "log")


def sheet(instant: Instant, side: int = 257) -> np.ndarray:
    return np.log(surface._refine_field(instant, "loss", side, np.inf, 1.0))


def test_the_surface_passes_through_the_nodes_of_the_finer_grid_and_is_the_coarse_one_outside():
    joined, coarse = sheet(both()), sheet(both(0.0))
    axis = np.linspace(-1, 1, 257)
    out = np.add.outer((2 * axis) ** 4, (2 * axis) ** 4) ** 0.25
    assert np.array_equal(joined[out >= 1], coarse[out >= 1])
    truth = np.log(rugged(*np.meshgrid(2 * axis, 2 * axis)))
    nodes = slice(64, 193, 4)  # of the finer grid, in the mesh
    inside = out[nodes, nodes] <= 0.8
    assert joined[nodes, nodes][inside] == pytest.approx(truth[nodes, nodes][inside], abs=1e-12)
    assert np.abs(coarse[nodes, nodes][inside] - truth[nodes, nodes][inside]).max() > 0.1


def test_the_seam_is_continuous():
    # both sheets are smooth on the mesh, so a step at the seam would stand out among the second differences
    joined, coarse, axis = sheet(both()), sheet(both(0.0)), np.linspace(-1, 1, 257)
    out = np.add.outer((2 * axis) ** 4, (2 * axis) ** 4) ** 0.25
    bend = lambda values: np.abs(np.diff(values, 2, axis=1))  # noqa: E731
    seam = (out[:, 1:-1] > 0.95) & (out[:, 1:-1] < 1.05)
    fine = bend(np.log(rugged(*np.meshgrid(2 * axis, 2 * axis))))
    assert bend(joined)[seam].max() <= max(bend(coarse).max(), fine.max())
    step = np.where(out < 1, coarse + 0.05, coarse)  # a seam of a twentieth, for comparison
    assert bend(step)[seam].max() > max(bend(coarse).max(), fine.max())


def test_the_finer_grid_counts_by_its_weight_and_its_holes_only_where_it_counts():
    coarse, half, full = (sheet(both(weight)) for weight in (0.0, 0.5, 1.0))
    assert half == pytest.approx((coarse + full) / 2, abs=1e-12)
    broken = both()
    broken.layers["loss"][1].values[0, 0] = np.nan  # in its corner, where it counts nothing
    broken.layers["loss"][1].values[16, 16] = np.nan
    holes = np.isnan(sheet(broken))
    assert holes[128, 128] and holes.sum() == 49  # four cells of four mesh steps, without their rim


@pytest.mark.parametrize("azimuth", [0, 70, 200, 310])
def test_the_open_side_is_where_the_rim_is_lowest(azimuth):
    axis = np.linspace(-1, 1, 121)
    x, y = np.meshgrid(axis, axis)
    turned = np.cos(np.arctan2(y, x) - np.radians(azimuth))
    height = np.minimum(np.hypot(x, y), 0.4) * (1.5 - turned)
    assert surface.open_side(height, 0.9) == pytest.approx(azimuth, abs=2)  # it looks every two degrees
    assert surface.open_side(np.where(np.hypot(x, y) > 0.95, np.nan, height), 0.9) == pytest.approx(azimuth, abs=2)


def test_the_open_side_is_that_of_the_marker():
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, 121)])
    valley = np.minimum((x - 0.3) ** 2, 0.4) + 0.05 * y  # it falls along -beta from any place in it
    assert surface.open_side(valley, 0.6, (0.3, 0.2)) == pytest.approx(270, abs=2)
    assert surface.open_side(valley, 0.6, (0.6, 0.0)) != pytest.approx(270, abs=20)  # on its slope, which falls to it


# --- heights


def test_heights_run_from_0_to_the_exaggeration_over_the_whole_film(look, bowl, surfaces):
    film = surfaces(bowl(), bowl(3.0))
    style = look(height=HeightMapping(scale="sqrt", exaggeration=0.7))
    fixed = ranges([film], style, (ColourMapping(),))
    disc = np.hypot(*np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))) <= style.fade.end
    lowest = heights(film.at(0.0), style, fixed)[20, 20]
    highest = heights(film.at(1.0), style, fixed)[disc].max()
    assert (
        lowest == 0.0 and 0.68 < highest <= 0.7 + 1e-6
    )  # the highest node inside the disc is a little inside its edge


def test_inf_is_drawn_at_the_cap_and_nan_is_a_hole(look, bowl, surfaces):
    loss = bowl()
    loss[5, 8], loss[2, 5] = np.inf, np.nan
    film, style = surfaces(loss), look(height=HeightMapping(scale="linear", cap=2.0, exaggeration=1.0))
    fixed = ranges([film], style, (ColourMapping(),))
    drawn = heights(film.at(0.0), style, fixed)
    assert fixed.cap == 2.0 and drawn[20, 32] == pytest.approx(1.0) and np.isnan(drawn[8, 20])
    assert np.nanmax(drawn) <= 1.0 + 1e-6  # float32


def test_without_a_cap_inf_is_drawn_at_the_highest_measured_value(look, bowl, surfaces):
    loss = bowl()
    loss[5, 8] = np.inf
    film, style = surfaces(loss), look(height=HeightMapping(scale="linear"))
    fixed = ranges([film], style, (ColourMapping(),))
    inside = GRID.alpha[:, None] ** 2 + GRID.alpha[None] ** 2 <= (2 * style.fade.end) ** 2
    assert fixed.cap == loss[inside & np.isfinite(loss)].max()
    assert heights(film.at(0.0), style, fixed)[20, 32] == pytest.approx(style.height.exaggeration)


def test_a_flat_film_is_flat_and_does_not_divide_by_zero(look, surfaces):
    film = surfaces(np.ones((N, N)))
    assert np.array_equal(
        heights(film.at(0.0), look(), ranges([film], look(), (ColourMapping(),))), np.zeros((41, 41), np.float32)
    )


def test_the_surface_never_sinks_below_the_lowest_measured_loss(look, surfaces):
    for seed in range(8):
        loss = np.random.default_rng(seed).lognormal(sigma=2.0, size=(N, N))
        film, style = surfaces(loss), look(height=HeightMapping(scale="linear", exaggeration=1.0), mesh=81)
        fixed = ranges([film], style, (ColourMapping(),))
        low, high = fixed.height
        floor = (loss.min() - low) / (high - low)  # 0, unless the lowest is outside the disc
        assert heights(film.at(0.0), style, fixed).min() >= floor - 1e-6  # float32


# --- colours


def test_a_colour_is_the_maps_at_the_values_share_of_the_range(look, bowl, surfaces):
    film = surfaces(bowl())
    mapping = ColourMapping(map=GREY, scale="linear", range=(0.0, 10.0))
    coloured = colours(film.at(0.0), look(), mapping, ranges([film], look(), (mapping,)))
    assert coloured.dtype == np.float32 and coloured.shape == (41, 41, 3)
    # node (5, 7): the bowl at alpha = 0.8; half an entry of 1023 in the table
    assert coloured[20, 28] == pytest.approx(np.full(3, decode((0.1 + 0.64) / 10)), abs=1e-3)


def test_a_colour_that_follows_the_height_does_so_on_its_scale(look, bowl, surfaces):
    film = surfaces(bowl())
    mapping = ColourMapping(map=GREY)
    style = look(height=HeightMapping(scale="sqrt", exaggeration=1.0))
    fixed = ranges([film], style, (mapping,))
    height, coloured = heights(film.at(0.0), style, fixed), colours(film.at(0.0), style, mapping, fixed)
    expected = lookup_table(GREY)[np.round(np.clip(height, 0, 1) * 1023).astype(int)]
    # float32 heights may round to the entry beside
    assert np.abs(coloured - expected).max() < 2 * np.diff(lookup_table(GREY), axis=0).max()


def test_an_unknown_value_is_grey(look, bowl, surfaces):
    loss = bowl()
    loss[5, 8] = np.nan
    film, mapping = surfaces(loss), ColourMapping(map="inferno")
    coloured = colours(film.at(0.0), look(), mapping, ranges([film], look(), (mapping,)))
    assert np.array_equal(coloured[20, 32], UNKNOWN) and not np.array_equal(coloured[20, 20], UNKNOWN)


def test_convexity_is_derived_from_blended_curvatures_and_its_scale_begins_at_0(look, bowl, surfaces):
    film = surfaces(bowl(), lambda_min=np.full((N, N), -1.0), lambda_max=np.full((N, N), 4.0))
    mapping = ColourMapping(field="convexity", map=GREY, scale="linear", range=(0.0, 0.5))
    coloured = colours(film.at(0.0), look(), mapping, ranges([film], look(), (mapping,)))
    assert coloured == pytest.approx(np.full((41, 41, 3), decode(np.float64(0.5))), abs=1e-3)
    free = ColourMapping(field="convexity", map=GREY, scale="linear")
    assert ranges([film], look(), (free,)).colour_ends(free) == (0.0, 0.25)


# --- derived fields


CURVED = {
    "lambda_min": np.full((N, N), -1.0),
    "lambda_max": np.full((N, N), 4.0),
    "kappa_min": np.linspace(-0.5, 2.0, N * N).reshape(N, N),
    "kappa_max": np.full((N, N), 2.0),
}


def test_plane_convexity_is_the_share_in_the_planes_curvatures_and_hidden_is_yes_or_no(look, bowl, surfaces):
    film = surfaces(bowl(), **CURVED)
    for field, shown in (("plane-convexity", 0.25 / 2.0), ("hidden", 0.0)):
        mapping = ColourMapping(field=field, map=GREY, scale="linear", range=(0.0, 1.0))
        coloured = colours(film.at(0.0), look(), mapping, ranges([film], look(), (mapping,)))
        # node (1, 1): the 13th of 121 from -0.5 to 2 is -0.25; half an entry of 1023 in the table
        assert coloured[4, 4, 0] == pytest.approx(decode(np.float64(shown)), abs=1e-3)
        assert coloured[-1, -1, 0] == (0.0 if field == "plane-convexity" else 1.0)
    mapping = ColourMapping(field="hidden", map=GREY)
    nowhere = surfaces(bowl(), **CURVED | {"kappa_min": CURVED["lambda_min"]})
    assert ranges([nowhere], look(), (mapping,)).colour_ends(mapping) == (0, 1)


def test_the_signs_of_the_hessian_meet_in_a_line_without_a_third_sign_between(look, bowl, surfaces):
    # from -4 to -2 in the first column to 2 to 4 in the last
    low = np.broadcast_to(np.linspace(-4.0, 2.0, N), (N, N))
    film, mapping = surfaces(bowl(), lambda_min=low, lambda_max=low + 2.0), ColourMapping(field="definiteness")
    scales = ranges([film], look(), (mapping,))
    coloured = colours(film.at(0.0), look(), mapping, scales)
    table = lookup_table(mapping.map)
    assert scales.colour_ends(mapping) == (-1, 1)
    assert len(np.unique(coloured.reshape(-1, 3), axis=0)) == 3
    for column, entry in ((0, 0), (25, 512), (-1, -1)):
        assert coloured[20, column].tolist() == table[entry].tolist()


def test_a_share_of_curvature_may_be_the_height_and_is_a_hole_where_it_is_unknown(look, bowl, surfaces):
    lambda_min = np.linspace(-2.0, 0.0, N * N).reshape(N, N)
    lambda_min[5, 8] = np.nan
    film = surfaces(bowl(), lambda_min=lambda_min, lambda_max=CURVED["lambda_max"])
    style = look(
        height=HeightMapping(field="convexity", scale="linear", exaggeration=1.0), fade={"start": 0.1, "end": 1.0}
    )
    drawn = heights(film.at(0.0), style, ranges([film], style, (ColourMapping(field="convexity"),)))
    assert np.isnan(drawn[20, 32]) and drawn[0, 20] > drawn[20, 20] > drawn[40, 20]


def test_a_metric_of_the_users_is_drawn_as_it_is(look, bowl, surfaces):
    film = surfaces(bowl(), **{"my.metrics:margin": GRID.alpha[None] + np.zeros((N, 1))})
    style = look(height=HeightMapping(field="my.metrics:margin", scale="linear", exaggeration=2.0))
    drawn = heights(film.at(0.0), style, ranges([film], style, (ColourMapping(),)))
    # at the nodes inside the disc, whose values run from -0.8 to 0.8 of the range
    assert drawn[20, 4:40:4] == pytest.approx(np.linspace(0.0, 2.0, 9), abs=1e-6)  # float32


# --- any grid, any window


BOWL = Grid(range=((-0.5, 1.5), (-0.2, 0.6)), points=(41, 17))


def over(grid: Grid, function, **parts) -> Surfaces:
    """Surfaces with a loss over one grid at keyframe 0."""
    return Surfaces({"loss": Field((0.0,), grid, measured(grid, function).values[None], "log")}, **parts)


def linear(look, mesh: int = 41, **parts) -> Look:
    return look(mesh, height=HeightMapping(scale="linear", exaggeration=1.0, **parts))


def test_a_saddle_off_the_centre_is_drawn_in_the_planes_proportions_and_is_nothing_outside_its_window(look):
    film, style = over(BOWL, lambda a, b: 3 + a * a - b * b), linear(look, 161)
    fixed = ranges([film], style, ())
    drawn, (low, high) = heights(film.at(0.0), style, fixed), fixed.height
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, 161)])
    inside, alpha, beta = np.hypot(x, y / 0.4) < 0.8, 0.5 + x, 0.2 + y  # farther out, nodes are cut at the range
    # the loss is refined on a log scale, where a saddle is no polynomial
    assert drawn[inside] == pytest.approx((3 + alpha**2 - beta**2 - low)[inside] / (high - low), abs=2e-4)
    assert np.isnan(drawn[np.abs(y) > 0.43]).all() and np.isfinite(drawn[np.abs(y) <= 0.4]).all()


def test_an_even_grid_draws_the_surface_of_an_odd_one_and_its_minimiser_lies_between_nodes(look):
    films = [over(Grid(points=n), lambda a, b: 1 + a * a + 2 * b * b) for n in (100, 101)]
    drawn = [heights(film.at(0.0), linear(look), ranges([films[1]], linear(look), ())) for film in films]
    inside = np.hypot(*np.meshgrid(*2 * [np.linspace(-1, 1, 41)])) < 0.8  # farther out, nodes are cut at the range
    # the surface is never below the lowest node around, which is 0.0101 to either side of an even grid's middle
    assert drawn[0][inside] == pytest.approx(drawn[1][inside], abs=2e-4)
    assert value_at(films[0].at(0.0), "loss", (0.0, 0.0)) == pytest.approx(1 + 3 * 0.0101**2, abs=1e-6)
    assert value_at(films[1].at(0.0), "loss", (0.0, 0.0)) == pytest.approx(1.0, rel=1e-12)  # a node


def test_the_marker_lies_on_the_surface_wherever_it_is_and_nowhere_outside_of_it(look):
    markers = Markers((0.0, 1.0, 2.0), np.array([[0.5, 0.2], [0.0, 0.0], [9.0, 0.0]]))
    film, style = over(BOWL, lambda a, b: 1 + a * a, markers=markers), look()
    assert drawn_marker(film.at(0.0), style) == pytest.approx((0.0, 0.0))
    assert drawn_marker(film.at(0.5), style) == pytest.approx((-0.25, -0.1))
    assert drawn_marker(film.at(2.0), style) is None
    height = np.add.outer(np.zeros(5), np.array([0.0, 1.0, np.nan, 3.0, 4.0]))
    assert marker_height(height, (-0.75, 0.3)) == pytest.approx(0.5) and marker_height(height, (0.5, 0.0)) == 3.0
    assert marker_height(height, (0.4, 0.0)) == 3.0  # beside a hole
    assert np.isnan(marker_height(height, (0.1, 0.0))) and np.isnan(marker_height(height, None))


def test_a_field_is_unknown_where_its_grid_does_not_reach(look):
    wide, narrow = Grid(range=(-2, 2), points=21), Grid(range=((-1, 2), (-2, 2)), points=21)
    entropy = Field((0.0,), narrow, np.ones((1, 21, 21)))
    film = Surfaces(over(wide, lambda a, b: 1 + a * a).fields | {"entropy": entropy})
    shown = values(film.at(0.0), look(), "entropy")
    assert np.isnan(shown[:, :10]).all() and shown[:, 10:] == pytest.approx(1.0)


# --- a zoom


HALVES = (2.0, 0.7, 0.1)


def zoom_of(function, centre=(0.0, 0.0), halves=HALVES, points: int = 33) -> Surfaces:
    """A fixed function on grids that shrink about a point."""
    grids = tuple(Grid(range=tuple((c - half, c + half) for c in centre), points=points) for half in halves)
    coordinates = tuple(float(k) for k in range(len(grids)))
    return Surfaces({"loss": Field(coordinates, grids, tuple(measured(grid, function).values for grid in grids))})


def test_a_bowl_in_a_zoom_is_the_same_bowl_at_every_coordinate_if_the_range_follows(look):
    film, style = zoom_of(lambda a, b: 1 + a * a + 0.5 * b * b), linear(look, range="keyframe")
    fixed, inside = ranges([film], style, ()), np.hypot(*np.meshgrid(*2 * [np.linspace(-1, 1, 41)])) < 0.65
    first = heights(film.at(0.0), style, fixed.at(0.0))
    assert np.ptp(first[inside]) > 0.4
    for coordinate in (0.2, 0.5, 0.9, 1.0, 1.3, 1.999, 2.0):
        drawn = heights(film.at(coordinate), style, fixed.at(coordinate))
        assert drawn[inside] == pytest.approx(first[inside], abs=5e-5)  # what remains of the cut nodes farther out
    flat = linear(look)
    assert heights(film.at(2.0), flat, ranges([film], flat, ()))[inside].max() < 0.003  # the film's range


def test_nothing_pops_in_a_zoom_of_a_surface_that_is_rough_at_every_scale(look):
    def rough(a, b):
        return 3 + sum(0.5**k * np.sin(5 * 2**k * a + k) * np.cos(4 * 2**k * b - k) for k in range(7))

    film, style = zoom_of(rough, (0.3, -0.2), (2.0, 1.0, 0.5)), linear(look, range="keyframe")
    fixed, inside = ranges([film], style, ()), np.hypot(*np.meshgrid(*2 * [np.linspace(-1, 1, 41)])) < style.fade.end
    times = np.linspace(0, 2, 201)
    drawn = np.array([heights(film.at(c), style, fixed.at(c))[inside] for c in times])
    steps = np.abs(np.diff(drawn, axis=0)).max(axis=1)
    around = steps[[99, 100]]  # on both sides of the middle keyframe
    assert around.max() < 1.5 * np.median(steps)
    for keyframe in (0, 1, 2):
        near = heights(film.at(keyframe - 1e-7), style, fixed.at(keyframe - 1e-7))[inside]
        assert near == pytest.approx(drawn[100 * keyframe], abs=1e-5)


# --- losses below zero


@pytest.mark.parametrize("scale", ["linear", "signed-log"])
def test_a_loss_that_falls_below_zero_is_drawn_at_its_nodes_as_measured(scale, look):
    film = over(Grid(points=11), lambda a, b: a * a + b * b - 0.7)
    style = look(41, height=HeightMapping(scale=scale, exaggeration=1.0))
    fixed = ranges([film], style, ())
    low, high = fixed.height
    expected = (style.height.to_scale(film.fields["loss"].values[0]) - low) / (high - low)
    assert low < 0 and heights(film.at(0.0), style, fixed)[::4, ::4] == pytest.approx(np.clip(expected, 0, 1), abs=1e-6)


# --- the trajectory


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_heights_on_a_plane_are_exact_and_of_its_type(dtype):
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, 101, dtype=dtype)])
    places = np.random.default_rng(0).uniform(-0.9, 0.9, (50, 2)).astype(np.float32)
    on_plane = surface.height_at(dtype(0.5) * x - dtype(0.2) * y, places)
    assert on_plane == pytest.approx(places @ [0.5, -0.2], abs=1e-6) and on_plane.dtype == dtype


PLACES = np.array([[-0.8, 0.4], [-0.2, 0.6], [0.0, 0.0]])  # of a grid that reaches to 2


@pytest.fixture(scope="module")
def trajectory(look, bowl, surfaces):
    """The drawn trajectory [n, 2] of a run that went by some places."""

    def draw(places: np.ndarray = PLACES, **parts) -> np.ndarray | None:
        count = len(places)
        run = Trajectory(tuple(map(float, range(count))), np.stack([places] * count), 0.4)
        film = Surfaces(surfaces(bowl()).fields, trajectory=run)
        return drawn_trajectory(film.at(count - 1.0), look(**{"trajectory": TrajectoryLine()} | parts))

    return draw


def test_a_trajectory_goes_through_every_checkpoint_and_ends_at_the_minimiser(trajectory):
    line = trajectory()
    for place in PLACES / 2:
        # 24 steps from one to the next, of half a unit at most
        assert np.hypot(*(line - place).T).min() < 0.5 / 24
    assert np.array_equal(line[0], PLACES[0] / 2) and np.array_equal(line[-1], [0.0, 0.0])


def test_only_the_last_part_of_a_trajectory_that_stays_on_the_land_is_drawn(trajectory):
    line = trajectory(np.array([[0.5, 0.0], [3.0, 0.0], [0.8, 0.0], [0.0, 0.0]]))
    # to the fade's start at 0.78, in steps of a 24th of 1.1
    assert 0.78 - 1.1 / 24 < np.abs(line).max() <= 0.78 and (np.diff(line[:, 0]) < 0).all()


def test_no_trajectory_is_drawn_unless_the_look_has_it_and_it_is_known_and_longer_than_a_point(
    look, bowl, surfaces, trajectory
):
    assert (
        trajectory(trajectory=None) is None
        and trajectory(PLACES[2:]) is None
        and trajectory(np.full((2, 2), np.nan)) is None
    )
    assert drawn_trajectory(surfaces(bowl()).at(0.0), look(trajectory=TrajectoryLine())) is None


def test_values_that_are_not_finite_are_a_caveat_whatever_the_field(bowl, surfaces):
    holes = np.where(bowl() > 4, np.nan, 1.0)
    assert caveats(surfaces(bowl(), accuracy=holes)) == [
        "accuracy: not finite at 52 of 121 points, drawn grey or as holes"
    ]
    assert caveats(surfaces(np.where(bowl() > 4, np.inf, bowl()))) == [
        "the loss is infinite at 52 of 121 points, drawn as high as the highest"
    ]


def test_the_share_of_the_trajectory_in_the_plane_is_a_caveat(bowl, surfaces):
    film = Surfaces(surfaces(bowl()).fields, trajectory=Trajectory((0.0, 1.0), np.zeros((2, 2, 2)), 0.413))
    assert caveats(film) == ["trajectory: 41% of its length lies in the plane, the rest is not seen"]
    assert caveats(replace(film, trajectory=Trajectory((0.0, 1.0), np.zeros((2, 2, 2)), 0.999))) == []
