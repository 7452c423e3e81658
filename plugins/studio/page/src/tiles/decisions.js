// Asks the server to decide the tiles of the open slide, and follows its work.

import { api } from "../base/api.js";
import { failed } from "../base/notes.js";

const SOON = 60; // ms; a decision from stored masks takes less than this
const LATER = 400;

export class Decisions {
  #watching = null;

  constructor({ events, viewer, session }) {
    Object.assign(this, { events, viewer, session });
    this.wanted = session.mode === "results"; // until somebody wants to see tiles, nothing is computed
    this.answer = null;
    this.codes = null;
    events.on("slide", () => this.#opened());
    events.on("pipeline", ({ loaded }) => loaded || (this.wanted && this.start()));
    events.on("regions-saved", ({ id }) => this.wanted && id === this.id && this.start());
  }

  get id() {
    return this.viewer.slide?.id;
  }

  show(wanted) {
    this.wanted = wanted;
    this.events.tell("tiles-shown", wanted);
    if (wanted && this.id && this.answer?.state !== "ready") this.#watch(this.session.mode !== "results");
  }

  #opened() {
    this.#stop();
    this.answer = this.codes = null;
    this.events.tell("decisions", this);
    if (this.wanted) this.#watch(this.session.mode !== "results");
  }

  /** Decides anew. What was decided before stays on screen until then. */
  start() {
    if (this.id) this.#watch(true);
  }

  async cancel() {
    try {
      await api.cancelDecisions(this.id);
    } catch (error) {
      failed(error);
    }
  }

  #stop() {
    this.#watching?.abort();
    this.#watching = null;
  }

  async #watch(start) {
    this.#stop();
    const watching = new AbortController();
    this.#watching = watching;
    const { signal } = watching;
    const { id } = this;
    try {
      if (start) await api.decide(id);
      for (let delay = SOON; !signal.aborted; delay = Math.min(2 * delay, LATER)) {
        const answer = await api.decisions(id, signal);
        if (signal.aborted) return;
        await this.#take(id, answer, signal);
        if (answer.state !== "working") return;
        await new Promise((resolve) => setTimeout(resolve, delay));
      }
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    }
  }

  async #take(id, answer, signal) {
    if (answer.state === "ready") {
      const codes = await api.codes(id, answer.revision, signal);
      if (signal.aborted) return;
      this.codes = codes;
      this.answer = answer;
    } else {
      // Counts and grid of what is on screen stay until new ones are there.
      const { counts, grid, planned, kept } = this.answer ?? answer;
      this.answer = { ...answer, counts, grid, planned, kept };
    }
    this.events.tell("decisions", this);
  }

  #failed(error) {
    if (error.name === "AbortError") return;
    this.answer = {
      ...(this.answer ?? { steps: [], counts: [], grid: null, planned: 0, kept: 0 }),
      state: "failed",
      error: error.message,
    };
    this.events.tell("decisions", this);
  }

  /** The reasons for which tiles are left out; code k of a tile is the k-th of them, from 1. */
  get reasons() {
    return (this.answer?.counts ?? []).filter(({ reason }) => reason !== "kept");
  }

  /** The tile at a point of the slide: {column, row, code}, or null. Tiles may overlap; the last one that starts before the point counts. */
  at([x, y]) {
    const grid = this.answer?.grid;
    if (!grid || !this.codes) return null;
    const column = Math.floor((x - grid.x0) / grid.stride_x);
    const row = Math.floor((y - grid.y0) / grid.stride_y);
    if (column < 0 || row < 0 || column >= grid.columns || row >= grid.rows) return null;
    if (x > grid.x0 + column * grid.stride_x + grid.tile_w || y > grid.y0 + row * grid.stride_y + grid.tile_h)
      return null; // in a gap
    const code = this.codes[row * grid.columns + column];
    return code === NO_TILE ? null : { column, row, code };
  }
}

export const NO_TILE = 255;
export const KEPT = 0;
export const KEPT_COLOUR = "#2e9e5b";
