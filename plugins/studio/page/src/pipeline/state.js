// The pipeline on screen: a draft that forms change, and what the server last accepted.

import { api } from "../base/api.js";
import { debounced } from "../base/events.js";
import { failed } from "../base/notes.js";

const DELAY = 200;

/** Option paths as "qc.0.sigma", whichever way the server writes them: qc[0].options.sigma, qc.0.sigma. */
export const normalPath = (where) => String(where ?? "").replace(/\[(\d+)\]/g, ".$1").replace(/\.options\b/, "").replace(/^\./, "");

export class PipelineState {
  #busy = false;
  #waiting = false;

  constructor(events) {
    this.events = events;
    this.now = null;
    this.draft = null;
    this.offers = [];
    this.problems = [];
    this.later = debounced(() => this.#put(), DELAY);
  }

  async load() {
    const [offers, pipeline] = await Promise.all([api.steps(), api.pipeline()]);
    this.offers = offers;
    this.#accept(pipeline);
    this.draft = structuredClone(this.now);
    this.events.tell("pipeline", { loaded: true });
    this.events.tell("draft", this);
  }

  offer(kind, name) {
    return this.offers.find((offer) => offer.kind === kind && offer.name === name) ?? null;
  }

  /** Changes the draft by `edit`. `reshaped`: forms must be made anew, since steps came, went or moved. */
  change(edit, { reshaped = false } = {}) {
    edit(this.draft);
    if (reshaped) this.events.tell("draft", this);
    this.later();
  }

  #accept(pipeline) {
    this.now = pipeline;
    this.problems = [];
  }

  async #put() {
    if (this.#busy) {
      this.#waiting = true;
      return;
    }
    this.#busy = true;
    try {
      const { revision, ...pipeline } = this.draft;
      this.#accept(await api.setPipeline(pipeline));
      this.events.tell("pipeline", { loaded: false });
    } catch (error) {
      if (error.status === 422) this.problems = error.body.problems ?? [{ where: "", text: error.message }];
      else failed(error);
    }
    this.#busy = false;
    this.events.tell("problems", this);
    if (this.#waiting) {
      this.#waiting = false;
      this.later();
    }
  }
}
