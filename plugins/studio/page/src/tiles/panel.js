// The panel of tiles: whether they show, their size, and how many are kept or left out, by reason.

import { button, el, fill, labelled } from "../base/dom.js";

const NUMBER = new Intl.NumberFormat("en");

export class TilePanel {
  constructor(panel, { events, pipeline }, decisions, layer, pointer) {
    Object.assign(this, { decisions, layer, pipeline });
    this.shown = el("input", {
      type: "checkbox",
      checked: decisions.shown,
      on: { change: () => decisions.show(this.shown.checked) },
    });
    this.opacity = el("input", {
      type: "range",
      min: 0.1,
      max: 1,
      step: 0.05,
      value: 1,
      on: { input: () => this.fade() },
    });
    this.total = el("p", { class: "total", role: "status" });
    this.legend = el("ul", { class: "legend", role: "list" });
    this.problem = el("p", { class: "problem", role: "alert" });
    this.partial = el(
      "p",
      { class: "warning", role: "status", hidden: true },
      el("span"),
      " ",
      button("Decide now", () => decisions.start(), { class: "plain link" }),
    );
    this.warning = el("p", { class: "warning" });
    this.size = el("section", {}, el("h3", {}, "Size"));
    fill(
      panel,
      el(
        "div",
        { class: "row" },
        el("h2", {}, "Tiles"),
        el("span", { class: "spring" }),
        el("label", { class: "check switch" }, this.shown, "Show on the slide"),
      ),
      el(
        "section",
        {},
        this.problem,
        this.total,
        this.partial,
        this.legend,
        this.warning,
        labelled("Opacity", this.opacity),
      ),
      pointer.detail,
      this.size,
    );
    this.hint = el("p", { class: "quiet" }, "Click a tile on the slide to see its pixels and scores.");
    pointer.detail.before(this.hint);
    events.on("decisions", () => this.draw());
    events.on("tiles-shown", (shown) => {
      this.shown.checked = shown;
      this.draw();
    });
  }

  fade() {
    this.layer.opacity = Number(this.opacity.value);
    this.layer.layer.changed();
  }

  draw() {
    const { answer, shown } = this.decisions;
    const decided = answer.counts.length > 0;
    this.hint.hidden = !answer.grid || !shown;
    this.problem.textContent = answer.state === "failed" ? answer.error : "";
    this.warning.textContent = (answer.warnings ?? []).join("\n");
    if (decided) {
      const share = answer.planned ? Math.round((100 * answer.kept) / answer.planned) : 0;
      this.total.textContent = `${NUMBER.format(answer.kept)} of ${NUMBER.format(answer.planned)} tiles kept (${share} %)`;
    } else if (answer.state === "working") this.total.textContent = "Deciding…";
    else this.total.textContent = shown ? "" : "Switch on to see which tiles would be kept.";
    this.partial.hidden = !this.isPartial(answer, decided);
    this.partial.firstChild.textContent = !decided
      ? "Nothing is decided: it was cancelled."
      : answer.is_whole
        ? "These decisions are from before the last change."
        : "Cancelled before all steps had decided: the last ones are left out.";
    this.drawLegend(answer.counts);
  }

  /** Whether the tiles on screen are not those of the steps on screen, because somebody stopped the work. */
  isPartial({ state, is_cancelled: isCancelled, is_current: isCurrent }, decided) {
    return decided ? state === "ready" && !isCurrent : state === "none" && Boolean(isCancelled);
  }

  /** Only numbers change while a slider moves; then rows, and with them the keyboard's focus, stay. */
  drawLegend(counts) {
    const reasons = JSON.stringify(counts.map(({ reason, colour }) => [reason, colour]));
    if (reasons !== this.reasons)
      fill(
        this.legend,
        counts.map((entry) => this.entry(entry)),
      );
    this.reasons = reasons;
    counts.forEach(({ count }, at) => {
      this.legend.children[at].querySelector(".count").textContent = NUMBER.format(count);
    });
  }

  entry({ reason, title, colour }) {
    const box = el("input", {
      type: "checkbox",
      checked: !this.layer.hidden.has(reason),
      on: {
        change: (event) => {
          if (event.target.checked) this.layer.hidden.delete(reason);
          else this.layer.hidden.add(reason);
          this.layer.changed();
        },
      },
    });
    return el(
      "li",
      { "data-reason": reason },
      el(
        "label",
        {},
        box,
        el("span", { class: "swatch", style: { background: colour } }),
        el("span", { class: "name" }, title),
        el("span", { class: "count" }),
      ),
    );
  }
}
