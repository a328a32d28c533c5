// The tool bar, the tabs, the look.

import { byId, make, setText } from "./dom.js";
import { changed, keep, on, state } from "./state.js";

const STAGES = ["wait", "decode", "preprocess", "inference", "postprocess", "fill", "publish"];

export function setUpTools(actions, view) {
  const press = (id, action) => byId(id).addEventListener("click", action);
  press("refine", () => {
    state.refine = !state.refine;
    changed("view");
  });
  press("follow", () => actions.set("follow", !state.follow));
  press("hold", () => actions.toggleHold());
  press("live", () => actions.live());
  press("everything", () => actions.everything());
  press("cancel", () => actions.cancelEverything());
  press("save", () => actions.savePicture());
  press("collect", () => actions.collect());
  press("record", () => actions.record(state.status.recording === null));
  press("download", () => actions.downloadDataset());
  press("discard", () => {
    if (confirm("Forget all collected frames?")) actions.discard();
  });
  press("zoom_in", () => view.zoomBy(1.4));
  press("zoom_out", () => view.zoomBy(1 / 1.4));
  press("zoom_fit", () => view.fit());
  press("help", () => byId("keys").showModal());
  press("theme", () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
    actions.set("theme", isDark ? "light" : "dark");
    showTheme();
  });
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => {
      state.tool = button.dataset.tool;
      changed("view");
    });
  }
  for (const button of document.querySelectorAll("[data-layer]")) {
    button.addEventListener("click", () => actions.toggleLayer(button.dataset.layer));
  }
  byId("opacity").addEventListener("input", (event) => actions.set("opacity", Number(event.target.value)));
  setUpChoice("quality", [["low", "low"], ["medium", "medium"], ["high", "high"]], (value) => value);
  setUpChoice("side", [["0", "full"], ["1280", "1280"], ["640", "640"]], Number);
  setUpTabs();
  setUpLegend();
  showTheme();
  on("view", show);
  on("objects", show);
  on("status", show);
  on("busy", (count) => {
    byId("waiting").hidden = count === 0;
  });
  on("progress", showProgress);
  show();

  function setUpChoice(name, choices, convert) {
    const select = byId(name);
    select.append(...choices.map(([value, text]) => make("option", { value }, text)));
    select.value = String(state[name]);
    select.addEventListener("change", () => {
      actions.set(name, convert(select.value));
      actions.sendView();
    });
  }

  function show() {
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-checked", String(button.dataset.tool === state.tool));
    }
    for (const button of document.querySelectorAll("[data-layer]")) {
      button.setAttribute("aria-pressed", String(state.layers[button.dataset.layer]));
    }
    byId("refine").setAttribute("aria-pressed", String(state.refine));
    byId("refine").disabled = state.selected === "" && !state.refine;
    byId("follow").setAttribute("aria-pressed", String(state.follow));
    byId("hold").setAttribute("aria-pressed", String(state.held));
    setText(byId("hold"), state.held ? "Go on" : "Hold");
    byId("held").hidden = !state.held;
    byId("opacity").value = state.opacity;
    for (const id of ["refine", "follow", "everything", "collect", "record"]) {
      if (state.readOnly) byId(id).disabled = true;
    }
  }

  function showProgress(progress) {
    byId("progress").hidden = progress === null;
    byId("everything").disabled = progress !== null;
    if (progress === null) return;
    const { done, total, masks, seconds } = progress;
    const bar = byId("progress").querySelector("progress");
    if (total) {
      bar.max = total;
      bar.value = done;
    } else bar.removeAttribute("value"); // nothing is known yet
    const what = total ? `${done} of ${total} prompts, ${masks} masks` : "segmenting everything";
    setText(byId("progress_text"), `${what}, ${seconds.toFixed(1)} s`);
  }

  function showTheme() {
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    keep();
    requestAnimationFrame(() => changed("theme"));
  }
}

function setUpTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const open = (tab) => {
    for (const one of tabs) {
      const isOpen = one === tab;
      one.setAttribute("aria-selected", String(isOpen));
      one.tabIndex = isOpen ? 0 : -1;
      byId(one.getAttribute("aria-controls")).hidden = !isOpen;
    }
    changed("panel", tab.getAttribute("aria-controls"));
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(index + step + tabs.length) % tabs.length];
      next.focus();
      open(next);
      event.stopPropagation();
    });
  });
  open(tabs[0]);
}

function setUpLegend() {
  byId("stages").replaceChildren(
    ...STAGES.map((stage, index) =>
      make("div", {}, make("dt", { class: `k${index}` }, stage), make("dd", { id: `stage_${stage}` }, "–"))),
    make("div", {}, make("dt", {}, "total, ms"), make("dd", { id: "stage_total" }, "–")),
    make("div", {}, make("dt", { class: "km" }, "slowest"), make("dd", {}, "dashed")),
  );
}
