// GLSL of the surface in named sections; `studio.render.shading` puts together those that a look needs, and puts GLSL
// in place of the words in capitals.

// --- sky ---
vec3 skyToward(vec3 d) {
  float up = clamp(d.z, 0.0, 1.0);
  return mix(mix(horizon, sky, sqrt(up)), groundLight, smoothstep(0.0, 0.25, -d.z));
}

// --- encode ---
vec4 encode(vec3 light, float coverRoot) {
  // VTK discards fragments without alpha, and what they hide would show
  return vec4(min(sqrt(light * PER_MAX_LIGHT), 1.0) * coverRoot, max(coverRoot, 1e-6));
}

// --- in tile ---
// A vertex is first rounded to where the rasteriser would put it in the whole picture, to a 256th of a sample, and only
// then moved into the tile: so edges in a tile are those in the whole picture, to the last sample.
  {
    float w = gl_Position.w;
    vec2 sampleAt = 0.5 * pictureSize.xy * (gl_Position.xy / max(w, 1e-3) + 1.0);
    vec2 before = (2.0 * (floor(256.0 * sampleAt + 0.5) / 256.0 - tileCorner.xy) / tileSize.xy - 1.0) * w;
    vec2 behind =
      (gl_Position.xy * pictureSize.xy + w * (pictureSize.xy - 2.0 * tileCorner.xy - tileSize.xy)) / tileSize.xy;
    gl_Position.xy = w > 0.01 ? before : behind;   // before or behind the eye
  }

// --- vertex declarations ---
// What varies slowly is computed at the vertices, about two pixels apart: a software GL has twenty times as many
// fragments. Reflections are computed at the fragments. relief: slopes along x and y, share of the sky, of the key lamp.
CONSTANTS
in vec3 colour;
in vec4 relief;
out vec3 scattered;
out vec3 reflectance;
out vec4 reliefOut;
out vec3 place;
out float coverRoot;
SKY

