// The masks of QC steps as layers over the slide, each with its opacity.

import ImageLayer from "ol/layer/Image.js";
import ImageSource from "ol/source/Image.js";

import { api } from "../base/api.js";
import { button, el, fill } from "../base/dom.js";
import { failed, note } from "../base/notes.js";
import { DEPTH } from "../viewer/viewer.js";

export class Masks {
  #layers = new Map(); // key of a mask -> its layer, or {again} while it is asked for
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
    for (const layer of this.#layers.values()) if (layer instanceof ImageLayer) this.viewer.map.removeLayer(layer);
    this.#layers = new Map();
    this.revision = null;
    this.section.hidden = true;
  }

  async load(revision) {
    const { id } = this.decisions;
    let masks;
    try {
      masks = await api.masks(id, revision);
    } catch (error) {
      this.#refused(error);
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
    const known = layers.get(key);
    if (known instanceof ImageLayer) {
      known.setVisible(look.shown);
      known.setOpacity(look.opacity);
      return;
    }
    if (!look.shown) return;
    if (known) {
      known.again = true;
      return;
    }
    const asked = { again: false };
    layers.set(key, asked);
    const layer = await this.#layer(mask);
    if (layers !== this.#layers) return; // of a mask that is shown no more
    layers.delete(key);
    if (layer) {
      layers.set(key, layer);
      this.viewer.map.addLayer(layer);
    }
    if (layer || asked.again) this.#show(mask);
  }

  async #propose(mask) {
    try {
      await this.propose(mask, this.revision);
    } catch (error) {
      if (error.status === 409) note("The masks have changed meanwhile: propose again.", { error: true });
      this.#refused(error);
    }
  }

  #refused(error) {
    if (error.status === 409) this.decisions.outdated(error);
    else failed(error);
  }

  /** The layer of a mask, or null where the server refused it. */
  async #layer(mask) {
    let image;
    try {
      image = await api.mask(this.decisions.id, mask.index, this.revision);
    } catch (error) {
      this.#refused(error);
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
      this.propose ? button("Propose as regions", () => this.#propose(mask), { class: "plain link" }) : null,
    );
  }
}
