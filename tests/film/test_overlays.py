import itertools
from dataclasses import replace

import numpy as np
import pytest

from studio.config.units import Size, Time
from studio.field import Axis, Grid, Instant, Layer
from studio.film.colour import lookup_table
from studio.film.fields import FIELDS, ColourMapping, HeightMapping
from studio.film.light import Lamp, Light
from studio.film.look import Look
from studio.film.overlays import (
    MARGIN,
    SMALLEST,
    Bar,
    Page,
    Text,
    Titles,
    dissolve_opacity,
    dissolve_overlays,
    height_words,
    live_line,
    live_mistake,
    notes_and_legend,
    title,
)
from studio.film.ranges import Ranges

LOOK = Look(
    light=Light(key=Lamp(azimuth=70.0, elevation=30.0), rim=Lamp(azimuth=200.0, elevation=15.0)),
    height=HeightMapping(scale="sqrt"),
)
LOSS = Layer(Grid(points=3), np.arange(9.0).reshape(3, 3))
INSTANT = Instant(3.5, {"loss": (LOSS,)}, {"test_accuracy": 61.8}, Grid())


PLAIN = Titles()
HD = Size(1920, 1080)
PAGE = Page.of(HD, PLAIN, [(ColourMapping(), "the notes")])


def captioned(mapping: ColourMapping, ends: tuple[float, float], titles: Titles = PLAIN) -> list:
    return notes_and_legend(titles, LOOK, mapping, Ranges((0.0, 1.0), ((mapping, ends),), 9.0), "the notes", PAGE)


def test_the_live_line_is_filled_in_with_the_loss_at_the_minimiser_and_the_metrics():
    (line,) = live_line(
        Titles(live="epoch {epoch:04.1f} loss {loss:.2f} test {test_accuracy:.0f}% rate {learning_rate:.1f}"),
        INSTANT,
        Axis(name="epoch"),
        PAGE,
    )
    assert line.text == "epoch 03.5 loss 4.00 test 62% rate nan"
    metrics = replace(INSTANT, metrics={"test_kl": 0.5})
    (line,) = live_line(Titles(live="{train_kl:.2f} {test_kl:.2f}"), metrics, Axis(name="epoch"), PAGE)
    assert line.text == "nan 0.50"  # a metric of the user's own objective
    assert live_line(Titles(live=None), INSTANT, Axis(name="epoch"), PAGE) == []


def test_the_live_line_names_the_coordinate_of_any_sweep():
    [plain] = live_line(Titles(), INSTANT, Axis(name="angle", unit=" deg", format=".0f"), PAGE)
    assert plain.text == "angle 4 deg    loss 4.000"
    [own] = live_line(Titles(live="turned by {angle:.2f}"), INSTANT, Axis(name="angle"), PAGE)
    assert own.text == "turned by 3.50"


@pytest.mark.parametrize(("marker", "loss"), [((1.0, -1.0), "2.00"), ((0.0, 0.5), "5.50"), (None, "4.00")])
def test_the_live_loss_is_that_at_the_marker_or_in_the_middle_of_the_window(marker, loss):
    [line] = live_line(Titles(live="{loss:.2f}"), replace(INSTANT, marker=marker), Axis(name="epoch"), PAGE)
    assert line.text == loss


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{epoc}", "no number called 'epoc'; did you mean 'epoch'?"),
        ("{}", "no number called ''"),
        ("{epoch", "expected '}'"),
        ("{epoch:d}", "format code 'd'"),
        ("{coordinate:.1f}", "format code 'f'"),
        ("{epoch.real}", "no number called 'epoch.real'"),
        ("{loss:{width}}", "formats no number"),
        ("{loss:>9999999999f}", "formats no number"),
        ("{angle:.1f}", "no number called 'angle'"),
    ],
)
def test_a_live_line_that_cannot_be_filled_in_is_a_mistake(line, message):
    assert message in live_mistake(line, Axis(name="epoch"))
    assert live_mistake("{angle:.0f} {loss}", Axis(name="angle")) is None


def test_a_title_is_invisible_at_its_ends_and_opaque_between():
    titles = Titles(title="First light", title_for=Time(4.0))
    opacity = [title(titles, t, 4.0)[0].opacity for t in np.linspace(0, 3.999, 200)]
    assert opacity[0] == 0.0 and opacity[-1] < 0.01 and max(opacity) == 0.95
    assert (
        np.abs(np.diff(opacity)).max() < 0.95 * np.pi / 2 / 0.8 * 0.0202
    )  # the steepest of a sine over 0.8 s, steps of 20 ms
    assert title(titles, 4.0, 4.0) == title(titles, -0.1, 4.0) == title(Titles(), 1.0, 4.0) == []


