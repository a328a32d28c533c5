// What the user does: prompts, names, recordings, transitions. Every refusal is shown with its reason.

import { bytes, notify } from "./dom.js";
import { area, readMask } from "./masks.js";
import { changed, keep, nameOf, promptedMasks, state } from "./state.js";

export class Actions {
  constructor(connection, view) {
    this.connection = connection;
    this.view = view;
    this.everythingJob = null;
    this.busy = 0;
  }

  /** Runs a request; shows why it was refused. Resolves with the reply, or null. */
  async attempt(promise) {
    try {
      return await promise;
    } catch (error) {
      notify(error.message, "error");
      return null;
    }
  }

  // Prompts --------------------------------------------------------------------------------------

  /** Asks for the mask of points and boxes on the frame that was seen. */
  async prompt({ points, boxes, refine, frame }) {
    if (state.readOnly) {
      notify("This console only shows.", "error");
      return;
    }
    const isRefining = (refine || state.refine) && state.selected !== "";
    if (!isRefining && points.length && points.every((point) => point[2] === 0)) {
      notify("A background click takes away from an object: select one first.", "error");
      return;
    }
    if (!state.follow && !state.held) this.hold(frame);
    this.pending(1);
    const reply = await this.attempt(
      this.connection.ask("prompt", {
        stamp: frame.stamp,
        object_id: isRefining ? state.selected : "",
        points,
        boxes,
        track: state.follow,
      }),
    );
    this.pending(-1);
    if (reply === null) return;
    const { header, section } = reply;
    const [entry] = header.masks;
    const mask = readMask({ ...entry, object_id: header.object_id, stamp: header.stamp }, section);
    state.answers.set(header.object_id, mask);
    this.remember(header.object_id, header.stamp, points, boxes);
    state.selected = header.object_id;
    changed("objects");
    if (!mask.box[2]) notify("The mask is empty: nothing was found there.");
  }

  remember(id, stamp, points, boxes) {
    const known = state.points.get(id);
    const same = known && known.stamp === stamp;
    state.points.set(id, {
      stamp,
      points: same ? [...known.points, ...points] : points,
      boxes: same ? [...known.boxes, ...boxes] : boxes,
    });
  }

  pending(step) {
    this.busy += step;
    changed("busy", this.busy);
  }

  /** Follows an object that was answered for one frame only. */
  async follow(id) {
    const given = state.points.get(id);
    const answer = state.answers.get(id);
    if (!given || !answer) {
      notify("What to follow is not known any more; click it again.", "error");
      return;
    }
    const reply = await this.attempt(
      this.connection.ask("prompt", {
        stamp: given.stamp, object_id: id, points: given.points, boxes: given.boxes, track: true,
      }),
    );
    if (reply === null) return;
    const mask = readMask({ ...reply.header.masks[0], stamp: reply.header.stamp }, reply.section);
    state.answers.set(id, mask);
    changed("objects");
    notify(`${nameOf(id)} is followed.`);
  }

  async remove(id) {
    if (!id) return;
    if ((await this.attempt(this.connection.ask("remove", { object_id: id }))) === null) return;
    this.forget(id);
  }

  forget(id) {
    state.answers.delete(id);
    state.points.delete(id);
    if (state.frame) state.frame.prompts = state.frame.prompts.filter((one) => one.object_id !== id);
    if (state.selected === id) state.selected = "";
    changed("objects");
  }

  async clear() {
    if ((await this.attempt(this.connection.ask("clear"))) === null) return;
    for (const mask of promptedMasks()) this.forget(mask.object_id);
    state.answers.clear();
    changed("objects");
  }

  rename(id, name) {
    return this.attempt(this.connection.ask("rename", { object_id: id, name }));
  }

  select(id) {
    state.selected = state.selected === id ? "" : id;
    changed("objects");
  }

  // Everything -----------------------------------------------------------------------------------

  /** Asks for masks of everything on the frame, which are drawn as they are found. */
  async everything() {
    if (this.everythingJob !== null || !state.frame || state.readOnly) return;
    if (!state.held) this.hold(state.frame);
    const { stamp } = state.frame;
    const started = performance.now();
    const progress = { done: 0, total: 0, masks: 0 };
    const show = () => changed("progress", { ...progress, seconds: secondsSince(started) });
    const found = { stamp, masks: [] };
    state.everything = found;
    const promise = this.connection.ask(
      "everything", { stamp, points_per_side: 0 }, 600000, ({ header, section }) => {
        found.masks.push(...readEverything(header, section));
        Object.assign(progress, { done: header.done, total: header.total, masks: found.masks.length });
        sortLargestFirst(found.masks);
        changed("objects");
        show();
      },
    );
    this.everythingJob = promise.number;
    const timer = setInterval(show, 200);
    show();
    try {
      const { header, section } = await promise;
      found.masks = sortLargestFirst(readEverything(header, section));
      const rest = header.message ? `: ${header.message}` : "";
      notify(`${found.masks.length} masks in ${secondsSince(started).toFixed(1)} s${rest}`);
    } catch (error) {
      const isCancelled = error.message === "cancelled";
      if (!found.masks.length && state.everything === found) state.everything = null;
      const rest = found.masks.length ? `; ${found.masks.length} masks until then` : "";
      notify(`${isCancelled ? "Cancelled" : error.message}${rest}`, isCancelled ? undefined : "error");
    }
    clearInterval(timer);
    this.everythingJob = null;
    changed("progress", null);
    changed("objects");
  }

