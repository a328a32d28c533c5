// The node's parameters: range, unit, when they change, and the node's reason where it refuses.

import { byId, make, notify, setText } from "./dom.js";
import { on, state } from "./state.js";

const UNITS = [
  [/\bseconds\.?$|, seconds\b/i, "s"],
  [/\bpixels\.?$|, pixels\b/i, "px"],
  [/10\^6 bytes/i, "MB"],
  [/per second/i, "1/s"],
];

export function setUpParameters(connection) {
  const list = byId("parameter_list");
  let isWanted = false;
  byId("parameter_search").addEventListener("input", filter);
  byId("reload").addEventListener("click", () => load());
  on("panel", (name) => {
    isWanted = name === "parameters";
    if (isWanted) load();
  });
  on("node_changed", () => isWanted && load());

  async function load() {
    try {
      show((await connection.ask("parameters")).parameters);
      setText(byId("parameters_problem"), "");
    } catch (error) {
      setText(byId("parameters_problem"), error.message);
    }
  }

  function show(rows) {
    if (list.children.length !== rows.length) list.replaceChildren(...rows.map(build));
    rows.forEach((row, index) => update(list.children[index], row));
    filter();
  }

  function build(row) {
    const id = `parameter_${row.name}`;
    let input;
    if (row.type === "bool") {
      input = make("input", { type: "checkbox", id });
    } else if (row.choices.length) {
      input = make("select", { id }, ...row.choices.map((choice) => make("option", { value: choice }, choice)));
    } else if (row.type === "string") {
      input = make("input", { type: "text", id, maxlength: "1000", spellcheck: "false" });
    } else {
      input = make("input", { type: "number", id, step: row.type === "integer" ? "1" : "any" });
      if (row.range) {
        input.min = row.range[0];
        input.max = row.range[1];
      }
    }
    input.setAttribute("aria-describedby", `${id}_help`);
    input.disabled = row.read_only || state.readOnly;
    input.addEventListener("change", () => set(row, input));
    input.addEventListener("keydown", (event) => event.stopPropagation());
    const unit = row.type === "integer" || row.type === "double" ? UNITS.find(([pattern]) => pattern.test(row.description)) : null;
    const notes = [row.constraints.split(";")[0]];
    if (row.range) notes.push(`${row.range[0]} to ${row.range[1]}${unit ? ` ${unit[1]}` : ""}`);
    return make("div", { class: "parameter", "data-name": row.name },
      make("label", { for: id }, row.name),
      make("div", { class: "value" }, input, unit ? make("span", { class: "unit" }, unit[1]) : null),
      make("p", { class: "help", id: `${id}_help` }, row.description),
      make("p", { class: "notes" }, notes.join(" · ")),
      make("p", { class: "reason", role: "alert" }));
  }

  function update(element, row) {
    const input = element.querySelector("input, select");
    if (document.activeElement === input && input.matches("[type=text], [type=number]")) return;
    if (row.type === "bool") input.checked = row.value;
    else input.value = row.type === "double" ? String(Number(row.value.toPrecision(12))) : row.value;
  }

  async function set(row, input) {
    const element = input.closest(".parameter");
    const reason = element.querySelector(".reason");
    let value = input.type === "checkbox" ? input.checked : input.value;
    if (row.type === "integer" || row.type === "double") value = Number(input.value);
    setText(reason, "");
    element.classList.remove("refused", "accepted");
    void element.offsetWidth; // so that the same animation runs again
    try {
      const reply = await connection.ask("set_parameter", { name: row.name, value });
      element.classList.add("accepted");
      input.blur();
      show(reply.parameters);
      notify(`${row.name} is ${value}`);
    } catch (error) {
      element.classList.add("refused");
      setText(reason, error.message);
      input.blur();
      try {
        show((await connection.ask("parameters")).parameters);
      } catch {
        // the reason is shown already
      }
    }
  }

  function filter() {
    const words = byId("parameter_search").value.toLowerCase();
    for (const element of list.children) {
      element.hidden = !element.textContent.toLowerCase().includes(words);
    }
  }
}
