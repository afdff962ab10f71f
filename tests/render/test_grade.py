from dataclasses import replace

import numpy as np
import pytest
import zarr

from studio.film.bands import Bands
from studio.film.colour import decode, encode, to_linear
from studio.film.frame import Frame
from studio.film.light import MAX_LIGHT, Background, Grade, Lut
from studio.film.marks import Bar, Text
from studio.film.resolve import resolve_background, resolve_grading
from studio.render import grade, linear_frame
from studio.render.grade import linear_picture, picture

PLAIN = Grade(exposure=1.0, bloom=0.0, saturation=1.0, vignette=0.0, grain=0.0)
BLACK = Background(bottom="#000000", top="#000000")


def frame(grade: Grade = PLAIN, number: int = 0, background: Background = BLACK, overlays=()) -> Frame:
    return Frame(number, (), tuple(overlays), resolve_grading(grade), resolve_background(background))


def encoded(light: np.ndarray, alpha=1.0) -> np.ndarray:
    """The linear frame of light [H, W, 3], multiplied by its alpha already."""
    return linear_frame.encode(np.dstack([light, np.broadcast_to(np.float32(alpha), light.shape[:2])]))


def graded(light: np.ndarray, grade: Grade, number: int, **options) -> np.ndarray:
    return picture(encoded(light), frame(grade, number), **options).to_array()


def bloom(light: np.ndarray, threshold: float) -> np.ndarray:
    """What a bloom of strength 1 adds to light [H, W, 3], without the rest of the grading."""
    grading = resolve_grading(PLAIN.model_copy(update={"bloom": 1.0, "threshold": threshold}))
    blocks, added = grade._bloom(encoded(light), None, grading), np.zeros((3, *light.shape[:2]), np.float32)
    grade._add_bloom(added, None, blocks, 0, grade._block(len(light)), np.empty_like(added), 1.0)
    return np.moveaxis(added, 0, -1)


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
    first = graded(grey(0.2), grade, 7)
    assert np.array_equal(first, graded(grey(0.2), grade, 7))
    assert not np.array_equal(first, graded(grey(0.2), grade, 8))


def test_grain_has_its_strength_and_no_colour_and_no_mean():
    grade = PLAIN.model_copy(update={"grain": 0.02})
    picture = graded(grey(0.2), grade, 3).astype(float)
    # 5.1 codes, with rounding (1/12) and dither (1/12) in quadrature; 9216 samples are good to 1 %
    assert picture[..., 0].std() == pytest.approx(np.hypot(5.1, np.sqrt(2 / 12)), rel=0.03)
    assert picture.mean() == pytest.approx(codes_of(0.2), abs=0.3)
    assert np.array_equal(picture[..., 0], picture[..., 2])
    neighbours = np.corrcoef(picture[:, 1:, 0].ravel(), picture[:, :-1, 0].ravel())[0, 1]
    assert abs(neighbours) < 0.05  # noise, not a pattern: 1/sqrt(9144) = 0.01


def test_below_its_threshold_light_does_not_bloom():
    assert np.array_equal(bloom(grey(0.69), 0.7), np.zeros((72, 128, 3), np.float32))


def spot(height: int = 144, width: int = 256) -> np.ndarray:
    light = np.zeros((height, width, 3), np.float32)
    light[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4] = (3.0, 2.0, 1.0)
    return light


def test_a_bloom_spreads_falls_off_and_keeps_the_colour_of_what_is_above_the_threshold():
    glow = bloom(spot(), 0.5)
    line = glow[72, 128:, 0]
    assert line[0] > 0 and line[24] > 0 and line[60] < 0.1 * line[0] and (np.diff(line) <= 1e-6).all()
    # a step of the linear frame is 6e-5 of the darkest of the three
    assert glow[72, 128] / glow[72, 128, 0] == pytest.approx([1, 1.5 / 2.5, 0.5 / 2.5], rel=1e-4)


def test_a_bloom_adds_three_times_the_light_above_the_threshold():
    # one for each of its widths; what leaves at the edges is small for a spot in the middle
    above = (spot() - 0.5).clip(0)
    assert bloom(spot(), 0.5).sum() == pytest.approx(3 * above.sum(), rel=0.05)