  /** Has the node stop; what it has found stays. */
  cancelEverything() {
    if (this.everythingJob !== null) {
      this.connection.send({ type: "cancel", job: this.everythingJob });
    }
  }

  // Frames ---------------------------------------------------------------------------------------

  /** Holds a frame still: clicks go to it until `live`. */
  hold(frame) {
    if (!frame) return;
    state.held = true;
    if (state.frame !== frame) {
      state.frame = frame;
      changed("frame");
    }
    this.sendView();
    changed("view");
  }

  live() {
    state.held = false;
    state.everything = null;
    this.sendView();
    changed("objects");
    changed("view");
  }

  toggleHold() {
    if (state.held) this.live();
    else this.hold(state.frame);
  }

  look(camera) {
    if (camera === state.camera) return;
    state.camera = camera;
    state.held = false;
    state.frame = null;
    state.everything = null;
    state.answers.clear();
    state.points.clear();
    state.selected = "";
    this.sendView();
    changed("camera");
    changed("objects");
    changed("view");
  }

  /** Tells the server what is looked at; nothing is encoded for a page that nobody sees. */
  sendView() {
    if (state.camera === null) return;
    this.connection.send({
      type: "view",
      camera: state.camera,
      quality: state.quality,
      side: state.side,
      paused: state.held || document.hidden,
    });
  }

  set(name, value) {
    state[name] = value;
    keep();
    changed("view");
  }

  toggleLayer(name) {
    state.layers[name] = !state.layers[name];
    keep();
    changed("view");
  }

  // Files ----------------------------------------------------------------------------------------

  async savePicture() {
    if (!state.frame) return;
    const blob = await new Promise((resolve) => this.view.still().toBlob(resolve, "image/png"));
    download(blob, `rmpsam_${state.camera ? `${state.camera}_` : ""}${state.frame.stamp}.png`);
  }

  async collect() {
    if (!state.frame) return;
    const reply = await this.attempt(
      this.connection.ask("collect", { stamp: state.frame.stamp }),
    );
    if (reply) notify(`Added with ${reply.objects} object${reply.objects === 1 ? "" : "s"}.`);
  }

  record(on) {
    return this.attempt(this.connection.ask("record", { on }));
  }

  discard() {
    return this.attempt(this.connection.ask("discard"));
  }

  async downloadDataset() {
    const response = await fetch("/dataset.zip", {
      headers: { Authorization: `Bearer ${this.connection.token}` },
    });
    if (!response.ok) {
      notify(`The data set was not given: ${(await response.text()).trim()}`, "error");
      return;
    }
    const blob = await response.blob();
    download(blob, "rmpsam_dataset.zip");
    notify(`Data set of ${bytes(blob.size)}`);
  }

  // The node -------------------------------------------------------------------------------------

  async transition(name) {
    const reply = await this.attempt(
      this.connection.ask("transition", { transition: name }, 1800000),
    );
    if (reply) notify(`${name}: done`);
  }
}

function secondsSince(started) {
  return (performance.now() - started) / 1000;
}

/** Returns masks of everything; a mask has the same colour in whatever company it comes. */
function readEverything(header, section) {
  return header.masks.map((entry) => {
    const [left, top, width, height] = entry.box;
    return {
      ...readMask({ ...entry, stamp: header.stamp }, section),
      color: hue(left * 31 + top * 17 + width * 7 + height),
    };
  });
}

/** Sorts masks so that small ones are drawn on top, and numbers them. */
function sortLargestFirst(masks) {
  const areas = new Map(masks.map((mask) => [mask, area(mask)]));
  masks.sort((a, b) => areas.get(b) - areas.get(a));
  masks.forEach((mask, number) => {
    mask.number = number;
  });
  return masks;
}

function hue(number) {
  const turn = ((number * 0.61803398875) % 1) * 6;
  const part = (shift) => {
    const place = (turn + shift) % 6;
    return Math.round(255 * Math.min(1, Math.max(0.15, Math.abs(place - 3) - 1)));
  };
  return [part(0), part(4), part(2)];
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
