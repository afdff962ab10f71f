"""The surface's shading, as GLSL laid into VTK's polygon shader: what every look needs, and what this one adds.

All light is analytic: lamps and sky are smooth lobes, so reflections need no environment texture, cost little on a
software GL, and are the same for every tile. Light is linear; the shader ends with the square root of it over
`HALF_RANGE`, plus less than one code of ordered noise, so that eight bits carry the range without bands.
"""

from ..film.look import Look

_SKY = """
vec3 skyToward(vec3 d) {
  float up = clamp(d.z, 0.0, 1.0);
  return mix(mix(horizon, sky, sqrt(up)), groundlight, smoothstep(0.0, 0.25, -d.z));
}
"""

_ENCODED = """
vec4 encoded(vec3 light) {
  float noise = fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5;
  return vec4(sqrt(clamp(light / range, 0.0, 1.0)) + noise / 255.0, 1.0);
}
"""

# What varies slowly is worked out at the vertices, which stand two pixels apart: a software GL has twenty times as many
# fragments. What makes the glints stays with the fragments.
VERTEX_DECLARE = f"""//VTK::PositionVC::Dec
in vec3 paint;
in vec4 ground;
out vec3 matt;
out vec3 mirror;
out vec4 groundOut;
out vec3 place;
{_SKY}
"""

VERTEX = """//VTK::PositionVC::Impl
{
  place = vertexMC.xyz;
  groundOut = ground;
  float open = max(ground.z, 0.0);
  vec3 n = normalize(vec3(-ground.x, -ground.y, 1.0));
  vec3 light = ambient * open * skyToward(n);
  light += keyLight * (ground.w * max((dot(n, keyToward) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
  light += rimLight * (max((dot(n, rimToward) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
ADDED  matt = paint * (1.0 - metallic) * light;
  mirror = mix(vec3(0.04), paint, metallic);
}
"""

_FILL = """  light += fillLight * (max((dot(n, fillToward) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
"""

FRAGMENT_DECLARE = f"""//VTK::PositionVC::Dec
in vec3 matt;
in vec3 mirror;
in vec4 groundOut;
in vec3 place;
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
  if (open < -0.5) discard;   // touches a point that was not measured, or is not a number
  vec3 n = normalize(vec3(-groundOut.xy, 1.0));
  vec3 v = normalize(eye - place);
  float facing = max(dot(n, v), 0.02);
  vec3 r = reflect(-v, n);
  float grazing = 1.0 - facing;
  float graze2 = grazing * grazing;
  vec3 fresnel = mirror + (max(vec3(1.0 - roughness), mirror) - mirror) * (graze2 * graze2 * grazing);

  vec3 shine = ambient * skyToward(r) + keyGlint * (groundOut.w * lobe(dot(r, keyToward), keyWidth))
    + rimGlint * lobe(dot(r, rimToward), rimWidth);
  vec3 light = matt + fresnel * shine * open;

  vec3 away = (place - spot) / spread;
  float near = 1.0 / (1.0 + dot(away, away));
  light += glow * (near * near);

ON_SURFACE  light *= exposure;
  vec3 behind = mix(bottom, top, gl_FragCoord.y / pictureHeight);
IN_PICTURE  gl_FragData[0] = encoded(light);
}
"""

_CONTOURS = """  {
    float level = LEVEL;
    float width = fwidth(level) * contourWidth * WIDER;
    float from = abs(fract(level - 0.5) - 0.5);
    float line = (1.0 - smoothstep(width * 0.5, width * 1.2, from)) * clamp(1.5 - width * 1.5, 0.0, 1.0);
    if (dot(groundOut.xy, groundOut.xy) > 1e6) line = 0.0;   // the wall of a cast
    light = mix(light, contourColour * (0.35 + 0.65 * open), line * contourOpacity);
  }
"""
# the height's field in its own units, from the drawn height
_VALUES = {"linear": "scaled", "sqrt": "scaled * scaled", "log": "exp(scaled)", "signed-log": "sinh(scaled)"}

