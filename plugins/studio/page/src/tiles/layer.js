// The grid of tiles over the slide. From afar it is one picture with a pixel per tile, which is drawn as fast for
// 100,000 tiles as for ten; near by, the tiles in view are drawn with their outlines.

import Layer from "ol/layer/Layer.js";

import { DEPTH } from "../viewer/viewer.js";
import { KEPT, NO_TILE } from "./decisions.js";

const NEAR = 28; // screen pixels of a tile from which on outlines are drawn
const FILL = { kept: 0.16, rejected: 0.5 };

const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

export class TileGridLayer {
  #canvas = document.createElement("canvas");
  #picture = document.createElement("canvas");
  #stale = true;

  constructor(viewer, decisions, events) {
    Object.assign(this, { viewer, decisions });
    this.hidden = new Set(); // reasons that are not drawn, "kept" among them
    this.marked = null; // the tile that is looked at, {column, row}
    this.opacity = 1;
    this.#canvas.className = "tile-grid";
    this.layer = new Layer({ render: (frame) => this.#render(frame), zIndex: DEPTH.tiles, visible: decisions.shown });
    events.on("slide", () => {
      this.marked = null;
      viewer.map.addLayer(this.layer);
    });
    events.on("decisions", () => this.changed());
    events.on("tiles-shown", (shown) => this.layer.setVisible(shown));
  }

  changed() {
    this.#stale = true;
    this.layer.changed();
  }

  /** Colour and whether it is drawn, by code. */
  #looks() {
    return this.decisions.answer.counts.map(({ reason, colour }, code) => ({
      colour,
      fill: code === KEPT ? FILL.kept : FILL.rejected,
      shown: !this.hidden.has(reason),
    }));
  }

  #paint(grid, codes) {
    this.#stale = false;
    this.#picture.width = grid.columns;
    this.#picture.height = grid.rows;
    const context = this.#picture.getContext("2d");
    const picture = context.createImageData(grid.columns, grid.rows);
    const words = new Uint32Array(picture.data.buffer);
    const table = new Uint32Array(256);
    this.#looks().forEach(({ colour, fill, shown }, code) => {
      const [red, green, blue] = rgb(colour);
      new Uint8Array(table.buffer).set(shown ? [red, green, blue, Math.round(255 * fill)] : [0, 0, 0, 0], 4 * code);
    });
    for (let at = 0; at < codes.length; at += 1) words[at] = table[codes[at]];
    context.putImageData(picture, 0, 0);
  }

  #render({ size, pixelRatio, viewState: { center, resolution } }) {
    const from = performance.now();
    const canvas = this.#canvas;
    const [width, height] = size.map((length) => Math.round(length * pixelRatio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const grid = this.decisions.answer.grid;
    const codes = this.decisions.codes;
    if (!grid || !codes) return canvas;
    const scale = pixelRatio / resolution;
    // From level-0 pixels to pixels of this canvas.
    const place = { scale, x: width / 2 - center[0] * scale, y: height / 2 + center[1] * scale };
    if (this.#stale) this.#paint(grid, codes);
    context.globalAlpha = this.opacity;
    if (grid.stride_x / resolution < NEAR) this.#drawAll(context, grid, place);
    else this.#drawNear(context, grid, codes, place, pixelRatio);
    this.#drawMarked(context, grid, place, pixelRatio);
    this.viewer.target.dataset.redrawMs = (performance.now() - from).toFixed(2);
    return canvas;
  }

  #drawAll(context, grid, { scale, x, y }) {
    context.imageSmoothingEnabled = false;
    context.drawImage(
      this.#picture,
      x + grid.x0 * scale,
      y + grid.y0 * scale,
      grid.columns * grid.stride_x * scale,
      grid.rows * grid.stride_y * scale,
    );
  }

  #drawNear(context, grid, codes, { scale, x, y }, pixelRatio) {
    const { width, height } = context.canvas;
    const index = (pixel, origin, offset, stride, count) =>
      Math.min(count, Math.max(0, Math.floor(((pixel - origin) / scale - offset) / stride)));
    const columns = [
      index(0, x, grid.x0, grid.stride_x, grid.columns) - 1,
      index(width, x, grid.x0, grid.stride_x, grid.columns),
    ];
    const rows = [
      index(0, y, grid.y0, grid.stride_y, grid.rows) - 1,
      index(height, y, grid.y0, grid.stride_y, grid.rows),
    ];
    const paths = this.#looks().map(() => new Path2D());
    // Thin lines where tiles are small; the inset keeps the outlines of neighbours apart.
    const line = (grid.tile_w * scale < 80 * pixelRatio ? 1 : 1.6) * pixelRatio;
    const inset = line / 2 + 0.25 * pixelRatio;
    for (let row = Math.max(0, rows[0]); row <= Math.min(rows[1], grid.rows - 1); row += 1) {
      for (let column = Math.max(0, columns[0]); column <= Math.min(columns[1], grid.columns - 1); column += 1) {
        const code = codes[row * grid.columns + column];
        if (code === NO_TILE) continue;
        const left = x + (grid.x0 + column * grid.stride_x) * scale;
        const top = y + (grid.y0 + row * grid.stride_y) * scale;
        paths[code]?.rect(left + inset, top + inset, grid.tile_w * scale - 2 * inset, grid.tile_h * scale - 2 * inset);
      }
    }
    context.lineWidth = line;
    this.#looks().forEach(({ colour, shown }, code) => {
      if (!shown) return;
      context.strokeStyle = colour;
      context.stroke(paths[code]);
      if (code === KEPT) return; // near by, a tint would be in the way of what is kept
      context.fillStyle = `${colour}38`;
      context.fill(paths[code]);
    });
  }

  #drawMarked(context, grid, { scale, x, y }, pixelRatio) {
    if (!this.marked) return;
    const { column, row } = this.marked;
    const box = [
      x + (grid.x0 + column * grid.stride_x) * scale,
      y + (grid.y0 + row * grid.stride_y) * scale,
      grid.tile_w * scale,
      grid.tile_h * scale,
    ];
    context.globalAlpha = 1;
    for (const [colour, width] of [
      ["#ffffff", 5],
      ["#111827", 2],
    ]) {
      context.strokeStyle = colour;
      context.lineWidth = width * pixelRatio;
      context.strokeRect(...box);
    }
  }
}
