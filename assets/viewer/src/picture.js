// From linear light to the picture, as studio.render.grade does it: background, bloom, vignette, tone, sRGB, grain.
import * as THREE from "three";

const CORNERS = `precision highp float;
in vec3 position;
#ifdef QUICK
uniform sampler2D bloom;
out vec3 glow;   // a software GL takes as long for its texture at every pixel as for all else
#endif
void main() {
  gl_Position = vec4(position.xy, 0.0, 1.0);
#ifdef QUICK
  glow = textureLod(bloom, 0.5 * position.xy + 0.5, 0.0).rgb;
#endif
}`;
const HEAD = `precision highp float;
uniform sampler2D light, bloom;
uniform vec2 size;            // of the light, in pixels
uniform vec3 bottom, top;
out vec4 pageColour;
vec3 behind(float up) { return mix(bottom, top, up); }
`;
const BRIGHT = `${HEAD}uniform float threshold, strength, block, stride;
void main() {
  vec3 sum = vec3(0.0);
  vec2 first = floor(gl_FragCoord.xy) * block;
  for (float y = 0.5 * stride; y < block; y += stride) for (float x = 0.5 * stride; x < block; x += stride) {
    vec2 at = min((first + vec2(x, y)) / size, 1.0);   // between four pixels
    vec4 pixel = textureLod(light, at, 0.0);
    sum += max(pixel.rgb + (1.0 - pixel.a) * behind(at.y) - threshold, 0.0);
  }
  pageColour = vec4(sum * strength * stride * stride / (block * block), 1.0);
}`;
const MOST_TAPS = 10;
const BLUR = `${HEAD}uniform vec2 along;
uniform vec2 taps[${MOST_TAPS}];   // how far, and with what weight, to both sides
uniform float middle;
uniform int count;
void main() {
  vec2 at = gl_FragCoord.xy / vec2(textureSize(light, 0)), step = along / vec2(textureSize(light, 0));
  vec3 sum = middle * textureLod(light, at, 0.0).rgb;
  for (int i = 0; i < count; i++) {
    vec2 off = taps[i].x * step;
    sum += taps[i].y * (textureLod(light, at + off, 0.0).rgb + textureLod(light, at - off, 0.0).rgb);
  }
  pageColour = vec4(sum, 1.0);
}`;
const TONE = `${HEAD}uniform vec2 canvas;
uniform float saturation, vignette, grain, blooms;
#ifdef QUICK
in vec3 glow;
#endif
uniform sampler2D tones;   //: sRGB by the root of light
float tone(float root) { return texelFetch(tones, ivec2(root, 0), 0).r; }
float noise(vec2 p) { return fract(52.9829189 * fract(dot(p, vec2(0.06711056, 0.00583715)))); }
void main() {
  vec2 at = gl_FragCoord.xy / canvas, off = 2.0 * at - 1.0;
  vec4 drawn = texelFetch(light, ivec2(gl_FragCoord.xy), 0);
  vec3 l = drawn.rgb + (1.0 - drawn.a) * behind(at.y);
#ifdef QUICK
  if (blooms > 0.5) l += glow;
#else
  if (blooms > 0.5) l += textureLod(bloom, at, 0.0).rgb;
#endif
  l *= 1.0 - 0.5 * vignette * dot(off, off);
  float grey = dot(l, vec3(0.2126, 0.7152, 0.0722));
  vec3 root = sqrt(clamp(mix(vec3(grey), l, saturation) / 4.0, 0.0, 1.0)) * 1023.0 + 0.5;
  float speck = noise(gl_FragCoord.xy) - 0.5;
  pageColour = vec4(vec3(tone(root.r), tone(root.g), tone(root.b)) + speck * (2.0 * grain + 1.0 / 255.0), 1.0);
}`;

/** sRGB by the root of light, 0 to 4: contrast around middle grey, then a soft shoulder. */
function toneTable({ contrast, shoulder }) {
  const rest = 1 - shoulder;
  const codes = Uint16Array.from({ length: 1024 }, (_, i) => {
    const light = 0.18 * ((4 * (i / 1023) ** 2) / 0.18) ** contrast;
    const toned = light < shoulder ? light : shoulder + rest * (1 - Math.exp(-(light - shoulder) / rest));
    return THREE.DataUtils.toHalfFloat(toned <= 0.0031308 ? 12.92 * toned : 1.055 * toned ** (1 / 2.4) - 0.055);
  });
  return Object.assign(new THREE.DataTexture(codes, 1024, 1, THREE.RedFormat, THREE.HalfFloatType), { needsUpdate: true });
}

