"""Records of a look's light and air: material, lamps and panels, fog, background, and the grade.

Each is a key of a Look; `studio.film.resolve` makes plain numbers of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, model_validator

from studio.config.records import Record
from studio.config.units import Angle, Colour, NonNegative, Positive, Share, scene_folder
from studio.film.colour import black_body, read_cube

MAX_LIGHT = 4.0  # the brightest linear light that leaves the shader; more is clipped

ON_A_BASE = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None))
"""For a record whose keys a look's base supplies: an editor must not ask a scene for them."""


class Material(Record):
    """What the surface is made of, as in physically based rendering.

    metallic: 0 for paper or plaster, 1 for metal.
    roughness: 0.05 for a polished surface, 1 for a matt one.
    """

    metallic: Share = 0.15
    roughness: Annotated[float, Field(ge=0.05, le=1)] = 0.5


def _parse_lamp_colour(value: object) -> object:
    if not (isinstance(value, str) and value.strip().endswith("K")):
        return value
    number = value.strip()[:-1]
    if not number.isdecimal():
        raise ValueError(f"'{value}' is no colour temperature; write it like 3200K, or a colour like #ff8a2b")
    return black_body(float(number))


LampColour = Annotated[
    Colour,
    BeforeValidator(_parse_lamp_colour),
    WithJsonSchema({"type": "string", "pattern": r"^(#[0-9a-fA-F]{6}|\d+K)$"}),
]
"""A colour, or a temperature such as `3200K`."""

Elevation = Annotated[Angle, Field(ge=-90, le=90)]


class Lamp(Record):
    """A soft lamp far away.

    azimuth: from the camera's own; 0deg is behind the camera, 180deg opposite.
    elevation: above the horizon.
    colour: such as `#ff8a2b`, or a temperature such as `3200K`.
    intensity: of its light. glint: its strength in reflections. size: half its angular width, in reflections.
    """

    model_config = ON_A_BASE
    azimuth: Angle
    elevation: Elevation
    colour: LampColour = "#ffffff"
    intensity: NonNegative = 1.0
    glint: NonNegative = 1.0
    size: Annotated[Angle, Field(gt=0, le=90)] = 12.0


class Panel(Record):
    """A bright rectangle that the surface reflects, like a softbox.

    azimuth, elevation, colour: as a lamp's. width, height: angles, seen from the surface. glint: its strength.
    """

    azimuth: Angle
    elevation: Elevation
    width: Annotated[Angle, Field(gt=0, le=160)] = 40.0
    height: Annotated[Angle, Field(gt=0, le=160)] = 14.0
    colour: LampColour = "#ffffff"
    glint: NonNegative = 1.0


class Light(Record):
    """All lamps of a look.

    key: the main lamp; it casts the baked shadow. rim: a second lamp.
    fill: a third lamp, which opens the shadows and has no reflection.
    environment: panels that are only reflected.
    sky, horizon, ground: colour of the ambient light from above, from the side, and from below.
    ambient: strength of the ambient light.
    occlusion: how far hollows darken; baked. shadow: how dark the key's shadow is; baked.
    follow: azimuths count from the camera, else from alpha.
    """

    model_config = ON_A_BASE
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


class Fog(Record):
    """Air between the camera and the surface.

    start, reach: scene units; at start + reach, 63 % of the light is fog. colour: of the fog.
    """

    start: NonNegative = 1.5
    reach: Positive = 2.0
    colour: Colour = "#20242e"


class Background(Record):
    """What is behind the surface: a vertical gradient between two colours.

    bottom: colour at the picture's lower edge. top: colour at its upper edge.
    """

    bottom: Colour = "#03040a"
    top: Colour = "#0b0f22"


class Lut(Record):
    """A `.cube` file and the SHA-256 of its contents, so that a changed file is another look."""

    file: Path
    sha256: str

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, (str, Path)):
            return value
        file = scene_folder(info) / value
        return {"file": file, "sha256": read_cube(file)[1]}


class Grade(Record):
    """What happens to linear light.

    exposure: factor on all light.
    contrast: above 1, steeper around middle grey.
    shoulder: light above it approaches white softly; near 1, white paper stays white.
    bloom: glow of light above the threshold. threshold: linear light above which the bloom begins.
    saturation: 0 is grey, 1 leaves the colours.
    vignette: share of light that the corners lose.
    grain: its spread, a share of full scale.
    lut: a 3D look-up table in a `.cube` file, applied last, in sRGB.
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
