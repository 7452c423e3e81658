// Panels under tabs, of which one shows. Arrow keys go from tab to tab.

import { el, fill, freshId } from "./dom.js";

/** Panels by name; `show(name)` brings one to the front, `current` is its name. */
export function tabs(parent, names) {
  const made = names.map((name) => {
    const panel = el("div", { role: "tabpanel", id: freshId(), tabindex: "0", hidden: true, class: "panel" });
    const tab = el(
      "button",
      {
        type: "button",
        role: "tab",
        id: freshId(),
        "aria-controls": panel.id,
        on: { click: () => show(name), keydown: move },
      },
      name,
    );
    panel.setAttribute("aria-labelledby", tab.id);
    return { name, panel, tab };
  });
  const list = el(
    "div",
    { role: "tablist", "aria-label": "Panels" },
    made.map(({ tab }) => tab),
  );
  fill(
    parent,
    list,
    made.map(({ panel }) => panel),
  );

  const panels = { ...Object.fromEntries(made.map(({ name, panel }) => [name, panel])), show, current: names[0] };

  function show(wanted) {
    panels.current = wanted;
    for (const { name, panel, tab } of made) {
      panel.hidden = name !== wanted;
      tab.setAttribute("aria-selected", String(name === wanted));
      tab.tabIndex = name === wanted ? 0 : -1;
    }
  }

  function move(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const at = made.findIndex(({ tab }) => tab === event.currentTarget);
    const next = made[(at + by + made.length) % made.length];
    show(next.name);
    next.tab.focus();
    event.preventDefault();
  }

  show(names[0]);
  return panels;
}
