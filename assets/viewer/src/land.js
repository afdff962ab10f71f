// The drawn surface of one landscape: its mesh, its light, the marker and the trajectory.
import * as THREE from "three";
import { ground, occlusion, sunlight, upsample } from "./bake.js";
import { Field, fillHoles } from "./field.js";
import { pchip } from "./spline.js";
import { derive, endsAt, interval, toScale, windowAt } from "./scales.js";

const HOLE = -9, AROUND = 720, UPRIGHT = 1e4;

/** Numbers of a text: base64 of float32. */
const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

/** A landscape as the page holds it. mesh: vertices along a side, 1 more than a multiple of 2. */
export class Land {
  constructor(data, fields, codes, mesh, measured = {}) {
    Object.assign(this, { data, fields, codes, mesh, name: data.name, axis: data.axis, measured });
    this.spacing = 2 / (mesh - 1);
    const along = Array.from({ length: mesh }, (_, i) => this.spacing * i - 1);
    this.lattice = [along, along];
    this.at = Object.values(data.fields)[0].at;
    if (data.fields.loss) this.at = data.fields.loss.at;
    if (this.at.length < 2 && data.markers) this.at = data.markers.at; // a land that stands still, and a network that moves
    if (data.trajectory) this.way = { at: data.trajectory.at, places: floats(data.trajectory.places) };
    this.geometry = new THREE.BufferGeometry();
    const attribute = (name, width) => (this[name] = new Float32Array(mesh * mesh * width), this.geometry.setAttribute(name, new THREE.BufferAttribute(this[name], width)));
    [["position", 3], ["colour", 3], ["relief", 4]].forEach(([name, width]) => attribute(name, width));
    for (let i = 0; i < mesh * mesh; i++) this.position.set([this.spacing * (i % mesh) - 1, this.spacing * Math.floor(i / mesh) - 1, 0], 3 * i);
  }

  field(name) {
    return (this.measured[name] ??= new Field(this.data.fields[name], this.codes));
  }

  /** A drawable field at every vertex, in its own units. */
  drawn(name, coordinate, cap, smoothing) {
    const measured = this.fields[name].measured;
    const parts = measured.map((part) => this.field(part).drawn(coordinate, this.lattice, this.window, measured.length > 1 ? Infinity : cap, smoothing));
    if (measured[0] === name) return parts[0];
    return parts[0].map((_, i) => derive(name, parts.map((part) => part[i])));
  }

  /** The surface as a look shows it at a coordinate, in the colours of a field. */
  show(look, coordinate, field) {
    const [shape, paint] = [`${look.name} ${coordinate}`, `${look.name} ${coordinate} ${field}`];
    if (this.shaped !== shape) this.shape(look, coordinate);
    if (this.painted !== paint) this.paint(field);
    Object.assign(this, { shaped: shape, painted: paint });
    return this;
  }

  /** The surface of a look at a coordinate, as `studio.film.surface` has it. */
  shape(look, coordinate) {
    const { mesh, position, relief, spacing } = this, { field, scale, cap, exaggeration, smoothing, range } = look.height;
    Object.assign(this, { look, coordinate, window: windowAt(this.data.windows, coordinate), sun: null });
    this.cut(this.window.sides);
    const [low, high] = endsAt(look.height, coordinate), beyond = range === "keyframe" ? (high - low) / 2 : 0;
    const raw = this.drawn(field, coordinate, cap, smoothing);
    const heights = raw.map((value) => (exaggeration * (Math.min(high + beyond, Math.max(low - beyond, toScale[scale](Math.min(value, cap)))) - low)) / (high - low));
    this.raw = { field, values: raw };
    this.filled = heights.every(isFinite) ? heights : fillHoles(heights, mesh);
    const half = (mesh + 1) / 2, coarse = new Float32Array(half * half);
    for (let i = 0; i < coarse.length; i++) coarse[i] = this.filled[2 * Math.floor(i / half) * mesh + 2 * (i % half)];
    const sky = upsample(occlusion(coarse, half, 2 * spacing), half), dark = look.appearance.lighting.occlusion;
    for (let i = 0, z = this.filled; i < heights.length; i++) {
      const column = i % mesh, left = column ? i - 1 : i, right = column < mesh - 1 ? i + 1 : i;
      const down = i >= mesh ? i - mesh : i, up = i + mesh < z.length ? i + mesh : i;
      position[3 * i + 2] = z[i];
      relief[4 * i] = (z[right] - z[left]) / ((right - left) * spacing);
      relief[4 * i + 1] = (z[up] - z[down]) / (((up - down) / mesh) * spacing);
      relief[4 * i + 2] = isFinite(heights[i]) ? 1 - dark * (1 - sky[i]) : HOLE;
    }
    this.geometry.attributes.position.needsUpdate = true;
    this.placeMarker();
    this.wall(look.appearance.plinth);
  }

