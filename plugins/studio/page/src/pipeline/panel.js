// The panel of steps: QC, filters and the normalizer, with forms made out of what is installed.

import { api } from "../base/api.js";
import { button, el, fill, iconButton } from "../base/dom.js";
import { ICONS } from "../base/icons.js";
import { failed, note } from "../base/notes.js";
import { tidy } from "../viewer/coordinates.js";
import { optionField } from "./fields.js";
import { placeOf } from "./state.js";

const LISTS = [
  { list: "qc", kind: "qc", title: "Slide QC", add: "Add a QC step" },
  { list: "filters", kind: "filter", title: "Tile filters", add: "Add a filter" },
];

export class StepsPanel {
  constructor(panel, { events, viewer, pipeline, decisions }, extra) {
    Object.assign(this, { viewer, pipeline, decisions });
    this.qc = el("div");
    this.others = el("div");
    this.lists = el("div", {}, this.qc, extra, this.others);
    this.problem = el("p", { class: "problem", role: "alert" });
    fill(panel, el("h2", {}, "Steps"), this.problem, this.lists);
    events.on("draft", () => this.draw());
    events.on("problems", () => this.complain());
    events.on("decisions", ({ answer }) => this.progress(answer));
  }

  draw() {
    const open = new Set([...this.lists.querySelectorAll("details[open]")].map((details) => details.dataset.key));
    fill(this.qc, this.section(LISTS[0]));
    fill(this.others, this.section(LISTS[1]), this.normalizer());
    for (const details of this.lists.querySelectorAll("details")) details.open = open.has(details.dataset.key);
    this.complain();
    this.progress(this.decisions.answer);
  }

  section({ list, kind, title, add }) {
    const uses = this.pipeline.draft[list];
    return el(
      "section",
      { "data-list": list },
      el("h3", {}, title),
      uses.map((use, at) => this.card(list, kind, use, at, uses.length)),
      this.adder(kind, add, (name) => this.edit((draft) => draft[list].push({ use: name, options: {} }))),
    );
  }

  normalizer() {
    const use = this.pipeline.draft.normalizer;
    return el(
      "section",
      { "data-list": "normalizer" },
      el("h3", {}, "Normalizer"),
      use
        ? this.card("normalizer", "normalizer", use, null, 1)
        : this.adder("normalizer", "Choose a normalizer", (name) =>
            this.edit((draft) => {
              draft.normalizer = { use: name, options: {} };
            }),
          ),
    );
  }

  /** Steps came or went: forms are made anew, and tiles are shown, since that is what one wants to see. */
  edit(change) {
    this.pipeline.change(change, { reshaped: true });
    if (!this.decisions.shown) this.decisions.show(true);
  }

  adder(kind, words, onAdd) {
    const offers = this.pipeline.offers.filter((offer) => offer.kind === kind);
    const select = el(
      "select",
      { "aria-label": words, class: "adder" },
      el("option", { value: "" }, `+ ${words}…`),
      offers.map(({ name, title, help, missing }) =>
        el(
          "option",
          { value: name, title: missing ?? help ?? "", disabled: Boolean(missing) },
          missing ? `${title ?? name} (${missing})` : (title ?? name),
        ),
      ),
    );
    select.disabled = !offers.length;
    select.addEventListener("change", () => select.value && onAdd(select.value));
    return select;
  }

