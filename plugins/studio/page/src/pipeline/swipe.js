// Original to the left, normalized to the right of a line that can be dragged, at any zoom.

import { button, el } from "../base/dom.js";
import { bind } from "../base/keys.js";
import { note } from "../base/notes.js";
import { pyramidLayer } from "../viewer/pyramid.js";
import { DEPTH } from "../viewer/viewer.js";

const BY_KEY = 0.02;

export class Swipe {
  #layer = null;
  #share = 0.5;
  #wanted = null; // slide and revisions of the layer

  constructor({ viewer, stage, events, pipeline, decisions }) {
    Object.assign(this, { viewer, stage, pipeline, decisions });
    this.on = false;
    this.toggle = button("Compare normalized", () => this.set(!this.on), {
      class: "swipe-toggle",
      "aria-pressed": "false",
      title: "Compare original and normalized (N)",
      hidden: true,
    });
    this.handle = el(
      "div",
      {
        class: "swipe",
        role: "slider",
        tabindex: "0",
        "aria-label": "Original to the left, normalized to the right",
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        hidden: true,
      },
      el("span", { class: "left" }, "Original"),
      el("span", { class: "grip" }),
      el("span", { class: "right" }, "Normalized"),
    );
    stage.append(this.handle, this.toggle);
    this.handle.addEventListener("pointerdown", (event) => {
      this.handle.setPointerCapture(event.pointerId);
      event.preventDefault();
      this.handle.focus();
    });
    this.handle.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      const { left, width } = stage.getBoundingClientRect();
      this.place((event.clientX - left) / width);
    });
    this.handle.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -BY_KEY, ArrowRight: BY_KEY }[event.key];
      if (!by) return;
      event.preventDefault();
      this.place(this.#share + by);
    });
    bind("Slide", ["n"], "compare original and normalized", () =>
      pipeline.now?.normalizer ? this.set(!this.on) : false,
    );
    events.on("slide", () => {
      this.#wanted = null; // the map has dropped all layers
      this.#layer = null;
      this.#follow();
    });
    events.on("decisions", () => this.#follow());
    events.on("pipeline", () => this.#follow());
    this.place(0.5);
  }

  set(on) {
    this.on = on;
    this.decisions.need("normalized", on); // a normalizer is fitted to the tissue that was decided to be kept
    this.#follow();
  }

  /** The line's place as a share of the stage's width. */
  place(share) {
    this.#share = Math.min(0.98, Math.max(0.02, share));
    const percent = `${100 * this.#share}%`;
    this.handle.style.left = percent;
    // The normalized layer is cut by a style, so dragging redraws nothing.
    this.viewer.target.style.setProperty("--swipe", percent);
    this.handle.setAttribute("aria-valuenow", String(Math.round(100 * this.#share)));
  }

  #follow() {
    const { viewer, pipeline } = this;
    const can = Boolean(pipeline.now?.normalizer && viewer.slide);
    this.toggle.hidden = !can;
    const shown = can && this.on;
    this.toggle.setAttribute("aria-pressed", String(shown));
    this.handle.hidden = !shown;
    const { isReady, answer } = this.decisions;
    this.#show(shown && isReady && answer.is_whole ? answer : null);
  }

  /** Shows what the normalizer makes of the slide by these decisions; null: nothing. */
  #show(answer) {
    const { viewer } = this;
    const wanted = answer && `${viewer.slide.id} ${answer.pipeline_revision} ${answer.revision}`;
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    if (this.#layer) viewer.map.removeLayer(this.#layer);
    this.#layer = null;
    if (!answer) return;
    let told = false;
    this.#layer = pyramidLayer(viewer.slide.id, viewer.pyramid, viewer.projection, {
      // Both: the pipeline stays while regions change what it makes of the slide.
      normalized: { normalized: answer.pipeline_revision, revision: answer.revision },
      onError: (error) => {
        if (wanted !== this.#wanted) return;
        if (error.status === 409) this.decisions.outdated(error);
        else if (!told) note(`A part is not shown normalized: ${error.message}`, { error: true });
        told = true;
      },
      zIndex: DEPTH.normalized,
      className: "normalized-layer",
    });
    viewer.map.addLayer(this.#layer);
  }
}
