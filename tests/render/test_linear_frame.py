import numpy as np
import pytest

from studio.film.light import MAX_LIGHT
from studio.render import linear_frame


def rgba(light, alpha: float = 1.0) -> np.ndarray:
    return np.float32([light, light, light, alpha])


def decode(codes: np.ndarray) -> np.ndarray:
    return np.square(codes, dtype=np.float32) * linear_frame.SCALE


def test_every_code_comes_back_from_the_light_it_stands_for():
    codes = np.repeat(np.arange(65536, dtype=np.uint16)[:, None], 4, axis=1)
    assert np.array_equal(linear_frame.encode(decode(codes)), codes)


def test_light_is_kept_to_half_a_step_of_its_root():
    light = np.geomspace(1e-9, MAX_LIGHT, 500, dtype=np.float32)
    decoded = decode(linear_frame.encode(np.stack([light, light, light, light / MAX_LIGHT], axis=-1)))
    for channel, most in ((0, MAX_LIGHT), (3, 1.0)):
        # half a code, and what float32 makes of numbers up to 65535: a part in ten million
        steps = 65535 * np.abs(np.sqrt(decoded[:, channel] / most) - np.sqrt(light / MAX_LIGHT))
        assert steps.max() <= 0.51


def test_neither_dark_nor_bright_light_is_a_step_of_a_printed_tone_away():
    # 10 bits are the finest that is shown of a movie; a linear frame must be finer than that everywhere below white
    light = decode(np.repeat(np.arange(32769, dtype=np.uint16)[:, None], 4, axis=1))[:, 0].astype(float)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert srgb[-1] == pytest.approx(1, abs=1e-4) and np.diff(srgb).max() < 1 / 1023 / 20


def test_light_out_of_range_is_clipped():
    assert linear_frame.encode(rgba(99.0, 2.0)).tolist() == 4 * [65535]
    assert linear_frame.encode(rgba(-1.0, -1.0)).tolist() == 4 * [0]


def test_encoding_leaves_its_input_unchanged():
    light = np.full((2, 2, 4), 0.5, np.float32)
    linear_frame.encode(light)
    assert (light == 0.5).all()