def test_the_legend_gives_the_ends_in_the_units_of_the_field():
    bar, name, high, low = captioned(ColourMapping(scale="height"), (0.5, 3.0))[1:]
    assert (name.text, low.text, high.text) == ("loss", "0.25", "9")  # squares: the height is the root
    assert [o.text for o in captioned(ColourMapping(scale="log"), (0.0, np.log(100.0)))[2:]] == ["loss", "1e+02", "1"]
    assert [o.text for o in captioned(ColourMapping(field="convexity"), (0.0, 0.5))[2:]] == [
        "share of negative curvature",
        "0.5",
        "0",
    ]
    assert np.array_equal(bar.colours, lookup_table("inferno"))
    close = captioned(ColourMapping(scale="linear"), (2.01894, 2.09895))
    assert [text.text for text in close[3:]] == ["2.1", "2.02"]  # three digits, so that they differ


def test_all_overlays_are_inside_the_margins():
    for overlay in (
        *captioned(ColourMapping(), (0.5, 3.0)),
        *live_line(Titles(), INSTANT, Axis(name="epoch"), PAGE),
        *title(Titles(title="x"), 1.0, 4.0),
    ):
        right = overlay.x + overlay.width if isinstance(overlay, Bar) else overlay.x
        assert overlay.x >= MARGIN and right <= 16 / 9 - MARGIN + 1e-12 and 0 < overlay.y < 1


def test_the_low_end_is_named_at_the_left_of_the_bar_and_the_high_end_at_its_right():
    _, bar, _, high, low = captioned(ColourMapping(), (0.5, 3.0))
    assert (low.x, low.align) == (bar.x, "left") and (high.x, high.align) == (pytest.approx(bar.x + bar.width), "right")


def test_notes_and_legend_can_be_left_out():
    assert captioned(ColourMapping(), (0, 1), Titles(notes=False, legend=False)) == []
    assert [o.text for o in captioned(ColourMapping(), (0, 1), Titles(legend=False))] == ["the notes"]


def line(text: str, y: float = 0.9) -> Text:
    return Text(text, 0.1, y, 0.02, 0.6)


def test_in_a_dissolve_the_old_text_is_gone_before_the_new_one_appears():
    for share in np.linspace(0, 1, 41):
        shown = {o.text: o.opacity for o in dissolve_overlays([(1 - share, [line("old")]), (share, [line("new")])])}
        assert len(shown) == (share != 0.5)
        assert set(shown) <= {"old" if share < 0.5 else "new"}
    assert dissolve_overlays([(0.0, [line("old")]), (1.0, [line("new")])]) == [line("new")]


def test_overlays_that_shots_share_stay_as_they_are_in_their_dissolve():
    bar = captioned(ColourMapping(), (0, 1))[1]
    for share in np.linspace(0, 1, 41):
        # of shares that sum to 1 but for the last bit, 1e-16, a cosine near its turning point leaves nothing
        assert dissolve_overlays([(1 - share, [line("same"), bar]), (share, [line("same"), bar])]) == [
            line("same"),
            bar,
        ]


def test_the_same_text_in_another_place_and_a_bar_of_other_colours_are_not_shared():
    bars = [captioned(ColourMapping(map=name), (0, 1))[1] for name in ("inferno", "viridis")]
    assert dissolve_overlays([(0.5, [line("same"), bars[0]]), (0.5, [line("same", 0.8), bars[1]])]) == []


def test_the_opacity_of_text_in_a_dissolve_has_no_jump():
    opacity = [dissolve_opacity(share) for share in np.linspace(0, 1, 1001)]
    # the steepest of a sine from 0 to 1 in 500 steps; soft at both of its ends
    assert np.diff(opacity).max() < np.pi / 2 / 500 * 1.001 and max(opacity[:520]) < 0.01 and min(opacity[-20:]) > 0.99


def test_notes_begin_at_the_same_place_whatever_their_number_of_lines():
    page = Page.of(HD, PLAIN, [(ColourMapping(), "one"), (ColourMapping(), "one\ntwo")])
    view = LOOK, ColourMapping(), Ranges((0.0, 1.0), ((ColourMapping(), (0, 1)),), 9.0)
    short, long = (notes_and_legend(PLAIN, *view, notes, page) for notes in ("one", "one\ntwo"))
    assert short[0] == long[0] and long[1].text == "two" and long[1].y > long[0].y


NOTES = " \u00b7 ".join(
    ["train mode", "128 training images", "filter-normalised random directions", "range \u00b11.8"] * 2
)


