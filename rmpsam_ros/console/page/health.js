// Panels of the node's state and of its diagnostics, in words, with their remedy.

import { byId, make, setText, updateRows } from "./dom.js";
import { on, state } from "./state.js";

// Which transitions a state allows, and what they do.
const TRANSITIONS = {
  unconfigured: ["configure"],
  inactive: ["activate", "cleanup"],
  active: ["deactivate"],
};
const MEANING = {
  configure: "Load the network",
  activate: "Take in images and prompts",
  deactivate: "Take in no more images",
  cleanup: "Unload the network",
};
const MARKS = { ok: "✓", warn: "!", error: "✕", stale: "?" };

export function setUpHealth(actions) {
  on("status", draw);

  function draw() {
    const { status } = state;
    const network = (status.parts || []).find((part) => part.name === "network");
    const isLoading = status.state === "configuring";
    setText(byId("node_state"), status.state || "unknown");
    byId("node_state").dataset.state = status.state;
    setText(byId("loading"), isLoading && network ? network.message : "");
    byId("loading_row").hidden = !isLoading;
    drawTransitions(isLoading);
    const parts = status.parts || [];
    byId("no_parts").hidden = parts.length > 0;
    updateRows(byId("parts"), parts, (part) => part.name, buildPart, updatePart);
    const worst = parts.reduce((level, part) => Math.max(level, ["ok", "warn", "stale", "error"].indexOf(part.level)), 0);
    byId("health_tab").dataset.level = ["ok", "warn", "warn", "error"][worst];
    setText(byId("health_mark"), worst === 0 ? "" : parts.filter((part) => part.level !== "ok").length);
  }

  function drawTransitions(isLoading) {
    const allowed = isLoading || state.readOnly ? [] : TRANSITIONS[state.status.state] || [];
    const box = byId("transitions");
    const key = allowed.join();
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    box.replaceChildren(...allowed.map((name) =>
      make("button", { type: "button", title: MEANING[name], onclick: () => actions.transition(name) }, name)));
  }

  function buildPart(part) {
    return make("details", { class: "part" },
      make("summary", {}, make("span", { class: "mark" }), make("span", { class: "title" }, part.name), make("span", { class: "message" })),
      make("dl", {}));
  }

  function updatePart(row, part) {
    row.dataset.level = part.level;
    const [mark, , message] = row.firstElementChild.children;
    setText(mark, MARKS[part.level]);
    mark.setAttribute("aria-label", part.level);
    setText(message, part.message);
    const list = row.lastElementChild;
    const values = Object.entries(part.values);
    if (list.children.length !== 2 * values.length) {
      list.replaceChildren(...values.flatMap(() => [make("dt"), make("dd")]));
    }
    values.forEach(([key, value], index) => {
      setText(list.children[2 * index], key);
      setText(list.children[2 * index + 1], value);
    });
  }
}
