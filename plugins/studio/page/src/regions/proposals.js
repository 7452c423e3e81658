// Outlines that a model proposes as regions: dashed until they are accepted, which makes them regions, or refused.

import Feature from "ol/Feature.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorSource from "ol/source/Vector.js";
import Fill from "ol/style/Fill.js";
import Stroke from "ol/style/Stroke.js";
import Style from "ol/style/Style.js";

import { api } from "../base/api.js";
import { button, el, fill } from "../base/dom.js";
import { note } from "../base/notes.js";
import { DEPTH } from "../viewer/viewer.js";
import { isShape, labelOf, newFeature, polygonsOf } from "./geojson.js";
import { geometryForMap } from "./layer.js";

const LISTED = 100;

export class Proposals {
  #open = []; // {shape, feature}: GeoJSON, and what is drawn of it

  constructor({ viewer, events, panels }, regions, labels) {
    Object.assign(this, { viewer, panels, regions, labels });
    this.source = new VectorSource();
    this.layer = new VectorLayer({
      source: this.source,
      zIndex: DEPTH.proposals,
      style: (feature) => this.style(feature),
    });
    this.section = el("section", { hidden: true, class: "proposals" });
    events.on("slide", () => {
      this.#become([]);
      viewer.map.addLayer(this.layer);
    });
  }

  /** Proposes the outlines of a mask of that revision of the decisions; rejects where the server refuses. */
  async ask(mask, revision) {
    const { id } = this.viewer.slide;
    const { features } = await api.proposals(id, mask.index, revision);
    if (id !== this.viewer.slide.id) return;
    const shapes = features.filter(isShape);
    if (!shapes.length) note(`${mask.title} covers nothing that could be a region.`);
    this.#become([...this.#open, ...shapes.map((shape) => ({ shape, feature: new Feature(geometryForMap(shape)) }))]);
    this.panels.show("Regions");
  }

  style(feature) {
    const label = labelOf(this.#open.find((one) => one.feature === feature)?.shape ?? {});
    const colour = this.labels.colour(label);
    return [
      new Style({ stroke: new Stroke({ color: "rgba(255,255,255,0.8)", width: 4 }) }),
      new Style({
        stroke: new Stroke({ color: colour, width: 2, lineDash: [7, 5] }),
        fill: new Fill({ color: `${colour}18` }),
      }),
    ];
  }

  #become(open) {
    for (const { shape } of open) this.labels.learn(labelOf(shape));
    this.#open = open;
    this.source.clear();
    this.source.addFeatures(open.map(({ feature }) => feature));
    this.draw();
  }

  /** Accepted proposals become regions at once, as one step of undo; then they are edited like any other. */
  accept(chosen) {
    this.#become(this.#open.filter((one) => !chosen.includes(one)));
    this.regions.add(
      ...chosen.map(({ shape }) => newFeature(polygonsOf(shape), labelOf(shape), this.labels.colour(labelOf(shape)))),
    );
  }

  refuse(chosen) {
    this.#become(this.#open.filter((one) => !chosen.includes(one)));
  }

  draw() {
    const open = this.#open;
    this.section.hidden = !open.length;
    fill(
      this.section,
      el("h3", {}, `${open.length.toLocaleString("en")} proposed`),
      el(
        "div",
        { class: "row" },
        button("Accept all", () => this.accept(open), { class: "primary" }),
        button("Refuse all", () => this.refuse(open)),
      ),
      el(
        "ul",
        { role: "list" },
        open.slice(0, LISTED).map((one, at) => this.row(one, at)),
      ),
    );
  }

  row(one, at) {
    const name = `${labelOf(one.shape) || "Proposal"} ${at + 1}`;
    return el(
      "li",
      { class: "row tight" },
      button(
        [
          el("span", { class: "dot", style: { background: this.labels.colour(labelOf(one.shape)) } }),
          el("span", { class: "name" }, name),
        ],
        () => this.viewer.fit(one.feature.getGeometry().getExtent(), { margin: 80 }),
        { class: "region" },
      ),
      button("✓", () => this.accept([one]), { "aria-label": `Accept ${name}` }),
      button("✕", () => this.refuse([one]), { "aria-label": `Refuse ${name}` }),
    );
  }
}