  card(list, kind, use, at, count) {
    const offer = this.pipeline.offer(kind, use.use);
    const path = at === null ? list : `${list}.${at}`;
    const options = offer?.options ?? [];
    const move = (by) => this.edit((draft) => draft[list].splice(at + by, 0, ...draft[list].splice(at, 1)));
    const remove = () => this.edit((draft) => (at === null ? (draft.normalizer = null) : draft[list].splice(at, 1)));
    const name = offer?.title ?? use.use;
    const advanced = options.filter((option) => option.advanced);
    return el(
      "article",
      { class: "step", "data-step": path },
      el(
        "header",
        {},
        el("h4", {}, name),
        el("span", { class: "state" }),
        count > 1
          ? [
              iconButton(ICONS.up, `Move ${name} up`, () => move(-1), { class: "icon small", disabled: at === 0 }),
              iconButton(ICONS.down, `Move ${name} down`, () => move(1), {
                class: "icon small",
                disabled: at === count - 1,
              }),
            ]
          : null,
        iconButton(ICONS.close, `Remove ${name}`, remove, { class: "icon small" }),
      ),
      offer?.help ? el("p", { class: "quiet help" }, offer.help) : null,
      el("p", { class: "problem of-step", role: "alert" }),
      offer ? null : el("p", { class: "problem" }, `No installed plugin offers ${use.use}.`),
      options.filter((option) => !option.advanced).map((option) => this.field(option, use, path)),
      advanced.length
        ? el(
            "details",
            { "data-key": `${path} ${use.use}` },
            el("summary", {}, "More options"),
            advanced.map((option) => this.field(option, use, path)),
          )
        : null,
    );
  }

  field(option, use, path) {
    const field = this.plainField(option, use, path);
    if (option.from_view) {
      const take = button("From the present view", () => this.takeView(option, use, take), { class: "plain link" });
      field.append(take);
    }
    return field;
  }

  /** Makes what is in view the target of a normalizer: the values of its fit, which a pipeline file holds like any. */
  async takeView(option, use, take) {
    const { slide } = this.viewer;
    if (!slide) return;
    take.disabled = true;
    try {
      const { target, width, height, downsample } = await api.target(slide.id, use.use, this.viewer.box);
      if (this.pipeline.draft.normalizer !== use) return; // removed meanwhile
      this.edit(() => {
        use.options = { ...use.options, [option.name]: target };
      });
      note(`The target is now ${slide.name}: ${width} × ${height} px in view, at 1 : ${tidy(downsample)}.`);
    } catch (error) {
      failed(error);
    } finally {
      take.disabled = false;
    }
  }

  plainField(option, use, path) {
    return optionField(option, use.options?.[option.name], `${path}.${option.name}`, (value) =>
      this.pipeline.change(() => {
        use.options ??= {};
        if (value === null) delete use.options[option.name];
        else use.options[option.name] = value;
      }),
    );
  }

  /** Problems stand beside their fields, else in their step; those without a place above all. */
  complain() {
    const { problems, draft, offers } = this.pipeline;
    const told = problems.map((problem) => ({ ...problem, place: placeOf(problem, draft, offers) }));
    for (const field of document.querySelectorAll("[data-path]")) {
      if (told.some(({ place }) => place === field.dataset.path)) field.closest("details")?.setAttribute("open", "");
      field.complain(
        told
          .filter(({ place }) => place === field.dataset.path)
          .map(({ text }) => text)
          .join(" "),
      );
    }
    for (const place of this.lists.querySelectorAll("[data-step] > .of-step")) {
      place.textContent = told
        .filter((problem) => problem.place === place.parentElement.dataset.step)
        .map(({ text }) => text)
        .join(" ");
    }
    this.problem.textContent = told
      .filter(({ place }) => place === null)
      .map(({ where, text }) => (where ? `${where}: ${text}` : text))
      .join(" ");
  }

  progress(answer) {
    const counts = {};
    for (const { kind, state, share, error, seconds } of answer.steps ?? []) {
      const list = { qc: "qc", filter: "filters", normalizer: "normalizer" }[kind] ?? kind;
      const at = counts[list] ?? 0;
      counts[list] = at + 1;
      const card = this.lists.querySelector(`[data-step="${list === "normalizer" ? list : `${list}.${at}`}"]`);
      if (!card) continue;
      const words = {
        waiting: "waiting",
        working: share === null ? "working" : `${Math.round(100 * share)} %`,
        done: seconds >= 0.1 ? `${seconds.toFixed(1)} s` : "",
        failed: "failed",
        cancelled: "cancelled",
      };
      const place = card.querySelector(".state");
      place.textContent = words[state] ?? state;
      place.dataset.state = state;
      place.title = error ?? "";
    }
  }
}
