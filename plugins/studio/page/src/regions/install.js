// The parts that draw, list and save regions, put together.

import { bind } from "../base/keys.js";
import { regionActions } from "./actions.js";
import { RegionLayer } from "./layer.js";
import { Labels } from "./labels.js";
import { Regions } from "./model.js";
import { RegionPanel } from "./panel.js";
import { Proposals } from "./proposals.js";
import { Saving } from "./saving.js";
import { toolbar } from "./toolbar.js";
import { Tools, TOOLS } from "./tools.js";

export function installRegions({ session, events, viewer, stage, panels, list }) {
  const regions = new Regions(events);
  const labels = new Labels(session.labels);
  const layer = new RegionLayer(viewer, regions, labels, events);
  const saving = new Saving(regions, events, session);
  const actions = regionActions({ viewer, regions, labels, events, saving });
  const tools = new Tools(viewer, regions, layer, events, actions, panels);
  const use = (name) => {
    if (!viewer.slide) return;
    tools.use(name);
    if (name !== "select") panels.show("Regions");
    viewer.target.focus({ preventScroll: true }); // so that Enter and Escape reach the drawing, not the button
  };
  toolbar(stage, tools, regions, events, { ...actions, use });
  const proposals = new Proposals({ viewer, events, panels }, regions, labels);
  new RegionPanel(panels.Regions, { viewer, regions, labels, events, actions, saving, proposals });
  events.on("slide", () => tools.use("select"));
  events.on("regions-saved", ({ id, regions: count }) => {
    const { status } = list.rows.find((row) => row.id === id);
    const kept = status === "reviewed" || status === "excluded";
    list.update({ id, regions: count, status: kept ? status : count ? "regions" : "untouched" });
  });

  for (const [name, { key, name: words }] of Object.entries(TOOLS)) bind("Tools", [key], words, () => use(name));
  bind("Regions", ["Ctrl+z"], "undo", () => regions.undo());
  bind("Regions", ["Ctrl+Shift+z", "Ctrl+y"], "redo", () => regions.redo());
  bind("Regions", ["c"], "copy the selected", actions.copy);
  bind("Regions", ["Delete"], "delete the selected", actions.remove);
  bind("Regions", ["d"], "remove the corner under the pointer", () => tools.removeCorner());
  bind("Regions", ["Enter"], "close the polygon", (event) =>
    event.target.closest("button, summary") ? false : tools.finish(),
  );
  bind("Regions", ["Backspace"], "take back the last corner", () => tools.back());
  bind("Regions", ["Escape"], "stop drawing, then select nothing", () => {
    tools.abort();
    if (tools.name === "select") regions.select([]);
    else tools.use("select");
  });
  bind("Regions", ["["], "smaller brush", () => tools.resizeBrush(1 / 1.25));
  bind("Regions", ["]"], "larger brush", () => tools.resizeBrush(1.25));
  return { regions, labels, layer, saving, actions, tools, proposals };
}
