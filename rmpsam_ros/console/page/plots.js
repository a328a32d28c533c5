// Plots of the last minutes: where a frame's time goes, rates, and how old the shown image is.

import { byId, setText } from "./dom.js";
import { on, state } from "./state.js";

const STAGES = ["wait", "decode", "preprocess", "inference", "postprocess", "fill", "publish"];
const COLORS = ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];
const MAX_SECONDS = 300;

export class Plots {
  constructor() {
    this.seconds = new Map(); // second → {count, sums, worst, counts, ages}
    this.span = 60;
    this.cursor = null;
    byId("span").addEventListener("change", (event) => {
      this.span = Number(event.target.value);
      this.draw();
    });
    for (const id of ["latency_plot", "rate_plot", "age_plot"]) {
      const canvas = byId(id);
      canvas.addEventListener("pointermove", (event) => {
        const bounds = canvas.getBoundingClientRect();
        this.cursor = (event.clientX - bounds.left) / bounds.width;
        this.draw();
      });
      canvas.addEventListener("pointerleave", () => {
        this.cursor = null;
        this.draw();
      });
    }
    on("latencies", (rows) => this.add(rows));
    on("camera", () => this.seconds.clear());
    on("panel", () => this.draw());
    on("theme", () => this.draw());
  }

  bin(second) {
    let bin = this.seconds.get(second);
    if (!bin) {
      bin = { count: 0, sums: STAGES.map(() => 0), worst: 0, total: 0, first: null, last: null, ages: [], shown: 0 };
      this.seconds.set(second, bin);
      for (const old of this.seconds.keys()) {
        if (old < second - MAX_SECONDS) this.seconds.delete(old);
      }
    }
    return bin;
  }

  now() {
    return Math.floor(performance.now() / 1000);
  }

  add(rows) {
    const bin = this.bin(this.now());
    for (const row of rows) {
      bin.count += 1;
      STAGES.forEach((stage, index) => {
        bin.sums[index] += row[stage];
      });
      bin.total += row.total;
      bin.worst = Math.max(bin.worst, row.total);
      bin.first = bin.first || row;
      bin.last = row;
    }
    if (byId("plots").offsetParent !== null) this.draw();
  }

  /** Notes how old the image was when it was shown. */
  addAge(age) {
    const bin = this.bin(this.now());
    bin.shown += 1;
    if (Number.isFinite(age)) bin.ages.push(age * 1000);
  }

  draw() {
    if (byId("plots").offsetParent === null) return;
    const end = this.now();
    const bins = [];
    for (let second = end - this.span; second <= end; second++) bins.push(this.seconds.get(second) || null);
    const at = this.cursor === null ? null : Math.min(bins.length - 1, Math.round(this.cursor * (bins.length - 1)));
    this.drawLatency(bins, at);
    this.drawRates(bins, at);
    this.drawAge(bins, at);
  }

  drawLatency(bins, at) {
    const stacks = bins.map((bin) => (bin && bin.count ? bin.sums.map((sum) => sum / bin.count) : null));
    const totals = bins.map((bin) => (bin && bin.count ? bin.total / bin.count : null));
    const worst = bins.map((bin) => (bin && bin.count ? bin.worst : null));
    const chart = new Chart(byId("latency_plot"), Math.max(1, ...worst.filter((value) => value !== null)), "ms");
    chart.stack(stacks, COLORS);
    chart.line(worst, "--muted", [3, 3]);
    chart.cursor(at, bins.length);
    const place = at === null ? lastIndex(stacks) : at;
    const values = stacks[place];
    STAGES.forEach((stage, index) => {
      setText(byId(`stage_${stage}`), values ? values[index].toFixed(1) : "–");
    });
    setText(byId("stage_total"), totals[place] === null || totals[place] === undefined ? "–" : totals[place].toFixed(1));
  }

