"""Colours: sRGB and linear light, colormaps by name, lamp temperatures, look-up tables, colour-blind eyes.

Colours are written in sRGB (IEC 61966-2-1) and used in linear light; colormaps come from matplotlib, cmocean, colorcet
and cmcrameri.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from studio.config.records import nearest
from studio.config.user_files import read_regular, reason, shown
from studio.field import Array

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

Stops = tuple[tuple[float, str], ...]  # places in 0..1 and their `#rrggbb`

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LUMA = _TO_XYZ[1]  # each linear channel's share of the luminance


def to_linear(colour: str) -> Array:
    """An sRGB `#rrggbb` as linear RGB [3] in 0..1.

    >>> to_linear("#ff0000").tolist()
    [1.0, 0.0, 0.0]
    """
    return decode(to_srgb(colour))


def to_srgb(colour: str) -> Array:
    """An sRGB `#rrggbb` as its codes [3] in 0..1."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def decode(srgb: Array) -> Array:
    """Linear light from sRGB in 0..1: ((s + 0.055) / 1.055)^2.4, and s / 12.92 up to 0.04045."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def encode(light: Array) -> Array:
    """sRGB from linear light in 0..1: 1.055 l^(1/2.4) - 0.055, and 12.92 l up to 0.0031308."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


# --- colormaps -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def lookup_table(colormap: str | Stops) -> Array:
    """A colormap as linear RGB [1024, 3], float32."""
    shares = np.linspace(0, 1, 1024)
    if isinstance(colormap, str):
        return decode(_colormap(colormap)(shares)[:, :3]).astype(np.float32)
    places = [place for place, _ in colormap]
    srgb = np.array([to_srgb(colour) for _, colour in colormap])
    return decode(np.stack([np.interp(shares, places, channel) for channel in srgb.T], axis=1)).astype(np.float32)


def check_colormap(name: str) -> str:
    """The name of a colormap, unchanged. Raises ValueError, with the nearest name, if there is no such colormap."""
    _colormap(name)
    return name


def _colormap(name: str) -> Colormap:
    colormaps = _colormaps()
    if name not in colormaps:
        raise ValueError(f"no colormap '{name}'{nearest(name, colormaps)[:120]}")
    return colormaps[name]


