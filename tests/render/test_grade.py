import numpy as np
import pytest

from studio.film.colour import decode
from studio.film.look import Grade, Lut
from studio.render.grade import _bloom, graded

PLAIN = Grade(exposure=1.0, bloom=0.0, saturation=1.0, vignette=0.0, grain=0.0)


def grey(light: float, height: int = 72, width: int = 128) -> np.ndarray:
    return np.full((height, width, 3), light, np.float32)


def shown(light: float, grade: Grade = PLAIN, number: int = 0) -> float:
    """Mean code of an even grey."""
    return float(graded(grey(light), grade, number).mean())


def codes_of(light: float) -> float:
    return 255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055)


def test_light_below_the_shoulder_comes_out_as_its_srgb_code():
    for light in (0.0, 0.001, 0.01, 0.18, 0.4, 0.59):
        # a table of 4096 codes: its steps are below 0.2 codes; the mean of 9216 dithered pixels is good to 0.02
        assert shown(light) == pytest.approx(codes_of(light), abs=0.2)


def test_the_shoulder_follows_its_formula_and_ends_at_white():
    for light in (0.7, 1.0, 2.0):
        assert shown(light) == pytest.approx(codes_of(0.6 + 0.4 * (1 - np.exp(-(light - 0.6) / 0.4))), abs=0.2)
    assert shown(4.0) > 254.5 and shown(1e4) > 254.5


def test_a_grey_ramp_never_steps_back_and_stays_grey():
    means = []
    for light in np.geomspace(1e-4, 4, 60):
        picture = graded(grey(light), PLAIN, 0)
        means.append(picture.mean())
        assert np.array_equal(picture[..., 0], picture[..., 1]) and np.array_equal(picture[..., 0], picture[..., 2])
    # two neighbouring greys see the same noise, so that even single pixels keep their order
    assert (np.diff(means) >= 0).all()


def test_a_slow_gradient_has_no_bands():
    height, width = 256, 512
    light = np.broadcast_to(np.linspace(0.01, 0.02, width, dtype=np.float32)[None, :, None], (height, width, 3))
    picture = graded(np.ascontiguousarray(light), PLAIN, 0)[..., 0].astype(float)
    expected = np.array([codes_of(v) for v in light[0, :, 0]])
    # without dither the mean of a column would be off by up to half a code; with it by the noise of 256 samples:
    # 0.5 / sqrt(256) = 0.03, four of which cover all columns, and the table's 0.2
    assert np.abs(picture.mean(axis=0) - expected).max() < 0.33
    assert np.abs(picture - expected).max() < 1.2  # never further than to the code beside the nearest
    assert len(np.unique(picture)) >= expected[-1] - expected[0]


def test_grain_is_a_function_of_the_number_of_the_frame_alone():
    grade = PLAIN.model_copy(update={"grain": 0.02})
    one = graded(grey(0.2), grade, 7)
    assert np.array_equal(one, graded(grey(0.2), grade, 7))
    assert not np.array_equal(one, graded(grey(0.2), grade, 8))


def test_grain_has_the_strength_it_was_given_and_no_colour_and_no_mean():
    grade = PLAIN.model_copy(update={"grain": 0.02})
    picture = graded(grey(0.2), grade, 3).astype(float)
    # 5.1 codes, with rounding (1/12) and dither (1/12) in quadrature; 9216 samples are good to 1 %
    assert picture[..., 0].std() == pytest.approx(np.hypot(5.1, np.sqrt(2 / 12)), rel=0.03)
    assert picture.mean() == pytest.approx(codes_of(0.2), abs=0.3)
    assert np.array_equal(picture[..., 0], picture[..., 2])
    neighbours = np.corrcoef(picture[:, 1:, 0].ravel(), picture[:, :-1, 0].ravel())[0, 1]
    assert abs(neighbours) < 0.05  # noise, not a pattern: 1/sqrt(9144) = 0.01


def test_below_its_threshold_light_does_not_bloom():
    assert np.array_equal(_bloom(grey(0.69), 0.7), np.zeros((72, 128, 3), np.float32))


def spot(height: int = 144, width: int = 256) -> np.ndarray:
    light = np.zeros((height, width, 3), np.float32)
    light[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4] = (3.0, 2.0, 1.0)
    return light


def test_a_bloom_spreads_falls_off_and_keeps_the_colour_of_what_is_above_the_threshold():
    glow = _bloom(spot(), 0.5)
    line = glow[72, 128:, 0]
    assert line[0] > 0 and line[24] > 0 and line[60] < 0.1 * line[0] and (np.diff(line) <= 1e-6).all()
    assert glow[72, 128] / glow[72, 128, 0] == pytest.approx([1, 1.5 / 2.5, 0.5 / 2.5], rel=1e-5)


def test_a_bloom_adds_three_times_the_light_above_the_threshold():
    # one for each of its widths; what leaves at the edges is small for a spot in the middle
    above = (spot() - 0.5).clip(0)
    assert _bloom(spot(), 0.5).sum() == pytest.approx(3 * above.sum(), rel=0.05)


