"""The surface's shading, as GLSL laid into VTK's polygon shader: what every look needs, and what this one adds.

All light is analytic: lamps and sky are smooth lobes, so reflections need no environment texture, cost little on a
software GL, and are the same for every tile. Light is linear; the shader ends with the square root of it over
`HALF_RANGE`, times what it covers, and of the cover itself, which sixteen bits carry without bands and without noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from studio.film.light import MAX_LIGHT as HALF_RANGE
from studio.film.look import Look

_SKY = """
vec3 skyToward(vec3 d) {
  float up = clamp(d.z, 0.0, 1.0);
  return mix(mix(horizon, sky, sqrt(up)), groundlight, smoothstep(0.0, 0.25, -d.z));
}
"""

_ENCODED = f"""
vec4 encoded(vec3 light, float veil) {{
  // VTK drops what has no alpha, and would show what it hides
  return vec4(min(sqrt(light * {1 / HALF_RANGE}), 1.0) * veil, max(veil, 1e-6));
}}
"""

# A vertex is put where the rasteriser would put it in the whole picture, to a 256th of a sample, and only then moved
# into the part that is drawn: so the edges of a tile are those of the whole, to the last sample.
_PLACED = """
  {
    float away = gl_Position.w;
    vec2 at = 0.5 * whole.xy * (gl_Position.xy / max(away, 1e-3) + 1.0);
    vec2 inPart = (2.0 * (floor(256.0 * at + 0.5) / 256.0 - corner.xy) / part.xy - 1.0) * away;
    vec2 behind = (gl_Position.xy * whole.xy + away * (whole.xy - 2.0 * corner.xy - part.xy)) / part.xy;
    gl_Position.xy = away > 0.01 ? inPart : behind;
  }
