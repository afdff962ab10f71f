// The page: what it shows, and what mouse, touch, keyboard, link and the page around it change.
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { decode } from "./field.js";
import { Land } from "./land.js";
import { ballMaterial, groundMaterial, setView, surfaceMaterial } from "./material.js";
import { Picture } from "./picture.js";
import { endsAt, fromScale, label, short } from "./scales.js";
import { Scout, taller } from "./scout.js";

const MOST_SIDE_BY_SIDE = 4, SECONDS = [6, 30], SLOWEST = 1000 / 20, STILL = 250, LEAST = 0.2, WIDEST = 0.7;
const COARSE = 65; // vertices along a side while something moves: a software GL pays for each triangle
const AFTER = 400; // milliseconds, after which the link says the view
const id = (name) => document.getElementById(name);
const content = JSON.parse(id("content").textContent);
const linear = (code) => (code <= 0.04045 ? code / 12.92 : ((code + 0.055) / 1.055) ** 2.4);

/** Shows the picture that stands in for the page, and why. */
function standIn(why) {
  id("why").textContent = why;
  id("stand-in").hidden = false;
  for (const name of ["foot", "value"]) id(name).hidden = true;
}

class Viewer {
  constructor(codes) {
    this.canvas = id("view");
    this.renderer = new THREE.WebGLRenderer({ canvas: this.canvas, antialias: false, depth: false, alpha: false, powerPreference: "high-performance" });
    this.renderer.autoClear = false;
    this.picture = new Picture(this.renderer);
    const finest = Math.max(...content.landscapes.flatMap((land) => Object.values(land.fields).map((field) => Math.max(...field.counts))));
    this.mesh = Math.min(innerWidth, innerHeight) < 600 ? 201 : finest > 301 ? 451 : 301;
    this.lands = content.landscapes.map((data) => new Land(data, content.fields, codes, this.mesh));
    for (const land of this.lands) land.coarse = new Land(land.data, content.fields, codes, COARSE, land.measured);
    this.looks = Object.fromEntries(content.looks.map((look) => [look.name, prepare(look)]));
    this.camera = new THREE.PerspectiveCamera(content.view.view_angle, 1, 0.01, 20);
    this.camera.up.set(0, 0, 1);
    this.controls = new OrbitControls(this.camera, this.canvas);
    Object.assign(this.controls, { minDistance: 0.05, maxDistance: 12, enableDamping: false, zoomToCursor: false });
    [this.ball, this.line] = [0, 0].map(() => new THREE.Mesh(new THREE.BufferGeometry(), ballMaterial()));
    this.ball.geometry = new THREE.SphereGeometry(1, 32, 24);
    this.surface = new THREE.Mesh();
    this.shadow = groundMaterial();
    for (const mesh of [this.ball, this.line, this.surface]) mesh.frustumCulled = false;
    const at = [...new Set(this.lands.flatMap((land) => land.at))].sort((a, b) => a - b);
    Object.assign(this, { at, scale: 1, playing: false, changed: new Set(["look", "time", "size"]), pointer: null, moves: false, pace: SLOWEST });
    const [first, last] = [at[0], at[at.length - 1]];
    this.seconds = Math.min(SECONDS[1], Math.max(SECONDS[0], at.length / 2));
    this.start = { t: Math.min(last, Math.max(first, content.view.coordinate)), look: "film", field: content.looks[0].own, show: "all", trajectory: content.looks[0].draws_trajectory };
    this.state = { ...this.start };
    this.listen();
    this.frame(content.view);
    this.restore(location.hash.slice(1));
    if (content.scout) this.scout = new Scout(this, content.scout, content.aspect, (t) => label(this.lands[0].axis, t));
    requestAnimationFrame(() => this.draw());
  }

  /** The camera where the film has it; in a narrower window a wider angle, or farther away, so that as much is seen. */
  frame({ position, focal_point: focus, view_angle: angle }) {
    const { width, height } = this.part(0, { width: innerWidth, height: innerHeight }), target = new THREE.Vector3(...focus);
    const half = Math.tan((angle * Math.PI) / 360), narrow = Math.max(1, content.aspect / this.lands.length ** 0.5 / (width / height)) ** 0.75;
    if (content.scout) { // a viewfinder shows the film's own frame, whole
      this.camera.fov = taller(angle, Math.max(1, content.aspect / (width / height)));
      this.camera.position.set(...position);
      this.controls.target.copy(target);
      this.controls.update();
      return;
    }
    const wider = Math.max(half, Math.min(half * narrow, WIDEST));
    this.camera.fov = (360 / Math.PI) * Math.atan(wider);
    this.camera.position.set(...position).sub(target).multiplyScalar((half * narrow) / wider).add(target);
    this.controls.target.copy(target);
    this.controls.update();
  }