@pytest.mark.parametrize(
    "size", [HD, Size(3840, 2160), Size(640, 360), Size(480, 270), Size(1080, 1080), Size(1080, 1920)]
)
def test_small_text_keeps_enough_pixels_and_its_lines_stay_apart_in_a_picture_of_any_shape(size):
    from studio.render.text import _font

    mapping, titles, notes = ColourMapping(), Titles(live="epoch"), f"{NOTES}\n{NOTES}"
    page = Page.of(size, titles, [(mapping, notes)])
    overlays = notes_and_legend(titles, LOOK, mapping, Ranges((0.0, 1.0), ((mapping, (0.5, 3.0)),), 9.0), notes, page)
    lines = [
        text for text in (*live_line(titles, INSTANT, Axis(name="epoch"), page), *overlays) if isinstance(text, Text)
    ]
    boxes = []
    for text in lines:
        assert text.size * size.height >= min(SMALLEST, titles.size * size.height) - 1e-9
        width = _font(text.weight, 100).getlength(text.text) / 100 * text.size
        left = text.x if text.align == "left" else text.x - width
        assert left >= MARGIN - 1e-9 and left + width <= page.aspect - MARGIN + 1e-9
        # a capital is 0.73 of the size high; a line lies on its baseline
        boxes.append((left, text.y - 0.73 * text.size, left + width, text.y))
    for a, b in itertools.combinations(boxes, 2):
        assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]
    assert " ".join(text.text for text in lines[1:-3]) == f"{NOTES} {NOTES}"


def test_a_picture_of_another_size_has_the_same_layout_as_long_as_it_is_legible():
    assert Page.of(Size(7680, 4320), PLAIN, [(ColourMapping(), NOTES)]) == Page.of(
        HD, PLAIN, [(ColourMapping(), NOTES)]
    )


@pytest.mark.parametrize(
    ("height", "words"),
    [
        (HeightMapping(), "log loss"),
        (HeightMapping(scale="sqrt"), "\u221aloss"),
        (HeightMapping(field="accuracy", scale="linear"), "accuracy"),
    ],
)
def test_the_heights_name_includes_its_scale(height, words):
    assert height_words(height) == words


def test_text_is_in_the_looks_ink_unless_it_has_a_colour_of_its_own():
    dark = LOOK.model_copy(update={"ink": "#102030"})
    assert Titles().with_ink(dark).colour == "#102030" and Titles(colour="#ffffff").with_ink(dark).colour == "#ffffff"


@pytest.mark.parametrize(("end", "has_legend"), [("#806040", False), ("#8a6a48", False), ("#f0e0c0", True)])
def test_a_map_of_nearly_a_single_colour_has_no_legend(end, has_legend):
    overlays = captioned(ColourMapping(map=((0.0, "#806040"), (1.0, end))), (0.0, 1.0))
    assert len(overlays) == (5 if has_legend else 1)


def test_a_field_of_yes_and_no_has_these_words_at_the_ends_of_its_legend():
    name, high, low = captioned(ColourMapping(field="hidden", map="gray"), (0.0, 1.0))[2:]
    assert (name.text, low.text, high.text) == ("convex in the picture only", "no", "yes")


def test_a_legend_of_signs_names_the_three_below_a_bar_of_three_parts_without_shades_between():
    mapping = ColourMapping(field="definiteness")
    bar, name, high, low, middle = captioned(mapping, (-1.0, 1.0))[1:]
    assert (name.text, low.text, middle.text, high.text) == ("signs of the Hessian", "negative", "mixed", "positive")
    assert low.x < middle.x < high.x and middle.align == "middle" and len(np.unique(bar.colours, axis=0)) == 3
    small = Page.of(Size(640, 360), PLAIN, [(mapping, "the notes")])
    scales = Ranges((0.0, 1.0), ((mapping, (-1.0, 1.0)),), 9.0)
    # in a small picture the letters are larger beside it, and the ends alone have room
    assert [text.text for text in notes_and_legend(PLAIN, LOOK, mapping, scales, "", small)[2:]] == [
        "positive",
        "negative",
    ]
    assert [bar.colours[i].tolist() for i in (0, -1)] == [lookup_table(mapping.map)[i].tolist() for i in (0, -1)]


def test_a_signed_scale_has_its_ends_in_the_units_of_the_field():
    ends = (-np.arcsinh(20.0), np.arcsinh(50.0))
    name, high, low = captioned(ColourMapping(field="lambda_min", map="vik", scale="signed-log"), ends)[2:]
    assert (name.text, low.text, high.text) == ("smallest Hessian eigenvalue", "-20", "50")


def test_a_metric_of_the_users_goes_by_its_functions_name():
    assert captioned(ColourMapping(field="my.metrics:margin", scale="linear"), (0.0, 1.0))[2].text == "margin"
    assert height_words(HeightMapping(field="my.metrics:margin", scale="sqrt")) == "\u221amargin"


@pytest.mark.parametrize("field", FIELDS)
def test_a_fields_name_is_no_longer_than_its_bar_or_it_would_run_into_the_notes(field):
    from studio.render.text import _font

    size = 0.5 * PLAIN.size
    assert _font("Regular", 100).getlength(FIELDS[field]) / 100 * size <= 0.24