"""

# What varies slowly is worked out at the vertices, which stand two pixels apart: a software GL has twenty times as many
# fragments. What makes the glints stays with the fragments.
VERTEX_DECLARE = f"""//VTK::PositionVC::Dec
CONSTANTS
in vec3 paint;
in vec4 ground;
out vec3 matt;
out vec3 mirror;
out vec4 groundOut;
out vec3 place;
out float veil;
{_SKY}
"""

VERTEX = """//VTK::PositionVC::Impl
PLACED{
  place = vertexMC.xyz;
  groundOut = ground;
  float open = max(ground.z, 0.0);
  vec3 n = normalize(vec3(-ground.x, -ground.y, 1.0));
  vec3 light = ambient * open * skyToward(n);
  light += keyLight * (ground.w * max((dot(n, keyToward) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
  light += rimLight * (max((dot(n, rimToward) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
ADDED  vec3 away = (place - spot) / spread;
  float near = 1.0 / (1.0 + dot(away, away));
  matt = paint * (1.0 - metallic) * light + glow * (near * near);
  mirror = mix(vec3(0.04), paint, metallic);
  veil = VEIL;
}
"""

# as from a ball that stands a little above the ground: its floor is grazed, the walls around it are lit
_LAMP = """  vec3 toLamp = spot + vec3(0.0, 0.0, lampHigh) - place;
  float far2 = dot(toLamp, toLamp);
  float falls = 1.0 / (1.0 + far2 / (lampReach * lampReach));
  float faces = max((dot(n, toLamp) * inversesqrt(far2) + 0.1) / 1.1, 0.0);
  light += lampLight * (falls * falls * faces * mix(0.5, 1.0, open));
"""

_DIMMED = """  vec3 beside = (place - spot) / dimmed;
  light *= 1.0 - dimming * exp(-dot(beside, beside));
"""

_VEIL = "sqrt(1.0 - smoothstep(fadeStart, fadeEnd, length(place.xy)))"

_FILL = """  light += fillLight * (max((dot(n, fillToward) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
"""

FRAGMENT_DECLARE = f"""//VTK::PositionVC::Dec
CONSTANTS
in vec3 matt;
in vec3 mirror;
in vec4 groundOut;
in vec3 place;
in float veil;
{_SKY}
// A bell around a direction: 1 where the cosine is 1, with a long soft foot.
float lobe(float cosine, float width) {{
  float fall = width / (width + 1.0 - cosine);
  return fall * fall;
}}
{_ENCODED}"""

FRAGMENT = """//VTK::Light::Impl
{
  float open = groundOut.z;
  bool wall = dot(groundOut.xy, groundOut.xy) > 1e6;   // stands upright
  if (open < -0.5 || GONE) discard;   // touches a point that was not measured, or is not a number
  vec3 n = normalize(vec3(-groundOut.xy, 1.0));
  vec3 v = normalize(eye - place);
  float along = dot(n, v);
  vec3 r = 2.0 * along * n - v;
  float grazing = 1.0 - max(along, 0.02);
  float graze2 = grazing * grazing;
  vec3 fresnel = mirror + max(1.0 - roughness - mirror, 0.0) * (graze2 * graze2 * grazing);

  vec3 shine = ambient * skyToward(r) + keyGlint * (groundOut.w * lobe(dot(r, keyToward), keyWidth))
    + rimGlint * lobe(dot(r, rimToward), rimWidth);
MIRRORED  vec3 light = matt + fresnel * shine * open;

  // from below the land is seen by an eye that is there, for which no lamp stands; or where the near plane or the edge
  // of the land has cut open a ridge, and then it is not meant to be seen
  bool below = !gl_FrontFacing && !wall;
  float shown = VEIL;
  if (below && buried < 0.5) {
    if (dot(place.xy, place.xy) < fadeStart * fadeStart) discard;
    shown = 0.0;
  }
  if (below) light *= 0.2;

ON_SURFACE  light *= exposure;
IN_PICTURE  gl_FragData[0] = encoded(light, shown);
}
"""

_PANEL = """  {
    float ahead = dot(r, panelTowardN);
    vec2 off = abs(vec2(dot(r, panelRightN), dot(r, panelUpN))) / max(ahead, 1e-3) - panelHalfN.xy;
    vec2 inside = 1.0 - smoothstep(-panelHalfN.z, panelHalfN.z, off);
    shine += panelGlintN * (inside.x * inside.y * step(0.0, ahead));
  }
"""

_CONTOURS = """  {
    float level = LEVEL;
    float width = max((abs(toRight.z) + abs(toUp.z)) * abs(STEEP) * contourWidth * WIDER, 1e-7);
    float from = abs(fract(level - 0.5) - 0.5);
    float line = (1.0 - smoothstep(width * 0.5, width * 1.2, from)) * clamp(1.5 - width * 1.5, 0.0, 1.0);
    line *= step(2e-7, width);   // level ground is no line
    if (wall) line *= step(0.0, place.z);   // a cast's wall is bare below all heights
    light = mix(light, contourColour * (0.35 + 0.65 * open), line * contourOpacity);
  }
"""
# the height's field in its own units, from the drawn height, and how steeply it rises with that
_VALUES = {
    "linear": ("scaled", "1.0"),
    "sqrt": ("scaled * scaled", "2.0 * scaled"),
    "log": ("exp(scaled)", "exp(scaled)"),
    "signed-log": ("sinh(scaled)", "cosh(scaled)"),
}

# How far the place moves on the land from a sample to the next; differences of neighbours would be of few digits, other
# ones in a tile than in the whole picture.
_MOVED = """  float facing = along < 0.0 ? min(along, -0.02) : max(along, 0.02);
  vec3 toRight = (sampleRight - v * (dot(n, sampleRight) / facing)) / gl_FragCoord.w;
  vec3 toUp = (sampleUp - v * (dot(n, sampleUp) / facing)) / gl_FragCoord.w;
"""

_WIRE = """  {
    mat2 turned = mat2(wireAxis.x, -wireAxis.y, wireAxis.y, wireAxis.x) / wireEvery;
    vec2 line = turned * place.xy;
    vec2 width = (abs(turned * toRight.xy) + abs(turned * toUp.xy)) * wireWidth + 1e-6;   // of one it may be 0
    vec2 from = abs(fract(line - 0.5) - 0.5);
    vec2 on = (1.0 - smoothstep(width * 0.5, width * 1.2, from)) * clamp(1.5 - width * 1.5, 0.0, 1.0);
    light = mix(light, wireColour * (0.35 + 0.65 * open), max(on.x * wireAlong.x, on.y * wireAlong.y) * wireOpacity);
  }
"""

# Strokes as wide as the picture would be dark, which taper off before the edge. Where they would stand closer than
# strokeFinest, every second one thins out and the others swell: the tone stays, and none blurs into its neighbours.
_ENGRAVING = """  {
    float tone = pow(clamp(dot(light, vec3(0.2126, 0.7152, 0.0722)), 0.0, 1.0), strokeGamma / 2.2);
    float inside = 1.0 - smoothstep(2.0 * fadeStart - fadeEnd, fadeStart, length(place.xy));
    float ink = 0.0;
    for (int set = 0; set < 2; set++) {
      vec2 toward = set == 0 ? strokeAcross.xy : vec2(-strokeAcross.y, strokeAcross.x);
      float across = dot(place.xy, toward);
      float moved = abs(dot(toRight.xy, toward)) + abs(dot(toUp.xy, toward));
      float level = log2(max(moved * strokeFinest, 1.0));
      float apart = exp2(floor(level)), thinned = fract(level), soft = moved / apart;
      float dark = max(inside * (set == 0 ? 0.92 - tone : 0.8 * (0.30 - tone)), 0.0);
      vec2 from = 2.0 * abs(mod(across / apart + vec2(1.0, 0.0), 2.0) - 1.0);   // the nearest even stroke, and odd
      vec2 wide = dark * vec2(1.0 + thinned, 1.0 - thinned);
      vec2 stroke = (1.0 - smoothstep(wide - soft, wide + soft, from)) * clamp(wide / soft, 0.0, 1.0);
      ink = max(ink, max(stroke.x, stroke.y));
    }
    light = mix(strokePaper, strokeInk, ink);
  }
"""

_FOG = """  light = mix(light, fogColour, 1.0 - exp(-max(length(eye - place) - fogStart, 0.0) / fogReach));
"""

# round in the picture, whatever the slope: the place is taken back to pixels
_NODES = """  {
    vec2 off = (fract(place.xy / nodeEvery + 0.5) - 0.5) * nodeEvery;
    vec2 pixels = inverse(mat2(dFdx(place.xy), dFdy(place.xy))) * off / nodeWidth;
    float far = length(pixels);
    light = mix(light, vec3(0.0), 0.8 * (1.0 - smoothstep(1.5, 2.1, far)));
    light = mix(light, vec3(0.9), 1.0 - smoothstep(0.8, 1.2, far));
  }
"""

# a cast ends at its wall, whose own fragments lie on the circle
_CUT = "!wall && dot(place.xy, place.xy) > fadeEnd * fadeEnd"


def constants(values: Mapping[str, float | Sequence[float]]) -> str:
    """Declarations of numbers and vectors, which the compiler can reckon with ahead of every pixel."""

    def declared(name: str, value: float | Sequence[float]) -> str:
        if np.ndim(value) == 0:
            return f"const float {name} = {float(value)!r};\n"
        return f"const vec3 {name} = vec3({', '.join(repr(float(x)) for x in value)});\n"

    return "".join(declared(name, value) for name, value in values.items())


def vertex(look: Look, fixed: str) -> tuple[str, str]:
    """Declarations and body of the vertex shader for a look. fixed: the declarations of its constants."""
    added = (_FILL if look.light.fill else "") + (_LAMP if look.marker.lamp else "")
    laid = {"PLACED": _PLACED, "ADDED": added, "VEIL": "1.0" if look.plinth else _VEIL}
    return VERTEX_DECLARE.replace("CONSTANTS", fixed), _laid(VERTEX, laid)


def fragment(look: Look, fixed: str) -> tuple[str, str]:
    """The same of the fragment shader: only what the look draws, for a software GL pays for every line."""
    on_surface = _DIMMED if look.marker.dimming else ""
    on_surface += _MOVED if look.contours or look.wire or look.engraving else ""
    on_surface += (_contours(look) if look.contours else "") + (_WIRE if look.wire else "")
    in_picture = "".join(
        chunk for chunk, wanted in ((_ENGRAVING, look.engraving), (_NODES, look.nodes), (_FOG, look.fog)) if wanted
    )
    gone, veil = (_CUT, "1.0") if look.plinth else ("veil <= 0.0", "veil")
    mirrored = "".join(_PANEL.replace("N", str(number)) for number in range(len(look.light.environment)))
    laid = {"MIRRORED": mirrored, "ON_SURFACE": on_surface, "IN_PICTURE": in_picture, "GONE": gone, "VEIL": veil}
    return FRAGMENT_DECLARE.replace("CONSTANTS", fixed), _laid(FRAGMENT, laid)


def _laid(shader: str, chunks: dict[str, str]) -> str:
    """A shader with chunks in place of words."""
    for word, chunk in chunks.items():
        shader = shader.replace(word, chunk)
    return shader


def _contours(look: Look) -> str:
    level, steep, wider = "place.z / contourEvery", "1.0 / contourEvery", "1.0"
    if look.contours.step:
        value, rise = (v.replace("scaled", "(valueLow + place.z * valueSlope)") for v in _VALUES[look.height.scale])
        level, steep = f"{value} / contourStep", f"{rise} * valueSlope / contourStep"
    if look.contours.index:
        wider = "(mod(floor(level + 0.5), contourIndex) < 0.5 ? 2.0 : 1.0)"
    return _laid(_CONTOURS, {"LEVEL": level, "STEEP": steep, "WIDER": wider})


MARKER_VERTEX_DECLARE = "//VTK::PositionVC::Dec\nout vec3 outward;\n"

MARKER_VERTEX = f"""//VTK::PositionVC::Impl
{_PLACED}
outward = vertexMC.xyz;
"""

MARKER_DECLARE = f"//VTK::PositionVC::Dec\nin vec3 outward;\n{_ENCODED}"

MARKER = """//VTK::Light::Impl
gl_FragData[0] = encoded(mix(limbLight, markerLight, smoothstep(0.15, 0.85, dot(normalize(outward), toEye))), 1.0);
"""

# The ground a block stands on is nothing but the shadow that falls on it.
GROUND_VERTEX_DECLARE = """//VTK::PositionVC::Dec
in float shade;
out float shadeOut;
"""

GROUND_VERTEX = f"""//VTK::PositionVC::Impl
{_PLACED}
shadeOut = shade;
"""

GROUND_DECLARE = f"""//VTK::PositionVC::Dec
in float shadeOut;
{_ENCODED}"""

GROUND = """//VTK::Light::Impl
gl_FragData[0] = encoded(vec3(0.0), sqrt(max(1.0 - shadeOut, 0.0)));
"""
