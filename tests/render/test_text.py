import numpy as np
import pytest

from studio.film.colour import decode
from studio.film.marks import Bar, Text
from studio.render.text import draw_overlays, fonts

H, W = 360, 640
BLACK = np.zeros((H, W, 3), np.uint8)


def text(words: str = "Hxl", **more) -> Text:
    return Text(**{"text": words, "x": 0.1, "y": 0.5, "size": 0.1, "opacity": 1.0} | more)


def box(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is drawn, the last two open."""
    rows, columns = np.nonzero(picture.any(axis=(1, 2)))[0], np.nonzero(picture.any(axis=(0, 2)))[0]
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_a_line_stands_on_its_baseline_and_starts_where_it_says():
    left, top, _right, bottom = box(draw_overlays(BLACK, (text(),)))
    # the side bearing of an H is a tenth of its size; capitals of Inter are 0.73 high
    assert (
        36 <= left <= 36 + 5 and bottom == pytest.approx(180, abs=1) and bottom - top == pytest.approx(0.76 * 36, abs=2)
    )


def test_a_line_aligned_right_ends_where_it_says():
    assert box(draw_overlays(BLACK, (text(x=1.5, align="right"),)))[2] == pytest.approx(540, abs=5)


def test_a_letter_without_a_tail_ends_on_the_baseline_and_one_with_a_tail_below():
    assert box(draw_overlays(BLACK, (text("gp"),)))[3] > 184 and box(draw_overlays(BLACK, (text("Hx"),)))[3] <= 181


def test_text_scales_with_the_picture():
    small, large = (
        box(draw_overlays(BLACK, (text(),))),
        box(draw_overlays(np.zeros((2 * H, 2 * W, 3), np.uint8), (text(),))),
    )
    assert np.array(large) == pytest.approx(2 * np.array(small), abs=2)


def test_a_number_that_changes_does_not_shift_the_words_beside_it():
    from PIL import features

    assert features.check("raqm"), "Pillow's wheels bring raqm"
    widths = {box(draw_overlays(BLACK, (text(f"loss {digit}{digit}{digit} ok"),)))[2] for digit in range(10)}
    assert len(widths) == 1


def test_opacity_mixes_with_the_picture_and_0_leaves_it():
    white = np.full((H, W, 3), 200, np.uint8)
    half = draw_overlays(white, (text(opacity=0.5, colour="#000000"),))
    assert half.min() == pytest.approx(100, abs=1)
    assert np.array_equal(draw_overlays(white, (text(opacity=0.0),)), white)


def test_text_has_its_colour():
    picture = draw_overlays(BLACK, (text(colour="#ff8040"),))
    assert picture.reshape(-1, 3).max(axis=0).tolist() == [255, 128, 64]


def test_the_title_is_of_a_lighter_weight():
    assert draw_overlays(BLACK, (text(weight="Light"),)).sum() < 0.8 * draw_overlays(BLACK, (text(),)).sum()
    assert fonts() == ("Inter Regular", "Inter Display Light")


def test_signs_that_the_notes_use_are_in_the_font():
    blank = draw_overlays(BLACK, (text("\ue000"),))  # a code point that no font has: the empty box
    for sign in "\u00b7\u00b1\u00d7\u221a":
        drawn = draw_overlays(BLACK, (text(sign),))
        assert drawn.any() and not np.array_equal(drawn, blank)


def test_a_bar_fills_its_rectangle_with_its_colours_in_order():
    colours = decode(np.linspace(0, 1, 1024))[:, None] * np.ones(3)
    picture = draw_overlays(BLACK, (Bar(colours.astype(np.float32), 0.5, 0.25, 0.5, 0.1, 1.0),))
    assert box(picture)[1:] == (90, 360, 126)  # its left end is black
    ramp = picture[100, 180:360, 0].astype(int)
    assert ramp == pytest.approx(np.linspace(0, 255, 180), abs=1.5) and (np.diff(ramp) >= 0).all()  # rounding, twice


def test_a_bar_at_half_opacity_lets_the_picture_through():
    white = np.full((H, W, 3), 255, np.uint8)
    picture = draw_overlays(white, (Bar(np.zeros((4, 3), np.float32), 0.5, 0.25, 0.5, 0.1, 0.5),))
    assert picture[100, 200].tolist() == pytest.approx([127] * 3, abs=1) and picture[200, 200].tolist() == [255] * 3


def test_the_input_is_unchanged_and_without_overlays_so_is_the_picture():
    before = BLACK.copy()
    draw_overlays(before, (text(),))
    assert np.array_equal(before, BLACK) and np.array_equal(draw_overlays(BLACK, ()), BLACK)


def test_text_outside_the_picture_does_no_harm():
    assert not draw_overlays(
        BLACK, (text(x=5.0), text(y=-3.0), Bar(np.ones((2, 3), np.float32), 9.0, 0.0, 0.1, 0.1, 1.0))
    ).any()


def middle(words: str = "HHH", **more) -> Text:
    return text(words, **{"x": 0.9, "align": "middle"} | more)


@pytest.mark.parametrize("angle", [0.0, 30.0, -45.0, 89.0])
def test_a_turned_text_stays_around_its_point(angle):
    left, top, right, bottom = box(draw_overlays(BLACK, (middle(angle=angle),)))
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((0.9 * H, 0.5 * H), abs=1.5)


def test_a_text_is_turned_anticlockwise():
    picture = draw_overlays(BLACK, (middle(angle=45.0),)).sum(axis=2)
    left, _top, right, _bottom = box(picture[..., None])
    half = (left + right) // 2
    rows = np.arange(H)[:, None]
    halves = picture[:, :half], picture[:, half:]
    first, last = ((half * rows).sum() / half.sum() for half in halves)
    assert last < first - 20  # it rises to the right


def test_a_turned_text_moves_by_less_than_a_pixel():
    first, second = (draw_overlays(BLACK, (middle(x=0.9 + step / H, angle=20.0),)).astype(float) for step in (0.0, 0.5))
    columns = np.arange(W)[None, :, None]
    assert (second * columns).sum() / second.sum() - (first * columns).sum() / first.sum() == pytest.approx(
        0.5, abs=0.1
    )


def test_a_halo_lies_under_the_text_and_around_it():
    grey = np.full((H, W, 3), 128, np.uint8)
    bare, around = (draw_overlays(grey, (middle(colour="#000000", halo=halo),)) for halo in (None, "#ffffff"))
    assert bare.max() <= 129 and around.max() > 190  # resampling may ring by a code
    assert np.abs(bare[bare[..., 0] < 40].astype(int) - around[bare[..., 0] < 40]).max() < 40


def test_a_halo_has_no_edge_and_ends_before_its_mask_does():
    grey = np.full((H, W, 3), 128, np.uint8)
    around = draw_overlays(grey, (text(colour="#ffffff", halo="#ffffff"),)).astype(int)[..., 0]
    bare = draw_overlays(grey, (text(colour="#ffffff"),)).astype(int)[..., 0]
    outside = bare == 128
    both = outside[:, 1:] & outside[:, :-1]
    # a letter's own edge is 127 codes in a pixel
    assert np.abs(np.diff(around, axis=1))[both].max() < 20 and around[bare == 128].max() > 180
    assert (np.abs(around[:100] - 128) <= 1).all()  # 80 pixels above capitals that are 27 high


def test_no_halo_lies_on_another_lines_letters():
    lines = [text(y=0.5, colour="#ffffff", halo="#000000"), text(y=0.62, colour="#ffffff", halo="#000000")]
    alone, both = (draw_overlays(np.full((H, W, 3), 128, np.uint8), tuple(shown)) for shown in (lines[:1], lines))
    assert (both[alone == 255] == 255).all()


def test_a_bar_may_have_a_halo_too():
    white = np.full((H, W, 3), 255, np.uint8)
    picture = draw_overlays(white, (Bar(np.ones((4, 3), np.float32), 0.5, 0.25, 0.5, 0.02, 1.0, "#000000"),))
    assert picture[93, 260].tolist() == [255] * 3 and picture[86, 260].max() < 200 and picture[300, 260].min() == 255
