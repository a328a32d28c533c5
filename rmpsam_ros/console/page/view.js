// The canvas: the camera image, masks over it, and where on the image the mouse is.

import { css } from "./dom.js";
import { covers, paintIdMap, paintMask } from "./masks.js";
import { isShown, nameOf, on, promptedMasks, state } from "./state.js";

const MAX_ZOOM = 40; // canvas pixels per image pixel

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.zoom = 1; // 1: the whole image is shown
    this.center = [0.5, 0.5]; // of the image, shown in the middle
    this.drag = null; // box being drawn, image pixels
    this.cross = null; // cursor of the keyboard, image pixels
    this.labels = document.createElement("canvas"); // painted id map
    this.painted = null; // what it was painted for
    this.masks = new WeakMap(); // painted masks
    this.isDue = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
    for (const name of ["frame", "view", "objects", "labels"]) on(name, () => this.schedule());
    this.resize();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    this.schedule();
  }

  /** Draws once before the next time the screen is shown, however often it is asked for. */
  schedule() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  // Where things are ---------------------------------------------------------------------------

  /** Scale and offset from image pixels to canvas pixels. */
  transform() {
    const { width, height } = state.frame;
    const fit = Math.min(this.canvas.width / width, this.canvas.height / height);
    const scale = fit * this.zoom;
    return {
      scale,
      left: this.canvas.width / 2 - this.center[0] * width * scale,
      top: this.canvas.height / 2 - this.center[1] * height * scale,
    };
  }

  /** Image pixels (0, 0 is the centre of the first pixel) of a place in the window. */
  toImage(clientX, clientY) {
    const { scale, left, top } = this.transform();
    const bounds = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / bounds.width;
    return [
      ((clientX - bounds.left) * ratio - left) / scale - 0.5,
      ((clientY - bounds.top) * ratio - top) / scale - 0.5,
    ];
  }

  /** Canvas pixels of image pixels. */
  toCanvas(x, y) {
    const { scale, left, top } = this.transform();
    return [left + (x + 0.5) * scale, top + (y + 0.5) * scale];
  }

  isInside(x, y) {
    return x >= -0.5 && y >= -0.5 && x < state.frame.width - 0.5 && y < state.frame.height - 0.5;
  }

  /** Zooms by a factor around a place in the window; without one, around the middle. */
  zoomBy(factor, clientX, clientY) {
    if (!state.frame) return;
    const bounds = this.canvas.getBoundingClientRect();
    const x = clientX ?? bounds.left + bounds.width / 2;
    const y = clientY ?? bounds.top + bounds.height / 2;
    const before = this.toImage(x, y);
    const fit = this.transform().scale / this.zoom;
    this.zoom = Math.min(Math.max(1, this.zoom * factor), Math.max(1, MAX_ZOOM / fit));
    const after = this.toImage(x, y);
    this.moveBy(before[0] - after[0], before[1] - after[1]);
  }

  /** Moves the middle by image pixels, not beyond the image. */
  moveBy(x, y) {
    const { width, height } = state.frame;
    const half = 0.5 / this.zoom;
    const clamp = (value) => Math.min(Math.max(value, half), 1 - half);
    this.center = [clamp(this.center[0] + x / width), clamp(this.center[1] + y / height)];
    this.schedule();
  }

  fit() {
    this.zoom = 1;
    this.center = [0.5, 0.5];
    this.schedule();
  }

  /** What is under image pixel (x, y): {kind: prompt|everything|segment, …}; null: nothing. */
  under(x, y) {
    const frame = state.frame;
    if (!frame || !this.isInside(x, y)) return null;
    if (state.layers.prompts) {
      const masks = promptedMasks();
      masks.sort((a, b) => a.box[2] * a.box[3] - b.box[2] * b.box[3]);
      const mask = masks.find((one) => covers(one, x, y));
      if (mask) return { kind: "prompt", id: mask.object_id, mask };
    }
    if (this.hasEverything()) {
      const mask = [...state.everything.masks].reverse().find((one) => covers(one, x, y));
      if (mask) return { kind: "everything", id: mask.number, mask };
    }
    if (frame.ids && (state.layers.panoptic || state.layers.tracks)) {
      const id = frame.ids[Math.round(y) * frame.panoptic.width + Math.round(x)];
      const segment = frame.segments.get(id);
      if (segment && isShown(segment.name)) return { kind: "segment", id, segment };
    }
    return null;
  }

  hasEverything() {
    return state.everything !== null && state.frame && state.everything.stamp === state.frame.stamp;
  }

  // Drawing ------------------------------------------------------------------------------------

  draw() {
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!state.frame) return;
    this.paint(context, this.transform());
    if (this.drag) this.drawDrag();
    if (this.cross) this.drawCross();
  }

  /** Paints image and layers with a transform; for the window, and for files. */
  paint(context, { scale, left, top }) {
    const frame = state.frame;
    context.setTransform(scale, 0, 0, scale, left, top);
    context.imageSmoothingEnabled = scale < 3;
    context.imageSmoothingQuality = "high";
    context.drawImage(frame.bitmap, 0, 0, frame.width, frame.height);
    context.imageSmoothingEnabled = scale < 1;
    if (state.layers.panoptic && frame.ids) this.paintSegments(context);
    if (this.hasEverything()) {
      for (const mask of state.everything.masks) this.paintOne(context, mask);
    }
    if (state.layers.prompts) {
      for (const mask of promptedMasks()) this.paintOne(context, mask);
    }
    const unit = (window.devicePixelRatio || 1) / scale; // one point of the screen
    if (state.layers.tracks) this.paintTracks(context, unit);
    if (state.layers.prompts) this.paintPrompts(context, unit);
  }

  paintSegments(context) {
    const frame = state.frame;
    const hovered = state.hover && state.hover.kind === "segment" ? state.hover.id : null;
    const key = [frame.number, state.opacity, state.hidden.join(), hovered].join("|");
    if (this.painted !== key) {
      const colors = [];
      for (const segment of frame.segments.values()) {
        if (isShown(segment.name)) colors.push([segment.id, segment.color]);
      }
      const alpha = Math.round(state.opacity * 2.55);
      const { width, height } = frame.panoptic;
      paintIdMap(frame.ids, width, height, colors, alpha, this.labels, hovered);
      this.painted = key;
    }
    context.drawImage(this.labels, 0, 0, frame.width, frame.height);
  }

  paintOne(context, mask) {
    if (!mask.box[2]) return;
    const id = mask.object_id || mask.number;
    const strong = state.selected === id || (state.hover && state.hover.id === id);
    const isCurrent = mask.stamp === state.frame.stamp;
    const alpha = isCurrent ? 120 : 50;
    const key = `${alpha}|${strong}`;
    let painted = this.masks.get(mask);
    if (!painted || painted.key !== key) {
      painted = { key, canvas: paintMask(mask, alpha, strong) };
      this.masks.set(mask, painted);
    }
    context.drawImage(painted.canvas, mask.box[0], mask.box[1]);
  }

  /** A caption at the top of every confirmed track; its box while the mouse is on it. */
  paintTracks(context, unit) {
    const { segments, tops, tracks } = state.frame;
    for (const track of tracks) {
      const segment = segments.get(track.segment);
      if (!segment || !isShown(track.name)) continue;
      const isHovered = state.hover && state.hover.kind === "segment" && state.hover.id === track.segment;
      if (isHovered) {
        const [left, top, width, height] = track.box;
        context.lineWidth = 2 * unit;
        context.strokeStyle = css(segment.color);
        context.strokeRect(left, top, width, height);
      }
      if (track.state !== "confirmed" && !isHovered) continue;
      const [x, y] = tops.get(track.segment) || track.box;
      this.caption(context, `${track.name} ${track.id}`, x, y, unit, segment.color);
    }
  }

  paintPrompts(context, unit) {
    for (const mask of promptedMasks()) {
      if (mask.box[2]) {
        this.caption(context, nameOf(mask.object_id), ...mask.top, unit, mask.color);
      }
    }
    for (const [id, given] of state.points) {
      if (given.stamp !== state.frame.stamp) continue;
      for (const [x, y, label] of given.points) {
        context.beginPath();
        context.arc(x + 0.5, y + 0.5, 5 * unit, 0, 7);
        context.fillStyle = label ? "#1fd655" : "#ff4d4d";
        context.strokeStyle = id === state.selected ? "#ffffff" : "#000000";
        context.lineWidth = 1.5 * unit;
        context.fill();
        context.stroke();
      }
      for (const [left, top, right, bottom] of given.boxes) {
        context.strokeStyle = "#ffffff";
        context.lineWidth = unit;
        context.setLineDash([3 * unit, 3 * unit]);
        context.strokeRect(left, top, right - left, bottom - top);
        context.setLineDash([]);
      }
    }
  }

  caption(context, text, x, y, unit, color) {
    const size = 12 * unit;
    context.font = `600 ${size}px system-ui, sans-serif`;
    const width = context.measureText(text).width + 8 * unit;
    const top = Math.max(0, y - size * 1.4);
    const left = Math.min(Math.max(0, x), Math.max(0, state.frame.width - width));
    context.fillStyle = "rgb(16 20 26 / 0.78)";
    context.fillRect(left, top, width, size * 1.4);
    context.fillStyle = css(color);
    context.fillRect(left, top, 3 * unit, size * 1.4);
    context.fillStyle = "#ffffff";
    context.textBaseline = "middle";
    context.fillText(text, left + 6 * unit, top + size * 0.72);
  }

  drawDrag() {
    const [fromX, fromY, toX, toY] = this.drag;
    const [left, top] = this.toCanvas(Math.min(fromX, toX), Math.min(fromY, toY));
    const [right, bottom] = this.toCanvas(Math.max(fromX, toX), Math.max(fromY, toY));
    const { context } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "rgb(255 255 255 / 0.12)";
    context.fillRect(left, top, right - left, bottom - top);
    for (const [color, offset] of [["#000000", 0], ["#ffffff", 5]]) {
      context.strokeStyle = color;
      context.lineWidth = 2;
      context.setLineDash([5, 5]);
      context.lineDashOffset = offset;
      context.strokeRect(left, top, right - left, bottom - top);
    }
    context.setLineDash([]);
  }

  drawCross() {
    const [x, y] = this.toCanvas(this.cross[0], this.cross[1]);
    const { context } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    for (const [color, width] of [["#000000", 5], ["#ffffff", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x - 14, y);
      context.lineTo(x + 14, y);
      context.moveTo(x, y - 14);
      context.lineTo(x, y + 14);
      context.stroke();
    }
  }

  /** A canvas with what is shown, at the size of the camera's image. */
  still() {
    const canvas = document.createElement("canvas");
    canvas.width = state.frame.width;
    canvas.height = state.frame.height;
    this.paint(canvas.getContext("2d"), { scale: 1, left: 0, top: 0 });
    return canvas;
  }
}
