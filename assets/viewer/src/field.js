// Measured fields as functions of the coordinate, and refined to the vertices of a mesh.
import { Spline, pchip, refine } from "./spline.js";
import { fromScale, interval, toScale } from "./scales.js";

const INFINITE = 65534, UNKNOWN = 65535;

/** The codes of all surfaces from the page's text: base64 of deflated differences, high bytes first. */
export async function decode(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const codes = new Uint16Array(bytes.length / 2);
  for (let i = 0, sum = 0; i < codes.length; i++) codes[i] = sum += (bytes[i] << 8) | bytes[codes.length + i];
  return codes;
}

/** One measured field over (keyframe, beta, alpha). Values are on the scale of its interpolation. */
export class Field {
  constructor(data, codes) {
    Object.assign(this, data);
    [this.columns, this.rows] = data.counts;
    this.size = this.columns * this.rows;
    const decoded = new Map(); // a plane that stands still is decoded once
    this.values = this.surfaces.map(({ start, low, step }) => {
      const name = `${start} ${low} ${step}`;
      if (!decoded.has(name)) {
        const read = (code) => (code === UNKNOWN ? NaN : code === INFINITE ? Infinity : low + step * code);
        decoded.set(name, Float32Array.from(codes.subarray(start, start + this.size), read));
      }
      return decoded.get(name);
    });
    this.still = decoded.size === 1;
    this.filled = fillGaps(this.values);
    this.finite = this.filled === this.values ? null : Uint8Array.from({ length: this.size }, (_, i) => this.values.every((v) => isFinite(v[i])));
    const axis = (n) => Float64Array.from({ length: n }, (_, i) => (2 * i) / (n - 1) - 1);
    [this.down, this.across] = [new Spline(axis(this.rows)), new Spline(axis(this.columns))];
    if (this.at.length > 2 && this.interpolation === "cubic") this.inTime = new Spline(this.at, "natural");
  }

  /** Values [rows, columns] at a coordinate; at a keyframe as measured. */
  nodes(coordinate) {
    if (this.last?.coordinate !== coordinate) this.last = { coordinate, values: this.interpolate(coordinate) };
    return this.last.values;
  }

  interpolate(coordinate) {
    const [k, share] = interval(this.at, coordinate);
    if (!share || this.still) return this.values[k];
    const out = new Float32Array(this.size);
    if (this.inTime) {
      for (const [j, weight] of this.inTime.weights(coordinate).entries()) {
        if (Math.abs(weight) < 3e-5) continue;
        const values = this.filled[j];
        for (let i = 0; i < out.length; i++) out[i] += weight * values[i];
      }
    }
    if (!this.inTime || this.finite) {
      for (let i = 0; i < out.length; i++) {
        if (!this.inTime || !this.finite[i]) out[i] = pchip(this.at, (j) => this.filled[j][i], k, share);
      }
    }
    const [before, after] = [this.values[k], this.values[k + 1]], nearer = share > 0.5 ? after : before;
    for (let i = 0; i < out.length; i++) {
      if (out[i] < this.smallest) out[i] = this.smallest;
      if (!isFinite(before[i]) || !isFinite(after[i])) out[i] = nearer[i] === Infinity ? Infinity : NaN;
    }
    return out;
  }

  /** The value of one grid point in the field's own units. */
  value(coordinate, index) {
    return fromScale[this.scale](this.nodes(coordinate)[index]);
  }

  /** Places along side 0 (alpha) or 1, in scene units, from -1 to 1 between the grid's edges. */
  places(along, window, side) {
    const half = window.sides[side], inside = along.map((x) => Math.min(half, Math.max(-half, x)));
    if (!this.grid) return inside;
    const [low, high] = this.grid[side];
    return inside.map((x) => ((window.centre[side] + window.unit * x - low) / (high - low)) * 2 - 1);
  }

