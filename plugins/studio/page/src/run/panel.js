// Taking the pipeline along as text, and running it.

import { api } from "../base/api.js";
import { button, el, fill } from "../base/dom.js";
import { failed, note } from "../base/notes.js";

const FORMS = { toml: "TOML", command: "Command", python: "Python" };
const POLL = 400;
const AGAIN = 5000; // where the server did not answer

export class RunPanel {
  #form = "toml";
  #watching = 0; // counts who follows a run; only the last one does
  #asked = 0; // counts requests for a text; an answer to anything but the last is dropped

  constructor(panel, { session, events, viewer, regions, pipeline }) {
    Object.assign(this, { session, viewer, saving: regions.saving, pipeline });
    this.text = el("pre", { tabindex: "0", "aria-label": "The pipeline as text" });
    this.forms = Object.entries(FORMS).map(([form, words]) =>
      button(words, () => this.show(form), { "data-form": form }),
    );
    this.copyButton = button("Copy pipeline", () => this.copy(), { class: "primary" });
    this.state = el("div", { class: "run-state", role: "status" });
    this.starts = el(
      "div",
      { class: "row" },
      button("This slide", () => this.start("this"), { class: "primary" }),
      button("All slides", () => this.start("all")),
    );
    this.redo = el("input", { type: "checkbox" });
    const canRun = session.can_run;
    fill(
      panel,
      el("h2", {}, "Run"),
      !canRun
        ? null
        : el(
            "section",
            {},
            el("h3", {}, "Extract tiles"),
            el("p", { class: "quiet" }, session.out_folder ? `To ${session.out_folder}` : ""),
            el("label", { class: "check" }, this.redo, "Make finished slides again"),
            this.starts,
            this.state,
          ),
      el(
        "section",
        {},
        el("h3", {}, "This pipeline elsewhere"),
        el("div", { class: "segments", role: "group", "aria-label": "Form" }, this.forms),
        this.text,
        this.copyButton,
      ),
    );
    events.on("pipeline", () => this.show(this.#form));
    events.on("slide", () => this.show(this.#form));
    if (canRun) this.watch();
  }

  /** Shows the pipeline in a form; gives whether that is what is shown now. */
  async show(form) {
    this.#form = form;
    for (const element of this.forms) element.setAttribute("aria-pressed", String(element.dataset.form === form));
    if (!this.viewer.slide) return false;
    this.#asked += 1;
    const asked = this.#asked;
    try {
      const { text } = await api.pipelineText(form, this.viewer.slide.id);
      if (asked === this.#asked) this.text.textContent = text;
      return asked === this.#asked;
    } catch (error) {
      if (asked === this.#asked) failed(error);
      return false;
    }
  }

  /** Whether the server has the pipeline on screen; if it has not, the person is told why. */
  async isSettled() {
    if (await this.pipeline.settled()) return true;
    if (this.pipeline.problems.length)
      note("The pipeline on screen has mistakes; correct what is marked in Steps or Tiles first.", { error: true });
    return false;
  }

  async copy() {
    if (!(await this.isSettled()) || !(await this.show(this.#form))) return;
    try {
      await navigator.clipboard.writeText(this.text.textContent);
      note("Copied.");
    } catch {
      // Without permission, or not on loopback: select it, so that Ctrl+C takes it.
      getSelection().selectAllChildren(this.text);
      note("Press Ctrl+C to copy what is selected.");
    }
  }

  async start(slides) {
    try {
      if (!(await this.saving.save()) && this.saving.canWrite) {
        note("The regions are not saved, so a run would not see them.", { error: true });
        return;
      }
      if (!(await this.isSettled())) return;
      const { revision } = this.pipeline.now;
      await api.startRun({ slides, id: this.viewer.slide?.id, redo: this.redo.checked, revision });
      this.watch();
    } catch (error) {
      failed(error);
    }
  }

  async watch() {
    this.#watching += 1;
    const watching = this.#watching;
    let run = { state: "none" };
    do {
      let delay = POLL;
      try {
        run = await api.run();
        if (watching === this.#watching) this.draw(run);
      } catch (error) {
        failed(error);
        delay = AGAIN;
      }
      if (run.state === "working") await new Promise((resolve) => setTimeout(resolve, delay));
    } while (run.state === "working" && watching === this.#watching);
  }

  draw(run) {
    const working = run.state === "working";
    for (const element of this.starts.children) element.disabled = working;
    if (run.state === "none") {
      fill(this.state);
      return;
    }
    const words = {
      working: `${run.done} of ${run.total} slides`,
      done: `Done: ${run.kept.toLocaleString("en")} of ${run.planned.toLocaleString("en")} tiles`,
      failed: "Failed",
      cancelled: "Cancelled; finished slides stay",
    }[run.state];
    const lines = run.lines.filter((line) => line !== run.error).slice(-8);
    fill(
      this.state,
      el("p", { class: `outcome ${run.state}` }, words),
      working
        ? el("progress", {
            max: Math.max(1, run.total),
            value: run.done + (run.tiles ? run.tiles_done / run.tiles : 0),
            "aria-label": "Slides done",
          })
        : null,
      working && run.slide
        ? el(
            "p",
            { class: "quiet" },
            `${run.slide}: ${run.tiles_done.toLocaleString("en")} of ${run.tiles.toLocaleString("en")} tiles`,
          )
        : null,
      run.error ? el("p", { class: "problem" }, run.error) : null,
      lines.length
        ? el(
            "ul",
            { class: "lines" },
            lines.map((line) => el("li", {}, line)),
          )
        : null,
      working ? button("Cancel", () => api.cancelRun().catch(failed)) : null,
      run.report ? el("a", { href: run.report, target: "_blank", rel: "noopener" }, "Open the report") : null,
    );
  }
}
