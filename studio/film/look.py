"""How measured numbers become a picture: a Look sets heights, colours, material, light, marker, lines and grade.

A look is a YAML file: one in `assets/looks`, by its name, or the user's own, by its path. `base: ember` or
`base: looks/mine.yaml` starts from it, and every further key replaces part of it; that file may have a base in turn.
Colours are written in sRGB and used in linear light. Lengths are scene units: the drawn square spans -1 to 1.
Widths of lines are pixels of a picture 1080 lines high, so that a poster has the same lines as its proof.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from studio.config.reading import load_raw, read, read_text
from studio.config.records import Record, merge, nearest
from studio.config.units import Colour, scene_folder
from studio.errors import SceneError
from studio.film.colour import lab, lab_diagonal, lightness_span, lookup_table, to_linear
from studio.film.fields import ColourMapping, HeightMapping, check_on_scale
from studio.film.light import ON_A_BASE, Background, Fog, Grade, Light, Material
from studio.film.lines import Contours, Engraving, Fade, Marker, Plinth, TrajectoryLine, Wire


def _check_odd(vertices: int) -> int:
    if vertices % 2 == 0:
        raise ValueError(f"{vertices} vertices: expected an odd number, so that the minimiser is one of them")
    return vertices


SMALLEST_MESH, LARGEST_MESH = 33, 2001  # vertices along a side


class Look(Record):
    """The complete look.

    base: a look's name or file to start from; the other keys replace parts of it.
    over: the lines of a landscape that a shot shows over another one. nodes: a dot on every measured point.
    ink: colour of the text.
    halo: colour of a soft edge around the text, so that it is legible on any surface.
    mesh: vertices along a side of the drawn square, odd.
    """

    former: ClassVar[Mapping[str, str]] = {"path": "trajectory"}

    model_config = ON_A_BASE
    base: str | None = None
    height: HeightMapping = HeightMapping()
    colour: ColourMapping = ColourMapping()
    material: Material = Material()
    light: Light
    marker: Marker = Marker()
    trajectory: TrajectoryLine | None = None
    contours: Contours | None = None
    wire: Wire | None = None
    over: Wire = Wire(every=0.04)
    engraving: Engraving | None = None
    fog: Fog | None = None
    plinth: Plinth | None = None
    nodes: bool = False
    fade: Fade = Fade()
    background: Background = Background()
    ink: Colour = "#e8e6f0"
    halo: Colour | None = None
    grade: Grade = Grade()
    mesh: Annotated[int, Field(ge=SMALLEST_MESH, le=LARGEST_MESH), AfterValidator(_check_odd)] = 401

    @model_validator(mode="after")
    def _colour_fits_the_height_scale(self) -> Self:
        if self.colour.scale == "height" and self.colour.field == self.height.field:
            centre = () if self.colour.centre is None else (self.colour.centre,)
            ends = self.colour.range if isinstance(self.colour.range, tuple) else centre
            check_on_scale(self.height.scale, "the colour's end", *ends)
        return self

    @model_validator(mode="before")
    @classmethod
    def _start_from_base(cls, value: Any, info: ValidationInfo) -> Any:
        return _with_base(value, scene_folder(info)) if isinstance(value, Mapping) else value


def _with_base(keys: Mapping[str, Any], folder: Path, descendants: tuple[Path, ...] = ()) -> Mapping[str, Any]:
    """A look's keys merged over those of its base, recursively. Raises ValueError if a base is missing or circular."""
    if keys.get("base") is None:
        return keys
    path = _base_file(str(keys["base"]), folder)
    if path in descendants:
        raise ValueError(f"{path} is a base of itself")
    try:
        text = read_text(path)
    except SceneError as error:
        raise ValueError(f"no look in {error}") from error
    base = load_raw(text, name=str(path))
    if not isinstance(base, Mapping):
        raise ValueError(f"{path} holds no keys and values, so it is no look")
    if isinstance(grade := base.get("grade"), Mapping) and isinstance(grade.get("lut"), str):
        base = {**base, "grade": {**grade, "lut": os.path.realpath(path.parent / grade["lut"])}}
    merged: Mapping[str, Any] = merge(_with_base(base, path.parent, (*descendants, path)), keys)
    return merged


def _base_file(base: str, folder: Path) -> Path:
    """The file of a base: a path if it is written as one, else a look that comes with studio."""
    if "/" in base or base.endswith(".yaml"):
        return Path(os.path.realpath(folder / base))
    supplied = looks()
    if base not in supplied:
        raise ValueError(f"no look '{base}'{nearest(base, supplied)}")
    return supplied[base]


def looks() -> dict[str, Path]:
    """The files of the looks that come with studio, by name."""
    return {path.stem: path for path in sorted((assets_folder() / "looks").glob("*.yaml"))}


def assets_folder() -> Path:
    """The folder of looks, fonts and the scene's JSON Schema: beside the package, or inside it when installed."""
    inside = Path(__file__).parents[1] / "assets"
    return inside if inside.is_dir() else inside.parents[1] / "assets"


def gallery(folder: Path | None = None) -> dict[str, Look]:
    """Every look that comes with studio and every one in a folder of the user's, by name; the user's come first.

    Raises SceneError, with the place, if a file is no look.
    """
    users = sorted(folder.glob("*.yaml")) if folder else []
    return {path.stem: read(path, Look) for path in (*users, *looks().values())}


def suitability(look: Look) -> tuple[str, ...]:
    """What a look is suitable for: `colour-blind`, `print`, both or nothing.

    colour-blind: its map runs from dark to light or back by 25 in L* or more, for every kind of eye; or it has a single
    colour, or an engraving's single ink, and lines or light show the heights. print: on light paper, without glow, in
    colours that inks reach, of a chroma up to 75. Nothing with a look-up table, which may turn any colour into another.
    """
    if look.grade.lut:
        return ()
    suitable = []
    if look.engraving or not lab_diagonal(look.colour.map) or lightness_span(look.colour.map) >= 25:
        suitable.append("colour-blind")
    paper = min(lab(to_linear(colour))[0] for colour in (look.background.bottom, look.background.top))
    _, a, b = lab(lookup_table(look.colour.map)).T
    if paper >= 85 and look.grade.bloom == 0 and np.hypot(a, b).max() <= 75:
        suitable.append("print")
    return tuple(suitable)
