// Small help with elements. Text is always set as text, never as markup.

/** Makes an element: attributes, then children (elements or texts). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Replaces the rows of a table body, keeping those with the same key. */
export function updateRows(body, entries, keyOf, build, update) {
  const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
  let place = body.firstElementChild;
  for (const entry of entries) {
    const key = String(keyOf(entry));
    let row = old.get(key);
    if (row) old.delete(key);
    else {
      row = build(entry);
      row.dataset.key = key;
    }
    update(row, entry);
    if (row !== place) body.insertBefore(row, place);
    else place = place.nextElementSibling;
  }
  for (const row of old.values()) row.remove();
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const css = (color) => `rgb(${color[0]} ${color[1]} ${color[2]})`;

/** Shows a line for a while, and reads it to those who do not see. */
export function notify(text, kind = "info") {
  const box = byId("notices");
  const line = make("div", { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status" }, text);
  box.append(line);
  while (box.children.length > 4) box.firstElementChild.remove();
  setTimeout(() => line.remove(), kind === "error" ? 9000 : 4000);
}

/** Nanoseconds as text → the time of day with milliseconds, or seconds for simulated time. */
export function clock(stamp) {
  const milliseconds = Number(BigInt(stamp) / 1000000n);
  if (milliseconds < 1e11) return `${(milliseconds / 1000).toFixed(3)} s`;
  const date = new Date(milliseconds);
  const two = (value) => String(value).padStart(2, "0");
  const rest = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${rest}`;
}

/** A short text for a number of bytes. */
export function bytes(count) {
  if (count < 1e6) return `${(count / 1e3).toFixed(0)} kB`;
  return `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}
