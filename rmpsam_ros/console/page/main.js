// Puts the page together.

import { Actions } from "./actions.js";
import { Connection } from "./connection.js";
import { byId, bytes, clock, make, notify, setText } from "./dom.js";
import { ageNow, readFrame } from "./frame.js";
import { Hands } from "./hands.js";
import { setUpHealth } from "./health.js";
import { setUpKeys } from "./keys.js";
import { setUpObjects } from "./objects.js";
import { setUpParameters } from "./parameters.js";
import { Plots } from "./plots.js";
import { changed, on, recall, state } from "./state.js";
import { setUpTools } from "./tools.js";
import { View } from "./view.js";

recall();
const connection = new Connection();
const view = new View(byId("canvas"));
const actions = new Actions(connection, view);
const plots = new Plots();
new Hands(view, (prompt) => actions.prompt(prompt));
setUpObjects(actions);
setUpHealth(actions);
setUpParameters(connection);
setUpTools(actions, view);
setUpKeys(actions, view);

// Frames -------------------------------------------------------------------------------------------

let shown = 0;
let interval = 0; // milliseconds between the last two frames
let isReading = false;

connection.addEventListener("frame", async ({ detail: message }) => {
  const { number, camera } = message.header;
  try {
    if (camera !== state.camera || state.held) return;
    isReading = true;
    const frame = await readFrame(message);
    if (camera !== state.camera || state.held) return;
    interval = state.frame ? frame.received - state.frame.received : 0;
    if (state.frame) state.frame.bitmap.close();
    state.frame = frame;
    dropOldAnswers(frame);
    shown += 1;
    plots.addAge(ageNow(frame, connection.roundTrip));
    changed("frame");
  } catch (error) {
    notify(`A frame could not be read: ${error.message}`, "error");
  } finally {
    isReading = false;
    // The server sends the next frame only now: it never has more than this one to wait for.
    connection.send({ type: "ack", number });
  }
});

/** An answer counts until the node tells of its object itself, or has forgotten it. */
function dropOldAnswers(frame) {
  for (const [id, answer] of state.answers) {
    const told = frame.prompts.find((mask) => mask.object_id === id);
    if (told && BigInt(told.stamp) > BigInt(answer.stamp)) state.answers.delete(id);
    else if (!told && answer.state === "single" && BigInt(frame.stamp) - BigInt(answer.stamp) > 5000000000n) {
      state.answers.delete(id);
    }
  }
}

on("frame", () => {
  const frame = state.frame;
  setText(byId("stamp"), clock(frame.stamp));
  byId("stamp").dataset.stamp = frame.stamp;
  byId("stamp").dataset.number = frame.number;
  setText(byId("size"), `${frame.width} × ${frame.height}`);
  byId("empty").hidden = true;
});

setInterval(() => {
  const frame = state.frame;
  const age = frame ? ageNow(frame, connection.roundTrip) : NaN;
  const isOld = Number.isFinite(age) && age > 86400; // not of this clock: a recording
  setText(byId("age"), !Number.isFinite(age) || isOld ? "–" : age < 1 ? `${Math.round(age * 1000)} ms` : `${age.toFixed(1)} s`);
  const late = byId("late");
  const patience = Math.max(2000, 3 * interval);
  const isLate = !state.held && frame && performance.now() - frame.received > patience;
  late.hidden = !isLate && !(frame && !frame.ids && !state.held);
  setText(late, isLate ? "No new frame" : "No results: camera image only");
  byId("stage").classList.toggle("late", Boolean(isLate));
}, 250);

let lastBytes = 0;
setInterval(() => {
  setText(byId("fps"), state.held ? "held" : `${shown} /s`);
  setText(byId("bandwidth"), `${bytes(connection.bytes - lastBytes)}/s`);
  shown = 0;
  lastBytes = connection.bytes;
}, 1000);

document.addEventListener("visibilitychange", () => actions.sendView());

// The state of everything ----------------------------------------------------------------------------

connection.addEventListener("welcome", ({ detail }) => {
  state.readOnly = detail.read_only;
  document.body.classList.toggle("read_only", detail.read_only);
  setText(byId("node_name"), detail.node);
  document.title = `${detail.node} · rmpsam console`;
  showLink("live", detail.read_only ? "read only" : "connected");
  byId("entry").close();
  if (state.camera !== null) actions.sendView();
  changed("node_changed");
});

