import numpy as np
import pytest

from studio.film import colour
from studio.film.colour import black_body, decode, encode, lab, lightness_span, lookup_table, read_cube, to_linear
from studio.film.fields import ColourMapping


def test_colours_are_written_in_srgb_and_used_in_linear_light():
    assert to_linear("#ffffff").tolist() == [1, 1, 1] and to_linear("#000000").tolist() == [0, 0, 0]
    # IEC 61966-2-1: the code 188 is half the light, to the nearest code; 10 is on the straight foot of the curve
    assert to_linear("#bcbcbc") == pytest.approx([0.5] * 3, abs=0.005)
    assert to_linear("#0a0a0a") == pytest.approx([10 / 255 / 12.92] * 3)
    assert (np.diff(decode(np.linspace(0, 1, 1000))) > 0).all()


def test_stops_are_met_exactly_and_mixed_in_srgb_between():
    stops = lookup_table(((0.0, "#000000"), (0.5, "#804020"), (1.0, "#ffffff")))
    assert stops.shape == (1024, 3) and stops.dtype == np.float32
    assert stops[0].tolist() == [0, 0, 0] and stops[-1].tolist() == [1, 1, 1]
    # the middle is between two of the 1024 entries: half a step of 1/512 of the way to a neighbour
    assert stops[511] == pytest.approx(to_linear("#804020"), abs=1e-3)
    quarter = 255.75 / 1023 / 0.5 * np.array([0x80, 0x40, 0x20]) / 255
    assert (stops[255] + stops[256]) / 2 == pytest.approx(decode(quarter), abs=1e-4)


@pytest.mark.parametrize(
    "name", ["inferno", "viridis", "lajolla", "cmc.lajolla", "thermal", "cmo.thermal", "fire", "cet_fire", "lajolla_r"]
)
def test_the_colormaps_of_four_libraries_go_by_their_own_names(name):
    assert ColourMapping(map=name).map == name
    assert lookup_table(name).shape == (1024, 3) and 0 <= lookup_table(name).min() < lookup_table(name).max() <= 1


def test_a_prefix_is_optional_and_r_reverses_a_map():
    assert np.array_equal(lookup_table("thermal"), lookup_table("cmo.thermal"))
    assert np.array_equal(lookup_table("lajolla_r"), lookup_table("lajolla")[::-1])


def test_matplotlibs_own_map_comes_first_where_two_share_a_name():
    from matplotlib import colormaps

    assert colour._colormap("gray") is colour._colormaps()["gray"]
    assert np.array_equal(colour._colormap("gray")(0.3), colormaps["gray"](0.3))


def test_encoding_undoes_decoding():
    codes = np.linspace(0, 1, 256)
    assert encode(decode(codes)) == pytest.approx(codes, abs=1e-7)  # the standard's constants are rounded


# --- lamps


@pytest.mark.parametrize(
    ("temperature", "x", "y"), [(2856, 0.4476, 0.4074), (5000, 0.3451, 0.3516), (10000, 0.2807, 0.2884)]
)
def test_a_temperature_has_the_chromaticity_of_its_black_body(temperature, x, y):
    # Planck's law at these temperatures, CIE 1931; 2856 K is illuminant A. Codes are whole, hence half a percent
    light = to_linear(black_body(temperature))
    xyz = colour._TO_XYZ @ light
    if min(light) > 0:
        assert xyz[:2] / xyz.sum() == pytest.approx([x, y], abs=0.005)


def test_a_warmer_lamp_is_redder_and_every_lamp_is_as_bright_as_srgb_allows():
    codes = [[int(black_body(t)[i : i + 2], 16) for i in (1, 3, 5)] for t in (1800, 2500, 4000, 6500, 12000)]
    assert all(max(code) == 255 for code in codes)
    assert (np.diff([blue - red for red, _, blue in codes]) > 0).all()
    assert np.ptp(codes[3]) <= 12  # 6500 K on the locus is a little greenless beside D65


# --- look-up tables


def test_a_table_is_read_with_red_running_fastest(tmp_path):
    path = tmp_path / "a.cube"
    rows = [(r, g, b) for b in (0, 1) for g in (0, 1) for r in (0, 1)]
    head = 'TITLE "x"\n# a comment\nLUT_3D_SIZE 2\nDOMAIN_MAX 1 1 1\n\n'
    path.write_text(head + "\n".join("{} {} {}".format(*row) for row in rows))
    assert read_cube(path)[0][1, 0, 0].tolist() == [0, 0, 1] and read_cube(path)[0][0, 0, 1].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.cube is no 3D look-up table: LUT_3D_SIZE 0 and 0 rows"),
        ("LUT_3D_SIZE 2\n0 0 0\n", "LUT_3D_SIZE 2 and 1 rows"),
        ("0 0 0\n" * 300_000, "a.cube:274626: '0 0 0' is one row more than any table has"),
        ("LUT_3D_SIZE 2\n" + "0 0 nan\n" * 8, "a.cube is no 3D look-up table"),
        ("LUT_3D_SIZE 2\nDOMAIN_MAX 2 2 2\n" + "0 0 0\n" * 8, "a.cube:2: 'DOMAIN_MAX 2 2 2' is a table over another"),
        ("LUT_3D_INPUT_RANGE 0 4\nLUT_3D_SIZE 2\n" + "0 0 0\n" * 8, "is a table over another domain"),
        ("LUT_3D_SIZE 2\n" + "0 0\n" * 8, "a.cube:2: '0 0' is not understood"),
        ("LUT_3D_SIZE 2\n0 0 0x\n", "a.cube:2: '0 0 0x' is not understood"),
        ("LUT_3D_SIZE\n", "a.cube:1: 'LUT_3D_SIZE' is not understood"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n", "a.cube:1: 'LUT_1D_SIZE 2' is a 1D table"),
    ],
)
def test_an_invalid_table_is_refused_at_its_line(text, message, tmp_path):
    (tmp_path / "a.cube").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_cube(tmp_path / "a.cube")


# --- colour-blind eyes


def test_lightness_is_100_for_white_0_for_black_and_the_cube_root_between():
    white, grey, black = lab(np.array([[1.0] * 3, [0.18] * 3, [0.0] * 3]))
    assert white == pytest.approx([100, 0, 0], abs=1e-9) and black == pytest.approx([0, 0, 0], abs=1e-9)
    assert grey == pytest.approx([116 * np.cbrt(0.18) - 16, 0, 0], abs=1e-9)


def test_dichromats_see_greys_as_they_are():
    for eye in map(np.array, colour._DICHROMATS.values()):
        assert eye.sum(axis=1) == pytest.approx(1.0, abs=1e-5)  # printed to six places


@pytest.mark.parametrize(
    ("name", "diverges"),
    [("vik", True), ("cmo.balance", True), ("coolwarm", True), ("berlin", True), ("inferno", False), ("gray", False)],
)
def test_a_map_diverges_if_its_lightness_turns_in_the_middle(name, diverges):
    assert colour.is_diverging(name) == diverges


def test_red_to_green_of_equal_lightness_has_no_lightness_span_and_dark_to_light_has():
    assert (
        lightness_span(((0.0, "#c00000"), (1.0, "#008000"))) < 25 < lightness_span(((0.0, "#400000"), (1.0, "#ffe0e0")))
    )
    assert lightness_span(((0.0, "#000000"), (0.5, "#ffffff"), (1.0, "#000000"))) == 0
