// What is known of the open slide, its review, and its label and overview pictures.

import { api } from "../base/api.js";
import { el, fill, labelled } from "../base/dom.js";
import { debounced } from "../base/events.js";
import { failed } from "../base/notes.js";
import { showPicture } from "../base/pictures.js";
import { lengthText, tidy } from "../viewer/coordinates.js";
import { STATUS } from "./list.js";

function rows(facts) {
  const { width, height, mpp_x: mppX, mpp_y: mppY } = facts;
  const mpp = mppX
    ? `${tidy(mppX)}${mppY && tidy(mppY) !== tidy(mppX) ? ` × ${tidy(mppY)}` : ""} µm/px`
    : "not recorded";
  return [
    ["Name", facts.name],
    ["Size", `${width.toLocaleString("en")} × ${height.toLocaleString("en")} px`],
    mppX ? ["", `${lengthText(width * mppX)} × ${lengthText(height * (mppY ?? mppX))}`] : null,
    ["Resolution", mpp],
    facts.mpp_source ? ["", `from ${facts.mpp_source}`] : null,
    facts.objective_power ? ["Objective", `${facts.objective_power}×`] : null,
    ["Reader", facts.reader],
    ["Levels", facts.levels.map(({ downsample }) => tidy(downsample)).join(", ")],
  ].filter(Boolean);
}

export class SlidePanel {
  #remarks = Promise.resolve();

  constructor(panel, list) {
    this.panel = panel;
    this.list = list;
    this.flush = () => {};
    addEventListener("pagehide", () => this.flush());
  }

  /** Remarks are sent one after another: of two at once, the server might take the earlier one last. */
  #remark(id, remark) {
    this.#remarks = this.#remarks.then(async () => {
      try {
        this.list.update(await api.review(id, remark));
      } catch (error) {
        failed(error);
      }
    });
  }

  show(facts) {
    this.flush();
    this.facts = facts;
    const row = this.list.rows.find(({ id }) => id === facts.id);
    fill(
      this.panel,
      el("h2", {}, "Slide"),
      el(
        "dl",
        { class: "facts" },
        rows(facts).map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]),
      ),
      this.review(row),
      facts.pictures.length ? this.pictures() : null,
    );
  }

  review(row) {
    const status = el(
      "select",
      {},
      ["untouched", "reviewed", "excluded"].map((value) =>
        el("option", { value }, value === "untouched" ? "Not yet reviewed" : STATUS[value]),
      ),
    );
    status.value = row.status === "regions" ? "untouched" : row.status;
    const note = el("textarea", { rows: 2, value: row.note ?? "" });
    const id = row.id;
    const save = () => this.#remark(id, { status: status.value, note: note.value });
    const later = debounced(save, 600);
    this.flush = later.flush;
    status.addEventListener("change", save);
    note.addEventListener("input", later);
    note.addEventListener("blur", () => later.flush());
    return el(
      "section",
      {},
      el("h3", {}, "Review"),
      labelled("Status", status),
      labelled("Note", note, { help: "Goes to review.csv." }),
    );
  }

  /** Label and overview pictures, which may hold a patient's name, are shown only when asked for. */
  pictures() {
    const place = el("div", { class: "pictures" });
    const { id, pictures } = this.facts;
    const box = el("input", {
      type: "checkbox",
      on: {
        change: (event) =>
          fill(
            place,
            event.target.checked
              ? pictures.map((name) => {
                  const img = el("img", { alt: `${name} of the slide` });
                  showPicture(img, api.picture(id, name)).catch(failed);
                  return el("figure", {}, img, el("figcaption", {}, name));
                })
              : [],
          ),
      },
    });
    return el(
      "section",
      {},
      el("h3", {}, "Pictures"),
      el("label", { class: "check" }, box, "Show label and overview"),
      el("small", { class: "help" }, "They can hold a patient's name."),
      place,
    );
  }
}
