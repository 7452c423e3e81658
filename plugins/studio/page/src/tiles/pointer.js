// The reason of the tile under the pointer, and the pixels and scores of a tile that is clicked.

import { api } from "../base/api.js";
import { button, el, fill } from "../base/dom.js";
import { failed } from "../base/notes.js";
import { tidy, toSlide } from "../viewer/coordinates.js";

const FORMS = { original: "As read", normalized: "Normalized", masks: "Masks" };

export class TilePointer {
  constructor({ viewer, stage, events, panels, pipeline }, decisions, layer) {
    Object.assign(this, { viewer, events, decisions, layer, panels, pipeline });
    this.tip = el("div", { class: "tip", hidden: true });
    this.detail = el("section", { class: "tile-detail", "aria-label": "Tile" });
    stage.append(this.tip);
    viewer.map.on("pointermove", (event) => this.#hover(event));
    viewer.target.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
    viewer.map.on("click", (event) => this.#click(event));
    events.on("slide", () => this.close());
    events.on("decisions", () => this.#refresh());
  }

  titleOf(code) {
    return this.decisions.answer.counts[code]?.title ?? "Left out";
  }

  #hover({ coordinate, pixel, dragging }) {
    const tile = this.decisions.shown && !dragging ? this.decisions.at(toSlide(coordinate)) : null;
    this.tip.hidden = !tile;
    if (!tile) return;
    this.tip.textContent = this.titleOf(tile.code);
    this.tip.style.transform = `translate(${Math.round(pixel[0] + 14)}px, ${Math.round(pixel[1] + 16)}px)`;
  }

  /** Tiles take clicks while their panel is open; otherwise regions do, which may cover all tissue. */
  #click({ coordinate }) {
    if (!this.decisions.shown || this.panels.current !== "Tiles") return;
    const tile = this.decisions.at(toSlide(coordinate));
    if (tile) this.open(tile);
    else this.close();
  }

  close() {
    this.layer.marked = null;
    this.layer.layer.changed();
    fill(this.detail);
  }

  #refresh() {
    if (this.layer.marked && this.decisions.isReady) this.open(this.layer.marked);
  }

  async open({ column, row }) {
    this.layer.marked = { column, row };
    this.layer.layer.changed();
    const { id } = this.decisions;
    try {
      const tile = await api.tile(id, column, row);
      if (this.layer.marked?.column === column && this.layer.marked?.row === row && id === this.decisions.id)
        this.#draw({ ...tile, column, row });
    } catch (error) {
      failed(error);
    }
  }

  #draw(tile) {
    const { id, answer } = this.decisions;
    const forms = [
      "original",
      ...(this.pipeline.now?.normalizer ? ["normalized"] : []),
      ...(this.pipeline.now?.qc.length ? ["masks"] : []),
    ];
    const picture = (form) =>
      el(
        "figure",
        {},
        el("img", {
          src: api.tilePicture(id, tile.column, tile.row, form, answer.revision),
          alt: `${FORMS[form]}: pixels of the tile`,
          on: { error: (event) => event.target.parentElement.remove() },
        }),
        el("figcaption", {}, FORMS[form]),
      );
    fill(
      this.detail,
      el(
        "div",
        { class: "row" },
        el("h3", {}, `Tile ${tile.column}, ${tile.row}`),
        el("span", { class: "spring" }),
        button("×", () => this.close(), { class: "plain", "aria-label": "Close the tile" }),
      ),
      el(
        "p",
        { class: tile.kept ? "verdict kept" : "verdict" },
        tile.kept ? "Kept" : tile.title,
        tile.label ? el("span", { class: "quiet" }, ` · ${tile.label}`) : null,
      ),
      el("div", { class: "tile-pictures" }, forms.map(picture)),
      tile.scores.length ? this.#scores(tile.scores) : null,
      el(
        "p",
        { class: "quiet" },
        `Centre ${Math.round(tile.loc_x).toLocaleString("en")}, ${Math.round(tile.loc_y).toLocaleString("en")}`,
      ),
    );
  }

  #scores(scores) {
    const limit = ({ threshold, keep_when: keepWhen }) =>
      threshold === null ? "" : `${keepWhen === "at most" ? "≤" : keepWhen} ${tidy(threshold)}`;
    const rows = scores.map((score) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, score.title ?? score.step),
        el("td", {}, tidy(score.value)),
        el("td", { class: "quiet", title: "Kept within this" }, limit(score)),
      ),
    );
    return el("table", { class: "scores" }, el("caption", {}, "Scores"), el("tbody", {}, rows));
  }
}
