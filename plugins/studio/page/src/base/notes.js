// Short messages at the lower edge, and questions that need an answer.

import { button, el, fill } from "./dom.js";

/** Shows a message; errors stay until they are closed, since a reason to act must not vanish unread. */
export function note(text, { error = false } = {}) {
  const place = document.getElementById("notes");
  const card = el("div", { class: error ? "note error" : "note" }, el("span", {}, text));
  card.append(button("×", () => card.remove(), { class: "plain", "aria-label": "Close this message" }));
  const same = [...place.children].find((other) => other.firstChild.textContent === text);
  if (same) same.replaceWith(card);
  else place.append(card);
  if (!error) setTimeout(() => card.remove(), 6000);
}

export function failed(error) {
  if (error.name !== "AbortError") note(error.message, { error: true });
}

/** Asks with one button per answer; gives the chosen answer's value, or null when the card was closed by Escape. */
export function ask(title, text, answers) {
  return new Promise((resolve) => {
    const dialog = el("dialog", { "aria-label": title });
    const close = (value) => {
      dialog.close();
      dialog.remove();
      resolve(value);
    };
    const buttons = answers.map(([name, value, kind]) => button(name, () => close(value), { class: kind ?? "" }));
    fill(dialog, el("h2", {}, title), el("p", {}, text), el("div", { class: "row end" }, buttons));
    dialog.addEventListener("cancel", () => close(null));
    document.body.append(dialog);
    dialog.showModal();
  });
}
