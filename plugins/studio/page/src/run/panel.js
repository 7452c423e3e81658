// Taking the pipeline along as text, and running it.

import { api } from "../base/api.js";
import { button, el, fill } from "../base/dom.js";
import { failed, note } from "../base/notes.js";

const FORMS = { toml: "TOML", command: "Command", python: "Python" };
const POLL = 400;

export class RunPanel {
  #form = "toml";
  #watching = false;

  constructor(panel, { session, events, viewer, regions, list }) {
    Object.assign(this, { session, viewer, saving: regions.saving, list });
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

  async show(form) {
    this.#form = form;
    for (const element of this.forms) element.setAttribute("aria-pressed", String(element.dataset.form === form));
    if (!this.viewer.slide) return;
    try {
      const { text } = await api.pipelineText(form, this.viewer.slide.id);
      if (this.#form === form) this.text.textContent = text;
    } catch (error) {
      failed(error);
    }
  }

  async copy() {
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
      await api.startRun({ slides, id: this.viewer.slide?.id, redo: this.redo.checked });
      this.watch();
    } catch (error) {
      failed(error);
    }
  }

  async watch() {
    if (this.#watching) return;
    this.#watching = true;
    try {
      for (let run = await api.run(); ; run = await api.run()) {
        this.draw(run);
        if (run.state !== "working") break;
        await new Promise((resolve) => setTimeout(resolve, POLL));
      }
    } catch (error) {
      failed(error);
    }
    this.#watching = false;
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
