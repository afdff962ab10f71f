"""A Look resolved to plain numbers: the Appearance of a view, the Grading and the background of a frame."""

from __future__ import annotations

import numpy as np

from studio.field import Array
from studio.film import appearance, light, lines
from studio.film.appearance import Appearance, Gradient, Grading, HeightScale, Lighting, Rgb
from studio.film.colour import to_linear
from studio.film.look import Look


def resolve_appearance(
    look: Look, azimuth: float, ends: tuple[float, float] = (0.0, 1.0), points: int | None = None
) -> Appearance:
    """The appearance of a view whose camera stands at an azimuth, degrees from alpha.

    ends: of the height scale. points: measured along a side of the grid; None leaves the nodes out.
    """
    return Appearance(
        metallic=look.material.metallic,
        roughness=look.material.roughness,
        exposure=look.grade.exposure,
        fade_start=look.fade.start,
        fade_end=look.fade.end,
        height_scale=HeightScale(look.height.scale, *ends, look.height.exaggeration),
        lighting=_lighting(look.light, azimuth if look.light.follow else 0.0),
        marker=_marker(look.marker),
        trajectory=_trajectory(look.trajectory) if look.trajectory else None,
        contours=_contours(look.contours) if look.contours else None,
        wire=_wire(look.wire, azimuth) if look.wire else None,
        engraving=_engraving(look.engraving) if look.engraving else None,
        fog=_fog(look.fog) if look.fog else None,
        plinth=_plinth(look.plinth) if look.plinth else None,
        nodes=points if look.nodes else None,
    )


def resolve_grading(grade: light.Grade) -> Grading:
    """The grading of a frame. The exposure is missing: it belongs to the appearance, which the shader applies."""
    return Grading(
        grade.contrast,
        grade.shoulder,
        grade.bloom,
        grade.threshold,
        grade.saturation,
        grade.vignette,
        grade.grain,
        appearance.Lut(grade.lut.file, grade.lut.sha256) if grade.lut else None,
    )


def resolve_background(background: light.Background) -> Gradient:
    """The background in linear light."""
    return Gradient(_rgb(to_linear(background.bottom)), _rgb(to_linear(background.top)))


def _rgb(colour: Array) -> Rgb:
    red, green, blue = colour.tolist()
    return red, green, blue


def _lighting(lamps: light.Light, turn: float) -> Lighting:
    """All lamps, turned by `turn` degrees."""
    return Lighting(
        key=_lamp(lamps.key, turn),
        rim=_lamp(lamps.rim, turn),
        fill=_lamp(lamps.fill, turn) if lamps.fill else None,
        panels=tuple(_panel(panel, turn) for panel in lamps.environment),
        sky=_rgb(to_linear(lamps.sky)),
        horizon=_rgb(to_linear(lamps.horizon)),
        ground=_rgb(to_linear(lamps.ground)),
        ambient=lamps.ambient,
        occlusion=lamps.occlusion,
        shadow=lamps.shadow,
    )


def _lamp(lamp: light.Lamp, turn: float) -> appearance.Lamp:
    colour = to_linear(lamp.colour)
    return appearance.Lamp(
        float(np.radians(lamp.azimuth + turn)),
        float(np.radians(lamp.elevation)),
        _rgb(colour * lamp.intensity),
        _rgb(colour * lamp.glint),
        float(np.radians(lamp.size)),
    )


def _panel(panel: light.Panel, turn: float) -> appearance.Panel:
    width, height = np.tan(np.radians([panel.width / 2, panel.height / 2])).tolist()
    return appearance.Panel(
        float(np.radians(panel.azimuth + turn)),
        float(np.radians(panel.elevation)),
        (width, height),
        _rgb(to_linear(panel.colour) * panel.glint),
    )


def _marker(marker: lines.Marker) -> appearance.Marker:
    halo = to_linear(marker.halo)
    return appearance.Marker(
        marker.radius,
        light=_rgb(to_linear(marker.colour) * marker.light),
        limb=_rgb(to_linear(marker.limb)) if marker.limb else None,
        glow=_rgb(marker.glow * halo),
        spread=marker.spread,
        dimming=marker.dimming,
        lamp=_rgb(marker.lamp * halo) if marker.lamp else None,
        reach=marker.reach,
    )


def _trajectory(line: lines.TrajectoryLine) -> appearance.TrajectoryLine:
    return appearance.TrajectoryLine(line.width, _rgb(to_linear(line.colour) * line.light))


def _contours(contours: lines.Contours) -> appearance.Contours:
    colour = _rgb(to_linear(contours.colour))
    return appearance.Contours(contours.every, contours.step, contours.index, contours.width, contours.opacity, colour)


def _wire(wire: lines.Wire, azimuth: float) -> appearance.Wire:
    turn = np.radians(azimuth) if wire.along == "view" else 0.0
    return appearance.Wire(
        wire.every,
        (float(np.cos(turn)), float(np.sin(turn))),
        (wire.along != "alpha", wire.along in ("alpha", "both")),
        wire.width,
        wire.opacity,
        _rgb(to_linear(wire.colour)),
    )


def _engraving(engraving: lines.Engraving) -> appearance.Engraving:
    across = np.radians(engraving.angle + 90)
    return appearance.Engraving(
        (float(np.cos(across) / engraving.every), float(np.sin(across) / engraving.every)),
        engraving.gamma,
        _rgb(to_linear(engraving.ink)),
        _rgb(to_linear(engraving.paper)),
    )


def _fog(fog: light.Fog) -> appearance.Fog:
    return appearance.Fog(fog.start, fog.reach, _rgb(to_linear(fog.colour)))


def _plinth(plinth: lines.Plinth) -> appearance.Plinth:
    return appearance.Plinth(plinth.depth, _rgb(to_linear(plinth.colour)))
