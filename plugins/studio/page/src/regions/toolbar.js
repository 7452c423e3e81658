// The tools beside the slide, with undo and redo.

import { el, iconButton } from "../base/dom.js";
import { ICONS } from "../base/icons.js";
import { TOOLS } from "./tools.js";

export function toolbar(stage, tools, regions, events, actions) {
  const buttons = Object.entries(TOOLS).map(([name, { key, name: title, help }]) => {
    const element = iconButton(ICONS[name], `${title} (${key.toUpperCase()})`, () => actions.use(name), {
      "aria-pressed": "false",
      "data-tool": name,
    });
    element.title = `${title} (${key.toUpperCase()}): ${help}`;
    return element;
  });
  const undo = iconButton(ICONS.undo, "Undo (Ctrl+Z)", () => regions.undo(), { disabled: true });
  const redo = iconButton(ICONS.redo, "Redo (Ctrl+Shift+Z)", () => regions.redo(), { disabled: true });
  const copy = iconButton(ICONS.copy, "Copy region (C)", actions.copy, { disabled: true });
  const remove = iconButton(ICONS.delete, "Delete region (Delete)", actions.remove, { disabled: true });
  const hint = el("div", { class: "hint", role: "status", hidden: true });
  stage.append(
    el(
      "div",
      { id: "tools", role: "toolbar", "aria-label": "Drawing tools", "aria-orientation": "vertical" },
      buttons,
      el("hr"),
      undo,
      redo,
      el("hr"),
      copy,
      remove,
    ),
    hint,
  );
  events.on("tool", (now) => {
    for (const element of buttons) element.setAttribute("aria-pressed", String(element.dataset.tool === now));
    hint.textContent = TOOLS[now].help;
    hint.hidden = now === "select" && !regions.selected.size;
  });
  const follow = () => {
    undo.disabled = !regions.canUndo;
    redo.disabled = !regions.canRedo;
    copy.disabled = remove.disabled = !regions.selected.size;
    hint.hidden = tools.name === "select" && !regions.selected.size;
  };
  events.on("regions", follow);
  events.on("selection", follow);
}
