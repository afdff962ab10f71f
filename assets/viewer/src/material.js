// The film's own shaders on the page's meshes, and the numbers that they receive from view to view.
import * as THREE from "three";
import { endsAt } from "./scales.js";

const MOST_PANELS = 6;
const FLOATS = ["eyeBelow", "contourWidth", "wireWidth", "strokeMinSpacing", "nodeWidth", "valueLow", "valueSlope"];
const VECTORS = [
  ...["pictureSize", "tileSize", "tileCorner", "eye", "minimiser", "perSide", "keyDirection", "rimDirection", "fillDirection"],
  ...["wireAxis", "nodeAt", "nodeEvery", "sampleRight", "sampleUp"],
  ...Array.from({ length: MOST_PANELS }, (_, n) => ["panelDirection", "panelRight", "panelUp"].map((name) => name + n)).flat(),
];
const UNIFORMS = [...FLOATS.map((name) => `uniform float ${name};`), ...VECTORS.map((name) => `uniform vec3 ${name};`)].join("\n");
const VERTEX = "precision highp float;\nin vec3 position;\nuniform mat4 modelViewMatrix, projectionMatrix;\n#define vertexMC vec4(position, 1.0)\n";
const PLACE = "gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);\n";
const FRAGMENT = "precision highp float;\nout vec4 pageColour;\n";
const OUT = /gl_FragData\[0\] = encode\(light, root\);/;

/** A material with a look's shaders. Light leaves it linear, multiplied by its coverage. */
export function surfaceMaterial(look) {
  const uniforms = Object.fromEntries([...FLOATS.map((name) => [name, { value: 0 }]), ...VECTORS.map((name) => [name, { value: new THREE.Vector3() }])]);
  const [vertexWords, vertex] = look.vertex, [words, fragment] = look.fragment;
  const between = (text, which) => text.replace(which, "centroid $1 "); // else smooth edges show what lies beyond them
  return new THREE.RawShaderMaterial({
    glslVersion: THREE.GLSL3, side: THREE.DoubleSide, uniforms,
    vertexShader: `${VERTEX}${UNIFORMS}\n${between(vertexWords, /^(out) /gm)}\nvoid main() {\n${PLACE}${vertex}}`,
    fragmentShader: `${FRAGMENT}${UNIFORMS}\n${between(words, /^(in) /gm)}\nvoid main() {\n${fragment.replace(OUT, "pageColour = vec4(min(light, 4.0), 1.0) * root * root;")}}`,
  });
}

/** A material of one light, which falls to that of the limb at the edge. */
export const ballMaterial = () => new THREE.RawShaderMaterial({
  glslVersion: THREE.GLSL3,
  uniforms: { light: { value: new THREE.Vector3() }, limb: { value: new THREE.Vector3() }, toEye: { value: new THREE.Vector3() } },
  vertexShader: `${VERTEX}in vec3 normal;\nout vec3 outward;\nvoid main() {\n${PLACE}outward = normal;\n}`,
  fragmentShader: `${FRAGMENT}uniform vec3 light, limb, toEye;\nin vec3 outward;\nvoid main() {
    pageColour = vec4(min(mix(limb, light, smoothstep(0.15, 0.85, dot(normalize(outward), toEye))), 4.0), 1.0);\n}`,
});

/** The black of a shadow on the ground: it covers as much as it darkens. */
export const groundMaterial = () => new THREE.RawShaderMaterial({
  glslVersion: THREE.GLSL3, uniforms: {}, side: THREE.DoubleSide,
  vertexShader: `${VERTEX}in float shade;\nout float dark;\nvoid main() {\n${PLACE}dark = 1.0 - shade;\n}`,
  fragmentShader: `${FRAGMENT}in float dark;\nvoid main() { pageColour = vec4(0.0, 0.0, 0.0, max(dark, 0.0)); }`,
});

const direction = (azimuth, elevation) => [Math.cos(azimuth) * Math.cos(elevation), Math.sin(azimuth) * Math.cos(elevation), Math.sin(elevation)];

/** Sets what differs from view to view. turn: that the lamps follow, radians. lines: the picture's height in pixels. */
export function setView(material, look, land, camera, turn, { width, height: lines }) {
  const { lighting, contours, wire, nodes } = look.appearance, u = material.uniforms;
  const set = (name, value) => (Array.isArray(value) ? u[name].value.set(...value) : (u[name].value = value));
  const eye = camera.position.toArray(), thin = (wide) => Math.max((wide * lines) / 1080, 0.5);
  set("pictureSize", [width, lines, 0]);
  set("tileSize", [width, lines, 0]);
  set("eye", eye);
  set("minimiser", land.marker ? [...land.marker.slice(0, 2), land.height(land.marker)] : [0, 0, 1e6]);
  set("perSide", [1 / land.sides[0], 1 / land.sides[1], 0]);
  for (const name of ["key", "rim", "fill"]) if (lighting[name]) set(`${name}Direction`, direction(lighting[name].azimuth + turn, lighting[name].elevation));
  for (const [n, panel] of lighting.panels.slice(0, MOST_PANELS).entries()) {
    const [azimuth, ahead] = [panel.azimuth + turn, direction(panel.azimuth + turn, panel.elevation)], right = [-Math.sin(azimuth), Math.cos(azimuth), 0];
    set(`panelDirection${n}`, ahead);
    set(`panelRight${n}`, right);
    u[`panelUp${n}`].value.crossVectors(new THREE.Vector3(...ahead), new THREE.Vector3(...right));
  }
  const inside = Math.min(1, look.appearance.fade_end / Math.max(land.radius(eye), 1e-9));
  set("eyeBelow", +(eye[2] < land.height([eye[0] * inside, eye[1] * inside])));
  const [low, high] = endsAt(look.height, land.coordinate);
  set("valueLow", low);
  set("valueSlope", (high - low) / look.height.exaggeration);
  set("contourWidth", thin(contours?.width ?? 0));
  set("wireWidth", thin(wire?.width ?? 0));
  set("strokeMinSpacing", Math.max((5 * lines) / 1080, 3));
  set("nodeWidth", thin(1));
  if (wire) set("wireAxis", look.wire_follows ? [Math.cos(turn), Math.sin(turn), 0] : [1, 0, 0]);
  if (nodes) [set("nodeAt", [...nodes.place, 0]), set("nodeEvery", [...nodes.spacing, 1])];
  const pixel = (2 * Math.tan((camera.fov * Math.PI) / 360)) / lines, axes = [0, 1].map((i) => new THREE.Vector3().setFromMatrixColumn(camera.matrixWorld, i).multiplyScalar(pixel).toArray());
  set("sampleRight", axes[0]);
  set("sampleUp", axes[1]);
}
