"""How measured numbers become a picture: a Look names heights, colours, material, light, marker, lines and grade.

A look is a YAML file: one in `assets/looks`, by its name, or one of your own, by its path. `base: ember` or
`base: looks/mine.yaml` starts from it, and every further key replaces part of it; so may that file itself have a base.
Colours are written in sRGB and used in linear light. Lengths are scene units: the drawn square spans -1 to 1.
Widths of lines are pixels of a picture 1080 lines high, so that a poster is drawn as its proof was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from studio.config.reading import load_raw
from studio.config.records import Record, nearest
from studio.config.units import Colour, scene_folder
from studio.film.fields import ColourMapping, HeightMapping, lies_on
from studio.film.light import ON_A_BASE, Background, Fog, Grade, Light, Material
from studio.film.lines import Contours, Engraving, Fade, Marker, Plinth, TrajectoryLine, Wire


def _odd(points: int) -> int:
    if points % 2 == 0:
        raise ValueError(f"{points} vertices: expected an odd number, so that the minimiser is one of them")
    return points


LARGEST_MESH = 2001
"""Vertices along a side."""


class Look(Record):
    """The whole look. nodes: a dot on every measured point. mesh: vertices along a side of the drawn square, odd.

    ink: of the type. halo: softly around it, so that it is read on any land.
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
    engraving: Engraving | None = None
    fog: Fog | None = None
    plinth: Plinth | None = None
    nodes: bool = False
    fade: Fade = Fade()
    background: Background = Background()
    ink: Colour = "#e8e6f0"
    halo: Colour | None = None
    grade: Grade = Grade()
    mesh: Annotated[int, Field(ge=33, le=LARGEST_MESH), AfterValidator(_odd)] = 401

    @model_validator(mode="after")
    def _ends_lie_on_the_heights_scale(self):
        if self.colour.scale == "height" and self.colour.field == self.height.field:
            ends = self.colour.range or (() if self.colour.centre is None else (self.colour.centre,))
            lies_on(self.height.scale, "the colour's end", *ends)
        return self

    @model_validator(mode="before")
    @classmethod
    def _on_its_base(cls, given: Any, info: ValidationInfo) -> Any:
        return _based(given, scene_folder(info)) if isinstance(given, Mapping) else given


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
    under = load_raw(text, name=str(path))
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
