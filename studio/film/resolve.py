"""A Look resolved to plain numbers: the Appearance of a view, the Grading and the background of a frame."""

from __future__ import annotations

import numpy as np

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
        contours=_contours(look.contours) if look.contours else None,
        wire=_wire(look.wire, azimuth) if look.wire else None,
        engraving=_engraving(look.engraving) if look.engraving else None,
        fog=appearance.Fog(fog.start, fog.reach, _light(fog.colour)) if fog else None,
        plinth=appearance.Plinth(plinth.depth, _light(plinth.colour)) if plinth else None,
        nodes=nodes if look.nodes else None,
    )


def resolve_grading(grade: light.Grade) -> Grading:
    """The grading of a frame. The exposure is missing: it belongs to the appearance, which the shader applies."""
    lut = appearance.Lut(grade.lut.file, grade.lut.sha256) if grade.lut else None
    tone = grade.contrast, grade.shoulder, grade.bloom, grade.threshold, grade.saturation
    return Grading(*tone, grade.vignette, grade.grain, lut)


def resolve_background(background: light.Background) -> Gradient:
    """The background in linear light."""
    return Gradient(_light(background.bottom), _light(background.top))


def _light(colour: str, factor: float = 1.0) -> Rgb:
    """Linear light of an sRGB colour, times a factor."""
    red, green, blue = (to_linear(colour) * factor).tolist()
    return red, green, blue


def _lighting(lamps: light.Light, turn: float) -> Lighting:
    """All lamps, turned by `turn` degrees."""
    return Lighting(
        key=_lamp(lamps.key, turn),
        rim=_lamp(lamps.rim, turn),
        fill=_lamp(lamps.fill, turn) if lamps.fill else None,
        panels=tuple(_panel(panel, turn) for panel in lamps.environment),
        sky=_light(lamps.sky),
        horizon=_light(lamps.horizon),
        ground=_light(lamps.ground),
        ambient=lamps.ambient,
        occlusion=lamps.occlusion,
        shadow=lamps.shadow,
    )


def _lamp(lamp: light.Lamp, turn: float) -> appearance.Lamp:
    return appearance.Lamp(
        float(np.radians(lamp.azimuth + turn)),
        float(np.radians(lamp.elevation)),
        _light(lamp.colour, lamp.intensity),
        _light(lamp.colour, lamp.glint),
        float(np.radians(lamp.size)),
    )


def _panel(panel: light.Panel, turn: float) -> appearance.Panel:
    width, height = np.tan(np.radians([panel.width / 2, panel.height / 2])).tolist()
    return appearance.Panel(
        float(np.radians(panel.azimuth + turn)),
        float(np.radians(panel.elevation)),
        (width, height),
        _light(panel.colour, panel.glint),
    )


def _marker(marker: lines.Marker) -> appearance.Marker:
    return appearance.Marker(
        marker.radius,
        light=_light(marker.colour, marker.light),
        limb=_light(marker.limb) if marker.limb else None,
        glow=_light(marker.halo, marker.glow),
        spread=marker.spread,
        dimming=marker.dimming,
        lamp=_light(marker.halo, marker.lamp) if marker.lamp else None,
        reach=marker.reach,
    )


def _contours(contours: lines.Contours) -> appearance.Contours:
    colour = _light(contours.colour)
    return appearance.Contours(contours.every, contours.step, contours.index, contours.width, contours.opacity, colour)


def _wire(wire: lines.Wire, azimuth: float) -> appearance.Wire:
    turn = np.radians(azimuth) if wire.along == "view" else 0.0
    return appearance.Wire(
        wire.every,
        (float(np.cos(turn)), float(np.sin(turn))),
        (wire.along != "alpha", wire.along in ("alpha", "both")),
        wire.width,
        wire.opacity,
        _light(wire.colour),
    )


def _engraving(engraving: lines.Engraving) -> appearance.Engraving:
    across = np.radians(engraving.angle + 90)
    return appearance.Engraving(
        (float(np.cos(across) / engraving.every), float(np.sin(across) / engraving.every)),
        engraving.gamma,
        _light(engraving.ink),
        _light(engraving.paper),
    )
