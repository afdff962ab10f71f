"""What the surface's shader is told of a view: numbers and vectors by the names that `shading` knows them by."""

from __future__ import annotations

import numpy as np

from ..film.colour import linear
from ..film.frame import View
from ..film.look import HALF_RANGE, Lamp

Values = dict[str, "float | tuple[float, float, float] | np.ndarray"]


def told(view: View, lines: int, samples: int) -> Values:
    """All of it, for a picture of so many lines that is drawn with so many samples along a side of a pixel."""
    return _lighting(view) | _drawn_on(view, lines, samples) | {"pictureHeight": float(lines * samples)}


def key_azimuth(view: View) -> float:
    """Where the key lamp stands, radians."""
    light = view.look.light
    return np.radians(light.key.azimuth + (view.azimuth if light.follow else 0))


def _lighting(view: View) -> Values:
    look, light = view.look, view.look.light
    turn = view.azimuth if light.follow else 0.0
    centre = view.height[view.height.shape[0] // 2, view.height.shape[1] // 2]
    values = {
        "range": HALF_RANGE,
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
        "exposure": look.grade.exposure,
        "bottom": linear(look.background.bottom),
        "top": linear(look.background.top),
        "fadeStart": look.fade.start,
        "fadeEnd": look.fade.end,
    }
    for name, lamp in (("key", light.key), ("rim", light.rim), ("fill", light.fill)):
        if lamp:
            values[f"{name}Toward"] = _direction(lamp, turn)
            values[f"{name}Light"] = linear(lamp.colour) * lamp.intensity
            values[f"{name}Glint"] = linear(lamp.colour) * lamp.glint
            values[f"{name}Width"] = (1 - np.cos(np.radians(lamp.size))) + 0.3 * look.material.roughness**2
    return values


def _direction(lamp: Lamp, turn: float) -> tuple[float, float, float]:
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
    if engraving := look.engraving:
        across = np.radians(engraving.angle + 90)
        values |= {
            "strokeAcross": (np.cos(across) / engraving.every, np.sin(across) / engraving.every, 0),
            "strokeGamma": engraving.gamma,
            "strokeInk": linear(engraving.ink),
            "strokePaper": linear(engraving.paper),
        }
    if fog := look.fog:
        values |= {"fogStart": fog.start, "fogReach": fog.reach, "fogColour": linear(fog.colour)}
    if look.nodes:
        values |= {"nodeEvery": 2 / (view.nodes - 1), "nodeWidth": width(1.0)}
    return values
