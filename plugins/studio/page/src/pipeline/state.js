// The pipeline on screen: a draft that forms change, and what the server last accepted.

import { api } from "../base/api.js";
import { debounced } from "../base/events.js";
import { failed } from "../base/notes.js";

const DELAY = 200;

const LISTS = { qc: "qc", filter: "filters", normalizer: "normalizer" };

/**
 * The field that a problem belongs to, as "qc.0.sigma", else the step, as "qc.0", else null.
 *
 * The server names the kind and the step, and its sentence names the option: {where: "qc otsu", text: "option 'x' …"}.
 */
export function placeOf({ where, text }, draft, offers) {
  const [kind, use] = String(where).split(" ");
  const names = (options) => options.filter((name) => new RegExp(`(^|[^\\w-])${name}($|[^\\w-])`).test(text));
  const first = (found) => found.sort((a, b) => text.indexOf(a) - text.indexOf(b))[0];
  if (kind === "tiles" || kind === "roi") {
    const name = first(names(Object.keys(draft[kind] ?? {})));
    return name ? `${kind}.${name}` : null;
  }
  const list = LISTS[kind];
  if (!list) return null;
  const uses = list === "normalizer" ? [draft.normalizer] : draft[list];
  const at = uses.findIndex((step) => step?.use === use);
  if (at < 0) return null;
  const step = list === "normalizer" ? list : `${list}.${at}`;
  const offer = offers.find((one) => one.kind === kind && one.name === use);
  const name = first(names((offer?.options ?? []).map((option) => option.name)));
  return name ? `${step}.${name}` : step;
}

export class PipelineState {
  #busy = null; // the request that is under way
  #unsent = false; // whether the draft holds what the server was not sent

  constructor(events) {
    this.events = events;
    this.now = null;
    this.draft = null;
    this.offers = [];
    this.sizes = { tiles: [], roi: [] }; // the options of tiles and of regions
    this.problems = [];
    this.later = debounced(() => this.#put(), DELAY);
  }

  async load() {
    const [offers, sizes, pipeline] = await Promise.all([api.steps(), api.sizeForms(), api.pipeline()]);
    this.offers = offers;
    this.sizes = sizes;
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
    this.#unsent = true;
    if (reshaped) this.events.tell("draft", this);
    this.later();
  }

  #accept(pipeline) {
    this.now = pipeline;
    this.problems = [];
  }

  /** Sends what is not sent yet; gives whether the server's pipeline is the one on screen. */
  async settled() {
    this.later.cancel();
    await this.#put();
    return !this.#unsent && !this.problems.length;
  }

  async #put() {
    while (this.#busy) await this.#busy;
    if (!this.#unsent) return;
    this.#busy = this.#send().finally(() => {
      this.#busy = null;
    });
    await this.#busy;
  }

  async #send() {
    const { revision, ...pipeline } = this.draft;
    this.#unsent = false;
    try {
      this.#accept(await api.setPipeline(pipeline));
    } catch (error) {
      if (error.status === 422) this.problems = error.body.problems ?? [{ where: "", text: error.message }];
      else {
        this.#unsent = true;
        failed(error);
      }
      this.events.tell("problems", this);
      return;
    }
    this.events.tell("pipeline", { loaded: false });
    this.events.tell("problems", this);
  }
}
