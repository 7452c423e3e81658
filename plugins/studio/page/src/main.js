// Puts the page together.

import { api } from "./base/api.js";
import { el, fill, iconButton } from "./base/dom.js";
import { Events } from "./base/events.js";
import { ICONS } from "./base/icons.js";
import { bind, listen, showHelp } from "./base/keys.js";
import { failed, note } from "./base/notes.js";
import { themeSwitch } from "./base/theme.js";
import { tabs } from "./base/tabs.js";
import { Masks } from "./pipeline/masks.js";
import { StepsPanel } from "./pipeline/panel.js";
import { PipelineState } from "./pipeline/state.js";
import { Swipe } from "./pipeline/swipe.js";
import { installRegions } from "./regions/install.js";
import { RunPanel } from "./run/panel.js";
import { SlidePanel } from "./slides/facts.js";
import { SlideList, UNREADABLE } from "./slides/list.js";
import { installTiles } from "./tiles/install.js";
import { magnifications } from "./viewer/magnification.js";
import { overview } from "./viewer/overview.js";
import { scaleBar } from "./viewer/scale_bar.js";
import { Viewer } from "./viewer/viewer.js";

const MOUSE = [
  ["Slide", ["Drag", "←→↑↓"], "pan"],
  ["Slide", ["Wheel", "pinch"], "zoom"],
  ["Regions", ["Alt+click"], "remove a corner"],
  ["Regions", ["Shift+click"], "select several"],
  ["Regions", ["Shift+drag"], "draw a part by hand (Polygon, Hole)"],
];

async function start() {
  const session = await api.session();
  const events = new Events();
  const viewer = new Viewer(document.getElementById("map"), events);
  const stage = document.getElementById("stage");
  const panels = tabs(document.getElementById("panel"), ["Slide", "Regions", "Tiles", "Steps", "Run"]);
  const pipeline = new PipelineState(events);
  const app = { session, events, viewer, stage, panels, pipeline };
  const opener = new Opener(app);
  app.list = new SlideList(document.getElementById("slides"), (id) => opener.open(id));
  app.slidePanel = new SlidePanel(panels.Slide, app.list);
  app.regions = installRegions(app);
  app.decisions = installTiles(app);
  const masks = new Masks(
    app,
    app.decisions,
    session.can_write_regions ? (mask, revision) => app.regions.proposals.ask(mask, revision) : null,
  );
  new StepsPanel(panels.Steps, app, masks.section);
  new Swipe(app);
  new RunPanel(panels.Run, app);
  overview(stage, viewer, events);
  scaleBar(stage, events);
  headerOf(app);
  viewerKeys(viewer);
  listen();
  // What the first picture does not need waits for it: the server has as many threads as the machine has cores.
  events.on("first-picture", () => {
    pipeline.load().catch(failed);
    app.list.showThumbnails();
  });
  await app.list.load();
  if (app.list.rows.length) await opener.open(opener.wanted ?? app.list.rows[0].id);
  if (!viewer.slide) events.tell("first-picture"); // there will be none
  if (!app.list.rows.length)
    fill(
      stage,
      el(
        "p",
        { class: "empty" },
        "No slides here. Start slideloom studio with slides, a folder of slides or a project.",
      ),
    );
}

/** Opens one slide after another; when another one is asked for meanwhile, the earlier one is given up. */
class Opener {
  #asking = null;

  constructor(app) {
    this.app = app;
  }

  /** The slide in the page's address, so that a reload shows the same one. */
  get wanted() {
    const id = decodeURIComponent(location.hash.slice(1));
    return this.app.list.rows.some((row) => row.id === id) ? id : null;
  }

  /** The slide's regions. A file that cannot be read keeps nobody from the slide, but nothing is written over it. */
  async regions(id, signal) {
    const none = { revision: null, geojson: { type: "FeatureCollection", features: [] } };
    if (!this.app.session.roi_folder && !this.app.session.can_write_regions) return none;
    try {
      return await api.regions(id, signal);
    } catch (error) {
      if (error.name === "AbortError" || error.status === 0) throw error;
      return { ...none, blocked: error.message };
    }
  }

  async open(id) {
    const { app } = this;
    this.#asking?.abort();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    app.list.mark(id);
    if (id === app.viewer.slide?.id) return;
    if (!(await app.regions.saving.leave())) {
      if (!signal.aborted) app.list.mark(app.viewer.slide?.id ?? null);
      return;
    }
    if (signal.aborted) return;
    try {
      const [facts, pyramid, regions] = await Promise.all([
        api.slide(id, signal),
        api.pyramid(id, signal),
        this.regions(id, signal),
      ]);
      if (signal.aborted) return;
      if (facts.error) note(facts.error, { error: true });
      history.replaceState(null, "", `#${encodeURIComponent(id)}`);
      document.title = `${facts.name} - slideloom studio`;
      app.viewer.show(facts, pyramid);
      app.events.tell("slide", { id, facts });
      app.slidePanel.show(facts);
      if (regions.blocked) note(regions.blocked, { error: true });
      await app.regions.saving.open(id, regions);
    } catch (error) {
      if (signal.aborted) return; // another slide was asked for
      app.list.mark(app.viewer.slide?.id ?? null);
      if (error.status === UNREADABLE) app.list.update({ id, error: error.message });
      failed(error);
    }
  }
}

function headerOf({ events, viewer, session, regions }) {
  const name = el("h1", {}, session.title);
  const state = el("span", { class: "saving", id: "saving" });
  events.on("slide", ({ facts }) => {
    name.textContent = facts.name;
  });
  events.on("saving", ({ state: now, reason }) => {
    state.dataset.state = now;
    state.textContent = {
      saved: "Saved",
      waiting: "Not saved yet",
      saving: "Saving…",
      failed: "Not saved",
      readonly: "View only",
    }[now];
    state.title = reason;
  });
  fill(
    document.getElementById("bar"),
    el("strong", { class: "brand" }, "slideloom ", el("span", {}, "studio")),
    name,
    state,
    el("span", { class: "spring" }),
    magnifications(viewer, events),
    themeSwitch(),
    iconButton(ICONS.help, "Keyboard and mouse (?)", () => showHelp(MOUSE)),
  );
}

function viewerKeys(viewer) {
  const when = (action) => () => (viewer.slide ? action() : false);
  bind(
    "Slide",
    ["+", "="],
    "zoom in",
    when(() => viewer.zoom(1)),
  );
  bind(
    "Slide",
    ["-"],
    "zoom out",
    when(() => viewer.zoom(-1)),
  );
  bind(
    "Slide",
    ["0"],
    "whole slide",
    when(() => viewer.fit()),
  );
  bind(
    "Slide",
    ["ArrowLeft"],
    "",
    when(() => viewer.pan(-1, 0)),
  );
  bind(
    "Slide",
    ["ArrowRight"],
    "",
    when(() => viewer.pan(1, 0)),
  );
  bind(
    "Slide",
    ["ArrowUp"],
    "",
    when(() => viewer.pan(0, -1)),
  );
  bind(
    "Slide",
    ["ArrowDown"],
    "",
    when(() => viewer.pan(0, 1)),
  );
  bind("Page", ["?"], "this card", () => showHelp(MOUSE));
}

start().catch(failed);
