// Scales, ranges and derived fields, as studio.field and studio.film.fields have them.

const TINY = 2.2250738585072014e-308;

/** [k, share of the way from k to k + 1] of a coordinate; share 0 at a keyframe and outside of them all. */
export function interval(at, coordinate) {
  let k = 0;
  while (k + 1 < at.length && at[k + 1] <= coordinate) k++;
  if (k + 1 === at.length || coordinate <= at[k]) return [k, 0];
  return [k, (coordinate - at[k]) / (at[k + 1] - at[k])];
}

/** Ends a share of the way between two: their distance goes geometrically, as in a zoom. */
function zoom(start, end, share) {
  const ratio = Math.log((end[1] - end[0]) / (start[1] - start[0]));
  const way = Math.abs(ratio) < 1e-9 ? share : Math.expm1(share * ratio) / Math.expm1(ratio);
  return [0, 1].map((i) => start[i] + way * (end[i] - start[i]));
}

/** Both ends of a scale at a coordinate. */
export function endsAt({ at, ends }, coordinate) {
  const [k, share] = interval(at, coordinate);
  return share ? zoom(ends[k], ends[k + 1], share) : ends[k];
}

/** The drawn part of the plane at a coordinate: its middle, its unit, and half of its sides in scene units. */
export function windowAt({ at, ends }, coordinate) {
  const [k, share] = interval(at, coordinate);
  const sides = [0, 1].map((i) => (share ? zoom(ends[k][i], ends[k + 1][i], share) : ends[k][i]));
  const half = sides.map(([low, high]) => (high - low) / 2);
  const unit = Math.max(...half);
  return { centre: sides.map(([low, high]) => (low + high) / 2), unit, sides: half.map((side) => side / unit) };
}

export const toScale = {
  linear: (x) => x,
  log: (x) => Math.log(x > TINY || x !== x ? x : TINY),
  sqrt: (x) => Math.sqrt(x > 0 || x !== x ? x : 0),
  "signed-log": Math.asinh,
};
export const fromScale = { linear: (x) => x, log: Math.exp, sqrt: (x) => x * x, "signed-log": Math.sinh };

const LEAST = 1e-3; // of the larger end of a spectrum: an eigenvalue below it may have either sign
const larger = (low, high) => Math.max(Math.abs(low), Math.abs(high));
const signed = (low, high) => {
  const zero = LEAST * larger(low, high);
  return zero > 0 && isFinite(zero) ? (high > zero) - (low < -zero) : NaN;
};
const share = (low, high) => (larger(low, high) > 0 ? Math.max(0, -low) / larger(low, high) : NaN);
const DERIVED = {
  convexity: share,
  "plane-convexity": share,
  "eigenvalue-ratio": (low, high) => (high === 0 ? NaN : Math.abs(low / high)),
  definiteness: signed,
  hidden: (low, high, first, second) => {
    const [plane, space] = [LEAST * larger(first, second), LEAST * larger(low, high)];
    return isFinite(plane + space) ? Number(first > plane && low < -space) : NaN;
  },
};

/** A drawable field's value from those of its measured fields, in their order. */
export const derive = (name, values) => (DERIVED[name] ? DERIVED[name](...values) : values[0]);

/** A coordinate as the picture names it; of Python's formats those of fixed decimals. */
export function label(axis, coordinate) {
  const number = axis.base ? axis.base ** coordinate : coordinate;
  const decimals = /\.(\d+)f/.exec(axis.format);
  return `${axis.name} ${decimals ? number.toFixed(+decimals[1]) : short(number)}${axis.unit}`;
}

/** A number in four digits, with a true minus sign. */
export function short(number) {
  if (number === Infinity) return "infinite";
  if (Number.isNaN(number) || number === undefined) return "unknown";
  const size = Math.abs(number);
  const text = size && (size < 1e-3 || size >= 1e5) ? number.toExponential(3) : String(+number.toPrecision(4));
  return text.replaceAll("-", "\u2212");
}
