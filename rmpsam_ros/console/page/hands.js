// Mouse, touch and keys on the canvas: clicks and boxes become prompts, wheel and pinch zoom.

import { byId, css } from "./dom.js";
import { changed, nameOf, on, state } from "./state.js";

const DRAG = 6; // points that the mouse moves before it draws a box
const LONG_PRESS = 550; // milliseconds until a touch is a background click

export class Hands {
  /** `prompt` is called with {points, boxes, refine} in image pixels. */
  constructor(view, prompt) {
    this.view = view;
    this.prompt = prompt;
    this.pointers = new Map(); // by pointer id: where they are
    this.start = null;
    this.pan = null;
    this.pinch = 0;
    this.last = null; // where the mouse is, to find again what is under it when the frame changes
    const canvas = view.canvas;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.cancel(event));
    canvas.addEventListener("pointerleave", () => {
      this.last = null;
      this.hover(null);
    });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      view.cross = null;
      view.schedule();
    });
    on("frame", () => this.last && this.point(this.last.clientX, this.last.clientY));
  }

  down(event) {
    if (!state.frame) return;
    this.view.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size === 2) {
      this.abandon();
      this.pinch = this.spread();
      this.pan = this.middle();
      return;
    }
    if (event.button !== 0) {
      this.pan = [event.clientX, event.clientY];
      return;
    }
    // The frame that is seen now is meant, whichever is shown when the button is let go.
    this.start = { x: event.clientX, y: event.clientY, isBackground: event.shiftKey, frame: state.frame };
    if (event.pointerType === "touch") {
      this.start.timer = setTimeout(() => this.longPress(), LONG_PRESS);
    }
  }

  move(event) {
    if (this.pointers.has(event.pointerId)) {
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    }
    if (this.pan) {
      this.panTo();
      return;
    }
    if (event.pointerType !== "touch") {
      this.last = { clientX: event.clientX, clientY: event.clientY };
      this.point(event.clientX, event.clientY);
    }
    if (!this.start) return;
    const far = Math.hypot(event.clientX - this.start.x, event.clientY - this.start.y) > DRAG;
    if (!far && !this.view.drag) return;
    clearTimeout(this.start.timer);
    const from = this.clamp(this.view.toImage(this.start.x, this.start.y));
    const to = this.clamp(this.view.toImage(event.clientX, event.clientY));
    this.view.drag = [...from, ...to];
    this.view.schedule();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.pan) {
      if (this.pointers.size === 0) this.pan = null;
      return;
    }
    const start = this.start;
    this.start = null;
    if (!start) return;
    clearTimeout(start.timer);
    const drag = this.view.drag;
    this.view.drag = null;
    this.view.schedule();
    if (drag) {
      const box = [
        Math.min(drag[0], drag[2]), Math.min(drag[1], drag[3]),
        Math.max(drag[0], drag[2]), Math.max(drag[1], drag[3]),
      ];
      if (box[2] - box[0] >= 1 && box[3] - box[1] >= 1) {
        this.prompt({ points: [], boxes: [box], refine: event.altKey, frame: start.frame });
      }
      return;
    }
    this.click(start.x, start.y, start.isBackground, event.altKey, start.frame);
  }

  longPress() {
    const start = this.start;
    this.start = null;
    if (start) this.click(start.x, start.y, true, false, start.frame);
  }

  click(clientX, clientY, isBackground, isRefining, frame) {
    const [x, y] = this.view.toImage(clientX, clientY);
    if (!this.view.isInside(x, y)) return;
    this.promptAt(x, y, isBackground, isRefining, frame);
  }

  promptAt(x, y, isBackground, isRefining, frame = state.frame) {
    const label = isBackground || state.tool === "background" ? 0 : 1;
    this.prompt({ points: [[x, y, label]], boxes: [], refine: isRefining || label === 0, frame });
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.pan = null;
    this.abandon();
  }

  abandon() {
    if (this.start) clearTimeout(this.start.timer);
    this.start = null;
    this.view.drag = null;
    this.view.schedule();
  }

  wheel(event) {
    event.preventDefault();
    this.view.zoomBy(Math.exp(-event.deltaY * 0.0015), event.clientX, event.clientY);
  }

  panTo() {
    const now = this.middle();
    if (this.pointers.size === 2 && this.pinch) {
      const spread = this.spread();
      this.view.zoomBy(spread / this.pinch, now[0], now[1]);
      this.pinch = spread;
    }
    const from = this.view.toImage(this.pan[0], this.pan[1]);
    const to = this.view.toImage(now[0], now[1]);
    this.view.moveBy(from[0] - to[0], from[1] - to[1]);
    this.pan = now;
  }

  middle() {
    const places = [...this.pointers.values()];
    const sum = (index) => places.reduce((total, place) => total + place[index], 0);
    return [sum(0) / places.length, sum(1) / places.length];
  }

  spread() {
    const [a, b] = [...this.pointers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  }

  clamp([x, y]) {
    const { width, height } = state.frame;
    return [Math.min(Math.max(x, -0.5), width - 0.5), Math.min(Math.max(y, -0.5), height - 0.5)];
  }

  // What is under the mouse ----------------------------------------------------------------------

  point(clientX, clientY) {
    if (!state.frame) return;
    const [x, y] = this.view.toImage(clientX, clientY);
    this.hover(this.view.under(x, y), clientX, clientY);
  }

  hover(found, clientX, clientY) {
    const tip = byId("tip");
    const before = state.hover;
    state.hover = found;
    if (!before !== !found || (found && (before.kind !== found.kind || before.id !== found.id))) {
      changed("view");
      changed("hover");
    }
    tip.hidden = !found;
    if (!found) return;
    describe(tip, found);
    const bounds = this.view.canvas.getBoundingClientRect();
    const x = Math.min(clientX - bounds.left + 14, bounds.width - tip.offsetWidth - 6);
    const y = Math.min(clientY - bounds.top + 14, bounds.height - tip.offsetHeight - 6);
    tip.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
  }

  // Keys -----------------------------------------------------------------------------------------

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!state.frame || event.ctrlKey || event.metaKey) return;
    const { width, height } = state.frame;
    if (event.key in moves) {
      const step = event.shiftKey ? 1 : Math.max(4, Math.round(width / 64));
      const [x, y] = this.view.cross || [width / 2, height / 2];
      const [stepX, stepY] = moves[event.key];
      this.view.cross = this.clampPixel([x + stepX * step, y + stepY * step]);
      const found = this.view.under(...this.view.cross);
      const bounds = this.view.canvas.getBoundingClientRect();
      const ratio = this.view.canvas.width / bounds.width;
      const [left, top] = this.view.toCanvas(...this.view.cross);
      this.hover(found, bounds.left + left / ratio, bounds.top + top / ratio);
      this.view.schedule();
    } else if (event.key === "Enter" && this.view.cross) {
      this.promptAt(...this.view.cross, event.shiftKey, event.altKey);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  clampPixel([x, y]) {
    const { width, height } = state.frame;
    return [Math.min(Math.max(x, 0), width - 1), Math.min(Math.max(y, 0), height - 1)];
  }
}

