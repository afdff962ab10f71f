"""Colours: sRGB and linear light, colormaps by name, temperatures of lamps, look-up tables, who can tell them apart.

Colours are written in sRGB (IEC 61966-2-1) and used in linear light; colormaps come from matplotlib, cmocean, colorcet
and cmcrameri.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from studio.config.records import nearest

Stops = tuple[tuple[float, str], ...]
"""Places in 0..1 and their `#rrggbb`."""

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LUMA = _TO_XYZ[1]
"""How much of the luminance each linear channel carries."""


def linear(colour: str) -> np.ndarray:
    """An sRGB `#rrggbb` as linear RGB [3] in 0..1."""
    return decode(_srgb(colour))


def _srgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def decode(srgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 to linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def encode(light: np.ndarray) -> np.ndarray:
    """Linear light in 0..1 to sRGB."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


# --- colormaps -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def table(colormap: str | Stops) -> np.ndarray:
    """A colormap as linear RGB [1024, 3], float32."""
    at = np.linspace(0, 1, 1024)
    if isinstance(colormap, str):
        return decode(_colormap(colormap)(at)[:, :3]).astype(np.float32)
    places = [place for place, _ in colormap]
    srgb = np.array([_srgb(colour) for _, colour in colormap])
    return decode(np.stack([np.interp(at, places, channel) for channel in srgb.T], axis=1)).astype(np.float32)


def known(name: str) -> str:
    """The name of a colormap. Raises ValueError, with the nearest, if there is none of that name."""
    _colormap(name)
    return name


def _colormap(name: str):
    found = _colormaps().get(name)
    if found is None:
        raise ValueError(f"no colormap '{name}'{nearest(name, _colormaps())[:120]}")
    return found


@lru_cache(maxsize=1)
def _colormaps() -> dict:
    """Every colormap by its own name; matplotlib's first, then those of cmcrameri, cmocean and colorcet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cmocean calls matplotlib in a way that is to go; nobody here can mend it
        import cmcrameri  # noqa: F401  (each of the three registers its maps with matplotlib)
        import cmocean  # noqa: F401
        import colorcet  # noqa: F401
    from matplotlib import colormaps

    maps: dict[str, Any] = {}
    for name in sorted(colormaps, key=lambda n: n.startswith(("cmc.", "cmo.", "cet_"))):
        for alias in (name, name.removeprefix("cmc.").removeprefix("cmo.").removeprefix("cet_")):
            maps.setdefault(alias, colormaps[name])
    return maps


# --- lamps and look-up tables ----------------------------------------------------------------------------------------


def kelvin(temperature: float) -> str:
    """The sRGB colour, as bright as it can be, of a black body at 1667 to 25000 kelvin.

    Chromaticity by the cubics of Kim et al. (US patent 7024034, 2006).
    """
    if not 1667 <= temperature <= 25000:
        raise ValueError(f"{temperature:g}K is no colour temperature; expected 1667K to 25000K")
    t = 1e3 / temperature
    warm, cool = [-0.2661239, -0.2343589, 0.8776956, 0.179910], [-3.0258469, 2.1070379, 0.2226347, 0.240390]
    x = np.polyval(warm if temperature <= 4000 else cool, t)
    y = np.polyval(next(cubic for most, cubic in _LOCUS if temperature <= most), x)
    light = np.linalg.solve(_TO_XYZ, [x / y, 1.0, (1 - x - y) / y])
    codes = np.round(255 * encode(np.clip(light / light.max(), 0, 1))).astype(int)
    return "#{:02x}{:02x}{:02x}".format(*codes)


_LOCUS = (
    (2222, [-1.1063814, -1.34811020, 2.18555832, -0.20219683]),
    (4000, [-0.9549476, -1.37418593, 2.09137015, -0.16748867]),
    (25000, [3.0817580, -5.87338670, 3.75112997, -0.37001483]),
)


def cube(path: Path) -> np.ndarray:
    """A 3D look-up table [n, n, n, 3] in sRGB, blue first and red last, from a `.cube` file.

    Raises ValueError if it holds none, or one over another domain than 0 to 1.
    """
    size, rows = 0, []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        word, *rest = line.split() or ["#"]
        try:
            if word == "LUT_1D_SIZE":
                raise ValueError("is a 1D table; one with LUT_3D_SIZE is read")
            if word == "LUT_3D_SIZE":
                size = int(rest[0])
            elif word in _DOMAINS and any(float(end) != unit for end, unit in zip(rest, _DOMAINS[word], strict=True)):
                raise ValueError("is a table over another domain than 0 to 1, which is not read")
            elif word[0] in "-+.0123456789":
                red, green, blue = map(float, (word, *rest))
                rows.append((red, green, blue))
        except (ValueError, IndexError) as error:
            said = str(error) if str(error).startswith("is ") else "is not understood"
            raise ValueError(f"{path}:{number}: '{line.strip()[:40]}' {said}") from error
    if not 2 <= size <= 65 or len(rows) != size**3 or not np.isfinite(rows).all():
        raise ValueError(f"{path} is no 3D look-up table: LUT_3D_SIZE {size} and {len(rows)} rows of numbers")
    return np.array(rows, np.float32).reshape(size, size, size, 3)


_DOMAINS = {"DOMAIN_MIN": (0, 0, 0), "DOMAIN_MAX": (1, 1, 1), "LUT_3D_INPUT_RANGE": (0, 1)}


# --- who can tell colours apart --------------------------------------------------------------------------------------

_SEEN_BY = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""How linear RGB looks to the three kinds of dichromats. Machado, Oliveira, Fernandes (2009), severity 1."""


def lab(light: np.ndarray) -> np.ndarray:
    """CIE L*a*b* [..., 3] of linear RGB, white point D65."""
    ratio = np.asarray(light, np.float64) @ _TO_XYZ.T / _TO_XYZ.sum(axis=1)
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def diverging(colormap: str | Stops) -> bool:
    """Whether a map is lighter in the middle than at both of its ends, or darker, by 20 in L* or more."""
    first, middle, last = lab(table(colormap)[[0, 512, -1]])[:, 0]
    return min(abs(middle - first), abs(middle - last)) >= 20 and (middle > first) == (middle > last)


@lru_cache(maxsize=8)
def spread(colormap: str | Stops) -> float:
    """How far apart the colours of a map lie in CIELAB: the diagonal of the box that holds them; 0 of one colour."""
    return float(np.linalg.norm(np.ptp(lab(table(colormap)), axis=0)))


def ordered(colormap: str | Stops) -> float:
    """How much lighter, in L*, one end of a map is than the other, in the worst of all four kinds of eyes.

    0 if on the way the lightness ever turns back by more than a step that nobody sees.
    """
    eyes = (np.eye(3), *map(np.array, _SEEN_BY.values()))
    spans = []
    for eye in eyes:
        lightness = lab(np.clip(table(colormap) @ eye.T, 0, 1))[:, 0]
        rising = lightness if lightness[-1] > lightness[0] else -lightness
        back = float((np.maximum.accumulate(rising) - rising).max())
        spans.append(float(rising[-1] - rising[0]) if back < 1 else 0.0)
    return min(spans)
