import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import test from "node:test";
import { occlusion, sunlight, upsample } from "../src/bake.js";
import { decode, Field } from "../src/field.js";
import { derive, endsAt, label, short, windowAt } from "../src/scales.js";
import { reordered, taller, without } from "../src/scout.js";
import { pchip, refine, Spline } from "../src/spline.js";

const axis = (n) => Float64Array.from({ length: n }, (_, i) => (2 * i) / (n - 1) - 1);
const near = (actual, expected, tolerance = 1e-6) => assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);

test("a not-a-knot spline is a cubic where the values are one, of three knots a parabola, of two a line", () => {
  for (const [n, f] of [[2, (x) => 2 * x + 1], [3, (x) => x * x - x], [4, (x) => x ** 3 - x], [9, (x) => 2 * x ** 3 + x * x]]) {
    const spline = new Spline(axis(n)), places = [-1, -0.37, 0.11, 0.9, 1], plan = spline.plan(places);
    const values = Float32Array.from({ length: n * n }, (_, i) => f(axis(n)[i % n]) + f(axis(n)[Math.floor(i / n)]));
    const out = refine(values, [spline, plan], [spline, plan]);
    out.forEach((value, i) => near(value, f(places[i % 5]) + f(places[Math.floor(i / 5)]), 1e-5));
  }
});

test("weights in time sum to one, are one at a knot, and rest in a straight line", () => {
  const knots = [0, 1, 2.5, 3, 7], spline = new Spline(knots, "natural");
  for (const t of [0.3, 1, 2.9, 5]) {
    const weights = spline.weights(t);
    near(weights.reduce((a, b) => a + b), 1);
    near(weights.reduce((sum, weight, k) => sum + weight * (3 * knots[k] - 2), 0), 3 * t - 2);
  }
  assert.deepEqual(spline.weights(2.5).map((x) => +x.toFixed(12)), [0, 0, 1, 0, 0]);
});

test("PCHIP stays between two measurements and rests at a turning point", () => {
  const y = [0, 4, 4.1, 1, 0.9], knots = [0, 1, 2, 4, 5];
  for (let k = 0; k < 4; k++) for (let u = 0; u <= 1; u += 0.1) {
    const value = pchip(knots, (i) => y[i], k, u);
    assert.ok(value >= Math.min(y[k], y[k + 1]) - 1e-12 && value <= Math.max(y[k], y[k + 1]) + 1e-12);
  }
  near(pchip(knots, (i) => y[i], 2, 1e-4), 4.1, 1e-6);
});

test("codes come back as they were packed", async () => {
  const codes = Uint16Array.from([0, 65535, 3, 40000, 39999]);
  const steps = codes.map((code, i) => code - (i ? codes[i - 1] : 0));
  const bytes = Uint8Array.from([...steps.map((step) => step >> 8), ...steps.map((step) => step & 255)]);
  assert.deepEqual(await decode(deflateSync(bytes).toString("base64")), codes);
});

test("holes stay holes, infinity is cut at the cap, and the surface passes through what was measured", () => {
  const codes = Uint16Array.from({ length: 25 }, (_, i) => (i === 7 ? 65535 : i === 18 ? 65534 : 100 * i));
  const field = new Field({ at: [0], counts: [5, 5], grid: [[-1, 1], [-1, 1], [5, 5]], scale: "linear", interpolation: "monotone", smallest: 0, surfaces: [{ start: 0, low: 0, step: 0.01 }] }, codes);
  const window = windowAt({ at: [0], ends: [[[-1, 1], [-1, 1]]] }, 0), drawn = field.drawn(0, [axis(5), axis(5)], window, 20);
  drawn.forEach((value, i) => (i === 7 ? assert.ok(Number.isNaN(value)) : near(value, i === 18 ? 20 : Math.min(i, 20), 1e-4)));
  assert.deepEqual(field.nearest([0.55, -0.9], window).at, [0.5, -1]);
});

test("level ground sees the whole sky and the whole lamp, and a wall hides both", () => {
  const n = 41, level = new Float32Array(n * n), wall = level.map((_, i) => +(i % n > 30));
  for (const light of [occlusion(level, n, 0.05), sunlight(level, n, 0.05, 1, 0.5)]) light.forEach((share) => near(share, 1, 1e-5));
  const [sky, sun] = [occlusion(wall, n, 0.05), sunlight(wall, n, 0.05, 0, 0.5)], beside = 20 * n + 28, far = 20 * n + 2;
  assert.ok(sky[beside] < 0.8 && sky[far] > 0.99 && sun[beside] < 0.1 && sunlight(wall, n, 0.05, Math.PI, 0.5)[beside] > 0.9);
  assert.deepEqual([...upsample(Float32Array.from([0, 2, 4, 6]), 2)], [0, 1, 2, 2, 3, 4, 4, 5, 6]);
});

test("derived fields, ranges and labels are those of the film", () => {
  assert.deepEqual([[-1, 4], [1, 4], [0, 0]].map((ends) => derive("convexity", ends)), [0.25, 0, NaN]);
  assert.deepEqual([[-1, 4], [1, 4], [-2, -1]].map((ends) => derive("definiteness", ends)), [0, 1, -1]);
  assert.equal(derive("hidden", [-1, 4, 0.5, 2]), 1);
  endsAt({ at: [0, 2], ends: [[-1, 1], [-0.25, 0.25]] }, 1).forEach((end, i) => near(end, [-0.5, 0.5][i]));
  assert.equal(label({ name: "zoom", unit: "x", base: 2, format: ".1f" }, 3), "zoom 8.0x");
  assert.deepEqual([-0.5, 1e-6, Infinity, NaN, 123456].map(short), ["\u22120.5", "1.000e\u22126", "infinite", "unknown", "1.235e+5"]);
});

test("keys change places and times stay, the first stays at 0, and a frame keeps its angle", () => {
  const keys = [{ at: 0, n: 1 }, { at: 2, n: 2 }, { at: 5, n: 3 }];
  assert.deepEqual(reordered(keys, 2, -1), [{ at: 0, n: 1 }, { at: 2, n: 3 }, { at: 5, n: 2 }]);
  assert.deepEqual([reordered(keys, 0, -1), reordered(keys, 2, 1)], [keys, keys]);
  assert.deepEqual(without(keys, 0), [{ at: 0, n: 2 }, { at: 3, n: 3 }]);
  assert.deepEqual(without([keys[0]], 0), []);
  near(taller(taller(40, 1.5), 1 / 1.5), 40);
});
