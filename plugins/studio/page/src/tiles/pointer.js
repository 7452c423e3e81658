// The reason of the tile under the pointer, and the pixels and scores of a tile that is clicked.

import { api } from "../base/api.js";
import { button, el, fill } from "../base/dom.js";
import { failed } from "../base/notes.js";
import { showPicture } from "../base/pictures.js";
import { tidy, toSlide } from "../viewer/coordinates.js";

const FORMS = { original: "As read", normalized: "Normalized", masks: "Masks" };

export class TilePointer {
  #asked = 0; // counts what is asked for; an answer to anything but the last is dropped
  #revision = null; // of the decisions that the open tile is shown by
  #grid = null; // where its tile lies

  constructor({ viewer, stage, events, panels }, decisions, layer) {
    Object.assign(this, { viewer, events, decisions, layer, panels });
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
    this.#asked += 1;
    this.layer.marked = null;
    this.layer.layer.changed();
    fill(this.detail);
  }

  #refresh() {
    const { answer, isReady } = this.decisions;
    if (!this.layer.marked || !isReady || answer.revision === this.#revision) return;
    if (JSON.stringify(answer.grid) === this.#grid) this.open(this.layer.marked);
    else this.close(); // the same column and row are another place now
  }

  /** `error` came instead of a tile or its pixels. */
  #refused(error) {
    if (error.status === 409) this.decisions.outdated(error);
    else failed(error);
  }

  async open({ column, row }) {
    this.layer.marked = { column, row };
    this.layer.layer.changed();
    this.#asked += 1;
    const asked = this.#asked;
    const {
      id,
      answer: { revision, grid },
    } = this.decisions;
    this.#revision = revision;
    this.#grid = JSON.stringify(grid);
    try {
      const tile = await api.tile(id, column, row, revision);
      if (asked === this.#asked) this.#draw(id, { ...tile, column, row }, revision);
    } catch (error) {
      if (asked === this.#asked) this.#refused(error);
    }
  }

  #draw(id, tile, revision) {
    const asked = this.#asked;
    const picture = (form) => {
      const img = el("img", { alt: `${FORMS[form]}: pixels of the tile` });
      showPicture(img, api.tilePicture(id, tile.column, tile.row, form, revision)).catch(
        (error) => asked === this.#asked && this.#refused(error),
      );
      return el("figure", {}, img, el("figcaption", {}, FORMS[form]));
    };
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
      el("div", { class: "tile-pictures" }, tile.forms.map(picture)),
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