connection.addEventListener("status", ({ detail }) => {
  const before = state.status;
  state.status = { ...before, ...detail };
  if (detail.labels) {
    state.labels = detail.labels;
    byId("class_names").replaceChildren(...detail.labels.map((label) => make("option", { value: label.name })));
    changed("labels");
  }
  if (detail.latencies && detail.latencies.length) {
    state.status.counts = detail.latencies[detail.latencies.length - 1];
    changed("latencies", detail.latencies);
  }
  showCameras(detail.cameras);
  if (before.state !== detail.state) changed("node_changed");
  if (!state.frame) setText(byId("empty"), emptyReason());
  showData();
  changed("status");
});

connection.addEventListener("trouble", ({ detail }) => notify(detail.message, "error"));

connection.addEventListener("lost", ({ detail }) => {
  showLink("lost", detail.isRefused ? "refused" : "connecting");
  if (detail.isRefused) enter(`Not let in: ${detail.reason}. A console that was started again has a new address; open the one that it printed, or paste it here.`);
});

function showLink(kind, text) {
  byId("link").dataset.state = kind;
  setText(byId("link"), text);
}

function emptyReason() {
  const { status } = state;
  if (status.state === "not running") return "The node is not running.";
  if (!status.cameras.length) return "Waiting for the node to name its cameras …";
  const input = (status.parts || []).find((part) => part.name === (state.camera ? `${state.camera} input` : "input"));
  if (input && input.level !== "ok") return input.message;
  return status.state === "active" ? "Waiting for the first frame …" : `The node is ${status.state}.`;
}

function showCameras(cameras) {
  const names = cameras.map((camera) => camera.name);
  if (names.length && !names.includes(state.camera)) actions.look(names[0]);
  // A console that was started again had not heard of the camera when it was told.
  else if (names.length && state.status.looking !== state.camera) actions.sendView();
  const nav = byId("cameras");
  const key = names.join();
  if (nav.dataset.key !== key) {
    nav.dataset.key = key;
    nav.replaceChildren(...(names.length > 1 ? names.map((name) =>
      make("button", { type: "button", "data-camera": name, onclick: () => actions.look(name) }, name)) : []));
  }
  for (const button of nav.children) {
    const name = button.dataset.camera;
    const input = (state.status.parts || []).find((part) => part.name === `${name} input`);
    button.setAttribute("aria-current", String(name === state.camera));
    button.dataset.level = input ? input.level : "stale";
    button.title = input ? input.message : "";
  }
}

function showData() {
  const { dataset, recording } = state.status;
  setText(byId("data_frames"), String(dataset.frames));
  setText(byId("data_objects"), String(dataset.objects));
  setText(byId("data_videos"), String(dataset.videos));
  setText(byId("data_bytes"), bytes(dataset.bytes));
  setText(byId("data_problem"), dataset.problem);
  const isRecording = recording !== null;
  byId("record").setAttribute("aria-pressed", String(isRecording));
  setText(byId("record"), isRecording ? "Stop recording" : "Record");
  byId("recording_mark").hidden = !isRecording;
  byId("download").disabled = dataset.frames === 0;
  byId("discard").disabled = dataset.frames === 0 || state.readOnly;
}

// Coming in ------------------------------------------------------------------------------------------

function enter(reason) {
  if (reason) setText(byId("entry_reason"), reason);
  if (!byId("entry").open) byId("entry").showModal();
}

byId("entry").addEventListener("cancel", (event) => event.preventDefault());
byId("entry_form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("entry_token").value.trim();
  byId("entry_token").value = "";
  byId("entry").close();
  open(text.includes("token=") ? text.split("token=")[1] : text);
});

function open(token) {
  try {
    sessionStorage.setItem("rmpsam_token", token);
  } catch {
    // then it is asked for again
  }
  connection.open(token);
}

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given !== null) history.replaceState(null, "", location.pathname); // not to be seen over a shoulder
let known = null;
try {
  known = sessionStorage.getItem("rmpsam_token");
} catch {
  // nothing is known
}
open(given ?? known ?? "");

// For tests and for curious people.
window.rmpsamConsole = { state, connection, view, isReading: () => isReading };
