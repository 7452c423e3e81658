// The tools that draw and edit regions by mouse. One is active at a time.

import Collection from "ol/Collection.js";
import { altKeyOnly, primaryAction, singleClick } from "ol/events/condition.js";
import { createBox } from "ol/interaction/Draw.js";
import Draw from "ol/interaction/Draw.js";
import Modify from "ol/interaction/Modify.js";
import Translate from "ol/interaction/Translate.js";
import CircleStyle from "ol/style/Circle.js";
import Fill from "ol/style/Fill.js";
import LineString from "ol/geom/LineString.js";
import Polygon from "ol/geom/Polygon.js";
import Stroke from "ol/style/Stroke.js";
import Style from "ol/style/Style.js";

import { Brush } from "./brush.js";
import { polygonsFromMap } from "./layer.js";

/** Every tool: its key and what it is for. */
export const TOOLS = {
  select: {
    key: "v",
    name: "Select and edit",
    help: "Click a region; drag its corners or edges; Alt+click removes a corner",
  },
  move: { key: "m", name: "Move", help: "Drag the selected region" },
  polygon: {
    key: "p",
    name: "Polygon",
    help: "Click the corners; double-click or Enter closes; Backspace takes one back",
  },
  freehand: { key: "f", name: "Freehand", help: "Draw around with the button held" },
  rectangle: { key: "r", name: "Rectangle", help: "Drag from corner to corner" },
  ellipse: { key: "e", name: "Ellipse", help: "Drag the box around it" },
  brush: { key: "b", name: "Brush", help: "Paint; adds to the selected region. [ and ] change its size" },
  cut: { key: "x", name: "Cut brush", help: "Paint away from the selected region" },
  hole: {
    key: "h",
    name: "Hole",
    help: "Click around the hole, or hold Shift and draw; it is cut from the selected region",
  },
};

const ELLIPSE_CORNERS = 72;
const SIMPLER = 0.4; // screen pixels that a freehand outline may move to save points

/** The ellipse within the box from its first to its last point. */
function ellipse(coordinates, geometry) {
  const [[x0, y0], [x1, y1]] = [coordinates[0], coordinates[coordinates.length - 1]];
  const ring = Array.from({ length: ELLIPSE_CORNERS }, (_, at) => {
    const angle = (2 * Math.PI * at) / ELLIPSE_CORNERS;
    return [(x0 + x1) / 2 + ((x1 - x0) / 2) * Math.cos(angle), (y0 + y1) / 2 + ((y1 - y0) / 2) * Math.sin(angle)];
  });
  ring.push([...ring[0]]);
  const result = geometry ?? new Polygon([]);
  result.setCoordinates([ring]);
  return result;
}

function sketchStyle(colour) {
  return new Style({
    stroke: new Stroke({ color: colour, width: 2, lineDash: [6, 4] }),
    fill: new Fill({ color: `${colour}22` }),
    image: new CircleStyle({
      radius: 4,
      fill: new Fill({ color: "#fff" }),
      stroke: new Stroke({ color: colour, width: 2 }),
    }),
  });
}

export class Tools {
  #interactions = [];
  #draw = null;
  #brush = null;
  #modify = null;

