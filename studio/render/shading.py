"""The surface's shading, as GLSL laid into VTK's polygon shader.

All light is analytic: lamps and sky are smooth lobes, so reflections need no environment texture, cost little on a
software GL, and are the same for every tile. Light is linear; the shader ends with the square root of it over
`HALF_RANGE`, plus less than one code of ordered noise, so that eight bits carry the range without bands.
"""

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
  matt = paint * (1.0 - metallic) * light;
  mirror = mix(vec3(0.04), paint, metallic);
}
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

  if (contourOpacity > 0.0) {
    float level = place.z / contourEvery;
    float width = fwidth(level) * contourWidth;
    float from = abs(fract(level - 0.5) - 0.5);
    float line = (1.0 - smoothstep(width * 0.5, width * 1.2, from)) * clamp(1.5 - width * 1.5, 0.0, 1.0);
    light = mix(light, contourColour * (0.35 + 0.65 * open), line * contourOpacity);
  }

  vec3 behind = mix(bottom, top, gl_FragCoord.y / pictureHeight);
  light = mix(light * exposure, behind, smoothstep(fadeStart, fadeEnd, length(place.xy)));
  gl_FragData[0] = encoded(light);
}
"""

MARKER_DECLARE = f"//VTK::PositionVC::Dec\n{_ENCODED}"

MARKER = """//VTK::Light::Impl
gl_FragData[0] = encoded(markerLight);
"""
