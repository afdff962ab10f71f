// The scout's panel: views captured as keys of a shot, played as the film plays them, and written into the scene.
// Its server makes poses of keys, pictures and lines of YAML; here is only what is seen and asked.

const POLL = 2000, STEP = 2; // milliseconds between two looks at the shelf, seconds from key to key
const id = (name) => document.getElementById(name);
const round = (x, digits = 4) => +x.toFixed(digits);

/** A button of the panel. */
function button(text, label, action) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text, onclick: action });
  made.setAttribute("aria-label", label);
  return made;
}

/** The vertical angle, degrees, of a picture that is so many times as high. */
export function taller(angle, times) {
  return (360 / Math.PI) * Math.atan(Math.tan((angle * Math.PI) / 360) * times);
}

/** The keys with one moved by `step` places; times stay in their places. */
export function reordered(keys, index, step) {
  const to = index + step;
  if (to < 0 || to >= keys.length) return keys;
  const times = keys.map((key) => key.at), moved = [...keys];
  moved.splice(to, 0, ...moved.splice(index, 1));
  return moved.map((key, i) => ({ ...key, at: times[i] }));
}

/** The keys without one; the first stays at 0. */
export function without(keys, index) {
  const left = keys.filter((_, i) => i !== index), begin = left[0]?.at ?? 0;
  return left.map((key) => ({ ...key, at: round(key.at - begin) }));
}

export class Scout {
  constructor(viewer, { version, file, eases, note, shots }, aspect, label) {
    Object.assign(this, { viewer, version, file, eases, aspect, label, shots });
    for (const name of shots) id("shot").add(new Option(name, name));
    const kept = JSON.parse(sessionStorage.getItem(this.store) ?? "{}");
    this.keys = kept.keys ?? [];
    if (shots.includes(kept.shot)) id("shot").value = kept.shot;
    id("scout").hidden = false;
    id("scout").firstElementChild.open = innerWidth > 700;
    id("capture").onclick = () => this.capture();
    id("as-film").onclick = () => this.play(this.keys);
    id("take").onclick = () => this.take();
    id("draw").onclick = () => this.draw();
    id("write").onclick = () => this.write();
    addEventListener("keydown", (event) => {
      if (event.key === "c" && !event.ctrlKey && !event.metaKey && !event.target.matches("select, input[type=number]")) this.capture();
    });
    addEventListener("resize", () => this.guide());
    this.guide();
    this.list();
    this.say(note);
    setInterval(() => this.look(), POLL);
  }

  get store() {
    return `scout ${this.file.name}`;
  }

  get shot() {
    return id("shot").value;
  }

  say(text) {
    id("said").textContent = text;
  }

  /** Shows how much of the window the film's picture has. */
  guide() {
    const { left, top, width, height } = this.viewer.part(0, { width: innerWidth, height: innerHeight }), own = Math.min(width, height * this.aspect);
    const style = { width: own, height: own / this.aspect, left: left + (width - own) / 2, top: top + (height - own / this.aspect) / 2 };
    for (const [name, pixels] of Object.entries(style)) id("frame").style[name] = `${pixels}px`;
    id("frame").hidden = this.viewer.shown.length > 1;
  }

  capture() {
    const { camera, controls, state } = this.viewer, last = this.keys[this.keys.length - 1];
    const { width, height } = this.viewer.part(0, { width: innerWidth, height: innerHeight });
    this.keys.push({
      at: last ? round(last.at + STEP, 3) : 0,
      coordinate: round(state.t, 6),
      position: camera.position.toArray().map((x) => round(x, 6)),
      focal_point: controls.target.toArray().map((x) => round(x, 6)),
      view_angle: taller(camera.fov, Math.min(1, width / height / this.aspect)),
      ease: null,
    });
    this.list();
    this.say(`Key ${this.keys.length} is captured.`);
  }

  show(key) {
    this.playing = null;
    this.viewer.frame(key);
    this.viewer.set({ t: key.coordinate });
  }

