// Interpolation as SciPy does it: cubic splines, natural or not-a-knot, and PCHIP.

/** A cubic spline over knots: of three knots a parabola, of two a line. */
export class Spline {
  constructor(knots, ends = "not-a-knot") {
    const n = knots.length;
    Object.assign(this, { knots, n, natural: ends === "natural" });
    this.steps = Float64Array.from({ length: n - 1 }, (_, i) => knots[i + 1] - knots[i]);
    const [h, diagonal, lower, upper] = [this.steps, ...[0, 0, 0].map(() => new Float64Array(n))];
    for (let i = 1; i < n - 1; i++) [lower[i], diagonal[i], upper[i]] = [h[i - 1], 2 * (h[i - 1] + h[i]), h[i]];
    if (!this.natural && n === 3) diagonal[1] = 3 * (h[0] + h[1]);
    else if (!this.natural && n > 3) {
      this.first = h[0] / h[1];
      this.last = h[n - 2] / h[n - 3];
      diagonal[1] += h[0] * (1 + this.first);
      upper[1] -= h[0] * this.first;
      diagonal[n - 2] += h[n - 2] * (1 + this.last);
      lower[n - 2] -= h[n - 2] * this.last;
    }
    this.factor = new Float64Array(n); // of the elimination, once for all values
    for (let i = 2; i < n - 1; i++) {
      this.factor[i] = lower[i] / diagonal[i - 1];
      diagonal[i] -= this.factor[i] * upper[i - 1];
    }
    Object.assign(this, { diagonal, upper });
  }

  /** Second derivatives at the knots, into `out`; values are y[start], y[start + stride], ... */
  curvatures(y, start, stride, out) {
    const { n, steps: h, factor, diagonal, upper } = this;
    out.fill(0);
    if (n < 3) return out;
    let slope = (y[start + stride] - y[start]) / h[0];
    for (let i = 1; i < n - 1; i++) {
      const next = (y[start + (i + 1) * stride] - y[start + i * stride]) / h[i];
      out[i] = 6 * (next - slope) - factor[i] * out[i - 1];
      slope = next;
    }
    for (let i = n - 2; i > 0; i--) out[i] = (out[i] - (i < n - 2 ? upper[i] * out[i + 1] : 0)) / diagonal[i];
    if (this.natural) return out;
    if (n === 3) out[0] = out[2] = out[1];
    else {
      out[0] = (1 + this.first) * out[1] - this.first * out[2];
      out[n - 1] = (1 + this.last) * out[n - 2] - this.last * out[n - 3];
    }
    return out;
  }

  /** Where places lie, and the weights of the values and the curvatures around them. */
  plan(places) {
    const plan = { k: new Int32Array(places.length), a: [], b: [], c: [], d: [] };
    for (const [i, x] of places.entries()) {
      let k = plan.k[i - 1] ?? 0;
      while (k > 0 && this.knots[k] > x) k--;
      while (k < this.n - 2 && this.knots[k + 1] < x) k++;
      const h = this.steps[k], a = (this.knots[k + 1] - x) / h, b = 1 - a;
      plan.k[i] = k;
      [plan.a[i], plan.b[i]] = [a, b];
      [plan.c[i], plan.d[i]] = [((a ** 3 - a) * h * h) / 6, ((b ** 3 - b) * h * h) / 6];
    }
    for (const name of "abcd") plan[name] = Float64Array.from(plan[name]);
    return plan;
  }

  /** The weight of each knot's value at a place. */
  weights(place) {
    this.unit ??= Array.from({ length: this.n }, (_, j) =>
      this.curvatures(Float64Array.from({ length: this.n }, (_, i) => +(i === j)), 0, 1, new Float64Array(this.n)));
    const { k: [k], a: [a], b: [b], c: [c], d: [d] } = this.plan([place]);
    return this.unit.map((m, j) => a * (j === k) + b * (j === k + 1) + c * m[k] + d * m[k + 1]);
  }
}

/** Values [rows, columns] at the places of two plans [rows', columns']; straight: bilinear instead of bicubic. */
export function refine(values, [down, downPlan], [across, acrossPlan], straight = false) {
  const [rows, columns, wide, high] = [down.n, across.n, acrossPlan.k.length, downPlan.k.length];
  const middle = new Float32Array(rows * wide), out = new Float32Array(high * wide);
  const along = (spline, { k, a, b, c, d }, from, start, stride, into, first, step) => {
    const m = curvature[spline.n] ?? (curvature[spline.n] = new Float64Array(spline.n));
    if (!straight) spline.curvatures(from, start, stride, m);
    for (let i = 0, at = first; i < k.length; i++, at += step) {
      const near = start + k[i] * stride;
      const line = a[i] * from[near] + b[i] * from[near + stride];
      into[at] = straight ? line : line + c[i] * m[k[i]] + d[i] * m[k[i] + 1];
    }
  };
  const curvature = {};
  for (let row = 0; row < rows; row++) along(across, acrossPlan, values, row * columns, 1, middle, row * wide, 1);
  for (let column = 0; column < wide; column++) along(down, downPlan, middle, column, wide, out, column, wide);
  return out;
}

/** PCHIP's slope at knot k of values y(k) [n] over knots. */
export function pchipSlope(knots, y, k) {
  const n = knots.length;
  const h = (i) => knots[i + 1] - knots[i];
  const s = (i) => (y(i + 1) - y(i)) / h(i);
  if (n === 2) return s(0);
  if (k > 0 && k < n - 1) {
    const [before, after] = [s(k - 1), s(k)];
    if (!(before * after > 0)) return 0;
    const [w1, w2] = [2 * h(k) + h(k - 1), h(k) + 2 * h(k - 1)];
    return (w1 + w2) / (w1 / before + w2 / after);
  }
  const [i, j] = k ? [n - 2, n - 3] : [0, 1];
  const slope = ((2 * h(i) + h(j)) * s(i) - h(i) * s(j)) / (h(i) + h(j));
  if (Math.sign(slope) !== Math.sign(s(i))) return 0;
  return Math.sign(s(i)) !== Math.sign(s(j)) && Math.abs(slope) > 3 * Math.abs(s(i)) ? 3 * s(i) : slope;
}

/** PCHIP through y(k) over knots, a share of the way from knot k to the next. */
export function pchip(knots, y, k, share) {
  const h = knots[k + 1] - knots[k], t = share;
  const [d0, d1] = [pchipSlope(knots, y, k), pchipSlope(knots, y, k + 1)];
  const [t2, t3] = [t * t, t * t * t];
  return y(k) * (2 * t3 - 3 * t2 + 1) + h * d0 * (t3 - 2 * t2 + t) + y(k + 1) * (3 * t2 - 2 * t3) + h * d1 * (t3 - t2);
}
