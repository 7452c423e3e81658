// Tiles that lie on no grid, such as those around cells, as points in the colours of their reasons.

import Layer from "ol/layer/Layer.js";

import { api } from "../base/api.js";
import { failed } from "../base/notes.js";
import { DEPTH } from "../viewer/viewer.js";

const NOTHING = { x: [], y: [], label: [] };

export function pointsLayer({ viewer, events }, decisions) {
  const canvas = document.createElement("canvas");
  canvas.className = "tile-grid";
  let points = NOTHING;
  let shown = null; // slide and revision of the points

  function render({ size, pixelRatio, viewState: { center, resolution } }) {
    Object.assign(canvas, { width: Math.round(size[0] * pixelRatio), height: Math.round(size[1] * pixelRatio) });
    const context = canvas.getContext("2d");
    const scale = pixelRatio / resolution;
    const colours = new Map(decisions.answer.counts.map(({ reason, colour }) => [reason, colour]));
    const side = Math.max(2, Math.min(7, 4 / resolution)) * pixelRatio;
    const [left, top] = [
      canvas.width / 2 - center[0] * scale - side / 2,
      canvas.height / 2 + center[1] * scale - side / 2,
    ];
    for (let at = 0; at < points.x.length; at += 1) {
      const [x, y] = [left + points.x[at] * scale, top + points.y[at] * scale];
      if (x < -side || y < -side || x > canvas.width || y > canvas.height) continue;
      context.fillStyle = colours.get(points.label[at]) ?? "#374151";
      context.fillRect(x, y, side, side);
    }
    return canvas;
  }

  const layer = new Layer({ render, zIndex: DEPTH.points, visible: decisions.shown });
  events.on("tiles-shown", (shown) => layer.setVisible(shown));
  events.on("slide", () => {
    points = NOTHING;
    shown = null;
    viewer.map.addLayer(layer);
  });
  events.on("decisions", async ({ answer, id }) => {
    const wanted = `${id} ${answer.revision}`;
    if (answer.state !== "ready" || wanted === shown) return;
    shown = wanted;
    try {
      const found = answer.grid ? NOTHING : await api.points(id, answer.revision);
      if (wanted !== shown) return; // asked again meanwhile
      points = found;
      layer.changed();
    } catch (error) {
      if (wanted !== shown) return;
      if (error.status === 409) decisions.outdated(error);
      else failed(error);
    }
  });
}