  get shown() {
    return this.state.show === "all" ? this.lands.slice(0, MOST_SIDE_BY_SIDE) : this.lands.filter((land) => land.name === this.state.show);
  }

  get look() {
    return this.looks[this.state.look];
  }

  // --- changes

  /** Changes the state; words that are not known are left out. */
  set(changes) {
    const known = { field: content.fields, look: this.looks, show: { all: 1, ...Object.fromEntries(this.lands.map((land) => [land.name, 1])) } };
    for (const [name, value] of Object.entries(changes)) {
      if (name === "t" && isFinite(value)) this.state.t = Math.min(this.at[this.at.length - 1], Math.max(this.at[0], +value));
      else if (name === "trajectory") this.state.trajectory = value === true || value === "true";
      else if (known[name] && Object.hasOwn(known[name], value)) this.state[name] = value;
      else continue;
      this.changed.add({ t: "time", trajectory: "look" }[name] ?? "look");
    }
    if ("look" in changes && !("field" in changes)) this.state.field = this.look.own;
    this.tell();
  }

  /** The whole view as words. */
  get words() {
    const place = (vector) => vector.toArray().map((x) => +x.toFixed(4)).join(",");
    const { t, field, look, show, trajectory } = this.state;
    return { t: +t.toFixed(4), field, look, show, trajectory, eye: place(this.camera.position), focus: place(this.controls.target) };
  }

  restore(text) {
    const words = Object.fromEntries(new URLSearchParams(text)), place = (word) => word?.split(",").map(Number);
    const [eye, focus] = [place(words.eye), place(words.focus)];
    if ([eye, focus].every((p) => p?.length === 3 && p.every(isFinite))) {
      this.camera.position.set(...eye);
      this.controls.target.set(...focus);
      this.controls.update();
    }
    this.set({ ...(words.look && { look: words.look }), ...words });
  }

  /** Writes the view into the link, and tells the page around this one. */
  tell() {
    this.later ??= setTimeout(() => {
      this.later = null;
      try { history.replaceState(null, "", `#${new URLSearchParams(this.words)}`); } catch { /* a page inside another may have no link */ }
      if (parent !== window) parent.postMessage({ studio: this.words }, "*");
    }, AFTER);
  }

