"""The surface's shading, as GLSL laid into VTK's polygon shader.

All light is analytic: lamps and sky are smooth lobes, so reflections need no environment texture, cost little on a
software GL, and are the same for every tile. Light is linear; the shader ends with the square root of it over
`HALF_RANGE`, plus less than one code of ordered noise, so that eight bits carry the range without bands.
"""

VERTEX_DECLARE = """//VTK::PositionVC::Dec
in vec3 paint;
in vec4 ground;
out vec3 paintOut;
out vec4 groundOut;
out vec3 place;
"""

VERTEX = """//VTK::PositionVC::Impl
paintOut = paint;
groundOut = ground;
place = vertexMC.xyz;
"""

_ENCODED = """
vec4 encoded(vec3 light) {
  float noise = fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5;
  return vec4(sqrt(clamp(light / range, 0.0, 1.0)) + noise / 255.0, 1.0);
}
"""

FRAGMENT_DECLARE = """//VTK::PositionVC::Dec
in vec3 paintOut;
in vec4 groundOut;
in vec3 place;

vec3 skyToward(vec3 d) {
  float up = clamp(d.z, 0.0, 1.0);
  return mix(mix(horizon, sky, sqrt(up)), groundlight, smoothstep(0.0, 0.25, -d.z));
}

// A bell around a direction: 1 where the cosine is 1, with a long soft foot.
float lobe(float cosine, float width) {
  float fall = 1.0 / (1.0 + (1.0 - cosine) / width);
  return fall * fall;
}
""" + _ENCODED

FRAGMENT = """//VTK::Light::Impl
{
  if (groundOut.z < -0.5) discard;   // touches a point that was not measured, or is not a number
  vec3 n = normalize(vec3(-groundOut.x, -groundOut.y, 1.0));
  vec3 v = normalize(eye - place);
  float facing = max(dot(n, v), 0.02);
  vec3 r = reflect(-v, n);
  vec3 mirror = mix(vec3(0.04), paintOut, metallic);
  float grazing = 1.0 - facing;
  float graze2 = grazing * grazing;
  vec3 fresnel = mirror + (max(vec3(1.0 - roughness), mirror) - mirror) * (graze2 * graze2 * grazing);
  float open = groundOut.z;
  float lit = groundOut.w;

  vec3 diffuse = ambient * open * skyToward(n);
  vec3 shine = ambient * open * skyToward(r);
  diffuse += keyLight * (lit * max((dot(n, keyToward) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
  diffuse += rimLight * (max((dot(n, rimToward) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
  shine += keyGlint * (lit * open * lobe(dot(r, keyToward), keyWidth));
  shine += rimGlint * (open * lobe(dot(r, rimToward), rimWidth));
  vec3 light = paintOut * (1.0 - metallic) * diffuse + fresnel * shine;

  vec3 away = (place - spot) / spread;
  light += glow * lobe(1.0 - dot(away, away), 1.0);

  if (contourOpacity > 0.0) {
    float level = place.z / contourEvery;
    float width = fwidth(level) * contourWidth;
    float from = abs(fract(level - 0.5) - 0.5);
    float line = (1.0 - smoothstep(width * 0.5, width * 1.2, from)) * clamp(1.5 - width * 1.5, 0.0, 1.0);
    light = mix(light, contourColour * (0.35 + 0.65 * open), line * contourOpacity);
  }

  light *= exposure;
  vec3 behind = mix(bottom, top, gl_FragCoord.y / pictureHeight);
  light = mix(light, behind, smoothstep(fadeStart, fadeEnd, length(place.xy)));
  gl_FragData[0] = encoded(light);
}
"""

MARKER_DECLARE = "//VTK::PositionVC::Dec" + _ENCODED

MARKER = """//VTK::Light::Impl
gl_FragData[0] = encoded(markerLight);
"""
