// The masks of QC steps as layers over the slide, each with its opacity.

import ImageLayer from "ol/layer/Image.js";
import Static from "ol/source/ImageStatic.js";

import { api } from "../base/api.js";
import { button, el, fill } from "../base/dom.js";
import { failed } from "../base/notes.js";
import { DEPTH } from "../viewer/viewer.js";

export class Masks {
  #layers = new Map(); // key of a mask -> layer
  #looks = new Map(); // key of a mask -> {shown, opacity}, kept from slide to slide

  constructor({ viewer, events }, decisions, propose) {
    Object.assign(this, { viewer, decisions, propose });
    this.list = el("ul", { class: "masks", role: "list" });
    this.section = el("section", { hidden: true }, el("h3", {}, "Masks"), this.list);
    events.on("slide", () => this.clear());
    events.on("decisions", ({ answer }) => {
      if (answer.state === "ready" && answer.revision !== this.revision) this.load(answer.revision);
    });
  }

  clear() {
    for (const layer of this.#layers.values()) this.viewer.map.removeLayer(layer);
    this.#layers.clear();
    this.revision = null;
    this.section.hidden = true;
  }

  async load(revision) {
    const { id } = this.decisions;
    let masks;
    try {
      masks = await api.masks(id);
    } catch (error) {
      if (error.status !== 409) failed(error); // 409: decided again meanwhile, and asked again then
      return;
    }
    if (id !== this.decisions.id || revision !== this.decisions.answer.revision) return;
    this.clear();
    this.revision = revision;
    this.section.hidden = !masks.length;
    fill(
      this.list,
      masks.map((mask) => this.row(mask)),
    );
  }

  #key({ step, class: label, title }) {
    return `${step} ${label ?? ""} ${title}`;
  }

  #look(mask) {
    const key = this.#key(mask);
    if (!this.#looks.has(key)) this.#looks.set(key, { shown: false, opacity: 0.45 });
    return this.#looks.get(key);
  }

  #show(mask) {
    const key = this.#key(mask);
    const look = this.#look(mask);
    let layer = this.#layers.get(key);
    if (look.shown && !layer) {
      const { width, height } = this.viewer.slide;
      const url = api.mask(this.decisions.id, mask.index, this.revision);
      layer = new ImageLayer({
        source: new Static({
          url,
          projection: this.viewer.projection,
          imageExtent: [0, -height, width, 0],
          interpolate: false,
        }),
        zIndex: DEPTH.masks + mask.index / 100,
        className: "mask-layer",
      });
      this.#layers.set(key, layer);
      this.viewer.map.addLayer(layer);
    }
    layer?.setVisible(look.shown);
    layer?.setOpacity(look.opacity);
  }

  row(mask) {
    const look = this.#look(mask);
    const opacity = el("input", {
      type: "range",
      min: 0.05,
      max: 1,
      step: 0.05,
      value: look.opacity,
      "aria-label": `Opacity of ${mask.title}`,
      hidden: !look.shown,
    });
    const box = el("input", { type: "checkbox", checked: look.shown });
    box.addEventListener("change", () => {
      look.shown = box.checked;
      opacity.hidden = !box.checked;
      this.#show(mask);
    });
    opacity.addEventListener("input", () => {
      look.opacity = Number(opacity.value);
      this.#show(mask);
    });
    this.#show(mask);
    return el(
      "li",
      {},
      el(
        "label",
        {},
        box,
        el("span", { class: "swatch", style: { background: mask.colour } }),
        el("span", { class: "name" }, mask.title),
        mask.share === null || mask.share === undefined
          ? null
          : el("span", { class: "count" }, `${(100 * mask.share).toFixed(1)} %`),
      ),
      opacity,
      this.propose ? button("Propose as regions", () => this.propose(mask), { class: "plain link" }) : null,
    );
  }
}
