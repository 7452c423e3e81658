// Keyboard shortcuts, and the card that lists them. A shortcut is registered with the words of its line on the card.

import { button, el, fill } from "./dom.js";

const bindings = [];

/**
 * Binds a key. `keys` are names of KeyboardEvent.key, with "Ctrl+" for Control or Command.
 *
 * Without words the key is not on the card, since another line tells it. Letters are compared without case; keys in text fields are left to the field.
 */
export function bind(group, keys, words, action) {
  bindings.push({ group, keys, words, action });
}

function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const shifted = event.shiftKey && (event.key.length > 1 || event.ctrlKey || event.metaKey);
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${shifted ? "Shift+" : ""}${key}`;
}

const TYPING = "input:not([type=checkbox], [type=radio], [type=range], [type=color]), textarea, select, dialog *";

export function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.target.closest(TYPING)) return;
    // Sliders, tabs and radio buttons have their own use for arrows.
    if (event.key.startsWith("Arrow") && event.target.closest("input, [role=tab]")) return;
    const name = nameOf(event);
    const binding = bindings.find(({ keys }) => keys.includes(name));
    if (!binding || binding.action(event) === false) return;
    event.preventDefault();
  });
}

const SHOWN = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", Escape: "Esc" };
const shown = (key) =>
  key
    .split("+")
    .map((part) => SHOWN[part] ?? (part.length === 1 ? part.toUpperCase() : part))
    .join("+") || "+";

export function showHelp(extra) {
  const dialog = el("dialog", { "aria-label": "Keyboard and mouse", class: "wide" });
  const lines = [
    ...bindings.filter(({ words }) => words).map(({ group, keys, words }) => [group, keys.map(shown), words]),
    ...extra,
  ];
  const groups = [...new Set(lines.map(([group]) => group))];
  fill(
    dialog,
    el("h2", { tabindex: "-1", autofocus: true }, "Keyboard and mouse"),
    el(
      "div",
      { class: "keys" },
      groups.map((group) =>
        el(
          "section",
          {},
          el("h3", {}, group),
          lines
            .filter(([of]) => of === group)
            .map(([, keys, words]) =>
              el(
                "p",
                {},
                el(
                  "span",
                  {},
                  keys.map((key) => el("kbd", {}, key)),
                ),
                words,
              ),
            ),
        ),
      ),
    ),
    button("×", () => dialog.close(), { class: "plain close", "aria-label": "Close" }),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // on what lies around the card
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
