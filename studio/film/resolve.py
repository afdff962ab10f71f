"""A Look resolved to plain numbers: the Appearance of a view, the Grading and the background of a frame."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from studio.config.records import Record
from studio.film import appearance, light, lines
from studio.film.appearance import Appearance, Gradient, Grading, HeightScale, Lighting, Nodes, Rgb
from studio.film.colour import to_linear
from studio.film.look import Look


def resolve_appearance(
    look: Look, azimuth: float, ends: tuple[float, float] = (0.0, 1.0), nodes: Nodes | None = None
) -> Appearance:
    """The appearance of a view whose camera stands at an azimuth, degrees from alpha.

    ends: of the height scale. nodes: the measured points; None leaves their dots out.
    """
    line, fog, plinth = look.trajectory, look.fog, look.plinth
    return Appearance(
        metallic=look.material.metallic,
        roughness=look.material.roughness,
        exposure=look.grade.exposure,
        fade_start=look.fade.start,
        fade_end=look.fade.end,
        height_scale=HeightScale(look.height.scale, *ends, look.height.exaggeration),
        lighting=_lighting(look.light, azimuth if look.light.follow else 0.0),
        marker=_marker(look.marker),
        trajectory=appearance.TrajectoryLine(line.width, _light(line.colour, line.light)) if line else None,
        contours=_plain(appearance.Contours, look.contours) if look.contours else None,
        wire=resolve_wire(look.wire, azimuth) if look.wire else None,
        engraving=_engraving(look.engraving) if look.engraving else None,
        fog=_plain(appearance.Fog, fog) if fog else None,
        plinth=_plain(appearance.Plinth, plinth) if plinth else None,
        nodes=nodes if look.nodes else None,
    )


def resolve_grading(grade: light.Grade) -> Grading:
    """The grading of a frame. The exposure is missing: it belongs to the appearance, which the shader applies."""
    return _plain(Grading, grade, lut=appearance.Lut(grade.lut.file, grade.lut.sha256) if grade.lut else None)


def resolve_background(background: light.Background) -> Gradient:
    """The background in linear light."""
    return _plain(Gradient, background)


T = TypeVar("T")


def _plain(kind: type[T], record: Record, **others: Any) -> T:
    """A part of an appearance from a record with its fields, colours in linear light. others: the computed fields."""
    names = [field.name for field in fields(kind) if field.name not in others]  # type: ignore[arg-type]  # a dataclass
    own = {name: getattr(record, name) for name in names}
    return kind(**{name: _light(value) if isinstance(value, str) else value for name, value in own.items()}, **others)


def _light(colour: str, factor: float = 1.0) -> Rgb:
    """Linear light of an sRGB colour, times a factor."""
    red, green, blue = (to_linear(colour) * factor).tolist()
    return red, green, blue


def _lighting(lamps: light.Light, turn: float) -> Lighting:
    """All lamps, turned by `turn` degrees."""
    return _plain(
        Lighting,
        lamps,
        key=_lamp(lamps.key, turn),
        rim=_lamp(lamps.rim, turn),
        fill=_lamp(lamps.fill, turn) if lamps.fill else None,
        panels=tuple(_panel(panel, turn) for panel in lamps.environment),
    )


def _lamp(lamp: light.Lamp, turn: float) -> appearance.Lamp:
    azimuth, elevation, size = np.radians([lamp.azimuth + turn, lamp.elevation, lamp.size]).tolist()
    light, glint = _light(lamp.colour, lamp.intensity), _light(lamp.colour, lamp.glint)
    return appearance.Lamp(azimuth, elevation, light, glint, size)


def _panel(panel: light.Panel, turn: float) -> appearance.Panel:
    azimuth, elevation = np.radians([panel.azimuth + turn, panel.elevation]).tolist()
    width, height = np.tan(np.radians([panel.width / 2, panel.height / 2])).tolist()
    return appearance.Panel(azimuth, elevation, (width, height), _light(panel.colour, panel.glint))


def _marker(marker: lines.Marker) -> appearance.Marker:
    return _plain(
        appearance.Marker,
        marker,
        light=_light(marker.colour, marker.light),
        glow=_light(marker.halo, marker.glow),
        lamp=_light(marker.halo, marker.lamp) if marker.lamp else None,
    )


def resolve_wire(wire: lines.Wire, azimuth: float) -> appearance.Wire:
    """Lines of a view whose camera stands at an azimuth, degrees from alpha."""
    turn = np.radians(azimuth) if wire.along == "view" else 0.0
    families = wire.along != "alpha", wire.along in ("alpha", "both")
    return _plain(appearance.Wire, wire, axis=(float(np.cos(turn)), float(np.sin(turn))), families=families)


def _engraving(engraving: lines.Engraving) -> appearance.Engraving:
    across = np.radians(engraving.angle + 90)
    strokes = float(np.cos(across) / engraving.every), float(np.sin(across) / engraving.every)
    return _plain(appearance.Engraving, engraving, across=strokes)