/** A Gaussian as uniforms of BLUR: two pixels with one look between them. */
export function gaussian(sigma) {
  const reach = Math.ceil(3 * sigma), weight = (i) => (i > reach ? 0 : Math.exp((-i * i) / (2 * sigma * sigma)));
  const all = 2 * Array.from({ length: reach }, (_, i) => weight(i + 1)).reduce((a, b) => a + b, 0) + 1, taps = [];
  for (let i = 1; i <= reach; i += 2) {
    const both = weight(i) + weight(i + 1);
    taps.push(new THREE.Vector2(i + weight(i + 1) / both, both / all));
  }
  const count = taps.length;
  while (taps.length < MOST_TAPS) taps.push(new THREE.Vector2());
  return { taps, count, middle: 1 / all };
}

/** The light's buffer and the passes that make the picture of it. */
export class Picture {
  constructor(renderer) {
    this.renderer = renderer;
    this.camera = new THREE.Camera();
    [this.whole, this.tiles] = [new THREE.PlaneGeometry(2, 2), new THREE.PlaneGeometry(2, 2, 40, 24)];
    this.quad = new THREE.Mesh(this.whole);
    this.quad.frustumCulled = false;
    const target = (samples, depthBuffer) => new THREE.WebGLRenderTarget(1, 1, { type: THREE.HalfFloatType, samples, depthBuffer });
    [this.smooth, this.quick] = [target(4, true), target(0, true)];
    [this.bright, this.half, this.sum] = [0, 0, 0].map(() => target(0, false));
    const pass = (fragmentShader, more = {}) => new THREE.RawShaderMaterial({
      glslVersion: THREE.GLSL3, vertexShader: CORNERS, fragmentShader, depthTest: false, depthWrite: false, uniforms: {}, ...more,
    });
    [this.pick, this.blur, this.tone, this.quickTone] = [pass(BRIGHT), pass(BLUR), pass(TONE), pass(TONE, { defines: { QUICK: 1 } })];
    this.add = pass(BLUR, { blending: THREE.AdditiveBlending });
  }

  /** The buffer of the light. quick: without smooth edges. */
  resize(width, height, quick) {
    this.light = quick ? this.quick : this.smooth;
    this.block = 2 ** Math.max(0, Math.ceil(Math.log2(height / (quick ? 40 : 80))));
    this.stride = quick ? Math.max(2, this.block / 4) : 2;
    this.light.setSize(width, height);
    for (const target of [this.bright, this.half, this.sum]) target.setSize(Math.ceil(width / this.block), Math.ceil(height / this.block));
  }

  /** The picture of the light on the canvas. */
  show({ grading, background }) {
    const { width, height } = this.light, { bloom, threshold } = grading;
    const common = { size: new THREE.Vector2(width, height), bottom: new THREE.Vector3(...background.bottom), top: new THREE.Vector3(...background.top) };
    if (bloom) {
      this.pass(this.pick, { ...common, light: this.light.texture, threshold, strength: bloom, block: this.block, stride: this.stride }, this.bright);
      const middle = height / 60 / this.block; // the film's blocks are finer; a blur hides them
      for (const [n, sigma] of [middle / 2, middle, 3.2 * middle].entries()) {
        const blur = gaussian(Math.max(sigma, 0.5));
        this.pass(this.blur, { ...blur, light: this.bright.texture, along: new THREE.Vector2(1, 0) }, this.half);
        this.pass(n ? this.add : this.blur, { ...blur, light: this.half.texture, along: new THREE.Vector2(0, 1) }, this.sum);
      }
    }
    const canvas = this.renderer.getDrawingBufferSize(new THREE.Vector2());
    grading.tones ??= toneTable(grading);
    const quick = this.light === this.quick;
    this.quad.geometry = quick ? this.tiles : this.whole;
    this.pass(quick ? this.quickTone : this.tone, { ...common, ...grading, blooms: +!!bloom, canvas, light: this.light.texture, bloom: this.sum.texture }, null);
    this.quad.geometry = this.whole;
  }

  pass(material, values, target) {
    for (const [name, value] of Object.entries(values)) (material.uniforms[name] ??= { value: null }).value = value;
    this.quad.material = material;
    this.renderer.setRenderTarget(target);
    this.renderer.render(this.quad, this.camera);
  }
}
