"""What the surface's shader is told of a view: numbers and vectors by the names that `shading` knows them by."""

from __future__ import annotations

import re

import numpy as np

from studio.film.colour import to_linear as linear
from studio.film.frame import View
from studio.film.light import Lamp, Panel

Values = dict[str, "float | tuple[float, float, float] | np.ndarray"]


_MOVES = re.compile(r"eye|spot|wireAxis|sampleRight|sampleUp|\w+Toward\d*|panelRight\d+|panelUp\d+")


def told(view: View, lines: int, samples: int) -> tuple[Values, Values]:
    """What is the same all through a film, and what moves with the camera, the lamps and the surface.

    For a picture of so many lines that is drawn with so many samples along a side of a pixel.
    """
    fixed = _lighting(view) | _drawn_on(view, lines, samples)
    moving = {name: fixed.pop(name) for name in list(fixed) if _MOVES.fullmatch(name)}
    return fixed, moving


def key_azimuth(view: View) -> float:
    """Where the key lamp stands, radians."""
    light = view.look.light
    return np.radians(light.key.azimuth + (view.azimuth if light.follow else 0))


def _lighting(view: View) -> Values:
    look, light = view.look, view.look.light
    turn = view.azimuth if light.follow else 0.0
    centre = view.height[view.height.shape[0] // 2, view.height.shape[1] // 2]
    values = {
        "eye": view.pose.position,
        "metallic": look.material.metallic,
        "roughness": look.material.roughness,
        "ambient": light.ambient,
        "sky": linear(light.sky),
        "horizon": linear(light.horizon),
        "groundlight": linear(light.ground),
        "spot": (0.0, 0.0, float(np.nan_to_num(centre))),
        "glow": look.marker.glow * linear(look.marker.halo),
        "spread": look.marker.spread,
        "dimming": look.marker.dimming,
        "dimmed": 3.0 * look.marker.radius,
        "lampLight": look.marker.lamp * linear(look.marker.halo),
        "lampReach": look.marker.reach,
        "lampHigh": 2.0 * look.marker.radius,
        "exposure": look.grade.exposure,
        "fadeStart": look.fade.start,
        "fadeEnd": look.fade.end,
    }
    for name, lamp in (("key", light.key), ("rim", light.rim), ("fill", light.fill)):
        if lamp:
            values[f"{name}Toward"] = _direction(lamp, turn)
            values[f"{name}Light"] = linear(lamp.colour) * lamp.intensity
            values[f"{name}Glint"] = linear(lamp.colour) * lamp.glint
            values[f"{name}Width"] = (1 - np.cos(np.radians(lamp.size))) + 0.3 * look.material.roughness**2
    for number, panel in enumerate(light.environment):
        toward, around = np.array(_direction(panel, turn)), np.radians(panel.azimuth + turn)
        right = np.array([-np.sin(around), np.cos(around), 0.0])
        half = np.tan(np.radians([panel.width / 2, panel.height / 2]))
        values |= {
            f"panelToward{number}": toward,
            f"panelRight{number}": right,
            f"panelUp{number}": np.cross(toward, right),
            f"panelHalf{number}": (*half, 0.02 + 1.5 * look.material.roughness**2),
            f"panelGlint{number}": linear(panel.colour) * panel.glint,
        }
    return values


def _direction(lamp: Lamp | Panel, turn: float) -> tuple[float, float, float]:
    azimuth, elevation = np.radians(lamp.azimuth + turn), np.radians(lamp.elevation)
    return np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)


def _drawn_on(view: View, lines: int, samples: int) -> Values:
    """What the shader asks of lines, strokes, dots and air, for those that the look has; lines: of the picture."""
    look, values = view.look, {}

    def width(asked: float) -> float:
        return max(asked * lines / 1080, 0.5) * samples  # thinner than half a pixel a line breaks up

    if contours := look.contours:
        low, high = view.ends
        values |= {
            "contourWidth": width(contours.width),
            "contourOpacity": contours.opacity,
            "contourEvery": contours.every,
            "contourStep": contours.step or 1.0,
            "contourIndex": contours.index or 1,
            "contourColour": linear(contours.colour),
            "valueLow": low,
            "valueSlope": (high - low) / look.height.exaggeration,
        }
    if wire := look.wire:
        turn = np.radians(view.azimuth) if wire.along == "view" else 0.0
        values |= {
            "wireEvery": wire.every,
            "wireWidth": width(wire.width),
            "wireOpacity": wire.opacity,
            "wireColour": linear(wire.colour),
            "wireAlong": (wire.along != "alpha", wire.along in ("alpha", "both"), 0),
            "wireAxis": (np.cos(turn), np.sin(turn), 0),
        }
    if look.contours or look.wire or look.engraving:
        right, up, _ = 2 * np.tan(np.radians(view.pose.view_angle / 2)) / (lines * samples) * view.pose.axes
        values |= {"sampleRight": right, "sampleUp": up}
    if engraving := look.engraving:
        across = np.radians(engraving.angle + 90)
        values |= {
            "strokeAcross": (np.cos(across) / engraving.every, np.sin(across) / engraving.every, 0),
            "strokeFinest": max(5.0 * lines / 1080, 3.0) * samples,
            "strokeGamma": engraving.gamma,
            "strokeInk": linear(engraving.ink),
            "strokePaper": linear(engraving.paper),
        }
    if fog := look.fog:
        values |= {"fogStart": fog.start, "fogReach": fog.reach, "fogColour": linear(fog.colour)}
    if look.nodes:
        values |= {"nodeEvery": 2 / (view.nodes - 1), "nodeWidth": width(1.0)}
    return values