// --- vertex ---
IN_TILE
{
  place = vertexMC.xyz;
  reliefOut = relief;
  float open = max(relief.z, 0.0);
  vec3 n = normalize(vec3(-relief.x, -relief.y, 1.0));
  vec3 light = ambient * open * skyToward(n);
  light += keyLight * (relief.w * max((dot(n, keyDirection) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
  light += rimLight * (max((dot(n, rimDirection) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));
MORE_LIGHT
  vec3 off = (place - minimiser) / glowSpread;
  float near = 1.0 / (1.0 + dot(off, off));
  scattered = colour * (1.0 - metallic) * light + glow * (near * near);
  reflectance = mix(vec3(0.04), colour, metallic);
  coverRoot = COVER_ROOT;
}

// --- fill ---
  light += fillLight * (max((dot(n, fillDirection) + 0.15) / 1.15, 0.0) * mix(0.4, 1.0, open));

// --- marker lamp ---
// from a ball a little above the surface: the floor below it is grazed, the walls around it are lit
  vec3 toLamp = minimiser + vec3(0.0, 0.0, markerHeight) - place;
  float far2 = dot(toLamp, toLamp);
  float falloff = 1.0 / (1.0 + far2 / (markerReach * markerReach));
  float facing = max((dot(n, toLamp) * inversesqrt(far2) + 0.1) / 1.1, 0.0);
  light += markerLamp * (falloff * falloff * facing * mix(0.5, 1.0, open));

// --- fragment declarations ---
CONSTANTS
in vec3 scattered;
in vec3 reflectance;
in vec4 reliefOut;
in vec3 place;
in float coverRoot;
SKY
// 1 where the cosine is 1, falling off with a long tail
float lobe(float cosine, float width) {
  float falloff = width / (width + 1.0 - cosine);
  return falloff * falloff;
}
ENCODE

// --- fragment ---
{
  float open = reliefOut.z;
  bool wall = dot(reliefOut.xy, reliefOut.xy) > 1e6;   // upright
  vec2 inWindow = place.xy * perSide.xy;   // 1 along the edge
  if (open < -0.5 || OUTSIDE) discard;   // the first: touches a hole, where nothing finite was measured
  vec3 n = normalize(vec3(-reliefOut.xy, 1.0));
  vec3 v = normalize(eye - place);
  float along = dot(n, v);
  vec3 r = 2.0 * along * n - v;
  float grazing = 1.0 - max(along, 0.02);
  float graze2 = grazing * grazing;
  vec3 fresnel = reflectance + max(1.0 - roughness - reflectance, 0.0) * (graze2 * graze2 * grazing);

  vec3 reflected = ambient * skyToward(r) + keyGlint * (reliefOut.w * lobe(dot(r, keyDirection), keyWidth))
    + rimGlint * lobe(dot(r, rimDirection), rimWidth);
PANELS
  vec3 light = scattered + fresnel * reflected * open;

  // the underside is visible to an eye below the surface, where no lamp shines; or where the near plane or the edge of
  // the surface cuts a ridge open, and then it must not be seen
  bool below = !gl_FrontFacing && !wall;
  float root = COVER_ROOT;
  if (below && eyeBelow < 0.5) {
    if (dot(inWindow, inWindow) < fadeStart * fadeStart) discard;
    root = 0.0;
  }
  if (below) light *= 0.2;

ON_SURFACE
  light *= exposure;
IN_PICTURE
  gl_FragData[0] = encode(light, root);
}

// --- panel ---
  {
    float ahead = dot(r, panelDirectionN);
    vec2 off = abs(vec2(dot(r, panelRightN), dot(r, panelUpN))) / max(ahead, 1e-3) - panelHalfN.xy;
    vec2 inside = 1.0 - smoothstep(-panelHalfN.z, panelHalfN.z, off);
    reflected += panelGlintN * (inside.x * inside.y * step(0.0, ahead));
  }

// --- dimming ---
  vec3 off = (place - minimiser) / dimmingSpread;
  light *= 1.0 - dimming * exp(-dot(off, off));

// --- sample steps ---
// The displacement on the surface from a sample to the next. Differences of neighbours would have few digits, and others
// in a tile than in the whole picture.
  float facing = along < 0.0 ? min(along, -0.02) : max(along, 0.02);
  vec3 toRight = (sampleRight - v * (dot(n, sampleRight) / facing)) / gl_FragCoord.w;
  vec3 toUp = (sampleUp - v * (dot(n, sampleUp) / facing)) / gl_FragCoord.w;

// --- contours ---
  {
    float level = LEVEL;
    float width = max((abs(toRight.z) + abs(toUp.z)) * abs(STEEP) * contourWidth * WIDTH_FACTOR, 1e-7);
    float from = abs(fract(level - 0.5) - 0.5);
    float line = (1.0 - smoothstep(width * 0.5, width * 1.2, from)) * clamp(1.5 - width * 1.5, 0.0, 1.0);
    line *= step(2e-7, width);   // level ground has no line
    if (wall) line *= step(0.0, place.z);   // the wall is bare below height 0
    light = mix(light, contourColour * (0.35 + 0.65 * open), line * contourOpacity);
  }

// --- wire lines ---
    mat2 toWire = mat2(wireAxis.x, -wireAxis.y, wireAxis.y, wireAxis.x) / wireEvery;
    vec2 line = toWire * place.xy;
    vec2 width = (abs(toWire * toRight.xy) + abs(toWire * toUp.xy)) * wireWidth + 1e-6;   // along a line it may be 0
    vec2 from = abs(fract(line - 0.5) - 0.5);
    vec2 on = (1.0 - smoothstep(width * 0.5, width * 1.2, from)) * clamp(1.5 - width * 1.5, 0.0, 1.0);
    float drawn = max(on.x * wireFamilies.x, on.y * wireFamilies.y);

// --- wire ---
  {
WIRE_LINES
    light = mix(light, wireColour * (0.35 + 0.65 * open), drawn * wireOpacity);
  }

// --- line sheet ---
// Samples are drawn or not, since what is behind must show between and through the lines: of the four samples of a pixel
// as many as the line covers.
{
  vec2 inWindow = place.xy * perSide.xy;   // 1 along the edge
  const bool wall = false;
  if (reliefOut.z < -0.5 || OUTSIDE) discard;
  vec3 n = normalize(vec3(-reliefOut.xy, 1.0));
  vec3 v = normalize(eye - place);
  float along = dot(n, v);
SAMPLE_STEPS
WIRE_LINES
  ivec2 odd = ivec2(gl_FragCoord.xy + tileCorner.xy) & 1;
  float threshold = 0.125 + 0.25 * float(odd.x == odd.y ? odd.x : 2 + odd.y);
  if (drawn * wireOpacity * COVER_ROOT * COVER_ROOT <= threshold) discard;
  vec3 light = wireColour * exposure;
IN_PICTURE
  gl_FragData[0] = encode(light, 1.0);
}

// --- engraving ---
// Strokes are as wide as the picture would be dark, and taper off before the edge. Where they would be closer than
// strokeMinSpacing, every second one thins out and the others widen: the tone stays, and no strokes blur together.
  {
    float tone = pow(clamp(dot(light, vec3(0.2126, 0.7152, 0.0722)), 0.0, 1.0), strokeGamma / 2.2);
    float inside = 1.0 - smoothstep(2.0 * fadeStart - fadeEnd, fadeStart, length(inWindow));
    float ink = 0.0;
    for (int set = 0; set < 2; set++) {
      vec2 toward = set == 0 ? strokeAcross.xy : vec2(-strokeAcross.y, strokeAcross.x);
      float across = dot(place.xy, toward);
      float perSample = abs(dot(toRight.xy, toward)) + abs(dot(toUp.xy, toward));
      float level = log2(max(perSample * strokeMinSpacing, 1.0));
      float spacing = exp2(floor(level)), thinned = fract(level), soft = perSample / spacing;
      float dark = max(inside * (set == 0 ? 0.92 - tone : 0.8 * (0.30 - tone)), 0.0);
      vec2 from = 2.0 * abs(mod(across / spacing + vec2(1.0, 0.0), 2.0) - 1.0);   // the nearest even and odd stroke
      vec2 wide = dark * vec2(1.0 + thinned, 1.0 - thinned);
      vec2 stroke = (1.0 - smoothstep(wide - soft, wide + soft, from)) * clamp(wide / soft, 0.0, 1.0);
      ink = max(ink, max(stroke.x, stroke.y));
    }
    light = mix(strokePaper, strokeInk, ink);
  }

// --- nodes ---
// round in the picture on any slope: the place is mapped back to pixels
  {
    vec2 off = (fract((place.xy - nodeAt.xy) / nodeEvery.xy + 0.5) - 0.5) * nodeEvery.xy;
    vec2 pixels = inverse(mat2(dFdx(place.xy), dFdy(place.xy))) * off / nodeWidth;
    float radius = length(pixels);
    light = mix(light, vec3(0.0), 0.8 * (1.0 - smoothstep(1.5, 2.1, radius)));
    light = mix(light, vec3(0.9), 1.0 - smoothstep(0.8, 1.2, radius));
  }

// --- fog ---
  light = mix(light, fogColour, 1.0 - exp(-max(length(eye - place) - fogStart, 0.0) / fogReach));
