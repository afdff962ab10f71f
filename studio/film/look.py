"""How measured numbers become a picture: a Look names heights, colours, material, light, marker, lines and grade.

A look is YAML in `assets/looks`; `base: ember` starts from that one and every further key replaces part of it.
Colours are written in sRGB and used in linear light. Lengths are scene units: the drawn square spans -1 to 1.
"""

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from ..spec import Angle, Colour, Record, nearest, plain

HALF_RANGE = 4.0
"""The brightest linear light that leaves the shader; more is cut."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]

# an editor must not ask in a scene for what its look's base gives
_ON_A_BASE = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None))


class Height(Record):
    """Which field is the height, and on what scale.

    cap: values above it are drawn at it (in the field's units). exaggeration: drawn height of the film's full range.
    """

    field: Literal["loss", "accuracy"] = "loss"
    scale: Literal["log", "sqrt", "linear"] = "log"
    cap: Positive | None = None
    exaggeration: Positive = 0.56

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values on the height scale; inf becomes the cap (if there is one), NaN stays NaN."""
        capped = values if self.cap is None else np.minimum(values, self.cap)
        if self.scale == "log":
            return np.log(np.maximum(capped, np.finfo(np.float64).tiny))
        return np.sqrt(np.maximum(capped, 0.0)) if self.scale == "sqrt" else capped


Stops = tuple[tuple[Share, Colour], ...]


class Paint(Record):
    """Which field is the colour, its range (film-wide if not given) and the colormap.

    map: a colormap of matplotlib, cmocean, colorcet or cmcrameri (`_r` turns it round), or stops [[0, "#..."], ...].
    scale: `height` follows the drawn height; the others are as for height. range: in the field's units.
    """

    field: Literal["loss", "accuracy", "convexity"] = "loss"
    map: Annotated[str, AfterValidator(lambda name: _known(name))] | Stops = "inferno"
    scale: Literal["height", "log", "sqrt", "linear"] = "height"
    range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _makes_sense(self):
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range [{self.range[0]:g}, {self.range[1]:g}] is empty or reversed")
        if not isinstance(self.map, str):
            places = [place for place, _ in self.map]
            if (
                len(places) < 2
                or places[0] != 0
                or places[-1] != 1
                or any(a >= b for a, b in zip(places, places[1:], strict=False))
            ):
                raise ValueError("map: stops must rise from 0 to 1")
        return self


class Material(Record):
    metallic: Share = 0.15
    roughness: Annotated[float, Field(ge=0.05, le=1)] = 0.5


class Lamp(Record):
    """A soft lamp far away. azimuth: from the camera's own, 0deg behind the camera, 180deg opposite.

    intensity: of its light. glint: its strength in reflections. size: half its width, as reflections see it.
    """

    model_config = _ON_A_BASE
    azimuth: Angle
    elevation: Angle
    colour: Colour = "#ffffff"
    intensity: NonNegative = 1.0
    glint: NonNegative = 1.0
    size: Angle = 12.0


class Light(Record):
    """key: the lamp that casts the baked shadow. follow: lamps turn with the camera, else with the scene's azimuth 0.

    sky, horizon, ground: colours of the light from everywhere. occlusion, shadow: strength of what is baked.
    """

    model_config = _ON_A_BASE
    key: Lamp
    rim: Lamp
    sky: Colour = "#1a2450"
    horizon: Colour = "#38406a"
    ground: Colour = "#0a0608"
    ambient: NonNegative = 1.0
    occlusion: Share = 0.7
    shadow: Share = 0.6
    follow: bool = True


class Marker(Record):
    """The point of light at the minimiser. radius, spread: scene units."""

    radius: Positive = 0.008
    colour: Colour = "#fffdf4"
    glow: NonNegative = 0.8
    spread: Positive = 0.07
    halo: Colour = "#ffc070"


class Contours(Record):
    """Lines of equal height. every: spacing in scene units; width: in pixels of the finished picture."""

    every: Positive = 0.025
    width: Positive = 1.0
    opacity: Share = 0.3
    colour: Colour = "#ffffff"


class Fade(Record):
    """Where the drawn disc dissolves into the background: radii in scene units, start and end."""

    start: Share = 0.78
    end: Share = 0.98

    @model_validator(mode="after")
    def _is_a_ring(self):
        if not self.start < self.end:
            raise ValueError(f"fade from {self.start:g} to {self.end:g} is empty or reversed")
        return self


class Background(Record):
    bottom: Colour = "#03040a"
    top: Colour = "#0b0f22"


class Grade(Record):
    """What happens to linear light. bloom: of what is above the threshold. grain: its spread, a share of full scale."""

    exposure: Positive = 1.35
    bloom: NonNegative = 0.8
    threshold: NonNegative = 0.7
    saturation: NonNegative = 1.0
    vignette: Share = 0.35
    grain: NonNegative = 0.005


def _odd(points: int) -> int:
    if points % 2 == 0:
        raise ValueError(f"{points} vertices: expected an odd number, so that the minimiser is one of them")
    return points


class Look(Record):
    """The whole look. mesh: vertices along a side of the drawn square, odd."""

    model_config = _ON_A_BASE
    base: str | None = None
    height: Height = Height()
    colour: Paint = Paint()
    material: Material = Material()
    light: Light
    marker: Marker = Marker()
    contours: Contours | None = None
    fade: Fade = Fade()
    background: Background = Background()
    grade: Grade = Grade()
    mesh: Annotated[int, Field(ge=33, le=2001), AfterValidator(_odd)] = 401

    @model_validator(mode="before")
    @classmethod
    def _on_its_base(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("base") is None:
            return given
        return _merged(_base(str(given["base"])), given)


def _merged(under: Mapping, over: Mapping) -> dict:
    """`over` laid on `under`, key by key at every depth."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def looks() -> dict[str, Path]:
    """The looks that come with studio, by name."""
    return {path.stem: path for path in sorted((assets() / "looks").glob("*.yaml"))}


def assets() -> Path:
    """The folder of looks, fonts and the scene's JSON Schema: beside the package, or inside it when installed."""
    inside = Path(__file__).parents[1] / "assets"
    return inside if inside.is_dir() else inside.parents[1] / "assets"


def _base(name: str) -> dict:
    known = looks()
    if name not in known:
        raise ValueError(f"no look '{name}'{nearest(name, known)}")
    return plain(known[name].read_text(encoding="utf-8"), name=str(known[name]))


# --- colour ----------------------------------------------------------------------------------------------------------


def linear(colour: str) -> np.ndarray:
    """An sRGB `#rrggbb` as linear RGB [3] in 0..1 (IEC 61966-2-1)."""
    return decode(_srgb(colour))


def _srgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def decode(srgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 to linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def encode(light: np.ndarray) -> np.ndarray:
    """Linear light in 0..1 to sRGB."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@lru_cache(maxsize=16)
def table(colormap: str | Stops) -> np.ndarray:
    """A colormap as linear RGB [1024, 3], float32."""
    at = np.linspace(0, 1, 1024)
    if isinstance(colormap, str):
        return decode(_colormap(colormap)(at)[:, :3]).astype(np.float32)
    places = [place for place, _ in colormap]
    srgb = np.array([_srgb(colour) for _, colour in colormap])
    return decode(np.stack([np.interp(at, places, channel) for channel in srgb.T], axis=1)).astype(np.float32)


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


def _known(name: str) -> str:
    _colormap(name)
    return name
