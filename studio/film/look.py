"""How measured numbers become a picture: a Look names heights, colours, material, light, marker, lines and grade.

A look is a YAML file: one in `assets/looks`, by its name, or one of your own, by its path. `base: ember` or
`base: looks/mine.yaml` starts from it, and every further key replaces part of it; so may that file itself have a base.
Colours are written in sRGB and used in linear light. Lengths are scene units: the drawn square spans -1 to 1.
Widths of lines are pixels of a picture 1080 lines high, so that a poster is drawn as its proof was.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from ..functions import SCHEMA as OWN
from ..spec import Angle, Colour, Record, nearest, plain
from .colour import cube, kelvin, known

HALF_RANGE = 4.0
"""The brightest linear light that leaves the shader; more is cut."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]

# an editor must not ask in a scene for what its look's base gives
_ON_A_BASE = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None))


FIELDS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "entropy": "entropy",
    "lambda_min": "smallest Hessian eigenvalue",
    "lambda_max": "largest Hessian eigenvalue",
    "kappa_min": "smallest curvature in the plane",
    "kappa_max": "largest curvature in the plane",
    "convexity": "share of negative curvature",
    "plane-convexity": "negative curvature in the plane",
    "hidden": "convex in the picture only",
}
"""What may be drawn, and how a legend names it; a metric of the user's goes by its own name, `package.module:name`."""
SIGNED = ("lambda_min", "lambda_max", "kappa_min", "kappa_max")


def _drawable(*words: str) -> tuple:
    """What makes a text one of some words, or the name of a metric of the user's."""

    def named(name: str) -> str:
        if name not in words and ":" not in name:
            raise ValueError(f"no field '{name}'{nearest(name, words)}")
        return name

    return AfterValidator(named), WithJsonSchema({"anyOf": [{"enum": list(words)}, OWN]})


def _has_a_scale(field: str, scale: str) -> None:
    if field in SIGNED and scale in ("log", "sqrt"):
        raise ValueError(f"{field} may be negative, which has no {scale}; take `scale: signed-log` or `linear`")


def _lies_on(scale: str, name: str, *values: float) -> None:
    for value in values:
        if value < 0 and scale in ("log", "sqrt") or value == 0 and scale == "log":
            raise ValueError(f"{name} {value:g} has no {scale}; write one above 0, or take another scale")