_WIRE = """  {
    vec2 line = vec2(dot(place.xy, wireAxis.xy), dot(place.xy, vec2(-wireAxis.y, wireAxis.x))) / wireEvery;
    vec2 width = fwidth(line) * wireWidth + 1e-6;   // on the wall of a cast one of them may be 0
    vec2 from = abs(fract(line - 0.5) - 0.5);
    vec2 on = (1.0 - smoothstep(width * 0.5, width * 1.2, from)) * clamp(1.5 - width * 1.5, 0.0, 1.0);
    light = mix(light, wireColour * (0.35 + 0.65 * open), max(on.x * wireAlong.x, on.y * wireAlong.y) * wireOpacity);
  }
"""

# strokes as wide as the picture would be dark; where they are finer than a sample, their mean
_ENGRAVING = """  {
    float tone = pow(clamp(dot(light, vec3(0.2126, 0.7152, 0.0722)), 0.0, 1.0), strokeGamma / 2.2);
    float ink = 0.0;
    for (int set = 0; set < 2; set++) {
      float across = dot(place.xy, set == 0 ? strokeAcross.xy : vec2(-strokeAcross.y, strokeAcross.x));
      float soft = fwidth(across);
      float dark = set == 0 ? 0.92 - tone : 0.8 * (0.30 - tone);
      float from = 2.0 * abs(fract(across) - 0.5);
      float stroke = 1.0 - smoothstep(dark - soft, dark + soft, from);
      ink = max(ink, mix(stroke, dark, clamp(2.0 * soft - 0.5, 0.0, 1.0)) * step(0.0, dark));
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
_CUT = """  if (dot(groundOut.xy, groundOut.xy) < 1e6 && length(place.xy) > fadeEnd) discard;
"""

_FADE = """  light = mix(light, behind, smoothstep(fadeStart, fadeEnd, length(place.xy)));
"""


def vertex(look: Look) -> str:
    """The vertex shader's part for a look."""
    return VERTEX.replace("ADDED", _FILL if look.light.fill else "")


def fragment(look: Look) -> str:
    """The fragment shader's part for a look: only what it draws, for a software GL pays for every line."""
    on_surface = (_contours(look) if look.contours else "") + (_WIRE if look.wire else "")
    in_picture = "".join(
        chunk
        for chunk, wanted in (
            (_ENGRAVING, look.engraving),
            (_NODES, look.nodes),
            (_FOG, look.fog),
            (_CUT if look.plinth else _FADE, True),
        )
        if wanted
    )
    return FRAGMENT.replace("ON_SURFACE", on_surface).replace("IN_PICTURE", in_picture)


def _contours(look: Look) -> str:
    level, wider = "place.z / contourEvery", "1.0"
    if look.contours.step:
        level = f"({_VALUES[look.height.scale].replace('scaled', '(valueLow + place.z * valueSlope)')}) / contourStep"
    if look.contours.index:
        wider = "(mod(floor(level + 0.5), contourIndex) < 0.5 ? 2.0 : 1.0)"
    return _CONTOURS.replace("LEVEL", level).replace("WIDER", wider)


MARKER_DECLARE = f"//VTK::PositionVC::Dec\n{_ENCODED}"

MARKER = """//VTK::Light::Impl
gl_FragData[0] = encoded(markerLight);
"""

# The ground a block stands on: the background itself, but for the shadow that falls on it.
GROUND_VERTEX_DECLARE = """//VTK::PositionVC::Dec
in float shade;
out float shadeOut;
"""

GROUND_VERTEX = """//VTK::PositionVC::Impl
shadeOut = shade;
"""

GROUND_DECLARE = f"""//VTK::PositionVC::Dec
in float shadeOut;
{_ENCODED}"""

GROUND = """//VTK::Light::Impl
gl_FragData[0] = encoded(mix(bottom, top, gl_FragCoord.y / pictureHeight) * shadeOut);
"""