def test_a_bloom_is_as_wide_on_a_picture_twice_as_large():
    small, large = _bloom(spot(), 0.5), _bloom(np.repeat(np.repeat(spot(), 2, 0), 2, 1), 0.5)
    shrunk = large.reshape(144, 2, 256, 2, 3).mean(axis=(1, 3))
    # blocks of eight pixels are half as wide on the large one: coarse near the spot, alike further off
    away = np.hypot(*np.meshgrid(np.arange(256) - 128, np.arange(144) - 72)) > 16
    assert shrunk[away] == pytest.approx(small[away], abs=0.05 * float(small.max()))


def test_a_small_light_blooms_as_much_wherever_it_stands():
    still = _bloom(spot(), 0.5)
    for shift in range(1, 9):
        # it would pulse if the threshold looked at whole blocks of eight pixels; float32 sums of 110,000 numbers
        assert _bloom(np.roll(spot(), shift, axis=1), 0.5).sum() == pytest.approx(still.sum(), rel=1e-4)


@pytest.mark.parametrize("size", [(36, 64), (37, 65), (1080 // 8, 1), (9, 17)])
def test_a_bloom_fits_a_picture_of_any_size(size):
    assert _bloom(grey(2.0, *size), 1.0) == pytest.approx(3.0, rel=1e-4)  # an even light above by 1, three widths


def test_a_vignette_darkens_the_corners_by_its_strength_and_leaves_the_centre():
    picture = graded(grey(0.3, 73, 129), PLAIN.model_copy(update={"vignette": 0.5}), 0).astype(float)
    corners = decode(np.array([picture[y, x, 0] for y in (0, -1) for x in (0, -1)]) / 255)
    assert decode(picture[36, 64, 0] / 255) == pytest.approx(0.3, abs=0.01) and corners == pytest.approx(0.15, abs=0.01)
    assert picture == pytest.approx(picture[::-1, ::-1], abs=2)  # two dithers of a code each


def test_saturation_0_is_grey_of_the_same_luminance_and_more_of_it_is_further_from_grey():
    light = np.broadcast_to(np.float32([0.5, 0.2, 0.1]), (72, 128, 3)).copy()
    for saturation in (0.0, 0.5, 1.0, 1.5):
        picture = graded(light, PLAIN.model_copy(update={"saturation": saturation}), 0)
        linear = decode(picture.reshape(-1, 3).mean(axis=0) / 255)
        luminance = 0.2126 * 0.5 + 0.7152 * 0.2 + 0.0722 * 0.1
        assert linear @ [0.2126, 0.7152, 0.0722] == pytest.approx(luminance, abs=0.003)  # a mean code of noise
        assert linear[0] - linear[2] == pytest.approx(saturation * 0.4, abs=0.005)


def test_the_light_it_was_given_is_left_alone():
    light = spot()
    before = light.copy()
    graded(light, Grade(saturation=0.5, grain=0.1), 3)
    graded(light, PLAIN, 3)
    assert np.array_equal(light, before)


def test_contrast_turns_around_middle_grey():
    flat, steep = (Grade(bloom=0.0, vignette=0.0, grain=0.0, contrast=contrast) for contrast in (1.0, 1.5))
    assert shown(0.18, steep) == pytest.approx(shown(0.18, flat), abs=0.2)  # a step of the table
    assert shown(0.02, steep) == pytest.approx(codes_of(0.18 * (0.02 / 0.18) ** 1.5), abs=0.2)
    assert shown(0.5, steep) > shown(0.5, flat) and shown(0.02, steep) < shown(0.02, flat)


@pytest.mark.parametrize("start", [0.3, 0.6, 0.9])
def test_the_shoulder_begins_where_it_is_asked_to(start):
    bent = PLAIN.model_copy(update={"shoulder": start})
    for light in (0.1, 0.95 * start):
        assert shown(light, bent) == pytest.approx(codes_of(light), abs=0.2)
    expected = start + (1 - start) * (1 - np.exp(-(1 - start) / (1 - start)))
    assert shown(1.0, bent) == pytest.approx(codes_of(expected), abs=0.2)


def table_of(tmp_path, rule) -> Lut:
    """A look-up table on disk that does `rule` to (r, g, b)."""
    steps = np.linspace(0, 1, 9)
    rows = [rule(np.array([r, g, b])) for b in steps for g in steps for r in steps]
    (tmp_path / "a.cube").write_text("LUT_3D_SIZE 9\n" + "\n".join("{} {} {}".format(*row) for row in rows))
    return Lut.model_validate(str(tmp_path / "a.cube"))


def test_a_table_that_changes_nothing_changes_nothing_and_one_that_swaps_swaps(tmp_path):
    light = np.random.default_rng(0).random((40, 60, 3), dtype=np.float32)
    plain = graded(light, PLAIN, 0)
    same = graded(light, PLAIN.model_copy(update={"lut": table_of(tmp_path, lambda rgb: rgb)}), 0)
    assert np.abs(same.astype(int) - plain).max() <= 1  # rounding of the interpolation
    swapped = graded(light, PLAIN.model_copy(update={"lut": table_of(tmp_path, lambda rgb: rgb[::-1])}), 0)
    assert np.abs(swapped.astype(int) - plain[..., ::-1]).max() <= 1