@lru_cache(maxsize=1)
def _colormaps() -> dict[str, Colormap]:
    """Every colormap by name; matplotlib's first, then those of cmcrameri, cmocean and colorcet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cmocean calls matplotlib in a deprecated way, which we cannot mend
        # each of the three registers its maps with matplotlib
        import cmcrameri  # noqa: F401
        import cmocean  # noqa: F401
        import colorcet  # noqa: F401
    from matplotlib import colormaps

    by_name: dict[str, Colormap] = {}
    for name in sorted(colormaps, key=lambda n: n.startswith(("cmc.", "cmo.", "cet_"))):
        for alias in (name, name.removeprefix("cmc.").removeprefix("cmo.").removeprefix("cet_")):
            by_name.setdefault(alias, colormaps[name])
    return by_name


# --- lamps and look-up tables ----------------------------------------------------------------------------------------


def black_body(temperature: float) -> str:
    """The colour of a black body at 1667 to 25000 kelvin as sRGB `#rrggbb`, as bright as sRGB allows.

    Chromaticity by the cubics of Kim et al. (US patent 7024034, 2006). Raises ValueError for any other temperature.
    """
    if not 1667 <= temperature <= 25000:
        raise ValueError(f"{temperature:g}K is no colour temperature; expected 1667K to 25000K")
    warm, cool = [-0.2661239, -0.2343589, 0.8776956, 0.179910], [-3.0258469, 2.1070379, 0.2226347, 0.240390]
    x = np.polyval(warm if temperature <= 4000 else cool, 1e3 / temperature)
    y = np.polyval(next(cubic for highest, cubic in _LOCUS if temperature <= highest), x)
    light = np.linalg.solve(_TO_XYZ, np.array([x / y, 1.0, (1 - x - y) / y]))
    codes = np.round(255 * encode(np.clip(light / light.max(), 0, 1))).astype(int)
    return "#{:02x}{:02x}{:02x}".format(*codes)


_LOCUS = (
    (2222, [-1.1063814, -1.34811020, 2.18555832, -0.20219683]),
    (4000, [-0.9549476, -1.37418593, 2.09137015, -0.16748867]),
    (25000, [3.0817580, -5.87338670, 3.75112997, -0.37001483]),
)
"""The Planckian locus: y as a cubic of x, up to a temperature."""


LARGEST_CUBE = 2**24


def read_cube(path: Path) -> tuple[Array, str]:
    """The 3D look-up table of a `.cube` file [n, n, n, 3] in sRGB, float32, indexed blue, green, red; its SHA-256.

    Raises ValueError if the file cannot be read, or holds no such table, or one over another domain than 0 to 1.
    """
    try:
        content = read_regular(path, LARGEST_CUBE)
    except (OSError, ValueError) as error:
        raise ValueError(f"{shown(path)} cannot be read: {reason(error)}") from error
    size, rows = 0, []
    for number, line in enumerate(io.TextIOWrapper(io.BytesIO(content), "utf-8", errors="replace"), start=1):
        if number > 2 * 65**3:
            raise ValueError(f"{shown(path)} has more lines than any table")
        keyword, *numbers = line.split() or ["#"]
        try:
            if keyword == "LUT_1D_SIZE":
                raise ValueError("is a 1D table; expected LUT_3D_SIZE")
            if keyword == "LUT_3D_SIZE":
                size = int(numbers[0])
            elif keyword in _DOMAINS and any(float(a) != b for a, b in zip(numbers, _DOMAINS[keyword], strict=True)):
                raise ValueError("is a table over another domain than 0 to 1, which is not supported")
            elif keyword[0] in "-+.0123456789":
                red, green, blue = map(float, line.split())
                rows.append((red, green, blue))
                if len(rows) > 65**3:
                    raise ValueError("is one row more than any table has")
        except (ValueError, IndexError) as error:
            words = str(error) if str(error).startswith("is ") else "is not understood"
            raise ValueError(f"{shown(path)}:{number}: '{shown(line.strip(), 40)}' {words}") from error
    if not 2 <= size <= 65 or len(rows) != size**3 or not (np.abs(rows) <= MOST_LIGHT).all():  # false for NaN
        found = f"LUT_3D_SIZE {shown(size, 20)} and {len(rows)} rows of numbers, expected up to {MOST_LIGHT}"
        raise ValueError(f"{shown(path)} is no 3D look-up table: {found}")
    return np.array(rows, np.float32).reshape(size, size, size, 3), hashlib.sha256(content).hexdigest()


MOST_LIGHT = 1000
"""What an entry of a look-up table may be, where 1 is white."""
_DOMAINS = {"DOMAIN_MIN": (0, 0, 0), "DOMAIN_MAX": (1, 1, 1), "LUT_3D_INPUT_RANGE": (0, 1)}


# --- colour-blind eyes -----------------------------------------------------------------------------------------------

_DICHROMATS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Linear RGB as the three kinds of dichromats see it. Machado, Oliveira, Fernandes (2009), severity 1."""


def lab(light: Array) -> Array:
    """CIE L*a*b* [..., 3] of linear RGB, white point D65.

    >>> lab(np.array([1.0, 1.0, 1.0])).round(6).tolist()
    [100.0, 0.0, 0.0]
    """
    ratio = np.asarray(light, np.float64) @ _TO_XYZ.T / _TO_XYZ.sum(axis=1)
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def is_diverging(colormap: str | Stops) -> bool:
    """Whether a map's middle is lighter than both of its ends, or darker than both, by 20 in L* or more."""
    first, middle, last = lab(lookup_table(colormap)[[0, 512, -1]])[:, 0]
    return bool(min(abs(middle - first), abs(middle - last)) >= 20 and (middle > first) == (middle > last))


@lru_cache(maxsize=8)
def lab_diagonal(colormap: str | Stops) -> float:
    """How far apart a map's colours lie: the diagonal of their bounding box in CIELAB; 0 for a single colour."""
    return float(np.linalg.norm(np.ptp(lab(lookup_table(colormap)), axis=0)))


def lightness_span(colormap: str | Stops) -> float:
    """Difference in L* between the two ends of a map, for the worst of normal eyes and the three kinds of dichromats.

    0 if for any of them the lightness turns back by 1 or more on the way; less is invisible.
    """
    spans = []
    for eye in (np.eye(3), *map(np.array, _DICHROMATS.values())):
        lightness = lab(np.clip(lookup_table(colormap) @ eye.T, 0, 1))[:, 0]
        rising = lightness if lightness[-1] > lightness[0] else -lightness
        setback = float((np.maximum.accumulate(rising) - rising).max())
        spans.append(float(rising[-1] - rising[0]) if setback < 1 else 0.0)
    return min(spans)
