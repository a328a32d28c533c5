// What the page knows and what its user has chosen. Everything else is drawn from it.

const KEPT = ["layers", "opacity", "follow", "quality", "side", "theme", "hidden"];

export const state = {
  // Chosen, and kept in this browser.
  layers: { panoptic: true, tracks: true, prompts: true },
  opacity: 45, // percent
  follow: true,
  quality: "medium",
  side: 0,
  theme: "",
  hidden: [], // names of classes
  // Chosen for now.
  tool: "point", // point, background, box
  refine: false,
  selected: "", // id of an object
  hover: null, // {kind, id}
  held: false,
  // Known.
  frame: null,
  answers: new Map(), // masks that answered this page's prompts, by object id
  points: new Map(), // where they were asked for: {stamp, points, boxes}, by object id
  everything: null, // {stamp, masks}
  status: { state: "", cameras: [], names: {}, parts: [], dataset: {}, recording: null },
  labels: [],
  camera: null,
  readOnly: false,
};

export const events = new EventTarget();

/** Says that something changed: frame, view, objects, status, latencies, parameters. */
export function changed(name, detail) {
  events.dispatchEvent(new CustomEvent(name, { detail }));
}

export function on(name, handler) {
  events.addEventListener(name, (event) => handler(event.detail));
}

export function keep() {
  const chosen = Object.fromEntries(KEPT.map((name) => [name, state[name]]));
  try {
    localStorage.setItem("rmpsam_console", JSON.stringify(chosen));
  } catch {
    // a browser that keeps nothing still shows everything
  }
}

export function recall() {
  try {
    const found = JSON.parse(localStorage.getItem("rmpsam_console") || "{}");
    for (const name of KEPT) {
      if (typeof found[name] === typeof state[name]) {
        state[name] = name === "layers" ? { ...state.layers, ...found.layers } : found[name];
      }
    }
    if (!Array.isArray(state.hidden)) state.hidden = [];
  } catch {
    // as above
  }
}

/** What people call an object. */
export function nameOf(objectId) {
  return state.status.names[objectId] || objectId;
}

/** The newest masks of all prompted objects: of the frame, or of an answer that is newer. */
export function promptedMasks() {
  const found = new Map();
  const frame = state.frame;
  for (const mask of frame ? frame.prompts : []) found.set(mask.object_id, mask);
  for (const [id, answer] of state.answers) {
    const known = found.get(id);
    const fits = frame && answer.stamp === frame.stamp;
    if (!known || fits || (!state.held && BigInt(answer.stamp) > BigInt(known.stamp))) {
      found.set(id, answer);
    }
  }
  return [...found.values()];
}

/** Whether a class is to be drawn. */
export function isShown(className) {
  return !state.hidden.includes(className);
}