  listen() {
    const option = (list, value, text) => list.add(new Option(text, value));
    for (const [name, { label: text }] of Object.entries(content.fields)) option(id("field"), name, text);
    for (const name of Object.keys(this.looks)) option(id("look"), name, name === "film" ? "as in the film" : name);
    option(id("land"), "all", "side by side");
    for (const { name } of this.lands) option(id("land"), name, name);
    id("lands").hidden = this.lands.length < 2;
    id("way").hidden = !this.lands.some((land) => land.way);
    id("time").hidden = this.at.length < 2;
    Object.assign(id("scrub"), { min: this.at[0], max: this.at[this.at.length - 1] });
    id("caption").open = innerWidth > 1000 && innerHeight > 700;
    for (const [name, key] of [["field", "field"], ["look", "look"], ["land", "show"]]) id(name).onchange = (event) => this.set({ [key]: event.target.value });
    id("trajectory").onchange = (event) => this.set({ trajectory: event.target.checked });
    id("scrub").oninput = (event) => { this.play(false); this.set({ t: +event.target.value }); };
    id("play").onclick = () => this.play(!this.playing);
    id("link").onclick = async () => {
      const text = `${location.href.split("#")[0]}#${new URLSearchParams(this.words)}`;
      const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
      this.say(done ? "The link is copied." : text);
    };
    id("controls").onsubmit = (event) => event.preventDefault();
    this.controls.addEventListener("change", () => { this.changed.add("view"); this.tell(); });
    this.canvas.addEventListener("pointermove", (event) => { this.pointer = event.buttons ? null : event; this.changed.add("value"); });
    this.canvas.addEventListener("pointerdown", (event) => { this.pressed = [event.clientX, event.clientY]; this.pointer = null; this.changed.add("value"); });
    this.canvas.addEventListener("pointerup", (event) => {
      if (Math.hypot(event.clientX - this.pressed?.[0], event.clientY - this.pressed?.[1]) < 6) { this.pointer = event; this.changed.add("value"); }
    });
    this.canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); standIn("The browser took the graphics away. Load the page again to go on."); });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    addEventListener("resize", () => this.changed.add("size"));
    addEventListener("hashchange", () => this.restore(location.hash.slice(1)));
    addEventListener("message", ({ data }) => {
      if (data?.studio && typeof data.studio === "object") this.restore(String(new URLSearchParams(data.studio)));
      if (typeof data?.studio?.play === "boolean") this.play(data.studio.play);
    });
  }

  key(event) {
    const turn = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const step = { ",": -1, ".": 1 }[event.key];
    if (turn) this.nudge(turn, event.shiftKey);
    else if (step) this.set({ t: this.neighbour(step) });
    else if ("+=".includes(event.key)) this.nudge([0, 0], false, 1 / 1.1);
    else if ("-_".includes(event.key)) this.nudge([0, 0], false, 1.1);
    else if (event.key === " ") this.play(!this.playing);
    else if (event.key === "Home") { this.frame(content.view); this.set(this.start); }
    else if (event.key === "Enter") { const box = this.canvas.getBoundingClientRect(); const { width, height } = this.part(0, box); this.pointer = { clientX: box.left + width / 2, clientY: box.top + height / 2 }; this.changed.add("value"); }
    else return;
    event.preventDefault();
  }

  /** Turns about the focus, 5 degrees to a step, or pans with it. */
  nudge([x, y], pans, closer = 1) {
    const { camera, controls: { target } } = this, offset = camera.position.clone().sub(target);
    if (pans) {
      const [right, up] = [0, 1].map((i) => new THREE.Vector3().setFromMatrixColumn(camera.matrixWorld, i).multiplyScalar(0.05 * offset.length()));
      const way = right.multiplyScalar(x).add(up.multiplyScalar(y));
      target.add(way);
      camera.position.add(way);
    } else {
      const [azimuth, elevation] = [Math.atan2(offset.y, offset.x) + (x * Math.PI) / 36, Math.asin(offset.z / offset.length()) + (y * Math.PI) / 36];
      const up = Math.min(1.55, Math.max(-1.5, elevation)), length = offset.length() * closer;
      camera.position.set(Math.cos(azimuth) * Math.cos(up), Math.sin(azimuth) * Math.cos(up), Math.sin(up)).multiplyScalar(length).add(target);
    }
    this.controls.update();
  }

  neighbour(step) {
    const beyond = this.at.filter((at) => (step > 0 ? at > this.state.t + 1e-9 : at < this.state.t - 1e-9));
    return (step > 0 ? beyond[0] : beyond[beyond.length - 1]) ?? this.state.t;
  }

  play(on) {
    this.playing = on && this.at.length > 1;
    this.before = performance.now();
    id("play").textContent = this.playing ? "❚❚" : "▶";
    id("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
  }

  // --- pictures

  draw() {
    requestAnimationFrame(() => this.draw());
    const [first, last] = [this.at[0], this.at[this.at.length - 1]], now = performance.now();
    if (this.playing) {
      const t = this.state.t + ((last - first) * (now - this.before)) / 1000 / this.seconds;
      this.before = now;
      this.set({ t: t >= last ? (this.state.t < last ? last : first) : t });
    }
    const goes = this.changed.has("view") || this.changed.has("time");
    if (goes) this.moved = now;
    const moves = goes || (this.moves && now - this.moved < STILL); // at rest only after a frame in which nothing went on
    if (moves !== this.moves) this.changed.add("size");
    if (!this.changed.size) return;
    const { changed } = this;
    if (this.moves && moves) this.pace += 0.3 * (now - this.drawn - this.pace);
    const scale = Math.min(1, Math.max(LEAST, this.scale * Math.sqrt(SLOWEST / this.pace))); // fewer pixels where it is slow
    if (moves && Math.abs(scale / this.scale - 1) > 0.2) {
      Object.assign(this, { scale, pace: SLOWEST });
      changed.add("size");
    }
    Object.assign(this, { changed: new Set(), moves, drawn: now });
    if (changed.has("size")) this.resize();
    if (changed.has("look")) this.present();
    if (changed.has("look") || changed.has("time")) this.describe();
    if ([...changed].some((name) => name !== "value")) this.render();
    this.read();
    this.frames = (this.frames ?? 0) + 1;
  }

  resize() {
    const ratio = Math.min(devicePixelRatio, 2) * (this.moves ? this.scale : 1);
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(innerWidth, innerHeight, false);
    this.picture.resize(this.canvas.width, this.canvas.height, this.moves);
    this.names();
  }

  names() {
    const shown = this.shown;
    id("names").replaceChildren(...(this.lands.length > 1 ? shown.map((land, n) => {
      const span = document.createElement("span");
      span.textContent = land.name;
      const { left, top } = this.part(n, { width: innerWidth, height: innerHeight });
      Object.assign(span.style, { left: `${left + 20}px`, top: `${top + 66}px` });
      return span;
    }) : []));
  }

  /** Says the numbers of the moment. */
  describe() {
    const { look, state } = this, mapping = look.colours[state.field], [low, high] = endsAt(mapping, state.t).map(fromScale[mapping.scale]);
    const categories = content.fields[state.field].categories;
    id("low").textContent = categories.length ? categories[0][1] : short(low);
    id("high").textContent = categories.length ? categories[categories.length - 1][1] : short(high);
    id("scrub").value = state.t;
    id("scrub").setAttribute("aria-valuetext", label(this.lands[0].axis, state.t));
    id("now").textContent = [label(this.lands[0].axis, state.t), ...this.shown.map((land) => this.loss(land))].join("\u2003");
  }

  /** Says what is shown: choices, legend, caption, the page's colours. */
  present() {
    const { look, state } = this, bar = id("bar").getContext("2d"), pixels = bar.createImageData(256, 1);
    look.colours[state.field].codes.forEach((code, i) => (pixels.data[4 * Math.floor(i / 3) + (i % 3)] = code));
    for (let i = 3; i < 1024; i += 4) pixels.data[i] = 255;
    bar.putImageData(pixels, 0, 0);
    id("quantity").textContent = content.fields[state.field].label;
    for (const [name, key] of [["field", "field"], ["look", "look"], ["land", "show"]]) id(name).value = state[key];
    id("trajectory").checked = state.trajectory;
    const [first, ...others] = this.notes();
    id("first").textContent = first;
    id("notes").textContent = others.join("\n");
    const style = document.documentElement.style, code = (light) => Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055));
    style.setProperty("--ink", look.ink);
    style.setProperty("--back", `rgb(${look.background.bottom.map(code)})`);
    style.setProperty("color-scheme", look.background.bottom[1] > 0.3 ? "light" : "dark");
    this.names();
  }

  /** The loss at the marker, else in the middle, with the landscape's name where there are several. */
  loss(land) {
    if (!land.data.fields.loss) return "";
    return `${this.lands.length > 1 ? `${land.name} ` : ""}loss ${short(land.loss(this.state.t))}`;
  }

  /** Lines: what was measured, and what the page adds to it. */
  notes() {
    const notes = this.look.colours[this.state.field].notes, texts = new Set(this.shown.map((land) => notes[land.name]));
    const lines = texts.size === 1 ? [...texts] : this.shown.map((land) => `${land.name}: ${notes[land.name]}`);
    const field = this.lands[0].field(content.fields[this.state.field].measured[0]);
    if (!field.grid) lines.push("This page: a field on nested grids is sampled at 201 by 201 points and between keyframes.");
    lines.push("This page: values in 16 bits of their range; between keyframes and grid points the surface is interpolated.");
    if (content.every > 1) lines.push(`This page: every ${content.every}th keyframe, so that the file stays small.`);
    return lines.join("\n").split("\n");
  }

  /** The part of a picture that a landscape fills, in pixels: side by side, or one above the other, over the controls, in a high window. */
  part(n, { width, height }) {
    const count = this.shown.length, across = innerWidth >= innerHeight;
    const all = across ? width : height * (1 - id("foot").offsetHeight / innerHeight), edge = (k) => Math.round((all * k) / count);
    const side = edge(n + 1) - edge(n);
    return across ? { left: edge(n), top: 0, width: side, height } : { left: 0, top: edge(n), width, height: side };
  }

  render() {
    const { look, renderer, picture: { light }, camera } = this, gl = renderer.getContext();
    const turn = look.follow ? Math.atan2(camera.position.y - this.controls.target.y, camera.position.x - this.controls.target.x) : 0;
    renderer.setRenderTarget(light);
    light.scissorTest = false;
    renderer.setClearColor(0, 0);
    light.viewport.set(0, 0, light.width, light.height);
    renderer.clear();
    for (const [n, fine] of this.shown.entries()) {
      const land = (this.moves ? fine.coarse : fine).show(look, this.state.t, this.state.field), { left, top, width, height } = this.part(n, light);
      camera.aspect = width / height;
      camera.near = Math.max(0.004, 0.05 * camera.position.distanceTo(this.controls.target));
      camera.far = camera.position.length() + 4;
      camera.updateProjectionMatrix();
      camera.updateMatrixWorld();
      for (const box of [light.viewport, light.scissor]) box.set(left, light.height - top - height, width, height);
      light.scissorTest = true;
      renderer.setRenderTarget(light);
      land.shade(look.appearance.lighting.key.azimuth + turn);
      setView(look.material, look, land, camera, turn, { width, height });
      for (const [geometry, material] of [[land.geometry, look.material], [land.plinth, look.material], [land.ground, this.shadow]]) {
        if (geometry) renderer.render(Object.assign(this.surface, { geometry, material }), camera);
      }
      this.lights(land);
    }
    this.picture.show(look);
    this.lost = gl.isContextLost();
  }

  /** Draws the marker and the trajectory. */
  lights(land) {
    const { marker, trajectory, exposure } = this.look.appearance, toEye = this.camera.position.clone().sub(this.controls.target).normalize();
    const show = (mesh, light, limb = light) => {
      const u = mesh.material.uniforms;
      u.light.value.set(...light).multiplyScalar(exposure);
      u.limb.value.set(...limb).multiplyScalar(exposure);
      u.toEye.value.copy(mesh === this.line ? new THREE.Vector3(0, 0, 1) : toEye);
      this.renderer.render(mesh, this.camera);
    };
    if (land.marker) {
      this.ball.position.set(...land.marker);
      this.ball.scale.setScalar(marker.radius);
      this.ball.updateMatrixWorld();
      show(this.ball, marker.light, marker.limb ?? marker.light);
    }
    const way = this.state.trajectory ? land.trajectory() : [];
    if (way.length > 1) {
      this.line.geometry.dispose();
      this.line.geometry = new THREE.TubeGeometry(new THREE.CatmullRomCurve3(way), Math.min(600, 2 * way.length), trajectory.width / 2, 8);
      show(this.line, trajectory.light);
    }
  }

  // --- values

  /** Reads the measured point under the pointer, and marks it. */
  read() {
    const box = this.canvas.getBoundingClientRect(), shown = this.shown, before = this.reading;
    this.reading = null;
    if (this.pointer && !this.moves) {
      const [x, y] = [this.pointer.clientX - box.left, this.pointer.clientY - box.top], parts = shown.map((_, n) => this.part(n, box));
      const n = Math.max(0, parts.findLastIndex(({ left, top }) => x >= left && y >= top)), { left, top, width, height } = parts[n];
      const at = new THREE.Vector2((2 * (x - left)) / width - 1, 1 - (2 * (y - top)) / height);
      const ray = new THREE.Raycaster();
      this.camera.aspect = width / height;
      this.camera.updateProjectionMatrix();
      ray.setFromCamera(at, this.camera);
      const land = shown[n].show(this.look, this.state.t, this.state.field), place = land.hit(ray.ray);
      const found = place && land.read(this.state.field, place);
      if (found && land.radius(found.scene) < 1.05) {
        const { value, measured, at: [alpha, beta], scene } = found, { label: text, categories } = content.fields[this.state.field];
        const word = categories.find(([code]) => code === value)?.[1] ?? short(value);
        const on = new THREE.Vector3(...scene, land.height(scene)).project(this.camera);
        this.reading = { land: land.name, value, alpha, beta, measured };
        Object.assign(id("dot").style, { left: `${box.left + left + (width * (on.x + 1)) / 2}px`, top: `${box.top + top + (height * (1 - on.y)) / 2}px` });
        this.say(`α ${short(alpha)}   β ${short(beta)}\n${text} ${word}${measured ? "" : "\ninterpolated, not measured"}`);
      }
    }
    if (!this.reading && before) this.say("");
    id("dot").hidden = !this.reading;
  }

  say(text) {
    id("value").textContent = text;
  }
}

/** A look with its material and the colours of its fields as light. */
function prepare(look) {
  for (const mapping of Object.values(look.colours)) {
    mapping.codes = Uint8Array.from(atob(mapping.map), (letter) => letter.charCodeAt(0));
    mapping.table = Float32Array.from(mapping.codes, (code) => linear(code / 255));
  }
  let material = null;
  Object.defineProperty(look, "material", { get: () => (material ??= surfaceMaterial(look)) });
  return look;
}

const test = document.createElement("canvas").getContext("webgl2");
if (!test || !test.getExtension("EXT_color_buffer_float")) {
  standIn("This browser has no WebGL 2, so the landscape cannot be turned here. This is one frame of the film.");
} else {
  test.getExtension("WEBGL_lose_context")?.loseContext();
  decode(id("surfaces").textContent).then((codes) => { window.viewer = new Viewer(codes); }, (error) => standIn(`The page is damaged: ${error.message}`));
}
