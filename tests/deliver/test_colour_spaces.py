"""Colours on their way out: against closed forms, and against Little CMS, which reads the profiles of `assets`."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from studio.deliver import colour_spaces

WIDE = ["display-p3", "adobe-rgb"]


def ramp(dtype) -> np.ndarray:
    """Every grey and many colours [64, 256, 3]."""
    y, x = np.mgrid[0:64, 0:256]
    codes = np.stack([x, (x * (1 + y)) % 256, 255 - 4 * y], axis=-1)
    codes[:8] = x[:8, :, None]
    return (codes * (257 if dtype == np.uint16 else 1)).astype(dtype)


def by_little_cms(picture: np.ndarray, profile: str) -> np.ndarray:
    """sRGB codes of 8 bits in another space, by an independent program and its own sRGB."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(colour_spaces.icc(profile)))
    flags = ImageCms.Flags.HIGHRESPRECALC
    seen = ImageCms.profileToProfile(Image.fromarray(picture), ImageCms.createProfile("sRGB"), target, flags=flags)
    return np.asarray(seen)


# --- spaces ----------------------------------------------------------------------------------------------------------


def test_srgb_is_that_of_the_standard():
    published = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]  # IEC 61966-2-1
    assert np.allclose(colour_spaces.SPACES["srgb"].to_xyz, published, atol=6e-5)  # to its last digit


@pytest.mark.parametrize("profile", colour_spaces.SPACES)
def test_white_is_white_in_every_space(profile):
    assert np.allclose(
        colour_spaces.SPACES[profile].to_xyz.sum(axis=1), [0.31270 / 0.329, 1, 0.3583 / 0.329], atol=1e-6
    )


@pytest.mark.parametrize(("profile", "primary"), [("display-p3", (234, 51, 35)), ("adobe-rgb", (219, 0, 0))])
def test_pure_red_of_srgb_is_no_longer_pure_in_a_wider_space(profile, primary):
    # The published codes of sRGB's red: Display P3 by Apple's calculator, Adobe RGB by its own definition.
    red = np.full((1, 1, 3), (65535, 0, 0), np.uint16)
    assert np.abs(colour_spaces.convert(red, profile)[0, 0] / 257 - primary).max() < 0.6


@pytest.mark.parametrize("profile", WIDE)
def test_a_conversion_agrees_with_little_cms(profile):
    # Little CMS rounds to 8 bits, ours is in 16: half a code, and another for its tables of 33 points.
    ours = colour_spaces.convert(ramp(np.uint16), profile) / 257
    assert np.abs(ours - by_little_cms(ramp(np.uint8), profile)).max() < 1.5
    assert np.abs(ours - ramp(np.uint8)).max() > 20  # the conversion is one


def test_grey_stays_grey_and_srgb_stays_itself():
    for profile in WIDE:
        actual = colour_spaces.convert(ramp(np.uint16), profile)[:8].astype(int)
        assert np.ptp(actual, axis=-1).max() <= 1  # the rows of the matrix sum to 1 within float32
    assert np.array_equal(colour_spaces.convert(ramp(np.uint16), "srgb"), ramp(np.uint16))


def test_alpha_is_no_colour():
    picture = np.dstack([ramp(np.uint16), np.full((64, 256), 1234, np.uint16)])
    assert (colour_spaces.convert(picture, "display-p3")[..., 3] == 1234).all()


# --- depth and alpha -------------------------------------------------------------------------------------------------


def test_eight_bits_come_back_from_sixteen():
    assert np.array_equal(colour_spaces.to_8bit(ramp(np.uint8).astype(np.uint16) * 257), ramp(np.uint8))


def test_fewer_bits_keep_the_mean_of_what_lies_between_two_codes():
    between = np.full((256, 256, 3), 257 * 100 + 64, np.uint16)  # 100.249 in 8 bits
    actual = colour_spaces.to_8bit(between)
    assert set(actual.ravel()) == {100, 101}
    assert actual.mean() == pytest.approx(100.249, abs=0.006)  # 3.5 standard errors: 0.43 / 256


def test_what_is_opaque_has_full_alpha():
    assert (colour_spaces.add_alpha(ramp(np.uint16))[..., 3] == 65535).all()
    assert np.array_equal(colour_spaces.add_alpha(ramp(np.uint8))[..., :3], ramp(np.uint8))


def test_light_brighter_than_white_stays_so_in_other_primaries():
    light = np.full((1, 1, 3), 3.0, np.float16)
    assert np.allclose(
        colour_spaces.convert_linear(light, "display-p3"), 3, atol=4e-3
    )  # two steps of half floats there


# --- cinema ----------------------------------------------------------------------------------------------------------


def test_cinema_white_has_the_published_luminance_code():
    # SMPTE 428-1: 48 cd/m2 is code 3960 of Y'. D65 in X' and Z' by the same formula.
    white = colour_spaces.to_dcp(np.full((1, 1, 3), 65535, np.uint16))[0, 0] >> 4
    x, z = (4095 * (48 * share / 52.37) ** (1 / 2.6) for share in (0.3127 / 0.329, 0.3583 / 0.329))
    assert white[1] == 3960 and abs(white[0] - x) <= 0.5 and abs(white[2] - z) <= 0.5


def test_cinema_codes_are_twelve_bits_in_the_upper_end_of_sixteen():
    codes = colour_spaces.to_dcp(ramp(np.uint16))
    assert codes.dtype == np.uint16 and not (codes & 15).any() and codes.max() <= 4095 << 4


def test_cinema_light_comes_back_as_the_light_of_the_screen():
    picture = ramp(np.uint16)
    codes = (colour_spaces.to_dcp(picture) >> 4) / 4095
    back = (codes**2.6 * 52.37 / 48) @ np.linalg.inv(colour_spaces.SPACES["srgb"].to_xyz).T
    # half a step of 12 bits is 2.6 / 4095 / 2 of the light, up to three channels' worth through the inverse's 3.2
    assert np.abs(back - colour_spaces.to_light(picture)).max() < 3.2e-4 * (3.24 + 1.54 + 0.5)


# --- profiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "name"),
    [("srgb", "sRGB"), ("display-p3", "Display P3"), ("adobe-rgb", "compatible with Adobe RGB (1998)")],
)
def test_a_profile_is_read_by_its_name_and_known_again(profile, name):
    read = ImageCms.ImageCmsProfile(io.BytesIO(colour_spaces.icc(profile)))
    assert name in ImageCms.getProfileDescription(read)
    assert read.profile.version == pytest.approx(4.3)
    assert colour_spaces.icc_name(colour_spaces.icc(profile)) == profile and colour_spaces.icc_name(b"others'") is None


@pytest.mark.parametrize(
    ("profile", "columns"),
    [
        ("srgb", [(0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)]),
        ("display-p3", [(0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)]),
        ("adobe-rgb", [(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)]),
    ],
)
def test_a_profile_has_the_colorants_of_the_published_one(profile, columns):
    """Red, green and blue under D50, from the profiles of the ICC, of Apple and of Adobe, to four digits."""
    read = ImageCms.ImageCmsProfile(io.BytesIO(colour_spaces.icc(profile))).profile
    actual = [getattr(read, f"{name}_colorant")[0] for name in ("red", "green", "blue")]
    assert np.allclose(actual, columns, atol=2.5e-4)  # they state D65 in four or five digits, and adapt in s15.16


def test_our_srgb_profile_changes_no_picture_that_is_srgb():
    assert np.abs(by_little_cms(ramp(np.uint8), "srgb").astype(int) - ramp(np.uint8)).max() <= 1