class Height(Record):
    """Which field is the height, and on what scale; `signed-log` is arcsinh.

    cap: values above it are drawn at it (in the field's units). exaggeration: drawn height of the film's full range.
    smoothing: of the sheet between the measured points, none of which it moves; 0 is straight from one to the next.
    """

    field: Annotated[str, *_drawable(*(name for name in FIELDS if name != "hidden"))] = "loss"
    scale: Literal["log", "sqrt", "linear", "signed-log"] = "log"
    cap: Positive | None = None
    exaggeration: Positive = 0.56
    smoothing: Share = 1.0

    @model_validator(mode="after")
    def _makes_sense(self):
        _has_a_scale(self.field, self.scale)
        return self

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values on the height scale; inf becomes the cap (if there is one), NaN stays NaN."""
        capped = values if self.cap is None else np.minimum(values, self.cap)
        if self.scale == "log":
            return np.log(np.maximum(capped, np.finfo(np.float64).tiny))
        if self.scale == "signed-log":
            return np.arcsinh(capped)
        return np.sqrt(np.maximum(capped, 0.0)) if self.scale == "sqrt" else capped


Stops = tuple[tuple[Share, Colour], ...]


class Paint(Record):
    """Which field is the colour, its range (film-wide if not given) and the colormap.

    map: a colormap of matplotlib, cmocean, colorcet or cmcrameri (`_r` turns it round), or stops [[0, "#..."], ...].
    scale: `height` follows the drawn height; the others are as for height. range: in the field's units. centre: the
    value in the middle of the map, which then reaches as far down as up; 0 if not given, where a map that diverges
    shows what may be negative.
    """

    field: Annotated[str, *_drawable(*FIELDS)] = "loss"
    map: Annotated[str, AfterValidator(known)] | Stops = "inferno"
    scale: Literal["height", "log", "sqrt", "linear", "signed-log"] = "height"
    range: tuple[float, float] | None = None
    centre: float | None = None

    @model_validator(mode="after")
    def _makes_sense(self):
        _has_a_scale(self.field, self.scale)
        _lies_on(self.scale, "range", *(self.range or ()))
        _lies_on(self.scale, "centre", *(() if self.centre is None else (self.centre,)))
        if self.range is not None and self.centre is not None:
            raise ValueError("range and centre are two ways to say where the map ends; give one of them")
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


def _light_colour(given: Any) -> Any:
    if not (isinstance(given, str) and given.strip().endswith("K")):
        return given
    number = given.strip()[:-1]
    if not number.isdigit():
        raise ValueError(f"'{given}' is no colour temperature; write it like 3200K, or a colour like #ff8a2b")
    return kelvin(float(number))


LampColour = Annotated[
    Colour,
    BeforeValidator(_light_colour),
    WithJsonSchema({"type": "string", "pattern": r"^(#[0-9a-fA-F]{6}|\d+K)$"}),
]
"""A colour, or a temperature such as `3200K`."""


Elevation = Annotated[Angle, Field(ge=-90, le=90)]


class Lamp(Record):
    """A soft lamp far away. azimuth: from the camera's own, 0deg behind the camera, 180deg opposite.

    intensity: of its light. glint: its strength in reflections. size: half its width, as reflections see it.
    """

    model_config = _ON_A_BASE
    azimuth: Angle
    elevation: Elevation
    colour: LampColour = "#ffffff"
    intensity: NonNegative = 1.0
    glint: NonNegative = 1.0
    size: Annotated[Angle, Field(gt=0, le=90)] = 12.0


class Panel(Record):
    """A lit rectangle that is mirrored in the land, as a softbox in a car. azimuth: as a lamp's. glint: its strength.

    width, height: angles, as seen from the land.
    """

    azimuth: Angle
    elevation: Elevation
    width: Annotated[Angle, Field(gt=0, le=160)] = 40.0
    height: Annotated[Angle, Field(gt=0, le=160)] = 14.0
    colour: LampColour = "#ffffff"
    glint: NonNegative = 1.0


class Light(Record):
    """key: the lamp that casts the baked shadow. follow: lamps turn with the camera, else with the scene's azimuth 0.

    fill: a third lamp, which opens the shadows and is never reflected. environment: panels that are only reflected.
    sky, horizon, ground: colours of the light from everywhere. occlusion, shadow: strength of what is baked.
    """

    model_config = _ON_A_BASE
    key: Lamp
    rim: Lamp
    fill: Lamp | None = None
    environment: Annotated[tuple[Panel, ...], Field(max_length=6)] = ()
    sky: Colour = "#1a2450"
    horizon: Colour = "#38406a"
    ground: Colour = "#0a0608"
    ambient: NonNegative = 1.0
    occlusion: Share = 0.7
    shadow: Share = 0.6
    follow: bool = True


class Marker(Record):
    """The point of light at the minimiser. radius, spread: scene units. light: how much brighter than its colour."""

    radius: Positive = 0.008
    light: NonNegative = 2.2
    colour: Colour = "#fffdf4"
    glow: NonNegative = 0.8
    spread: Positive = 0.07
    halo: Colour = "#ffc070"


class Trail(Record):
    """The way of the weights up to the shown epoch, a lit thread on the surface, as near as the plane comes to it.

    width: scene units. light: how much brighter than its colour.
    """

    width: Positive = 0.008
    light: NonNegative = 1.6
    colour: Colour = "#fff2cc"


class Contours(Record):
    """Lines of equal height. every: spacing in scene units; step: in the height's own units, then instead of it.

    index: each so-manieth line is twice as wide; 0 for none. labels: those lines are told by their numbers; with step.
    """

    every: Positive = 0.025
    step: Positive | None = None
    width: Positive = 1.0
    opacity: Share = 0.3
    colour: Colour = "#ffffff"
    index: Annotated[int, Field(ge=0)] = 0
    labels: bool = False

    @model_validator(mode="after")
    def _can_be_told(self):
        if self.labels and not (self.step and self.index):
            raise ValueError("labels need round numbers to tell: give `step` and `index` too, such as 0.2 and 5")
        return self


class Wire(Record):
    """Lines on the surface that run along alpha, along beta, or both; or across the view, as its profiles.

    every: spacing in scene units.
    """

    along: Literal["alpha", "beta", "both", "view"] = "both"
    every: Positive = 0.05
    width: Positive = 1.0
    opacity: Share = 1.0
    colour: Colour = "#ffffff"


class Engraving(Record):
    """The picture in one ink: strokes across the surface that swell where it is dark; a second set in the deepest.

    every: spacing of strokes, scene units. angle: of the strokes, from the direction of alpha. gamma: above 1, darker.
    """

    every: Positive = 0.016
    angle: Angle = 0.0
    gamma: Positive = 1.0
    ink: Colour = "#14202e"
    paper: Colour = "#f3ecdc"


class Fog(Record):
    """Air between the eye and the surface. start, reach: scene units; at start + reach, 63 % of the light is fog."""

    start: NonNegative = 1.5
    reach: Positive = 2.0
    colour: Colour = "#20242e"


class Plinth(Record):
    """A cast that stands on the background in its own soft shadow, cut where the disc would have ended its fading.

    depth: from the lowest of the heights to the foot, scene units. colour: of its wall.
    """

    depth: Positive = 0.12
    colour: Colour = "#e8e4dc"


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


class Lut(Record):
    """A `.cube` file and the SHA-256 of what is in it, so that a changed file is another look."""

    file: Path
    sha256: str

    @model_validator(mode="before")
    @classmethod
    def _found(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, (str, Path)):
            return given
        file = _folder(info) / given
        try:
            cube(file)
            return {"file": file, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        except OSError as error:
            raise ValueError(f"{file} cannot be read: {error.strerror}") from error


class Grade(Record):
    """What happens to linear light. bloom: of what is above the threshold. grain: its spread, a share of full scale.

    contrast: above 1, steeper around middle grey. shoulder: the light from which highlights approach white softly; near
    1, white paper stays white. lut: a 3D look-up table in a `.cube` file, applied last, in sRGB.
    """

    exposure: Positive = 1.35
    contrast: Positive = 1.0
    shoulder: Annotated[float, Field(ge=0.1, le=0.98)] = 0.6
    bloom: NonNegative = 0.8
    threshold: NonNegative = 0.7
    saturation: NonNegative = 1.0
    vignette: Share = 0.35
    grain: NonNegative = 0.005
    lut: Annotated[Lut, WithJsonSchema({"type": "string", "pattern": "cube$"})] | None = None


def _odd(points: int) -> int:
    if points % 2 == 0:
        raise ValueError(f"{points} vertices: expected an odd number, so that the minimiser is one of them")
    return points


class Look(Record):
    """The whole look. nodes: a dot on every measured point. mesh: vertices along a side of the drawn square, odd.

    ink: of the type. halo: around it, where lines would run through its letters.
    """

    model_config = _ON_A_BASE
    base: str | None = None
    height: Height = Height()
    colour: Paint = Paint()
    material: Material = Material()
    light: Light
    marker: Marker = Marker()
    path: Trail | None = None
    contours: Contours | None = None
    wire: Wire | None = None
    engraving: Engraving | None = None
    fog: Fog | None = None
    plinth: Plinth | None = None
    nodes: bool = False
    fade: Fade = Fade()
    background: Background = Background()
    ink: Colour = "#e8e6f0"
    halo: Colour | None = None
    grade: Grade = Grade()
    mesh: Annotated[int, Field(ge=33, le=2001), AfterValidator(_odd)] = 401

    @model_validator(mode="after")
    def _ends_lie_on_the_heights_scale(self):
        if self.colour.scale == "height" and self.colour.field == self.height.field:
            ends = self.colour.range or (() if self.colour.centre is None else (self.colour.centre,))
            _lies_on(self.height.scale, "the colour's end", *ends)
        return self

    @model_validator(mode="before")
    @classmethod
    def _on_its_base(cls, given: Any, info: ValidationInfo) -> Any:
        return _based(given, _folder(info)) if isinstance(given, Mapping) else given


def _folder(info: ValidationInfo) -> Path:
    """Where relative paths start from: the folder of the scene."""
    return (info.context or {}).get("folder", Path())


def _based(given: Mapping, folder: Path, above: tuple[Path, ...] = ()) -> Mapping:
    """A look's keys laid on those of its base, whose own base comes first. Raises ValueError if there is none such."""
    if given.get("base") is None:
        return given
    path = _file(str(given["base"]), folder)
    if path in above:
        raise ValueError(f"{path} is a base of itself")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"no look in {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error
    under = plain(text, name=str(path))
    if not isinstance(under, Mapping):
        raise ValueError(f"{path} holds no keys and values, so it is no look")
    if isinstance(grade := under.get("grade"), Mapping) and grade.get("lut"):
        under = {**under, "grade": {**grade, "lut": str((path.parent / grade["lut"]).resolve())}}
    return _merged(_based(under, path.parent, (*above, path)), given)


def _file(base: str, folder: Path) -> Path:
    """The file of a base: a path if it is written as one, else one of those that come with studio."""
    if "/" in base or base.endswith(".yaml"):
        return (folder / base).resolve()
    ours = looks()
    if base not in ours:
        raise ValueError(f"no look '{base}'{nearest(base, ours)}")
    return ours[base]


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
