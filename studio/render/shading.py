"""The surface's shaders: GLSL inserted into VTK's polygon shaders, with only the parts that a look needs.

A kind of line is a section of `assets/shaders/surface.glsl`, inserted by `fragment`; the numbers in it come from
`studio.render.uniforms`.

All light is analytic: lamps and sky are smooth lobes. So reflections need no environment texture, cost little on a
software GL, and are the same in every tile. Light is linear; the shader ends with the square root of light over
`MAX_LIGHT`, multiplied by the root of the coverage, and with that root itself: sixteen bits hold these without bands
and without noise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from studio.film.appearance import Appearance, Contours
from studio.film.light import MAX_LIGHT
from studio.film.look import assets_folder
from studio.render.uniforms import Values


class Shader(NamedTuple):
    """GLSL for one stage of an actor: global declarations, and the body of its main function."""

    declarations: str
    body: str


_FILE = assets_folder() / "shaders" / "surface.glsl"
_SECTIONS = re.split(r"^// --- (.+) ---\n", _FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
_GLSL = dict(zip(_SECTIONS[::2], _SECTIONS[1::2], strict=True))
_ENCODE = _GLSL["encode"].replace("PER_MAX_LIGHT", f"{1 / MAX_LIGHT}")
# by the height's scale: the field in its own units, and its derivative
_VALUES = {
    "linear": ("scaled", "1.0"),
    "sqrt": ("scaled * scaled", "2.0 * scaled"),
    "log": ("exp(scaled)", "exp(scaled)"),
    "signed-log": ("sinh(scaled)", "cosh(scaled)"),
}
_FADE = "sqrt(1.0 - smoothstep(fadeStart, fadeEnd, length(place.xy * perSide.xy)))"
# a cast ends at its wall, whose own fragments lie on the edge
_OUTSIDE_CAST = "!wall && dot(inWindow, inWindow) > fadeEnd * fadeEnd"
_OUTSIDE_DISC = "coverRoot <= 0.0"


def declare_constants(values: Values) -> str:
    """GLSL constants, which the compiler folds ahead of every pixel."""
    return "".join(_declare(name, value) for name, value in values.items())


def _declare(name: str, value: Any) -> str:
    if np.ndim(value) == 0:
        return f"const float {name} = {float(value)!r};\n"
    return f"const vec3 {name} = vec3({', '.join(repr(float(x)) for x in value)});\n"


def vertex(appearance: Appearance, constants: str) -> Shader:
    """The vertex shader of a look. constants: their declarations."""
    more_light = {"fill": appearance.lighting.fill, "marker lamp": appearance.marker.lamp}
    cover = "1.0" if appearance.plinth else _FADE
    return _shader("vertex", constants, IN_TILE=_GLSL["in tile"], MORE_LIGHT=_join(more_light), COVER_ROOT=cover)


def fragment(appearance: Appearance, constants: str) -> Shader:
    """The fragment shader of a look: only the parts that it draws, because a software GL pays for every line."""
    has_lines = appearance.contours or appearance.wire or appearance.engraving
    on_surface = {"dimming": appearance.marker.dimming, "sample steps": has_lines, "contours": appearance.contours}
    in_picture = {"engraving": appearance.engraving, "nodes": appearance.nodes, "fog": appearance.fog}
    scale = appearance.height_scale.scale
    return _shader(
        "fragment",
        constants,
        PANELS="".join(_GLSL["panel"].replace("N", str(number)) for number in range(len(appearance.lighting.panels))),
        ON_SURFACE=_join(on_surface | {"wire": appearance.wire}),
        IN_PICTURE=_join(in_picture),
        **_edge(appearance),
        **(_contours(appearance.contours, scale) if appearance.contours else {}),
    )


def line_sheet(appearance: Appearance, constants: str) -> Shader:
    """The fragment shader of a surface of which only the lines of its wire are drawn."""
    return _shader("line sheet", constants, IN_PICTURE=_join({"fog": appearance.fog}), **_edge(appearance))


def _edge(appearance: Appearance) -> dict[str, str]:
    """Where the drawn disc ends."""
    if appearance.plinth:
        return {"OUTSIDE": _OUTSIDE_CAST, "COVER_ROOT": "1.0"}
    return {"OUTSIDE": _OUTSIDE_DISC, "COVER_ROOT": "coverRoot"}


def _join(drawn: Mapping[str, object]) -> str:
    """The sections of what a look draws."""
    return "".join(_GLSL[name] for name, part in drawn.items() if part)


def _shader(stage: str, constants: str, **chunks: str) -> Shader:
    """The shader of a stage, with chunks of GLSL in place of words."""
    body, shared = _GLSL[stage], {"SAMPLE_STEPS": _GLSL["sample steps"], "WIRE_LINES": _GLSL["wire lines"]}
    for word, chunk in (chunks | shared).items():
        body = body.replace(word, chunk)
    declarations = _GLSL[f"{'vertex' if stage == 'vertex' else 'fragment'} declarations"].replace(
        "CONSTANTS", constants
    )
    return Shader(declarations.replace("SKY", _GLSL["sky"]).replace("ENCODE", _ENCODE), body)


def _contours(contours: Contours, scale: str) -> dict[str, str]:
    level, steepness, factor = "place.z / contourEvery", "1.0 / contourEvery", "1.0"
    if contours.step:
        value, slope = (v.replace("scaled", "(valueLow + place.z * valueSlope)") for v in _VALUES[scale])
        level, steepness = f"{value} / contourStep", f"{slope} * valueSlope / contourStep"
    if contours.index:
        factor = "(mod(floor(level + 0.5), contourIndex) < 0.5 ? 2.0 : 1.0)"
    return {"LEVEL": level, "STEEP": steepness, "WIDTH_FACTOR": factor}


MARKER_VERTEX = Shader("out vec3 outward;\n", f"{_GLSL['in tile']}outward = vertexMC.xyz;\n")
MARKER_FRAGMENT = Shader(
    f"in vec3 outward;\n{_ENCODE}",
    """float facing = smoothstep(0.15, 0.85, dot(normalize(outward), toEye));
gl_FragData[0] = encode(mix(limbLight, markerLight, facing), 1.0);
""",
)

# The ground around a cast is black, and covers as much as the cast's shadow darkens.
GROUND_VERTEX = Shader("in float shade;\nout float shadeOut;\n", f"{_GLSL['in tile']}shadeOut = shade;\n")
GROUND_FRAGMENT = Shader(
    f"in float shadeOut;\n{_ENCODE}", "gl_FragData[0] = encode(vec3(0.0), sqrt(max(1.0 - shadeOut, 0.0)));\n"
)