  /** The list of keys, as it is now. */
  list() {
    const { keys } = this, change = (changed) => { this.keys = changed; this.list(); };
    sessionStorage.setItem(this.store, JSON.stringify({ keys, shot: this.shot }));
    id("keylist").replaceChildren(...keys.map((key, index) => {
      const row = document.createElement("li"), at = document.createElement("input"), ease = document.createElement("select");
      Object.assign(at, { type: "number", min: 0, step: 0.1, value: key.at, disabled: !index, onchange: () => { key.at = Math.max(0, +at.value); this.list(); } });
      at.setAttribute("aria-label", `Seconds of key ${index + 1}`);
      ease.setAttribute("aria-label", `How the camera arrives at key ${index + 1}`);
      ease.add(new Option("flows", ""));
      for (const name of this.eases) ease.add(new Option(name, name));
      Object.assign(ease, { value: key.ease ?? "", disabled: !index, onchange: () => { key.ease = ease.value || null; this.list(); } });
      const name = button(this.label(key.coordinate), `Show key ${index + 1}`, () => this.show(key));
      row.append(at, "s ", name, ease,
        button("↑", `Key ${index + 1} earlier`, () => change(reordered(keys, index, -1))),
        button("↓", `Key ${index + 1} later`, () => change(reordered(keys, index, 1))),
        button("✕", `Delete key ${index + 1}`, () => change(without(keys, index))));
      return row;
    }));
    for (const name of ["draw", "write"]) id(name).disabled = !keys.length;
  }

  /** Asks the server; says what it refuses. */
  async ask(word, more = {}, keys = this.keys) {
    const asked = { shot: this.shot, keys, ...more };
    try {
      const answer = await fetch(word, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) });
      if (answer.ok) return answer;
      this.say((await answer.json()).error);
    } catch {
      this.say("The scout does not answer; is it still running?");
    }
    return null;
  }

  /** Plays keys, or without any the shot of the scene, frame by frame as the film does. */
  async play(keys) {
    this.say("");
    const film = await (await this.ask("poses", {}, keys))?.json();
    if (!film) return;
    const begun = performance.now(), { fps, poses } = film, playing = (this.playing = {});
    const step = () => {
      const number = Math.min(poses.length - 1, Math.floor(((performance.now() - begun) / 1000) * fps));
      if (this.playing !== playing) return;
      this.viewer.frame(poses[number]);
      this.viewer.set({ t: poses[number].coordinate });
      if (number + 1 < poses.length) requestAnimationFrame(step);
      else this.playing = null;
    };
    this.viewer.play(false);
    step();
  }

  /** The shot of the scene as keys: its view at the start, and at the end of every move. */
  async take() {
    const film = await (await this.ask("poses", {}, []))?.json();
    if (!film) return;
    const last = film.poses.length - 1, ends = [...new Set([...film.ends.map((end) => Math.min(last, Math.round(end * film.fps))), last])];
    this.keys = ends.map((number) => ({ at: number === last ? round(film.poses.length / film.fps) : round(number / film.fps), ...film.poses[number], ease: null }));
    this.list();
    this.say("Its moves became keys: between them the camera may go another way than before.");
  }

  /** The film's own picture of the key shown last, or of the first. */
  async draw() {
    const t = this.viewer.state.t, key = this.keys.reduce((best, key) => (Math.abs(key.coordinate - t) < Math.abs(best.coordinate - t) ? key : best));
    this.say("The film's renderer draws …");
    const answer = await this.ask("picture", { at: key.at });
    if (!answer) return;
    URL.revokeObjectURL(id("drawn").src);
    id("drawn").src = URL.createObjectURL(await answer.blob());
    id("drawn").hidden = false;
    this.say(`The film at ${key.at} s of the shot.`);
  }

  async write() {
    const answer = await (await this.ask("write", { seen: this.file.digest }))?.json();
    if (!answer) return;
    this.file.digest = answer.digest;
    this.version = answer.version; // this page shows it already
    await this.draw();
    this.say(answer.diff ? `Written into ${this.file.name}:\n${answer.diff}` : `${this.file.name} says this already.`);
  }

  /** Looks whether more is measured, or the file is another one; then the page comes again, with the same view. */
  async look() {
    if (this.playing || this.viewer.playing || this.viewer.moves) return;
    const answer = await fetch("state").catch(() => null);
    if (!answer?.ok) return;
    const { version, note } = await answer.json();
    if (version !== this.version) location.reload();
    else if (note !== this.note) this.say((this.note = note));
  }
}
