import numpy as np
import pytest

from studio.field import Field, Grid, Surfaces
from studio.film.fields import SIGNED, ColourMapping, HeightMapping, missing_advice
from studio.film.ranges import cuts, ranges
from studio.film.surface import heights

N = 11
GRID = Grid(range=(-2, 2), points=N)
GREY = ((0.0, "#000000"), (1.0, "#ffffff"))


def test_the_films_range_includes_the_finer_grid(look, bowl, surfaces):
    film = surfaces(bowl())
    fine = Grid(range=(-1, 1), points=5)
    deep = np.full((5, 5), 0.5)
    deep[2, 1] = 0.01
    fields = {**film.fields, "loss@detail": Field((0.0,), fine, deep[None], "log")}
    scaled = look(height=HeightMapping(scale="linear"))
    assert ranges([Surfaces(fields)], scaled, ()).height[0] == 0.01 < ranges([film], scaled, ()).height[0]


def test_ranges_cover_every_keyframe_whatever_was_evaluated_before(look, bowl, surfaces):
    film = surfaces(bowl(), bowl(9.0), bowl(2.0))
    fixed = ranges([film], look(), (ColourMapping(),))
    single = [ranges([surfaces(f)], look(), (ColourMapping(),)) for f in (bowl(), bowl(9.0), bowl(2.0))]
    assert fixed.height == (min(r.height[0] for r in single), max(r.height[1] for r in single))
    for coordinate in (0.0, 0.4, 1.0, 2.0):
        film.at(coordinate)
        assert ranges([film], look(), (ColourMapping(),)) == fixed


def test_values_outside_the_drawn_disc_do_not_set_the_range(look, bowl, surfaces):
    film, spiked = bowl(), bowl()
    spiked[0, 0] = 1e9
    assert ranges([surfaces(spiked)], look(), (ColourMapping(),)) == ranges(
        [surfaces(film)], look(), (ColourMapping(),)
    )


def test_a_film_without_a_finite_value_is_refused(look, surfaces):
    with pytest.raises(ValueError, match="not one finite value of 'loss'"):
        ranges([surfaces(np.full((N, N), np.nan))], look(), (ColourMapping(),))


def test_each_colour_mapping_has_a_range_of_its_own(look, bowl, surfaces):
    film = surfaces(bowl(), accuracy=np.linspace(10, 90, N * N).reshape(N, N))
    loss, accuracy = ColourMapping(), ColourMapping(field="accuracy", scale="linear", range=(0.0, 100.0))
    fixed = ranges([film], look(), (loss, accuracy, loss))
    assert (
        len(fixed.colours) == 2
        and fixed.colour_ends(accuracy) == (0.0, 100.0)
        and fixed.colour_ends(loss) == fixed.height
    )


@pytest.mark.parametrize("field", ["lambda_min", "lambda_max", "kappa_min", "kappa_max"])
def test_a_curvature_is_a_colour_on_a_signed_scale_and_may_be_centred_on_0(field, look, bowl, surfaces):
    film = surfaces(bowl(), **{field: np.linspace(-3.0, 5.0, N * N).reshape(N, N)})
    free, centred = (ColourMapping(field=field, map=GREY, scale="signed-log", centre=centre) for centre in (None, 0.0))
    fixed = ranges([film], look(), (free, centred))
    low, high = fixed.colour_ends(centred)
    # the drawn disc leaves the corners out
    assert -high == low < fixed.colour_ends(free)[0] < 0 and np.arcsinh(4.0) < high == fixed.colour_ends(free)[
        1
    ] < np.arcsinh(5.0)


def test_a_map_that_diverges_has_its_middle_at_0_where_values_may_be_negative(look, bowl, surfaces):
    film = surfaces(bowl(), lambda_min=np.linspace(-3.0, 5.0, N * N).reshape(N, N))

    def ends(field: str, name: str, **more) -> tuple[float, float]:
        mapping = ColourMapping(field=field, map=name, scale="linear", **more)
        return ranges([film], look(), (mapping,)).colour_ends(mapping)

    low, high = ends("lambda_min", "vik")
    assert low == -high and high == ends("lambda_min", "inferno")[1]
    assert ends("lambda_min", "vik", centre=1.0)[0] == pytest.approx(2.0 - high)  # an explicit centre goes first
    assert ends("loss", "vik") == ends("loss", "inferno")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("entropy", r"nothing measures the entropy; add `fields: \[entropy\]` to the scene's loss"),
        ("my.metrics:margin", r"add `fields: \[my.metrics:margin\]`"),
        ("accuracy", "a preview measures no accuracy; set `sampling: exact`"),
        ("hidden", "nothing measures the hidden; add `convexity: {points: 11}`"),
        ("kappa_min", "add `convexity: {points: 11}`"),
        ("convexity", "add `convexity: {points: 11}`"),
    ],
)
def test_a_field_that_was_not_measured_is_refused_with_what_to_add(field, message, look, bowl, surfaces):
    film = surfaces(bowl(), **({"lambda_min": np.full((N, N), -1.0)} if field == "hidden" else {}))
    with pytest.raises(ValueError, match=message):
        ranges([film], look(), (ColourMapping(field=field),))
    assert missing_advice("loss", film.fields) is None and missing_advice(field, {field, *SIGNED}) is None


# --- ranges that follow the keyframes


def zoomed(*halves: float) -> Surfaces:
    """1 + alpha^2 + beta^2 on grids that shrink about the centre."""
    grids = tuple(Grid(range=(-half, half), points=N) for half in halves)
    losses = tuple(1 + grid.alpha[:, None] ** 2 + grid.alpha[None] ** 2 for grid in grids)
    return Surfaces({"loss": Field(tuple(float(k) for k in range(len(halves))), grids, losses, "log")})


