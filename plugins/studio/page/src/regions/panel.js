// The list of regions, and the label, name and colour of the selected one.

import { api } from "../base/api.js";
import { button, el, fill, freshId, labelled } from "../base/dom.js";
import { failed, note } from "../base/notes.js";
import { areaText, extentOf } from "../viewer/coordinates.js";
import { areaOf } from "./clipping.js";
import { colourOf, labelOf, nameOf, polygonsOf } from "./geojson.js";

const SHOWN = 300; // rows; a file of cells can have a hundred thousand

const STATES = {
  saved: "Saved",
  waiting: "Not saved yet",
  saving: "Saving…",
  failed: "Not saved",
  readonly: "Drawing is off",
};

export class RegionPanel {
  constructor(panel, { viewer, regions, labels, events, actions, saving, proposals }) {
    Object.assign(this, { viewer, regions, labels, actions, saving });
    this.options = el("datalist", { id: freshId() });
    this.label = el("input", {
      type: "text",
      list: this.options.id,
      autocomplete: "off",
      placeholder: "None",
      on: { change: () => actions.setLabel(this.label.value) },
    });
    this.colour = el("input", {
      type: "color",
      "aria-label": "Colour of this label",
      on: { change: () => actions.setColour(this.label.value.trim(), this.colour.value) },
    });
    this.name = el("input", {
      type: "text",
      autocomplete: "off",
      on: { change: () => actions.setName(this.name.value) },
    });
    // After Enter the next key is meant for the slide again: a tool, undo, delete.
    for (const input of [this.label, this.name]) {
      input.addEventListener("keydown", ({ key }) => key === "Enter" && viewer.target.focus({ preventScroll: true }));
    }
    this.nameField = labelled("Name", this.name);
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Labels in use" });
    this.list = el("ul", { class: "regions", role: "list" });
    this.kept = el("p", { class: "quiet" });
    this.heading = el("h3");
    this.state = el("p", { class: "saving", role: "status" });
    this.again = button("Save now", () => saving.save(), { class: "primary", hidden: true });
    fill(
      panel,
      el("h2", {}, "Regions"),
      this.state,
      this.again,
      proposals.section,
      el(
        "section",
        {},
        this.heading,
        el("div", { class: "with-colour" }, labelled("Label", this.label), this.colour),
        this.options,
        this.chips,
        this.nameField,
      ),
      el("section", {}, this.list, this.kept),
      el(
        "div",
        { class: "row" },
        button("Save as QuPath CSV", () => this.csv()),
      ),
    );
    events.on("regions", () => this.draw());
    events.on("selection", () => this.draw());
    events.on("labels", () => this.draw());
    events.on("saving", ({ state, reason }) => {
      this.again.hidden = state !== "failed";
      this.state.dataset.state = state;
      this.state.textContent =
        state === "failed"
          ? `Not saved: ${reason}`
          : state === "saved" && reason
            ? `Saved to ${reason}`
            : STATES[state];
    });
  }

  draw() {
    const { regions, labels } = this;
    for (const { feature } of regions.shapes) labels.learn(labelOf(feature), colourOf(feature));
    const one = regions.one;
    const chosen = regions.chosen;
    const common = new Set(chosen.map(({ feature }) => labelOf(feature)));
    const label = chosen.length ? (common.size === 1 ? [...common][0] : "") : this.actions.nextLabel();
    this.heading.textContent =
      chosen.length > 1 ? `${chosen.length} selected` : one ? "Selected region" : "Next region";
    if (document.activeElement !== this.label) this.label.value = label;
    this.label.placeholder = common.size > 1 ? "Several" : "None";
    this.colour.value = labels.colour(label);
    this.colour.disabled = !label;
    this.nameField.hidden = !one;
    if (one && document.activeElement !== this.name) this.name.value = nameOf(one.feature);
    fill(
      this.options,
      labels.names.map((name) => el("option", { value: name })),
    );
    fill(
      this.chips,
      labels.names.slice(0, 12).map((name) =>
        button([this.dot(labels.colour(name)), name], () => this.actions.setLabel(name), {
          class: "chip",
          "aria-pressed": String(name === label),
        }),
      ),
    );
    this.drawList();
  }

  dot(colour) {
    return el("span", { class: "dot", style: { background: colour } });
  }

  drawList() {
    const shapes = this.regions.shapes;
    const others = this.regions.entries.length - shapes.length;
    fill(
      this.list,
      shapes.length
        ? shapes.slice(0, SHOWN).map((entry, at) => this.row(entry, at))
        : el("li", { class: "quiet" }, "None yet. Choose a tool and draw."),
    );
    const words = [];
    if (shapes.length > SHOWN)
      words.push(`${(shapes.length - SHOWN).toLocaleString("en")} more regions are on the slide.`);
    if (others)
      words.push(
        `${others.toLocaleString("en")} other ${others === 1 ? "object" : "objects"} in the file (points, lines) stay as they are.`,
      );
    this.kept.textContent = words.join(" ");
  }

  row({ key, feature }, at) {
    const mpp = this.viewer.mpp;
    const polygons = polygonsOf(feature);
    const area = areaOf(polygons);
    const holes = polygons.reduce((sum, rings) => sum + rings.length - 1, 0);
    const label = labelOf(feature);
    const size = `${mpp ? areaText(area * mpp ** 2) : `${Math.round(area).toLocaleString("en")} px²`}${holes ? ` · ${holes} hole${holes === 1 ? "" : "s"}` : ""}`;
    const element = button(
      [
        this.dot(this.labels.colour(label)),
        el("span", { class: "name" }, nameOf(feature) || label || `Region ${at + 1}`),
        el("span", { class: "quiet" }, size),
      ],
      (event) => {
        this.actions.picked(key, { more: event.shiftKey });
        if (!event.shiftKey) this.reveal(polygons);
      },
      { class: "region", "aria-pressed": String(this.regions.selected.has(key)) },
    );
    return el("li", {}, element);
  }

  /** Brings a region into view if it is not. */
  reveal(polygons) {
    const points = polygons.flatMap(([outer]) => outer);
    const xs = points.map(([x]) => x);
    const ys = points.map(([, y]) => y);
    const least = (values) => values.reduce((a, b) => Math.min(a, b));
    const most = (values) => values.reduce((a, b) => Math.max(a, b));
    const [left, top] = [least(xs), least(ys)];
    const [width, height] = [most(xs) - left, most(ys) - top];
    const [x0, y0, x1, y1] = this.viewer.view.calculateExtent(this.viewer.map.getSize());
    const inside = left >= x0 && left + width <= x1 && -top <= y1 && -(top + height) >= y0;
    if (!inside) this.viewer.fit(extentOf(left - width / 2, top - height / 2, width * 2, height * 2));
  }

  async csv() {
    try {
      if (!(await this.saving.save())) return;
      const { saved } = await api.saveCsv(this.saving.id);
      note(`Saved ${saved}.`);
    } catch (error) {
      failed(error);
    }
  }
}
