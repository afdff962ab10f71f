import numpy as np
import pytest

from studio.field import Field, Grid, Surfaces
from studio.film.fields import SIGNED, ColourMapping, HeightMapping, missing_advice
from studio.film.ranges import ranges

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
    assert ranges(Surfaces(fields), scaled, ()).height[0] == 0.01 < ranges(film, scaled, ()).height[0]


def test_ranges_cover_every_keyframe_whatever_was_evaluated_before(look, bowl, surfaces):
    film = surfaces(bowl(), bowl(9.0), bowl(2.0))
    fixed = ranges(film, look(), (ColourMapping(),))
    single = [ranges(surfaces(f), look(), (ColourMapping(),)) for f in (bowl(), bowl(9.0), bowl(2.0))]
    assert fixed.height == (min(r.height[0] for r in single), max(r.height[1] for r in single))
    for coordinate in (0.0, 0.4, 1.0, 2.0):
        film.at(coordinate)
        assert ranges(film, look(), (ColourMapping(),)) == fixed


def test_values_outside_the_drawn_disc_do_not_set_the_range(look, bowl, surfaces):
    film, spiked = bowl(), bowl()
    spiked[0, 0] = 1e9
    assert ranges(surfaces(spiked), look(), (ColourMapping(),)) == ranges(surfaces(film), look(), (ColourMapping(),))


def test_a_film_without_a_finite_value_is_refused(look, surfaces):
    with pytest.raises(ValueError, match="not one finite value of 'loss'"):
        ranges(surfaces(np.full((N, N), np.nan)), look(), (ColourMapping(),))


def test_each_colour_mapping_has_a_range_of_its_own(look, bowl, surfaces):
    film = surfaces(bowl(), accuracy=np.linspace(10, 90, N * N).reshape(N, N))
    loss, accuracy = ColourMapping(), ColourMapping(field="accuracy", scale="linear", range=(0.0, 100.0))
    fixed = ranges(film, look(), (loss, accuracy, loss))
    assert (
        len(fixed.colours) == 2
        and fixed.colour_ends(accuracy) == (0.0, 100.0)
        and fixed.colour_ends(loss) == fixed.height
    )


@pytest.mark.parametrize("field", ["lambda_min", "lambda_max", "kappa_min", "kappa_max"])
def test_a_curvature_is_a_colour_on_a_signed_scale_and_may_be_centred_on_0(field, look, bowl, surfaces):
    film = surfaces(bowl(), **{field: np.linspace(-3.0, 5.0, N * N).reshape(N, N)})
    free, centred = (ColourMapping(field=field, map=GREY, scale="signed-log", centre=centre) for centre in (None, 0.0))
    fixed = ranges(film, look(), (free, centred))
    low, high = fixed.colour_ends(centred)
    # the drawn disc leaves the corners out
    assert -high == low < fixed.colour_ends(free)[0] < 0 and np.arcsinh(4.0) < high == fixed.colour_ends(free)[
        1
    ] < np.arcsinh(5.0)


def test_a_map_that_diverges_has_its_middle_at_0_where_values_may_be_negative(look, bowl, surfaces):
    film = surfaces(bowl(), lambda_min=np.linspace(-3.0, 5.0, N * N).reshape(N, N))

    def ends(field: str, name: str, **more) -> tuple[float, float]:
        mapping = ColourMapping(field=field, map=name, scale="linear", **more)
        return ranges(film, look(), (mapping,)).colour_ends(mapping)

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
        ranges(film, look(), (ColourMapping(field=field),))
    assert missing_advice("loss", film.fields) is None and missing_advice(field, {field, *SIGNED}) is None
