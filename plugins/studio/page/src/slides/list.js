// The list of slides: thumbnails, status, search, and going to the next or previous one.

import { api } from "../base/api.js";
import { el, fill, iconButton } from "../base/dom.js";
import { ICONS } from "../base/icons.js";
import { bind } from "../base/keys.js";
import { failed } from "../base/notes.js";
import { showPicture } from "../base/pictures.js";

const THUMBNAIL_PX = 120;
export const UNREADABLE = 410; // the status of a slide whose file is gone or cannot be read

export const STATUS = { untouched: "Untouched", regions: "Has regions", reviewed: "Reviewed", excluded: "Excluded" };

export class SlideList {
  constructor(nav, open) {
    this.open = open;
    this.rows = [];
    this.current = null;
    this.hasThumbnails = false;
    this.search = el("input", {
      type: "search",
      placeholder: "Search slides",
      "aria-label": "Search slides",
      on: { input: () => this.draw() },
    });
    this.filter = el(
      "select",
      { "aria-label": "Show slides by status", on: { change: () => this.draw() } },
      el("option", { value: "" }, "All"),
      Object.entries(STATUS).map(([value, words]) => el("option", { value }, words)),
    );
    this.list = el("ul", { role: "list" });
    this.count = el("p", { class: "quiet count" });
    fill(
      nav,
      el("div", { class: "row tight" }, this.search),
      el(
        "div",
        { class: "row tight" },
        this.filter,
        iconButton(ICONS.previous, "Previous slide (,)", () => this.step(-1)),
        iconButton(ICONS.next, "Next slide (.)", () => this.step(1)),
      ),
      this.count,
      this.list,
    );
    bind("Slides", [".", "PageDown"], "next slide", () => this.step(1));
    bind("Slides", [",", "PageUp"], "previous slide", () => this.step(-1));
  }

  async load() {
    this.rows = await api.slides();
    this.draw();
  }

  /** Thumbnails are not asked for before this. */
  showThumbnails() {
    this.hasThumbnails = true;
    for (const item of this.list.children)
      item.querySelector("img").src = api.thumbnailAddress(item.dataset.id, THUMBNAIL_PX);
  }

  /** Replaces the row of one slide, such as after a review. */
  update(row) {
    this.rows = this.rows.map((other) => (other.id === row.id ? { ...other, ...row } : other));
    this.draw();
  }

  mark(id) {
    this.current = id;
    for (const item of this.list.children) item.firstChild.setAttribute("aria-current", String(item.dataset.id === id));
    this.reveal(this.list.querySelector("[aria-current=true]"));
  }

  /** Scrolls to a row. `scrollIntoView` would also let the Tab key start there, past the link to the slide. */
  reveal(row) {
    if (!row) return;
    const [outer, inner] = [this.list.getBoundingClientRect(), row.getBoundingClientRect()];
    if (inner.top < outer.top) this.list.scrollTop += inner.top - outer.top;
    if (inner.bottom > outer.bottom) this.list.scrollTop += inner.bottom - outer.bottom;
  }

  get shown() {
    const words = this.search.value.trim().toLowerCase();
    return this.rows.filter(
      ({ name, status, note }) =>
        (!this.filter.value || status === this.filter.value) && `${name} ${note}`.toLowerCase().includes(words),
    );
  }

  step(by) {
    const shown = this.shown;
    if (!shown.length) return;
    const at = shown.findIndex(({ id }) => id === this.current);
    const next = shown[at < 0 ? 0 : at + by];
    if (next) this.open(next.id);
  }

  draw() {
    const shown = this.shown;
    this.count.textContent =
      shown.length === this.rows.length
        ? `${shown.length} slide${shown.length === 1 ? "" : "s"}`
        : `${shown.length} of ${this.rows.length} slides`;
    // Rows that stay keep their element, and with it the thumbnail and the keyboard's focus.
    const old = new Map([...this.list.children].map((item) => [item.dataset.id, item]));
    fill(
      this.list,
      shown.map((row) => this.item(row, old.get(row.id))),
    );
    this.mark(this.current);
  }

  /** A thumbnail, which the browser loads by itself where it is in view; refused, it is asked for again to learn why. */
  thumbnail(id) {
    const img = el("img", {
      src: this.hasThumbnails ? api.thumbnailAddress(id, THUMBNAIL_PX) : null,
      alt: "",
      loading: "lazy",
    });
    const again = () =>
      showPicture(img, api.thumbnail(id, THUMBNAIL_PX)).catch((error) =>
        error.status === UNREADABLE ? this.update({ id, error: error.message }) : failed(error),
      );
    img.addEventListener("error", again, { once: true });
    return img;
  }

  item(row, old) {
    const item =
      old ??
      el(
        "li",
        { "data-id": row.id },
        el(
          "button",
          { type: "button", class: "slide", on: { click: () => this.open(row.id) } },
          this.thumbnail(row.id),
          el("span", { class: "words" }),
        ),
      );
    const state = row.error ? "error" : row.status;
    fill(
      item.querySelector(".words"),
      el("span", { class: "name", title: row.name }, row.name),
      el(
        "span",
        { class: `badge ${state}`, title: row.error ?? row.note ?? "" },
        row.error ? "Cannot be read" : STATUS[row.status],
        row.regions && !row.error ? ` · ${row.regions}` : "",
      ),
      row.planned
        ? el(
            "span",
            { class: "badge" },
            `${row.kept.toLocaleString("en")} of ${row.planned.toLocaleString("en")} tiles`,
          )
        : null,
    );
    return item;
  }
}