  /** The triangles inside the window's ellipse. */
  cut(sides) {
    if (`${sides}` === `${this.sides}`) return;
    this.sides = sides;
    const { mesh, position } = this, [a, b] = sides.map((side) => Math.min(1, side + 4 / (mesh - 1)));
    const inside = (i) => (position[3 * i] / a) ** 2 + (position[3 * i + 1] / b) ** 2 <= 1;
    const index = [];
    for (let i = 0; i < mesh * (mesh - 1); i++) {
      const [right, up, far] = [i + 1, i + mesh, i + mesh + 1];
      if (right % mesh && [i, right, up, far].every(inside)) index.push(i, right, far, i, far, up);
    }
    this.geometry.setIndex(new THREE.BufferAttribute(Uint32Array.from(index), 1));
  }

  /** The key lamp's light, for its place in the sky, radians. */
  shade(azimuth) {
    const { lighting, plinth, fade_end: end } = this.look.appearance, { elevation } = lighting.key;
    if (this.sun === azimuth) return;
    this.sun = azimuth;
    const sun = sunlight(this.filled, this.mesh, this.spacing, azimuth, elevation);
    for (let i = 0; i < sun.length; i++) this.relief[4 * i + 3] = 1 - lighting.shadow * (1 - sun[i]);
    this.geometry.attributes.relief.needsUpdate = true;
    this.ground?.dispose();
    this.ground = null;
    if (!plinth) return;
    const { places, shade, index } = ground(this, this.mesh < 100 ? 57 : 111, end, plinth.depth, lighting, azimuth);
    this.ground = new THREE.BufferGeometry().setIndex(index).setAttribute("position", new THREE.BufferAttribute(places, 3));
    this.ground.setAttribute("shade", new THREE.BufferAttribute(shade, 1));
  }

  /** The colours of a field. */
  paint(name) {
    const { look, colour } = this, mapping = look.colours[name], isHeight = name === look.height.field;
    const values = isHeight ? this.raw.values : this.drawn(name, this.coordinate, Infinity, 1);
    const [low, high] = endsAt(mapping, this.coordinate), cap = isHeight ? look.height.cap : Infinity;
    for (let i = 0; i < values.length; i++) {
      const share = (toScale[mapping.scale](Math.min(values[i], cap)) - low) / (high - low);
      const place = Math.min(1, Math.max(0, share)) * 255, k = Math.min(254, Math.floor(place)), u = place - k;
      for (let c = 0; c < 3; c++) colour[3 * i + c] = isFinite(share) ? (1 - u) * mapping.table[3 * k + c] + u * mapping.table[3 * k + 3 + c] : 0.05;
    }
    this.geometry.attributes.colour.needsUpdate = true;
  }

  /** Where the network is in the plane at a coordinate; null for nowhere. */
  network(coordinate) {
    const { markers } = this.data;
    if (!markers) return [0, 0];
    const [k, share] = interval(markers.at, coordinate), [from, to] = [markers.places[k], markers.places[share ? k + 1 : k]];
    return from && to && from.map((x, i) => x + share * (to[i] - x));
  }

  placeMarker() {
    const { fade_end: end, marker: { radius } } = this.look.appearance, place = this.network(this.coordinate);
    const scene = place && this.toScene(place);
    this.marker = scene && this.radius(scene) <= end ? [...scene, this.height(scene) + 0.9 * radius] : null;
  }

  /** The loss at the marker, else in the middle, at a coordinate. */
  loss(coordinate) {
    const window = windowAt(this.data.windows, coordinate), place = this.network(coordinate) ?? window.centre;
    return this.field("loss").drawn(coordinate, place.map((x, i) => [(x - window.centre[i]) / window.unit]), window)[0];
  }

  toScene(place) {
    return [0, 1].map((i) => (place[i] - this.window.centre[i]) / this.window.unit);
  }

  radius([x, y]) {
    return Math.hypot(x / this.sides[0], y / this.sides[1]);
  }

