// Asks the server to decide the tiles of the open slide, and follows its work.

import { api } from "../base/api.js";
import { failed } from "../base/notes.js";

const SOON = 60; // ms; a decision from stored masks takes less than this
const LATER = 400;

export const NO_TILE = 255;
export const KEPT = 0;
const NONE = {
  state: "none",
  revision: 0,
  steps: [],
  counts: [],
  grid: null,
  planned: 0,
  kept: 0,
  error: null,
  is_whole: false,
};

export class Decisions {
  #watching = null;
  #needed = new Set(); // by what decisions are wanted: "tiles", "normalized"
  #drawn = null; // the revision of `codes`
  #doubted = null; // the revision of which something was refused

  constructor({ events, viewer, session }) {
    Object.assign(this, { events, viewer, session });
    this.answer = NONE;
    this.codes = null;
    // Results are there already; of slides nothing is computed until somebody wants to see it.
    this.shown = session.mode === "results";
    if (this.shown) this.#needed.add("tiles");
    events.on("slide", () => this.#opened());
    events.on("pipeline", ({ loaded }) => loaded || (this.wanted && this.start()));
    events.on("regions-saved", ({ id }) => this.wanted && id === this.id && this.start());
  }

  get id() {
    return this.viewer.slide?.id;
  }

  get wanted() {
    return this.#needed.size > 0;
  }

  get isReady() {
    return this.answer.state === "ready";
  }

  /** Shows tiles on the slide, or hides them. */
  show(shown) {
    this.shown = shown;
    this.events.tell("tiles-shown", shown);
    this.need("tiles", shown);
  }

  /** Says whether `who` needs decisions; the first to need them starts the work. */
  need(who, needed) {
    if (needed) this.#needed.add(who);
    else this.#needed.delete(who);
    if (!needed || !this.id) return;
    // What a run left in its folder does not make pixels; the studio has to decide on the slide for that.
    if (who === "normalized" && this.answer.is_stored) this.#watch(true);
    else if (!["ready", "working"].includes(this.answer.state)) this.#watch(this.#computes);
  }

  /**
   * A request was refused because decisions had changed, by `error`: follows them anew, so that everybody asks again.
   *
   * Where that changes nothing, the person is told.
   */
  outdated(error) {
    if (this.#watching || !this.id) return; // they come anyway
    if (this.#doubted === this.answer.revision) failed(error);
    else this.#watch(false);
    this.#doubted = this.answer.revision;
  }

  get #computes() {
    return this.session.mode !== "results";
  }

  #opened() {
    this.#stop();
    this.#become(NONE, null);
    if (this.wanted) this.#watch(this.#computes);
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
      let answer = start ? await api.decide(id) : await api.decisions(id, signal);
      // The server keeps the decisions of a few slides only.
      if (answer.state === "none" && this.wanted && this.#computes) answer = await api.decide(id);
      for (let delay = SOON; !signal.aborted; delay = Math.min(2 * delay, LATER)) {
        if (!(await this.#take(id, answer, signal))) return;
        await new Promise((resolve) => setTimeout(resolve, delay));
        answer = await api.decisions(id, signal);
      }
    } catch (error) {
      if (!signal.aborted) this.#become({ ...this.answer, state: "failed", error: error.message }, this.codes);
    } finally {
      if (this.#watching === watching) this.#watching = null;
    }
  }

  /** Takes over an answer; gives whether another one will come. */
  async #take(id, answer, signal) {
    if (signal.aborted) return false;
    // Decisions of the regions alone come first, and are drawn while QC is at work.
    if (answer.grid && answer.revision !== this.#drawn) {
      try {
        const codes = await api.codes(id, answer.revision, signal);
        if (signal.aborted) return false;
        this.#drawn = answer.revision;
        this.#become(answer, codes);
      } catch (error) {
        if (error.status !== 409) throw error;
        return !signal.aborted; // decided again meanwhile
      }
    } else if (answer.counts.length) {
      this.#become(answer, answer.grid ? this.codes : null);
    } else {
      // Counts and grid of what is on screen stay until new ones are there.
      const { counts, grid, planned, kept } = this.answer;
      this.#become({ ...answer, counts, grid, planned, kept }, this.codes);
    }
    return answer.state === "working";
  }

  #become(answer, codes) {
    this.answer = answer;
    this.codes = codes;
    if (!codes) this.#drawn = null;
    this.events.tell("decisions", this);
  }

  /**
   * The tile at a point of the slide as {column, row, code}, or null.
   *
   * Where tiles overlap it is the last one that starts before the point.
   */
  at([x, y]) {
    const { grid } = this.answer;
    if (!grid || !this.codes) return null;
    const column = Math.floor((x - grid.x0) / grid.stride_x);
    const row = Math.floor((y - grid.y0) / grid.stride_y);
    if (column < 0 || row < 0 || column >= grid.columns || row >= grid.rows) return null;
    const right = grid.x0 + column * grid.stride_x + grid.tile_w;
    const bottom = grid.y0 + row * grid.stride_y + grid.tile_h;
    if (x > right || y > bottom) return null; // in a gap
    const code = this.codes[row * grid.columns + column];
    return code === NO_TILE ? null : { column, row, code };
  }
}