function describe(tip, found) {
  const percent = (value) => `${Math.round(value * 100)} %`;
  let title;
  let color;
  const lines = [];
  if (found.kind === "segment") {
    const { segment } = found;
    const track = state.frame.tracks.find((one) => one.segment === segment.id);
    title = segment.track_id ? `${segment.name} ${segment.track_id}` : segment.name;
    color = segment.color;
    lines.push(`score ${percent(segment.score)} · ${segment.area} px`);
    if (track) lines.push(`${track.state}, ${track.age.toFixed(1)} s, seen ${track.hits} times`);
    const place = state.frame.positions.get(segment.track_id);
    if (place) lines.push(`${Math.hypot(...place.position).toFixed(2)} m away`);
  } else {
    const { mask } = found;
    title = mask.object_id ? nameOf(mask.object_id) : `mask ${mask.number + 1}`;
    color = mask.color;
    lines.push(`score ${percent(mask.score)}`);
    if (mask.object_id) lines.push(mask.state === "single" ? "this frame only" : "followed");
    const late = Number(BigInt(state.frame.stamp) - BigInt(mask.stamp)) / 1e9;
    if (late > 0) lines.push(`mask is ${late.toFixed(2)} s older than the image`);
  }
  tip.replaceChildren();
  const head = document.createElement("strong");
  head.textContent = title;
  head.style.borderColor = css(color);
  tip.append(head);
  for (const line of lines) {
    const row = document.createElement("span");
    row.textContent = line;
    tip.append(row);
  }
}
