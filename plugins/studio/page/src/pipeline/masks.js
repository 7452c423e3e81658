// The masks of QC steps as layers over the slide, each with its opacity.

import ImageLayer from "ol/layer/Image.js";
import ImageSource from "ol/source/Image.js";

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
    for (const layer of this.#layers.values()) if (layer) this.viewer.map.removeLayer(layer);
    this.#layers = new Map();
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

  async #show(mask) {
    const key = this.#key(mask);
    const look = this.#look(mask);
    const layers = this.#layers;
    if (look.shown && !layers.has(key)) {
      layers.set(key, null); // asked for
      const layer = await this.#layer(mask);
      if (layers !== this.#layers) return; // of a mask that is shown no more
      if (layer) {
        layers.set(key, layer);
        this.viewer.map.addLayer(layer);
      } else layers.delete(key);
    }
    layers.get(key)?.setVisible(look.shown);
    layers.get(key)?.setOpacity(look.opacity);
  }

  /** The layer of a mask, or null where the server refused it. */
  async #layer(mask) {
    let image;
    try {
      image = await api.mask(this.decisions.id, mask.index, this.revision);
    } catch (error) {
      if (error.status !== 409) failed(error); // 409: decided again meanwhile, and loaded again then
      return null;
    }
    const { width, height } = this.viewer.slide;
    const extent = [0, -height, width, 0];
    return new ImageLayer({
      // Loaded before: a source that loads by itself writes every refusal to the console and tells nobody.
      source: new ImageSource({
        projection: this.viewer.projection,
        loader: () => ({ image, extent, resolution: [width / image.width, height / image.height], pixelRatio: 1 }),
        interpolate: false,
      }),
      zIndex: DEPTH.masks + mask.index / 100,
      className: "mask-layer",
    });
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