  /** `actions`: drawn(polygons), cut(polygons), painted(polygons, {cut}), edited(key, polygons), picked(key, {more}), colour(). */
  constructor(viewer, regions, layer, events, actions, panels) {
    Object.assign(this, { viewer, regions, layer, events, actions, panels });
    this.name = "select";
    this.edited = new Collection();
    viewer.map.on("click", (event) => this.name === "select" && this.#pick(event));
    events.on("selection", () => this.#follow());
    events.on("regions", () => this.#follow());
  }

  use(name) {
    for (const interaction of this.#interactions) this.viewer.map.removeInteraction(interaction);
    this.#draw = this.#brush = this.#modify = null;
    this.name = name;
    this.#interactions = this.#make(name);
    for (const interaction of this.#interactions) this.viewer.map.addInteraction(interaction);
    this.viewer.target.dataset.tool = name;
    this.#follow();
    this.events.tell("tool", name);
  }

  #make(name) {
    if (name === "select") return [this.#modifying()];
    if (name === "move") return [this.#translating()];
    if (name === "brush" || name === "cut") {
      this.#brush = new Brush({
        cut: name === "cut",
        colour: name === "cut" ? "#b91c1c" : this.actions.colour(),
        onStroke: this.actions.painted,
      });
      return [this.#brush];
    }
    return [this.#drawing(name)];
  }

  #drawing(name) {
    const dragged = name === "rectangle" || name === "ellipse";
    const draw = new Draw({
      type: dragged ? "Circle" : "Polygon",
      geometryFunction: name === "rectangle" ? createBox() : name === "ellipse" ? ellipse : undefined,
      freehand: dragged || name === "freehand",
      style: sketchStyle(name === "hole" ? "#b91c1c" : this.actions.colour()),
      condition: primaryAction,
      stopClick: true,
    });
    draw.on("drawend", ({ feature }) => {
      const polygons = polygonsFromMap(this.#simpler(feature.getGeometry(), name === "freehand" || name === "hole"));
      // After this event the interaction clears its sketch; a tool that changes inside it would be cleared too.
      setTimeout(() => (name === "hole" ? this.actions.cut(polygons) : this.actions.drawn(polygons)));
    });
    this.#draw = draw;
    return draw;
  }

  #simpler(geometry, byHand) {
    if (!byHand) return geometry;
    const ring = new LineString(geometry.getCoordinates()[0])
      .simplify(SIMPLER * this.viewer.resolution)
      .getCoordinates();
    return ring.length > 3 ? new Polygon([ring]) : geometry;
  }

  #modifying() {
    this.#modify = new Modify({
      features: this.edited,
      pixelTolerance: 8,
      condition: primaryAction,
      deleteCondition: (event) => altKeyOnly(event) && singleClick(event),
      style: sketchStyle(this.actions.colour()),
    });
    this.#modify.on("modifyend", ({ features }) => this.#commit(features));
    return this.#modify;
  }

  #translating() {
    const translate = new Translate({ features: this.edited });
    translate.on("translateend", ({ features }) => this.#commit(features));
    return translate;
  }

  #commit(features) {
    for (const feature of features.getArray())
      this.actions.edited(feature.getId(), polygonsFromMap(feature.getGeometry()));
  }

  /** Keeps what can be edited equal to what is selected. Many selected regions can be moved, one can be reshaped. */
  #follow() {
    const keys = this.name === "move" || this.regions.selected.size === 1 ? [...this.regions.selected] : [];
    const features = keys.map((key) => this.layer.featureOf(key)).filter(Boolean);
    const now = this.edited.getArray();
    if (features.length === now.length && features.every((feature, at) => feature === now[at])) return;
    this.edited.clear();
    this.edited.extend(features);
  }

  #pick({ pixel, originalEvent }) {
    if (originalEvent.altKey || this.panels.current === "Tiles") return; // that removes a corner, or opens a tile
    let key = null;
    this.viewer.map.forEachFeatureAtPixel(
      pixel,
      (feature) => {
        key = Math.max(key ?? 0, feature.getId() ?? 0);
      },
      { layerFilter: (layer) => layer === this.layer.layer, hitTolerance: 4 },
    );
    this.actions.picked(key || null, { more: originalEvent.shiftKey, pixel });
  }

  finish() {
    if (!this.#draw) return false;
    this.#draw.finishDrawing();
    return true;
  }

  /** Drops what is half drawn. Tells whether a drawing tool was active. */
  abort() {
    if (!this.#draw) return false;
    this.#draw.abortDrawing();
    return true;
  }

  back() {
    if (!this.#draw) return false;
    this.#draw.removeLastPoint();
    return true;
  }

  removeCorner() {
    return this.#modify?.removePoint() ?? false;
  }

  resizeBrush(factor) {
    this.#brush?.resize(factor);
  }
}
