// Light that does not depend on the eye, at the vertices of a height field, as studio.render.bake computes it.

import { fillHoles } from "./field.js";

const REACH = 0.26, RAYS = 12, OUTSIDE = -1e9;

/** A Gaussian blur of values [n, n], as at the edge beyond it. */
function blur(values, n, sigma) {
  const reach = Math.round(4 * sigma), kernel = Float32Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma * sigma)));
  const sum = kernel.reduce((a, b) => a + b);
  const pass = (from, step, other) => {
    const out = new Float32Array(from.length);
    for (let line = 0; line < n; line++) {
      for (let i = 0; i < n; i++) {
        let total = 0;
        for (let j = -reach; j <= reach; j++) total += kernel[j + reach] * from[line * other + Math.min(n - 1, Math.max(0, i + j)) * step];
        out[line * other + i * step] = total / sum;
      }
    }
    return out;
  };
  return pass(pass(values, 1, n), n, 1);
}

/** Share of the sky that each vertex sees [n, n]: 1 less the mean sine of its horizon, in 16 directions. */
export function occlusion(height, n, spacing) {
  const far = REACH / spacing, steps = [...new Set(Array.from({ length: 9 }, (_, i) => Math.round(far ** (i / 8))))].filter((step) => step > 0);
  const sky = new Float32Array(n * n).fill(1), [forward, backward] = [0, 0].map(() => new Float32Array(n * n));
  for (let number = 0; number < 8; number++) {
    const angle = (2 * Math.PI * (number + 0.5)) / 16;
    forward.fill(0);
    backward.fill(0);
    for (const step of steps) {
      const dx = Math.round(Math.cos(angle) * step), dy = Math.round(Math.sin(angle) * step);
      const scale = 1 / (Math.hypot(dx, dy) * spacing), [left, right] = [Math.max(0, -dx), n - Math.max(0, dx)];
      for (let row = Math.max(0, -dy); row < n - Math.max(0, dy); row++) {
        for (let i = row * n + left, j = i + dy * n + dx; i < row * n + right; i++, j++) {
          const slope = (height[j] - height[i]) * scale; // a rise forward is a fall backward
          if (slope > forward[i]) forward[i] = slope;
          else if (-slope > backward[j]) backward[j] = -slope;
        }
      }
    }
    for (const rise of [forward, backward]) for (let i = 0; i < sky.length; i++) sky[i] -= rise[i] / Math.sqrt(1 + rise[i] * rise[i]) / 16;
  }
  return blur(sky, n, 0.8);
}

/** Share of a soft lamp that each vertex sees [n, n]. azimuth, elevation: radians. softness: of the rays' tangents. */
export function sunlight(height, n, spacing, azimuth, elevation, softness = 0.1) {
  const [c, s] = [Math.cos(azimuth), Math.sin(azimuth)];
  const turned = rotate(height, n, [-s, c, -c, -s]);
  const tangent = Math.min(Math.tan(elevation), 100), sharpness = 1 / (2 * spacing * Math.max(tangent, 0.2));
  const light = new Float32Array(n * n).fill(1), highest = new Float32Array(n);
  for (let number = 0; number < RAYS; number++) {
    const slope = tangent + softness * ((2 * number + 1) / RAYS - 1);
    highest.fill(OUTSIDE);
    for (let row = 0; row < n; row++) {
      const lift = slope * row * spacing;
      for (let column = 0, i = row * n; column < n; column++, i++) {
        const ray = turned[i] + lift;
        if (ray > highest[column]) highest[column] = ray;
        else light[i] += Math.max((ray - highest[column]) * sharpness, -1) / RAYS;
      }
    }
  }
  const soft = blur(rotate(light, n, [-s, -c, c, -s]), n, Math.max(0.8, 0.009 / spacing));
  return soft.map((x) => Math.min(1, Math.max(0, x)));
}

/** Values [n, n] on a lattice rotated about the middle: row and column come from (a b; c d) of those of the result. */
function rotate(values, n, [a, b, c, d]) {
  const out = new Float32Array(n * n), middle = (n - 1) / 2, last = n - 1;
  const clip = (x) => Math.min(last, Math.max(0, x));
  for (let row = 0, i = 0; row < n; row++) {
    for (let column = 0; column < n; column++, i++) {
      const y = clip(middle + a * (row - middle) + b * (column - middle)), x = clip(middle + c * (row - middle) + d * (column - middle));
      const [top, left] = [Math.min(Math.floor(y), n - 2), Math.min(Math.floor(x), n - 2)], at = top * n + left;
      const [v, u] = [y - top, x - left];
      out[i] = (1 - v) * ((1 - u) * values[at] + u * values[at + 1]) + v * ((1 - u) * values[at + n] + u * values[at + n + 1]);
    }
  }
  return out;
}

const FAR = 2.6; // half of a side of the ground in scene units

/** The ground around a cast of a radius, at -depth: its places [n * n, 3], its light, 1 where nothing is hidden, its quads. */
export function ground(land, n, radius, depth, { key, shadow, occlusion: dark }, azimuth) {
  const step = (2 * FAR) / (n - 1), places = new Float32Array(3 * n * n), free = new Uint8Array(n * n), index = [];
  const scene = Float32Array.from({ length: n * n }, (_, i) => {
    const place = [step * (i % n) - FAR, step * Math.floor(i / n) - FAR], from = land.radius(place);
    places.set([...place, -depth], 3 * i);
    free[i] = +(from > radius + (3 * step) / Math.min(...land.sides));
    if ((i + 1) % n && i < n * (n - 1)) index.push(i, i + 1, i + n + 1, i, i + n + 1, i + n);
    return from <= radius ? land.height(place) : -depth;
  });
  const [sun, sky] = [sunlight(scene, n, step, azimuth, key.elevation, 0.22), occlusion(scene, n, step)];
  const light = sun.map((share, i) => (free[i] ? (1 - shadow * (1 - share)) * (1 - dark * (1 - sky[i])) : NaN));
  const soft = blur(fillHoles(light, n), n, 2); // neither the foot nor the lit top, which the bakes blur over the edge, shines
  const shade = soft.map((share, i) => {
    const out = Math.max(Math.abs(places[3 * i]), Math.abs(places[3 * i + 1])) / FAR;
    return 1 - (1 - (free[i] ? light[i] : share)) * Math.min(1, (1 - out) / 0.2);
  });
  return { places, shade, index };
}

/** Values [m, m] of a lattice at every vertex of one twice as fine [2 m - 1, 2 m - 1]. */
export function upsample(values, m) {
  const n = 2 * m - 1, out = new Float32Array(n * n);
  for (let row = 0, i = 0; row < n; row++) {
    for (let column = 0; column < n; column++, i++) {
      const at = (row >> 1) * m + (column >> 1), [down, right] = [row & 1 ? m : 0, column & 1];
      out[i] = (values[at] + values[at + down] + values[at + right] + values[at + down + right]) / 4;
    }
  }
  return out;
}
