// Keys that work wherever nothing is being typed.

import { byId } from "./dom.js";
import { changed, state } from "./state.js";

export function setUpKeys(actions, view) {
  const keys = {
    " ": () => actions.toggleHold(),
    f: () => actions.set("follow", !state.follow),
    a: () => {
      state.refine = !state.refine && state.selected !== "";
      changed("view");
    },
    p: () => tool("point"),
    b: () => tool("background"),
    e: () => actions.everything(),
    n: () => rename(),
    s: () => actions.savePicture(),
    c: () => actions.collect(),
    r: () => state.readOnly || actions.record(state.status.recording === null),
    1: () => actions.toggleLayer("panoptic"),
    2: () => actions.toggleLayer("tracks"),
    3: () => actions.toggleLayer("prompts"),
    "[": () => actions.set("opacity", Math.max(0, state.opacity - 5)),
    "]": () => actions.set("opacity", Math.min(100, state.opacity + 5)),
    "+": () => view.zoomBy(1.4),
    "=": () => view.zoomBy(1.4),
    "-": () => view.zoomBy(1 / 1.4),
    0: () => view.fit(),
    "?": () => byId("keys").showModal(),
    Delete: () => state.readOnly || actions.remove(state.selected),
    Escape: () => {
      actions.cancelEverything();
      state.selected = "";
      state.refine = false;
      state.everything = null;
      changed("objects");
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input:not([type=checkbox], [type=range]), select, textarea")) return;
    if (event.key === " " && event.target.matches("button, summary, input")) return;
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  function tool(name) {
    state.tool = name;
    changed("view");
  }

  function rename() {
    if (!state.selected) return;
    const row = [...byId("prompts").tBodies[0].rows].find((one) => one.dataset.key === state.selected);
    const input = row && row.querySelector("input.name");
    if (input) {
      input.focus();
      input.select();
    }
  }
}
