// Panels of prompted objects, tracks and classes: tables that highlight what the mouse is on.

import { byId, css, make, setText, updateRows } from "./dom.js";
import { changed, isShown, keep, nameOf, on, promptedMasks, state } from "./state.js";

const percent = (value) => `${Math.round(value * 100)} %`;

export function setUpObjects(actions) {
  on("frame", draw);
  on("objects", draw);
  on("hover", drawHover);
  on("view", drawClasses);
  on("status", drawPrompts);
  byId("clear").addEventListener("click", () => actions.clear());
  byId("show_all").addEventListener("click", () => setHidden([]));
  byId("hide_all").addEventListener("click", () => {
    setHidden([...new Set([...state.hidden, ...seen.keys()])]);
  });

  function draw() {
    drawPrompts();
    drawTracks();
    drawClasses();
    drawTop();
  }

  // Prompted objects -----------------------------------------------------------------------------

  function drawPrompts() {
    const masks = promptedMasks();
    masks.sort((a, b) => a.object_id.localeCompare(b.object_id, undefined, { numeric: true }));
    byId("no_prompts").hidden = masks.length > 0;
    byId("prompts").hidden = masks.length === 0;
    byId("clear").disabled = masks.length === 0 || state.readOnly;
    setText(byId("prompts_count"), String(masks.length));
    updateRows(byId("prompts").tBodies[0], masks, (mask) => mask.object_id, buildPrompt, updatePrompt);
  }

  function buildPrompt(mask) {
    const id = mask.object_id;
    const name = make("input", { class: "name", maxlength: "64", "aria-label": `Name of ${id}`, list: "class_names", spellcheck: "false" });
    name.addEventListener("change", () => actions.rename(id, name.value.trim()));
    name.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") name.blur();
    });
    name.addEventListener("click", (event) => event.stopPropagation());
    const follow = make("button", { class: "small follow", type: "button", title: "Follow in every later image" }, "Follow");
    const remove = make("button", { class: "small", type: "button", title: "Forget this object (Delete)", "aria-label": `Remove ${id}` }, "✕");
    follow.addEventListener("click", (event) => {
      event.stopPropagation();
      actions.follow(id);
    });
    remove.addEventListener("click", (event) => {
      event.stopPropagation();
      actions.remove(id);
    });
    const row = make("tr", { tabindex: "0" },
      make("td", {}, make("span", { class: "swatch" })),
      make("td", {}, name),
      make("td", { class: "state" }),
      make("td", { class: "number score" }),
      make("td", { class: "buttons" }, follow, remove));
    row.addEventListener("click", () => actions.select(id));
    row.addEventListener("keydown", (event) => {
      if (event.target === row && event.key === "Enter") actions.select(id);
    });
    highlight(row, () => ({ kind: "prompt", id }));
    return row;
  }

  function updatePrompt(row, mask) {
    const [swatch, name, situation, score, buttons] = row.children;
    swatch.firstElementChild.style.background = css(mask.color);
    const input = name.firstElementChild;
    if (document.activeElement !== input) input.value = nameOf(mask.object_id);
    input.disabled = state.readOnly;
    const words = { single: "this frame", tracked: "followed", lost: "lost" }[mask.state];
    setText(situation, words);
    situation.title = mask.reason || "";
    situation.className = `state ${mask.state}`;
    setText(score, percent(mask.score));
    buttons.querySelector(".follow").hidden = mask.state !== "single" || state.readOnly;
    buttons.lastElementChild.hidden = state.readOnly;
    row.dataset.stamp = mask.stamp;
    row.dataset.state = mask.state;
    row.classList.toggle("selected", state.selected === mask.object_id);
    row.classList.toggle("hovered", isHovered("prompt", mask.object_id));
    row.setAttribute("aria-selected", String(state.selected === mask.object_id));
  }

  // Tracks ---------------------------------------------------------------------------------------

  function drawTracks() {
    const frame = state.frame;
    const tracks = frame ? [...frame.tracks].filter((track) => track.state !== "tentative") : [];
    tracks.sort((a, b) => Number(a.state === "lost") - Number(b.state === "lost") || a.id - b.id);
    const tentative = frame ? frame.tracks.length - tracks.length : 0;
    setText(byId("tracks_count"), String(tracks.filter((track) => track.state !== "lost").length));
    setText(byId("tentative"), tentative ? `${tentative} more not confirmed yet` : "");
    byId("no_tracks").hidden = tracks.length > 0;
    byId("tracks").hidden = tracks.length === 0;
    const hasDepth = frame !== null && frame.positions.size > 0;
    byId("tracks").classList.toggle("depth", hasDepth);
    updateRows(byId("tracks").tBodies[0], tracks, (track) => track.id, buildTrack, updateTrack);
  }

  function buildTrack(track) {
    const row = make("tr", {},
      make("td", {}, make("span", { class: "swatch" })),
      make("td", {}, make("span", { class: "label" })),
      make("td", { class: "state" }),
      make("td", { class: "number" }),
      make("td", { class: "number" }),
      make("td", { class: "number distance" }));
    highlight(row, () => {
      const now = state.frame && state.frame.tracks.find((one) => one.id === track.id);
      return now && now.segment ? { kind: "segment", id: now.segment } : null;
    });
    return row;
  }

  function updateTrack(row, track) {
    const segment = state.frame.segments.get(track.segment);
    const [swatch, name, situation, score, age, distance] = row.children;
    swatch.firstElementChild.style.background = segment ? css(segment.color) : "transparent";
    setText(name.firstElementChild, `${track.name} ${track.id}`);
    setText(situation, track.state === "lost" ? "lost" : "seen");
    situation.className = `state ${track.state === "lost" ? "lost" : "tracked"}`;
    setText(score, percent(track.score));
    setText(age, `${track.age < 100 ? track.age.toFixed(1) : Math.round(track.age)} s`);
    const place = state.frame.positions.get(track.id);
    setText(distance, place ? `${Math.hypot(...place.position).toFixed(2)} m` : "");
    row.classList.toggle("hovered", track.segment > 0 && isHovered("segment", track.segment));
  }

  // Classes --------------------------------------------------------------------------------------

  const seen = new Map(); // classes of the last frames: name → {color, thing, count, area}

  function drawClasses() {
    for (const entry of seen.values()) {
      entry.count = 0;
      entry.area = 0;
    }
    const frame = state.frame;
    for (const segment of frame ? frame.segments.values() : []) {
      const label = state.labels.find((one) => one.name === segment.name);
      const entry = seen.get(segment.name) || {
        name: segment.name, color: label ? label.color : segment.color, thing: segment.thing, count: 0, area: 0,
      };
      entry.count += 1;
      entry.area += segment.area;
      seen.set(segment.name, entry);
    }
    const entries = [...seen.values()].sort((a, b) => Number(b.thing) - Number(a.thing) || a.name.localeCompare(b.name));
    byId("no_classes").hidden = entries.length > 0;
    updateRows(byId("classes"), entries, (entry) => entry.name, buildClass, (row, entry) => {
      const [box, , , count] = row.children;
      box.checked = isShown(entry.name);
      const share = frame && frame.ids ? (100 * entry.area) / frame.ids.length : 0;
      setText(count, entry.count ? `${entry.count} · ${share.toFixed(share < 10 ? 1 : 0)} %` : "not in this frame");
    });
  }

  function buildClass(entry) {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      const others = state.hidden.filter((name) => name !== entry.name);
      setHidden(box.checked ? others : [...others, entry.name]);
    });
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = css(entry.color);
    return make("label", { class: "class" }, box, swatch, make("span", {}, entry.name), make("span", { class: "number" }));
  }

  function setHidden(names) {
    state.hidden = names;
    keep();
    changed("view");
    draw();
  }

  // Seen from above ------------------------------------------------------------------------------

  function drawTop() {
    const canvas = byId("top_view");
    const positions = state.frame ? [...state.frame.positions.values()] : [];
    byId("top").hidden = positions.length === 0;
    if (!positions.length || !canvas.clientWidth) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const far = Math.max(2, ...positions.map((one) => one.position[2] * 1.15));
    const scale = (canvas.height - 24 * ratio) / far;
    const place = (x, z) => [canvas.width / 2 + x * scale, canvas.height - 12 * ratio - z * scale];
    context.strokeStyle = style.getPropertyValue("--line");
    context.fillStyle = style.getPropertyValue("--muted");
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    const step = [0.5, 1, 2, 5, 10, 20, 50].find((one) => far / one < 6) || 100;
    for (let radius = step; radius < far * 1.3; radius += step) {
      const [x, y] = place(0, 0);
      context.beginPath();
      context.arc(x, y, radius * scale, Math.PI, 2 * Math.PI);
      context.stroke();
      context.fillText(`${radius} m`, x + 4 * ratio, y - radius * scale - 3 * ratio);
    }
    for (const one of positions) {
      const track = state.frame.tracks.find((found) => found.id === one.id);
      const segment = track && state.frame.segments.get(track.segment);
      const [x, y] = place(one.position[0], one.position[2]);
      context.fillStyle = segment ? css(segment.color) : style.getPropertyValue("--muted");
      const width = Math.max(6 * ratio, one.size[0] * scale);
      const depth = Math.max(6 * ratio, Math.min(one.size[2], 2) * scale);
      context.fillRect(x - width / 2, y - depth / 2, width, depth);
      context.fillStyle = style.getPropertyValue("--text");
      context.fillText(`${one.name} ${one.id}`, x + width / 2 + 3 * ratio, y);
    }
  }

  // Hovering -------------------------------------------------------------------------------------

  function isHovered(kind, id) {
    return state.hover !== null && state.hover.kind === kind && state.hover.id === id;
  }

  function highlight(row, find) {
    row.addEventListener("pointerenter", () => {
      state.hover = find();
      changed("view");
      drawHover();
    });
    row.addEventListener("pointerleave", () => {
      state.hover = null;
      changed("view");
      drawHover();
    });
  }

  function drawHover() {
    for (const row of byId("prompts").tBodies[0].rows) {
      row.classList.toggle("hovered", isHovered("prompt", row.dataset.key));
    }
    for (const row of byId("tracks").tBodies[0].rows) {
      const track = state.frame && state.frame.tracks.find((one) => String(one.id) === row.dataset.key);
      row.classList.toggle("hovered", Boolean(track && track.segment && isHovered("segment", track.segment)));
    }
  }
}