def test_a_range_that_follows_the_keyframes_has_the_ends_of_each_and_in_between_the_extent_that_a_zoom_has(look):
    film, mapping = zoomed(2.0, 0.5, 0.1), ColourMapping(range="keyframe")
    style = look(height=HeightMapping(scale="linear", range="keyframe"))
    moving = ranges([film], style, (mapping,))
    for k, half in enumerate((2.0, 0.5, 0.1)):
        low, high = moving.at(float(k)).height
        assert low == 1.0 and high - low == pytest.approx(half**2 * 0.8)  # the highest node in the disc: (0.8, 0.4)
        assert moving.at(float(k)).colour_ends(mapping) == (low, high)
    low, high = moving.at(0.5).height
    assert low == 1.0 and high - low == pytest.approx(0.8)  # where the window's half side is 1
    assert moving.at(-1.0).height == moving.at(0.0).height and moving.at(9.0).height == moving.at(2.0).height


def test_the_films_range_over_a_zoom_is_of_what_each_keyframe_shows(look):
    style = look(height=HeightMapping(scale="linear"))
    fixed = ranges([zoomed(2.0, 0.5, 0.1)], style, (ColourMapping(),))
    assert fixed.height == ranges([zoomed(2.0)], style, ()).height and fixed.at(1.7) is fixed


def test_height_and_colour_follow_the_keyframes_each_for_itself(look):
    style, mapping = look(height=HeightMapping(scale="linear", range="keyframe")), ColourMapping(scale="linear")
    moving = ranges([zoomed(2.0, 0.5)], style, (mapping,))
    assert moving.at(0.0).colour_ends(mapping) == moving.at(1.0).colour_ends(mapping) == moving.at(0.0).height
    assert moving.at(1.0).height != moving.at(0.0).height


# --- losses below zero


@pytest.mark.parametrize("scale", ["log", "sqrt"])
def test_a_loss_below_zero_is_refused_on_a_scale_that_has_no_negative_values(scale, look, bowl, surfaces):
    film = surfaces(bowl() - 3.0)
    with pytest.raises(ValueError, match=rf"the loss falls to -2.9, .* no {scale}; write `scale: signed-log` or"):
        ranges([film], look(height=HeightMapping(scale=scale)), ())
    with pytest.raises(ValueError, match=r"no log; .* under `colour`"):
        ranges([film], look(height=HeightMapping(scale="linear")), (ColourMapping(scale="log"),))
    assert (
        ranges([surfaces(bowl() - 0.1)], look(height=HeightMapping(scale=scale)), ()).cap > 0
    )  # exactly 0 is no mistake


@pytest.mark.parametrize("scale", ["linear", "signed-log"])
def test_a_loss_below_zero_has_a_range_on_other_scales(scale, look, bowl, surfaces):
    style = look(height=HeightMapping(scale=scale))
    assert ranges([surfaces(bowl() - 3.0)], style, ()).height[0] == style.height.to_scale(np.array(-2.9))


@pytest.mark.parametrize(
    ("height", "mapping", "lines"),
    [
        (
            {},
            ColourMapping(),
            ["loss: cut at 3.3, 52 of 121 points are higher, up to 8.1, all outside the drawn part"],
        ),
        ({"cap": 1.0}, ColourMapping(), ["loss: cut at 1, 100 of 121 points are higher, up to 8.1"]),
        (
            {"scale": "linear"},
            ColourMapping(range=(0.5, 2.0)),
            [
                "loss: cut at 3.3, 52 of 121 points are higher, up to 8.1, all outside the drawn part",
                "loss: cut at 2, 84 of 121 points are higher, up to 8.1",
                "loss: cut at 0.5, 9 of 121 points are lower, down to 0.1",
            ],
        ),
        (
            {"cap": 9.0},
            ColourMapping(field="accuracy", scale="linear", range=(0.0, 50.0)),
            [
                "loss: cut at 3.3, 52 of 121 points are higher, up to 8.1, all outside the drawn part",
                "accuracy: cut at 50, 60 of 121 points are higher, up to 90",
            ],
        ),
    ],
)
def test_what_heights_and_colours_cut_is_said_with_the_number_of_points(height, mapping, lines, look, bowl, surfaces):
    film = surfaces(bowl(), accuracy=np.linspace(10, 90, N * N).reshape(N, N))
    drawn = look(height=HeightMapping(**height))
    assert cuts(film, drawn, mapping, ranges([film], drawn, (mapping,))) == lines


def test_a_film_of_which_all_is_drawn_cuts_nothing(look, bowl, surfaces):
    flat = np.minimum(bowl(), 1.0)
    film = surfaces(flat)
    assert not cuts(film, look(), ColourMapping(), ranges([film], look(), (ColourMapping(),)))


def test_a_land_upside_down_has_its_lowest_value_highest_and_its_colours_as_they_were(look, bowl, surfaces):
    film, drawn = surfaces(bowl()), look(height=HeightMapping(scale="linear", exaggeration=0.5))
    scales = ranges([film], drawn, (drawn.colour,))
    upright, turned = (heights(film.at(0.0), drawn, each) for each in (scales, scales.upside_down()))
    known = np.isfinite(upright)
    np.testing.assert_allclose(turned[known], 0.5 - upright[known], atol=1e-6)  # float32
    assert turned[20, 20] == pytest.approx(0.5) and upright[20, 20] == pytest.approx(0, abs=1e-6)
    assert scales.upside_down().colours == scales.colours


def test_a_list_says_which_landscapes_stand_on_their_heads():
    assert not HeightMapping().reverses("a") and HeightMapping(reverse=True).reverses("")
    assert [HeightMapping(reverse=["a"]).reverses(name) for name in ("a", "b")] == [True, False]
