// The parts that decide and show tiles, put together.

import { bind } from "../base/keys.js";
import { Decisions } from "./decisions.js";
import { TileGridLayer } from "./layer.js";
import { TilePanel } from "./panel.js";
import { TilePointer } from "./pointer.js";
import { pointsLayer } from "./points.js";
import { sizeForm } from "./size.js";
import { workingCard } from "./working.js";

export function installTiles(app) {
  const decisions = new Decisions(app);
  const layer = new TileGridLayer(app.viewer, decisions, app.events);
  const pointer = new TilePointer(app, decisions, layer);
  const panel = new TilePanel(app.panels.Tiles, app, decisions, layer, pointer);
  sizeForm(panel.size, app);
  pointsLayer(app, decisions);
  workingCard(app.stage, decisions, app.events);
  bind("Slide", ["t"], "show or hide tiles", () => decisions.show(!decisions.shown));
  return decisions;
}