  drawRates(bins, at) {
    const processed = bins.map((bin) => (bin ? bin.count : null));
    const shown = bins.map((bin) => (bin ? bin.shown : null));
    const received = bins.map((bin, index) => {
      const before = bins[index - 1];
      return bin && bin.last && before && before.last ? Math.max(0, bin.last.received - before.last.received) : null;
    });
    const all = [...processed, ...shown, ...received].filter((value) => value !== null);
    const chart = new Chart(byId("rate_plot"), Math.max(5, ...all), "/s");
    chart.line(received, "--c6");
    chart.line(processed, "--c3");
    chart.line(shown, "--c1");
    chart.cursor(at, bins.length);
    const place = at === null ? Math.max(0, lastIndex(received.slice(0, -1))) : at;
    setText(byId("rate_received"), format(received[place]));
    setText(byId("rate_processed"), format(processed[place]));
    setText(byId("rate_shown"), format(shown[place]));
    const counts = state.status.counts;
    setText(byId("totals"), counts ? `${counts.received} received, ${counts.processed} processed, ${counts.dropped} dropped for newer ones, ${counts.failed} failed` : "");
  }

  drawAge(bins, at) {
    const middle = bins.map((bin) => (bin && bin.ages.length ? quantile(bin.ages, 0.5) : null));
    const high = bins.map((bin) => (bin && bin.ages.length ? Math.max(...bin.ages) : null));
    const chart = new Chart(byId("age_plot"), Math.max(50, ...high.filter((value) => value !== null)), "ms");
    chart.line(high, "--muted", [3, 3]);
    chart.line(middle, "--c2");
    chart.cursor(at, bins.length);
    const place = at === null ? lastIndex(middle) : at;
    setText(byId("age_middle"), format(middle[place]));
    setText(byId("age_high"), format(high[place]));
  }
}

class Chart {
  constructor(canvas, top, unit) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, canvas.clientWidth * ratio);
    canvas.height = Math.max(1, canvas.clientHeight * ratio);
    this.context = canvas.getContext("2d");
    this.style = getComputedStyle(canvas);
    this.ratio = ratio;
    this.width = canvas.width;
    this.height = canvas.height;
    this.top = nice(top * 1.1);
    this.grid(unit);
  }

  color(name) {
    return this.style.getPropertyValue(name);
  }

  y(value) {
    return this.height - 2 - (value / this.top) * (this.height - 6);
  }

  x(index, count) {
    return (index / Math.max(1, count - 1)) * this.width;
  }

  grid(unit) {
    const { context, ratio } = this;
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.strokeStyle = this.color("--line");
    context.fillStyle = this.color("--muted");
    context.lineWidth = ratio;
    for (const part of [0, 0.5, 1]) {
      const y = Math.round(this.y(part * this.top)) + 0.5;
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(this.width, y);
      context.stroke();
      if (part) context.fillText(`${Number((part * this.top).toPrecision(3))} ${unit}`, 4 * ratio, y + 12 * ratio);
    }
  }

  stack(stacks, colors) {
    const { context } = this;
    const width = this.width / Math.max(1, stacks.length - 1) + 1;
    stacks.forEach((values, index) => {
      if (!values) return;
      let bottom = 0;
      values.forEach((value, stage) => {
        context.fillStyle = this.color(colors[stage]);
        const low = this.y(bottom);
        bottom += value;
        context.fillRect(this.x(index, stacks.length) - width / 2, this.y(bottom), width, low - this.y(bottom));
      });
    });
  }

  line(values, color, dash = []) {
    const { context } = this;
    context.strokeStyle = this.color(color);
    context.lineWidth = 2 * this.ratio;
    context.lineCap = "round";
    context.setLineDash(dash.map((value) => value * this.ratio));
    context.beginPath();
    let isDrawing = false;
    values.forEach((value, index) => {
      if (value === null) {
        isDrawing = false;
        return;
      }
      const place = [this.x(index, values.length), this.y(value)];
      if (isDrawing) context.lineTo(...place);
      else {
        context.moveTo(...place);
        context.lineTo(place[0] + 0.01, place[1]); // a value alone is a dot
      }
      isDrawing = true;
    });
    context.stroke();
    context.setLineDash([]);
  }

  cursor(index, count) {
    if (index === null) return;
    const { context } = this;
    context.strokeStyle = this.color("--text");
    context.lineWidth = this.ratio;
    context.beginPath();
    context.moveTo(this.x(index, count), 0);
    context.lineTo(this.x(index, count), this.height);
    context.stroke();
  }
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

function lastIndex(values) {
  for (let index = values.length - 1; index >= 0; index--) {
    if (values[index] !== null) return index;
  }
  return 0;
}

function format(value) {
  return value === null || value === undefined ? "–" : value.toFixed(value < 10 ? 1 : 0);
}