def test_a_bloom_is_as_wide_on_a_picture_twice_as_large():
    small, large = bloom(spot(), 0.5), bloom(np.repeat(np.repeat(spot(), 2, 0), 2, 1), 0.5)
    shrunk = large.reshape(144, 2, 256, 2, 3).mean(axis=(1, 3))
    # blocks of eight pixels are half as wide on the large one: coarse near the spot, alike further off
    away = np.hypot(*np.meshgrid(np.arange(256) - 128, np.arange(144) - 72)) > 16
    assert shrunk[away] == pytest.approx(small[away], abs=0.05 * float(small.max()))


def test_a_small_light_blooms_as_much_wherever_it_stands():
    still = bloom(spot(), 0.5)
    for shift in range(1, 9):
        # it would pulse if the threshold looked at whole blocks of eight pixels; float32 sums of 110,000 numbers
        assert bloom(np.roll(spot(), shift, axis=1), 0.5).sum() == pytest.approx(still.sum(), rel=1e-4)


@pytest.mark.parametrize("size", [(36, 64), (37, 65), (1080 // 8, 1), (9, 17)])
def test_a_bloom_fits_a_picture_of_any_size(size):
    assert bloom(grey(2.0, *size), 1.0) == pytest.approx(3.0, rel=1e-4)  # an even light above by 1, three widths


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


def test_grading_leaves_its_input_unchanged():
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
def test_the_shoulder_begins_at_its_start(start):
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


# --- sixteen bits, coverage, bands -----------------------------------------------------------------------------------


def test_sixteen_bits_follow_the_curve_a_hundred_times_as_closely_and_are_not_dithered():
    light = np.broadcast_to(np.linspace(0.01, 0.5, 512, dtype=np.float32)[None, :, None], (16, 512, 3))
    codes = graded(light, PLAIN, 0, bits=16)
    assert codes.dtype == np.uint16 and (codes == codes[:1]).all()
    # half a step of the linear frame, 1.5 codes; half a code; straight lines in a table of 8192, far less
    assert codes[0, :, 0] == pytest.approx(np.array([257 * codes_of(v) for v in light[0, :, 0]]), abs=2.1)


def test_eight_bits_are_the_sixteen_on_average():
    light = np.random.default_rng(1).random((64, 96, 3), dtype=np.float32)
    grade = Grade(grain=0.0)
    fine, coarse = (graded(light, grade, 0, bits=bits).astype(float) for bits in (16, 8))
    assert np.abs(coarse - fine / 257).max() <= 1.1  # dither, and the coarser reading of the table
    assert (coarse - fine / 257).mean() == pytest.approx(0, abs=0.06)  # the same; 18432 numbers are good to 0.003


def test_grain_is_the_same_in_eight_bits_and_in_sixteen():
    grade = PLAIN.model_copy(update={"grain": 0.05})
    fine, coarse = (graded(grey(0.2), grade, 4, bits=bits)[..., 0].ravel() for bits in (16, 8))
    assert np.corrcoef(fine, coarse)[0, 1] > 0.99


def test_without_grain_a_held_picture_stands_still_and_with_it_only_the_grain_moves():
    light = np.random.default_rng(1).random((64, 96, 3), dtype=np.float32)
    assert np.array_equal(graded(light, Grade(grain=0.0), 3), graded(light, Grade(grain=0.0), 4))
    first, second = (graded(light, Grade(grain=0.004), number).astype(float) for number in (3, 4))
    # two grains of 1.02 codes, two dithers and two roundings of 1/12 each; white clips some of it
    assert 0.5 < (first - second).std() < np.sqrt(2 * 1.02**2 + 4 / 12)


def test_a_background_shines_through_what_does_not_cover_it():
    ground = Background(bottom="#ff8000", top="#0080ff")
    codes = picture(encoded(grey(0.05), 0.5), frame(background=ground), bits=16).to_array() / 65535
    up = (1 - (np.arange(72) + 0.5) / 72)[:, None]
    behind = to_linear(ground.bottom) * (1 - up) + to_linear(ground.top) * up
    # below the shoulder; a step of the alpha and of the light in the linear frame
    assert codes[:, 0] == pytest.approx(encode(0.05 + 0.5 * behind), abs=1e-4)


def disc() -> tuple[np.ndarray, np.ndarray]:
    """Light and alpha of a reddish disc with a soft edge on nothing."""
    y, x = np.mgrid[:72, :128]
    alpha = np.clip((20 - np.hypot(y - 36, x - 64)) / 6, 0, 1).astype(np.float32)
    return alpha[..., None] * np.float32([0.3, 0.2, 0.1]), alpha


def test_what_covers_all_has_the_colours_of_the_opaque_picture():
    light = np.random.default_rng(0).random((72, 128, 3), dtype=np.float32)
    sample = frame(Grade(), 5)
    for bits in (8, 16):
        opaque, clear = (picture(encoded(light), sample, bits=bits, alpha=alpha).to_array() for alpha in (False, True))
        assert np.array_equal(clear[..., :3], opaque) and (clear[..., 3] == 2**bits - 1).all()


def test_laid_over_black_in_linear_light_what_has_coverage_is_the_opaque_picture_with_its_glow():
    codes, sample = encoded(*disc()), frame(PLAIN.model_copy(update={"bloom": 0.3, "threshold": 0.1, "vignette": 0.5}))
    opaque, clear = (picture(codes, sample, bits=16, alpha=alpha).to_array() / 65535 for alpha in (False, True))
    assert 0.001 < clear[36, 64 - 23, 3] < 0.5, "the glow covers what the disc, of 20, does not"
    # codes of 16 bits, of which one is up to 13 times as much light where it is dark, and the linear frame's steps
    assert decode(clear[..., :3]) * clear[..., 3:] == pytest.approx(decode(opaque), abs=2e-4)


def test_colours_are_not_multiplied_with_their_coverage_and_nothing_is_black():
    clear = picture(encoded(*disc()), frame(), bits=16, alpha=True).to_array() / 65535
    edge = (clear[..., 3] > 0.1) & (clear[..., 3] < 0.9)
    assert edge.sum() > 100 and clear[edge][:, :3] == pytest.approx(
        np.tile(encode(np.array([0.3, 0.2, 0.1])), (edge.sum(), 1)), abs=2e-3
    )  # steps of the linear frame, divided by a tenth
    grainy = picture(encoded(*disc()), frame(PLAIN.model_copy(update={"grain": 0.1})), alpha=True).to_array()
    assert not grainy[grainy[..., 3] == 0].any() and (grainy[0] == 0).all()


def test_coverage_in_eight_bits_is_dithered_but_not_where_all_or_nothing_is_covered():
    alpha = np.broadcast_to(np.linspace(0, 1, 128, dtype=np.float32), (72, 128))
    codes = picture(encoded(grey(0.0), alpha), frame(), alpha=True).to_array()[..., 3].astype(float)
    assert (codes[:, 0] == 0).all() and (codes[:, -1] == 255).all()
    # 72 samples of a noise of half a code at most, four of its spread
    assert codes.mean(axis=0) == pytest.approx(255 * alpha[0], abs=4 * 0.5 / np.sqrt(72))


WORDS = (Text("Hxl", 0.1, 0.5, 0.4, 0.7, colour="#ff8040"), Bar(np.ones((4, 3), np.float32), 0.9, 0.2, 0.5, 0.3, 0.5))


def test_text_in_sixteen_bits_fades_in_steps_finer_than_eight():
    def inner(opacity: float) -> int:
        over = (replace(WORDS[1], opacity=opacity),)
        return int(picture(encoded(grey(0.0)), frame(overlays=over), bits=16).to_array()[30, 100, 0])

    assert inner(0.0) == 0 and inner(0.001) == round(65.535) and inner(0.5) == pytest.approx(65535 / 2, abs=1)


def test_text_over_nothing_is_its_colour_with_its_own_coverage():
    clear = picture(encoded(grey(0.0), 0.0), frame(overlays=WORDS), bits=16, alpha=True).to_array() / 65535
    letters = clear[:, 8:60]
    assert letters[..., 3].max() == pytest.approx(0.7, abs=1e-4)
    assert letters[letters[..., 3] > 0.05][:, :3] == pytest.approx(
        np.tile([1, 128 / 255, 64 / 255], ((letters[..., 3] > 0.05).sum(), 1)), abs=1e-4
    )
    assert clear[30, 100] == pytest.approx([1, 1, 1, 0.5], abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"bits": 16}, {"alpha": True}])
@pytest.mark.parametrize("chunks", [(150, 97, 4), (40, 64, 4), (7, 97, 4), (128, 97, 4)])
def test_a_picture_is_the_same_bytes_from_memory_and_from_chunks_of_any_size(options, chunks):
    light = 2 * np.random.default_rng(0).random((150, 97, 3), dtype=np.float32) ** 4
    codes = encoded(light, np.random.default_rng(1).random((150, 97), dtype=np.float32))
    sample = frame(Grade(), 9, Background(), WORDS)
    stored = zarr.create_array({}, shape=codes.shape, chunks=chunks, dtype=codes.dtype)
    stored[:] = codes
    assert np.array_equal(picture(stored, sample, **options).to_array(), picture(codes, sample, **options).to_array())
    assert np.array_equal(linear_picture(stored, sample).to_array(), linear_picture(codes, sample).to_array())


class Endless:
    """A linear frame of any height, read from nowhere, that counts the rows that were read of it."""

    chunks = (32, 64, 4)

    def __init__(self, height: int):
        self.shape, self.read = (height, 64, 4), 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(self.shape[0])
        self.read += last - first
        return np.full((last - first, 64, 4), 30000, np.uint16)


def test_a_tall_picture_takes_no_more_memory_than_a_short_one_and_reads_its_linear_frame_twice():
    import tracemalloc

    most = []
    for height in (2048, 2048, 16 * 2048):
        tall = Endless(height)
        tracemalloc.start()
        rows = [len(band) for band in picture(tall, frame(Grade(), 1), bits=16)]
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sum(rows) == height and tall.read == 2 * height
    # the noise is made once, before; per row remain a line of background, of vignette and two numbers of noise: 32
    # bytes; a band is 256 rows of the tall one and 64 of the short one
    assert most[2] - most[1] < 1.5e6 + 64 * 15 * 2048 < 16 * 2048 * 64 * 8 / 4


def test_a_linear_picture_is_neither_graded_nor_has_it_overlays():
    light, alpha = disc()
    codes, sample = encoded(light, alpha), frame(Grade(), 3, Background(bottom="#808080", top="#808080"), WORDS)
    clear, opaque = linear_picture(codes, sample, alpha=True), linear_picture(codes, sample)
    assert clear.dtype == opaque.dtype == np.float16 and clear.shape == (72, 128, 4) and opaque.shape == (72, 128, 3)
    # half floats have 11 bits; a linear frame's step is 4e-5 of the root of such light
    assert clear.to_array() == pytest.approx(np.dstack([light, alpha]), rel=1e-3, abs=1e-4)
    behind = (1 - alpha[..., None]) * to_linear("#808080")
    assert opaque.to_array() == pytest.approx(light + behind, rel=1e-3, abs=1e-4)


def test_light_brighter_than_white_is_kept():
    assert linear_picture(encoded(grey(3.5)), frame()).to_array() == pytest.approx(3.5, rel=1e-3)
    assert linear_picture(encoded(grey(9.0)), frame()).to_array() == pytest.approx(MAX_LIGHT, rel=1e-3)


def test_a_table_in_sixteen_bits_goes_straight_from_entry_to_entry(tmp_path):
    lut = table_of(tmp_path, lambda rgb: np.where(rgb <= 0.5, rgb / 2, 1.5 * rgb - 0.5))
    light = np.broadcast_to(np.linspace(0, 0.55, 128, dtype=np.float32)[None, :, None], (4, 128, 3))
    plain, bent = (graded(light, PLAIN.model_copy(update={"lut": table}), 0, bits=16) / 65535 for table in (None, lut))
    # nine entries a side, one of them at the bend, written with all their digits: half a code, twice
    assert bent == pytest.approx(np.where(plain <= 0.5, plain / 2, 1.5 * plain - 0.5), abs=2e-5)


def test_a_band_is_no_higher_than_it_need_be():
    assert [len(band) for band in picture(encoded(grey(0.1, 150, 8)), frame())] == [64, 64, 22]
    assert isinstance(picture(encoded(grey(0.1)), frame()), Bands)
