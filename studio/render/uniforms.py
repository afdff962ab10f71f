"""The values that the surface's shaders receive, by the names that `studio.render.shading` declares.

Constants are compiled into the shaders and change only with the look; per-view uniforms follow camera, lamps and
surface. Widths depend on the picture: `lines` is its height in pixels, `samples` how many are drawn along a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.film.appearance import Appearance, Lamp, Lighting, direction
from studio.film.frame import View
from studio.film.surface import marker_height

_FAR_AWAY = (0.0, 0.0, 1e6)  # from where a marker that is not there lights nothing
Values = dict[str, float | Sequence[float] | npt.NDArray[Any]]


def constants(appearance: Appearance, lines: int, samples: int) -> Values:
    """The shaders' constants of a look, by name. lines: the picture's height in pixels. samples: along a pixel."""
    marker = appearance.marker
    values: Values = {
        "metallic": appearance.metallic,
        "roughness": appearance.roughness,
        "exposure": appearance.exposure,
        "fadeStart": appearance.fade_start,
        "fadeEnd": appearance.fade_end,
        "glow": marker.glow,
        "glowSpread": marker.spread,
        "dimming": marker.dimming,
        "dimmingSpread": 3.0 * marker.radius,
        **_lighting(appearance.lighting, appearance.roughness),
    }
    if marker.lamp:
        values |= {"markerLamp": marker.lamp, "markerReach": marker.reach, "markerHeight": 2.0 * marker.radius}
    if contours := appearance.contours:
        values |= {
            "contourWidth": _width(contours.width, lines, samples),
            "contourOpacity": contours.opacity,
            "contourEvery": contours.every,
            "contourStep": contours.step or 1.0,
            "contourIndex": contours.index or 1,
            "contourColour": contours.colour,
        }
    if wire := appearance.wire:
        values |= {
            "wireEvery": wire.every,
            "wireWidth": _width(wire.width, lines, samples),
            "wireOpacity": wire.opacity,
            "wireColour": wire.colour,
            "wireFamilies": (*wire.families, 0),
        }
    if engraving := appearance.engraving:
        values |= {
            "strokeAcross": (*engraving.across, 0),
            "strokeMinSpacing": max(5.0 * lines / 1080, 3.0) * samples,
            "strokeGamma": engraving.gamma,
            "strokeInk": engraving.ink,
            "strokePaper": engraving.paper,
        }
    if fog := appearance.fog:
        values |= {"fogStart": fog.start, "fogReach": fog.reach, "fogColour": fog.colour}
    if appearance.nodes:
        values["nodeWidth"] = _width(1.0, lines, samples)
    return values


def per_view(view: View, lines: int, samples: int) -> Values:
    """The uniforms of a view, by name: what may differ from view to view. lines, samples: as for the constants."""
    appearance, lighting = view.appearance, view.appearance.lighting
    marker = (*view.marker, np.nan_to_num(marker_height(view.height, view.marker))) if view.marker else _FAR_AWAY
    values: Values = {"eye": view.pose.position, "minimiser": marker, "perSide": (*np.reciprocal(view.sides), 0)}
    for name, lamp in _lamps(lighting).items():
        values[f"{name}Direction"] = direction(lamp.azimuth, lamp.elevation)
    for number, panel in enumerate(lighting.panels):
        ahead = direction(panel.azimuth, panel.elevation)
        values |= {f"panelDirection{number}": ahead, f"panelRight{number}": panel.right}
        values[f"panelUp{number}"] = np.cross(ahead, panel.right)
    if appearance.contours:
        values |= {"valueLow": appearance.height_scale.low, "valueSlope": appearance.height_scale.slope}
    if appearance.wire:
        values["wireAxis"] = (*appearance.wire.axis, 0)
    if nodes := appearance.nodes:
        values |= {"nodeAt": (*nodes.place, 0), "nodeEvery": (*nodes.spacing, 1)}
    if appearance.contours or appearance.wire or appearance.engraving:
        right, up, _ = 2 * np.tan(np.radians(view.pose.view_angle / 2)) / (lines * samples) * view.pose.axes
        values |= {"sampleRight": right, "sampleUp": up}
    return values


def _width(width: float, lines: int, samples: int) -> float:
    """The width of a line in samples, from pixels of a picture 1080 lines high."""
    return max(width * lines / 1080, 0.5) * samples  # thinner than half a pixel a line breaks up


def _lamps(lighting: Lighting) -> dict[str, Lamp]:
    lamps = {"key": lighting.key, "rim": lighting.rim}
    return lamps | {"fill": lighting.fill} if lighting.fill else lamps


def _lighting(lighting: Lighting, roughness: float) -> Values:
    values: Values = {
        "ambient": lighting.ambient,
        "sky": lighting.sky,
        "horizon": lighting.horizon,
        "groundLight": lighting.ground,
    }
    for name, lamp in _lamps(lighting).items():
        values[f"{name}Light"] = lamp.light
    for name, lamp in (("key", lighting.key), ("rim", lighting.rim)):  # the fill is not reflected
        values[f"{name}Glint"] = lamp.glint
        values[f"{name}Width"] = (1 - np.cos(lamp.size)) + 0.3 * roughness**2
    for number, panel in enumerate(lighting.panels):
        values[f"panelHalf{number}"] = (*panel.half_size, 0.02 + 1.5 * roughness**2)
        values[f"panelGlint{number}"] = panel.glint
    return values