  /** The surface's height at a place in scene units, linear between vertices. */
  height([x, y]) {
    const { mesh, filled } = this, clip = (p) => Math.min(mesh - 1.001, Math.max(0, ((p + 1) / 2) * (mesh - 1)));
    const [u, v] = [clip(x), clip(y)], [column, row] = [Math.floor(u), Math.floor(v)], i = row * mesh + column;
    const [right, up] = [u - column, v - row];
    return (1 - up) * ((1 - right) * filled[i] + right * filled[i + 1]) + up * ((1 - right) * filled[i + mesh] + right * filled[i + mesh + 1]);
  }

  /** The run's way to the marker, smooth through its checkpoints, on the surface; only its last part on the land. */
  trajectory() {
    const network = this.network(this.coordinate);
    if (!this.way || !network) return [];
    const { at, places } = this.way, n = at.length, [k, share] = interval(at, this.coordinate);
    const passed = at.map((_, j) => [0, 1].map((c) => {
      const of = (plane) => places[(Math.min(plane, n - 1) * n + j) * 2 + c];
      return of(k) + share * (of(k + 1) - of(k));
    })).filter((_, j) => at[j] < this.coordinate);
    const way = [...passed, network].map((place) => this.toScene(place));
    const knots = [...way.keys()], smooth = [];
    for (let j = 0; j + 1 < way.length; j++) for (let u = 0; u < 1; u += 1 / 12) smooth.push([0, 1].map((c) => pchip(knots, (i) => way[i][c], j, u)));
    smooth.push(way[way.length - 1]);
    const outside = smooth.map((p) => this.radius(p) > this.look.appearance.fade_start).lastIndexOf(true);
    return smooth.slice(outside + 1).map((p) => new THREE.Vector3(...p, this.height(p) + this.look.appearance.trajectory.width / 2));
  }

  /** The wall under the edge of a cast. */
  wall(plinth) {
    this.plinth?.dispose();
    this.plinth = null;
    if (!plinth) return;
    const { sides } = this, end = this.look.appearance.fade_end, position = [], relief = [], colour = [], index = [];
    for (let i = 0; i < AROUND; i++) {
      const turn = (2 * Math.PI * i) / AROUND, [c, s] = [Math.cos(turn), Math.sin(turn)], rim = [end * c * sides[0], end * s * sides[1]];
      for (const [z, open] of [[this.height(rim), 1], [-plinth.depth, 0.6]]) {
        position.push(...rim, z);
        relief.push((-UPRIGHT * c) / sides[0], (-UPRIGHT * s) / sides[1], open, 1);
        colour.push(...plinth.colour);
      }
      const [a, b] = [2 * i, 2 * ((i + 1) % AROUND)];
      index.push(a, b, b + 1, a, b + 1, a + 1);
    }
    this.plinth = new THREE.BufferGeometry().setIndex(index);
    for (const [name, values, width] of [["position", position, 3], ["colour", colour, 3], ["relief", relief, 4]]) this.plinth.setAttribute(name, new THREE.Float32BufferAttribute(values, width));
  }

  /** Where a ray meets the surface, in scene units; null beside it. */
  hit({ origin, direction }) {
    const at = (t) => [0, 1, 2].map((c) => origin.getComponent(c) + t * direction.getComponent(c));
    const above = (p) => p[2] - this.height(p);
    const reach = origin.length() + 2;
    for (let t = 0.01, before = null; t < reach; t += 0.004) {
      const p = at(t), inside = this.radius(p) < this.look.appearance.fade_end;
      if (!inside) { before = null; continue; }
      const now = above(p);
      if (before !== null && Math.sign(before) !== Math.sign(now)) return at(t - (0.004 * now) / (now - before));
      before = now;
    }
    return null;
  }

  /** The measured point of a field nearest to a place: alpha, beta, its value, and whether it was measured as it is. */
  read(name, place) {
    const fields = this.fields[name].measured.map((part) => this.field(part)), near = fields[0].nearest(place, this.window);
    const exact = fields.every((field) => field.at.includes(this.coordinate) || field.still);
    if (!near) {
      const values = this.drawn(name, this.coordinate, Infinity, 1), i = [place[1], place[0]].map((p) => Math.round(((p + 1) / 2) * (this.mesh - 1)));
      return { at: place.slice(0, 2).map((x, c) => this.window.centre[c] + x * this.window.unit), scene: place, value: values[i[0] * this.mesh + i[1]], measured: false };
    }
    const value = derive(name, fields.map((field) => field.value(this.coordinate, near.index)));
    return { ...near, value, measured: exact };
  }
}