  /** Values in the field's own units at places, scene units, along both sides; NaN in holes and beyond the grid. */
  drawn(coordinate, axes, window, cap = Infinity, smoothing = 1) {
    const highest = cap === Infinity ? Infinity : toScale[this.scale](cap);
    const nodes = this.nodes(coordinate).map((x) => (x > highest ? highest : x));
    const known = nodes.every(isFinite);
    const filled = known ? nodes : fillHoles(nodes, this.columns);
    const [x, y] = [0, 1].map((side) => this.places(axes[side], window, side)), mesh = x.length;
    const clip = (places) => places.map((p) => Math.min(1, Math.max(-1, p)));
    const [down, across] = [[this.down, this.down.plan(clip(y))], [this.across, this.across.plan(clip(x))]];
    const lowest = refine(smallest(filled, this.rows, this.columns), down, across, true);
    const out = refine(filled, down, across);
    const line = smoothing < 1 ? refine(filled, down, across, true) : null;
    const holes = known ? null : refine(nodes.map((v) => +!isFinite(v)), down, across, true);
    const back = fromScale[this.scale], beyond = (p) => Math.abs(p) > 1 + 1e-6;
    for (let i = 0; i < out.length; i++) {
      let value = Math.max(out[i], lowest[i]);
      if (line) value = line[i] + smoothing * (value - line[i]);
      out[i] = holes?.[i] > 1e-6 ? NaN : back(value);
    }
    for (const [row, p] of y.entries()) if (beyond(p)) out.fill(NaN, row * mesh, (row + 1) * mesh);
    for (const [column, p] of x.entries()) if (beyond(p)) for (let i = column; i < out.length; i += mesh) out[i] = NaN;
    return out;
  }

  /** The grid point nearest to a place in scene units: its index and its place, alpha and beta; null for samples. */
  nearest(place, window) {
    if (!this.grid) return null;
    const [column, row] = [0, 1].map((side) => {
      const [low, high] = this.grid[side], n = this.counts[side];
      const index = Math.round(((window.centre[side] + window.unit * place[side] - low) / (high - low)) * (n - 1));
      return Math.min(n - 1, Math.max(0, index));
    });
    const at = [column, row].map((i, side) => this.grid[side][0] + ((this.grid[side][1] - this.grid[side][0]) * i) / (this.counts[side] - 1));
    return { index: row * this.columns + column, at, scene: at.map((x, side) => (x - window.centre[side]) / window.unit) };
  }
}

/** Values that are not finite replaced by those of the nearest earlier, else later, keyframe. */
function fillGaps(values) {
  if (values.every((v) => v.every(isFinite))) return values;
  const filled = values.map((v) => Float32Array.from(v));
  const pass = (from, to) => filled[to].forEach((x, i) => isFinite(x) || (filled[to][i] = filled[from][i]));
  for (let k = 1; k < filled.length; k++) pass(k - 1, k);
  for (let k = filled.length - 2; k >= 0; k--) pass(k + 1, k);
  for (const v of filled) v.forEach((x, i) => isFinite(x) || (v[i] = 0));
  return filled;
}

/** Values [rows, columns] whose holes are as high as their rims. */
export function fillHoles(values, columns) {
  const filled = Float32Array.from(values);
  let rim = [...filled.keys()].filter((i) => isFinite(filled[i]));
  if (!rim.length) return filled.fill(0);
  while (rim.length) {
    const next = [];
    for (const i of rim) {
      const column = i % columns;
      for (const [j, inside] of [[i - 1, column > 0], [i + 1, column < columns - 1], [i - columns, i >= columns], [i + columns, i + columns < filled.length]]) {
        if (!inside || isFinite(filled[j])) continue;
        filled[j] = filled[i];
        next.push(j);
      }
    }
    rim = next;
  }
  return filled;
}

/** The smallest of the nine values around each. */
function smallest(values, rows, columns) {
  const across = new Float32Array(values.length), out = new Float32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const column = i % columns;
    across[i] = Math.min(values[i], values[column ? i - 1 : i], values[column < columns - 1 ? i + 1 : i]);
  }
  for (let i = 0; i < values.length; i++) {
    out[i] = Math.min(across[i], across[i >= columns ? i - columns : i], across[i + columns < values.length ? i + columns : i]);
  }
  return out;
}
