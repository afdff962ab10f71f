"""What the web page draws, as plain numbers: the measured surfaces in 16 bits, the looks with their shaders, one pose.

    value on its scale = low + code step, codes 0 to 65533; 65534 is inf and 65535 is NaN

The page interpolates in time and refines in space as the film does, and lights with the film's own shaders.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from studio.field import DETAIL, Array, Field, Grid, Surfaces, to_scale
from studio.film import lines
from studio.film.colour import encode, lookup_table
from studio.film.fields import CATEGORIES, FIELDS, SIGNED, ColourMapping, grid_of, measured_fields, missing_advice
from studio.film.frame_source import FrameSource
from studio.film.look import Look, gallery
from studio.film.ranges import MovingRange, Range, cuts, ranges
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading
from studio.film.surface import drawn_nodes, values
from studio.render import shading
from studio.render.uniforms import constants

LARGEST = 48 * 2**20
"""Bytes of surfaces; of more, some keyframes are left out, and the page says so."""
HIGHEST, INFINITE, UNKNOWN = 65533, 65534, 65535
"""The largest code of a finite value, and those of inf and NaN."""
_BETWEEN = 4  # samples in an interval of a field on nested grids, which the page does not lay over each other
_SAMPLED_MESH = 201  # vertices along a side of these samples
_SHADES = np.linspace(0, 1023, 256).round().astype(int)  # the entries of a colour map that the page has
_OF_THE_PICTURE = ("contourWidth", "wireWidth", "strokeMinSpacing", "nodeWidth")  # constants that its height decides


@dataclass
class _Pool:
    """Surfaces in 16 bits, each once. every: of so many keyframes one is kept."""

    every: int = 1
    arrays: dict[bytes, tuple[int, Array]] = field(default_factory=dict)
    size: int = 0

    def add(self, scaled: Array) -> dict[str, float]:
        """Where the codes of a surface begin, and how they are read. scaled: values on their scale."""
        known = scaled[np.isfinite(scaled)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        step = (high - low) / HIGHEST or 1.0
        codes = np.where(np.isnan(scaled), UNKNOWN, INFINITE).astype(np.uint16)
        codes[np.isfinite(scaled)] = np.rint((known - low) / step)
        start, _ = self.arrays.setdefault(codes.tobytes(), (self.size, codes.ravel()))
        self.size = max(self.size, start + codes.size)
        return {"start": start, "low": low, "step": step}


def page(source: FrameSource, number: int, title: str) -> tuple[dict[str, Any], Array]:
    """A film's page, which opens with the view of frame `number`: what JSON holds, and all codes [n], uint16."""
    names = _drawable(source)
    measured = sorted({name for drawn in names for name in measured_fields(drawn)})
    fields = [surfaces.fields[name] for surfaces in source.surfaces.values() for name in measured]
    size = sum(count for each in fields for count in {v.tobytes(): 2 * v.size for v in each.values}.values())
    pool = _Pool(max(1, -(-size // LARGEST)))
    _, coordinate, pose = source.camera(number)
    looks = {"film": source.look, **gallery()}
    content = {
        "title": title,
        "aspect": source.size.width / source.size.height,
        "view": {"coordinate": coordinate, **asdict(pose)},
        "every": pool.every,
        "fields": {
            name: {
                "label": FIELDS.get(name, name),
                "measured": measured_fields(name),
                "categories": list(CATEGORIES.get(name, {}).items()),
            }
            for name in names
        },
        "landscapes": [_landscape(source, name, measured, pool) for name in source.surfaces],
        "looks": [drawn for name, look in looks.items() if (drawn := _look(source, name, look, names))],
    }
    return content, np.concatenate([codes for _, codes in pool.arrays.values()])


def _drawable(source: FrameSource) -> list[str]:
    """The fields that were measured in every landscape, the look's own first."""
    own = {name for surfaces in source.surfaces.values() for name in surfaces.fields if ":" in name}
    names = dict.fromkeys((source.look.colour.field, source.look.height.field, *FIELDS, *sorted(own)))
    return [name for name in names if not any(missing_advice(name, s.fields) for s in source.surfaces.values())]


# --- surfaces --------------------------------------------------------------------------------------------------------


def _landscape(source: FrameSource, name: str, measured: list[str], pool: _Pool) -> dict[str, Any]:
    surfaces, look = source.surfaces[name], source.look
    loss = surfaces.fields.get("loss") or surfaces.fields[measured[0]]
    windows = {at: surfaces.window(at).sides for at in loss.coordinates}
    markers, trajectory = surfaces.markers, surfaces.trajectory
    places = [place.tolist() if np.isfinite(place).all() else None for place in markers.places] if markers else []
    return {
        "name": name,
        "axis": surfaces.axis.model_dump(mode="json"),
        "windows": _moving(MovingRange(tuple(windows), tuple(windows.values()))),  # type: ignore[arg-type]  # of both sides
        "fields": {field: _field(surfaces, field, look, pool) for field in measured},
        "markers": {"at": markers.coordinates, "places": places} if markers else None,
        "trajectory": {"at": trajectory.coordinates, "places": _text(trajectory.places.astype("<f4"))}
        if trajectory
        else None,
    }


def _field(surfaces: Surfaces, name: str, look: Look, pool: _Pool) -> dict[str, Any]:
    """One measured field: on its own grid, or sampled over the window where it has several grids."""
    measured = surfaces.fields[name]
    if not isinstance(measured.grid, Grid) or name + DETAIL in surfaces.fields:
        measured = _sampled(surfaces, name, look)
    kept = [*range(len(measured.coordinates))][:: pool.every]
    kept += [last] if (last := len(measured.coordinates) - 1) not in kept else []
    scale = measured.interpolation_scale
    finite = measured.finite
    assert isinstance(measured.grid, Grid)
    return {
        "at": [measured.coordinates[k] for k in kept],
        "grid": None if measured.grid == _SAMPLES else [*measured.grid.sides, measured.grid.counts],
        "counts": measured.grid.counts,
        "scale": scale,
        "interpolation": measured.interpolation,
        "smallest": float(to_scale(finite.min(), scale)) if finite.size else 0.0,
        "surfaces": [pool.add(to_scale(np.asarray(measured.values[k], np.float64), scale)) for k in kept],
    }


_SAMPLES = Grid(range=(-1.0, 1.0), points=_SAMPLED_MESH)
"""Not over the plane, but over the window at each coordinate, in scene units."""


def _sampled(surfaces: Surfaces, name: str, look: Look) -> Field:
    """A field over the window, at its keyframes and between them, without a cap."""
    keys, look = surfaces.fields[name].coordinates, look.model_copy(update={"mesh": _SAMPLED_MESH})
    places = np.linspace(0, len(keys) - 1, _BETWEEN * (len(keys) - 1) + 1)
    at = tuple(np.interp(places, np.arange(len(keys)), keys).tolist())
    sampled = np.stack([values(surfaces.at(coordinate), look, name) for coordinate in at])
    return Field(at, _SAMPLES, sampled, surfaces.fields[name].scale)


# --- looks -----------------------------------------------------------------------------------------------------------


def _look(source: FrameSource, name: str, look: Look, names: list[str]) -> dict[str, Any] | None:
    """A look as numbers and shaders; None if it draws what was not measured, or what it cannot show."""
    if look.height.field not in names or look.colour.field not in names:
        return None
    mappings = {field: look.colour if field == look.colour.field else _mapping(field) for field in names}
    try:
        scales = ranges(source.surfaces.values(), look, tuple(mappings.values()))
    except ValueError:
        return None
    first = next(iter(source.surfaces.values()))
    nodes = drawn_nodes(first.at(source.cut.shots[0].coordinate(0.0, source.cut.fps)), look)
    appearance = resolve_appearance(look, 0.0, nodes=nodes)
    fixed = constants(appearance, 1080, 1)
    declared = shading.declare_constants({key: value for key, value in fixed.items() if key not in _OF_THE_PICTURE})
    line = resolve_appearance(look.model_copy(update={"trajectory": look.trajectory or lines.TrajectoryLine()}), 0.0)
    moving = dict(scales.moving_colours)
    return {
        "name": name,
        "own": look.colour.field,
        "follow": look.light.follow,
        "wire_follows": bool(look.wire and look.wire.along == "view"),
        "appearance": asdict(appearance) | {"trajectory": asdict(line)["trajectory"]},
        "draws_trajectory": look.trajectory is not None,
        "vertex": shading.vertex(appearance, declared),
        "fragment": shading.fragment(appearance, declared),
        "grading": {key: value for key, value in asdict(resolve_grading(look.grade)).items() if key != "lut"},
        "background": asdict(resolve_background(look.background)),
        "ink": look.ink,
        "height": {**look.height.model_dump(mode="json"), "cap": scales.cap}
        | _moving(scales.moving_height or scales.height),
        "colours": {
            field: {
                "map": _text(np.rint(255 * encode(lookup_table(mapping.map)[_SHADES])).astype(np.uint8)),
                "scale": look.height.scale if mapping.scale == "height" else mapping.scale,
                "notes": {
                    own: "\n".join([source.notes[own][grid_of(field)], *cuts(surfaces, look, mapping, scales)])
                    for own, surfaces in source.surfaces.items()
                },
                **_moving(moving.get(mapping) or scales.colour_ends(mapping)),
            }
            for field, mapping in mappings.items()
        },
    }


def _mapping(name: str) -> ColourMapping:
    """The colours of a field that a look does not colour by."""
    if name == "definiteness":
        return ColourMapping(field=name)  # has colours of its own
    if name == "hidden":
        return ColourMapping(field=name, map=((0.0, "#d8d2c4"), (1.0, "#c0432f")), scale="linear")
    if name in SIGNED:
        return ColourMapping(field=name, map="vik", scale="signed-log")
    return ColourMapping(field=name, map="viridis" if name == "loss" else "lajolla")


def _moving(ends: MovingRange | Range) -> dict[str, Any]:
    """Ends by coordinate."""
    return {"at": ends.coordinates, "ends": ends.ends} if isinstance(ends, MovingRange) else {"at": [0], "ends": [ends]}


def _text(numbers: Array) -> str:
    return b64encode(numbers.tobytes()).decode()
