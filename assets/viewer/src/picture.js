// From linear light to the picture, as studio.render.grade does it: background, bloom, vignette, tone, sRGB, grain.
import * as THREE from "three";

const CORNERS = "precision highp float;\nin vec3 position;\nvoid main() { gl_Position = vec4(position.xy, 0.0, 1.0); }";
const HEAD = `precision highp float;
uniform sampler2D light, bloom;
uniform vec2 size;            // of the light, in pixels
uniform vec3 bottom, top;
out vec4 pageColour;
vec3 behind(float up) { return mix(bottom, top, up); }
`;
const BRIGHT = `${HEAD}uniform float threshold, strength;
uniform int block;
void main() {
  vec3 sum = vec3(0.0);
  ivec2 first = ivec2(gl_FragCoord.xy) * block;
  for (int y = 0; y < block; y++) for (int x = 0; x < block; x++) {
    vec4 pixel = texelFetch(light, min(first + ivec2(x, y), ivec2(size) - 1), 0);
    sum += max(pixel.rgb + (1.0 - pixel.a) * behind((float(first.y + y) + 0.5) / size.y) - threshold, 0.0);
  }
  pageColour = vec4(sum * strength / float(block * block), 1.0);
}`;
const BLUR = `${HEAD}uniform vec2 along;
uniform float sigma;
void main() {
  ivec2 most = textureSize(light, 0) - 1, here = ivec2(gl_FragCoord.xy);
  vec3 sum = vec3(0.0);
  float weights = 0.0;
  int reach = int(ceil(3.0 * sigma));
  for (int i = -reach; i <= reach; i++) {
    float weight = exp(-float(i * i) / (2.0 * sigma * sigma));
    sum += weight * texelFetch(light, clamp(here + i * ivec2(along), ivec2(0), most), 0).rgb;
    weights += weight;
  }
  pageColour = vec4(sum / weights, 1.0);
}`;
const TONE = `${HEAD}uniform vec2 canvas;
uniform float contrast, shoulder, saturation, vignette, grain, blooms;
vec3 srgb(vec3 l) { return mix(1.055 * pow(max(l, 1e-9), vec3(1.0 / 2.4)) - 0.055, 12.92 * l, vec3(lessThanEqual(l, vec3(0.0031308)))); }
float noise(vec2 p) { return fract(52.9829189 * fract(dot(p, vec2(0.06711056, 0.00583715)))); }
void main() {
  vec2 at = gl_FragCoord.xy / canvas, off = 2.0 * at - 1.0;
  vec4 drawn = texture(light, at);
  vec3 l = drawn.rgb + (1.0 - drawn.a) * behind(at.y);
  if (blooms > 0.5) l += texture(bloom, at).rgb;
  l *= 1.0 - 0.5 * vignette * dot(off, off);
  float grey = dot(l, vec3(0.2126, 0.7152, 0.0722));
  l = min(max(mix(vec3(grey), l, saturation), 0.0), 4.0);
  if (contrast != 1.0) l = 0.18 * pow(l / 0.18, vec3(contrast));
  float rest = 1.0 - shoulder;
  l = mix(l, shoulder + rest * (1.0 - exp(-max(l - shoulder, 0.0) / rest)), vec3(greaterThanEqual(l, vec3(shoulder))));
  float speck = noise(gl_FragCoord.xy) - 0.5;
  pageColour = vec4(srgb(l) + speck * (2.0 * grain + 1.0 / 255.0), 1.0);
}`;

/** The light's buffer and the passes that make the picture of it. */
export class Picture {
  constructor(renderer) {
    this.renderer = renderer;
    this.camera = new THREE.Camera();
    this.quad = new THREE.Mesh(new THREE.PlaneGeometry(2, 2));
    this.quad.frustumCulled = false;
    const target = (samples, depthBuffer) => new THREE.WebGLRenderTarget(1, 1, { type: THREE.HalfFloatType, samples, depthBuffer });
    [this.light, this.bright, this.half, this.sum] = [target(4, true), ...[0, 0, 0].map(() => target(0, false))];
    const pass = (fragmentShader, more = {}) => new THREE.RawShaderMaterial({
      glslVersion: THREE.GLSL3, vertexShader: CORNERS, fragmentShader, depthTest: false, depthWrite: false, uniforms: {}, ...more,
    });
    [this.pick, this.blur, this.tone] = [pass(BRIGHT), pass(BLUR), pass(TONE)];
    this.add = pass(BLUR, { blending: THREE.AdditiveBlending });
  }

  resize(width, height) {
    this.block = 2 ** Math.max(0, Math.floor(Math.log2(height / 135)));
    this.light.setSize(width, height);
    for (const target of [this.bright, this.half, this.sum]) target.setSize(Math.ceil(width / this.block), Math.ceil(height / this.block));
  }

  /** The picture of the light on the canvas. */
  show({ grading, background }) {
    const { width, height } = this.light, { bloom, threshold } = grading;
    const common = { size: new THREE.Vector2(width, height), bottom: new THREE.Vector3(...background.bottom), top: new THREE.Vector3(...background.top) };
    if (bloom) {
      this.pass(this.pick, { ...common, light: this.light.texture, threshold, strength: bloom, block: this.block }, this.bright);
      const sigma = height / 60 / this.block;
      for (const [n, width] of [sigma / 2, sigma, 3.2 * sigma].entries()) {
        const words = { ...common, sigma: Math.max(width, 1) };
        this.pass(this.blur, { ...words, light: this.bright.texture, along: new THREE.Vector2(1, 0) }, this.half);
        this.pass(n ? this.add : this.blur, { ...words, light: this.half.texture, along: new THREE.Vector2(0, 1) }, this.sum);
      }
    }
    const canvas = this.renderer.getDrawingBufferSize(new THREE.Vector2());
    this.pass(this.tone, { ...common, ...grading, canvas, light: this.light.texture, bloom: this.sum.texture, blooms: +!!bloom }, null);
  }

  pass(material, values, target) {
    for (const [name, value] of Object.entries(values)) (material.uniforms[name] ??= { value: null }).value = value;
    this.quad.material = material;
    this.renderer.setRenderTarget(target);
    this.renderer.render(this.quad, this.camera);
  }
}
