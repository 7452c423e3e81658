// A round brush: what it passes over is added to the selected region, or cut from it.

import Feature from "ol/Feature.js";
import LineString from "ol/geom/LineString.js";
import Point from "ol/geom/Point.js";
import PointerInteraction from "ol/interaction/Pointer.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorSource from "ol/source/Vector.js";
import CircleStyle from "ol/style/Circle.js";
import Fill from "ol/style/Fill.js";
import Stroke from "ol/style/Stroke.js";
import Style from "ol/style/Style.js";

import { toSlide } from "../viewer/coordinates.js";
import { DEPTH } from "../viewer/viewer.js";
import { stroke } from "./clipping.js";

const NEAREST = 2; // screen pixels between points of a stroke

export class Brush extends PointerInteraction {
  #points = null;
  #last = null;

  /** `onStroke(polygons, {cut})` is called with what a stroke covered, in level-0 pixels. */
  constructor({ cut, colour, onStroke }) {
    super({
      handleDownEvent: (event) => this.#down(event),
      handleDragEvent: (event) => this.#drag(event),
      handleUpEvent: (event) => this.#up(event),
      handleMoveEvent: (event) => this.#hover(event),
    });
    this.cut = cut;
    this.onStroke = onStroke;
    this.radius = Brush.radius;
    this.pointer = new Feature();
    this.trail = new Feature();
    this.colour = colour;
    this.layer = new VectorLayer({
      source: new VectorSource({ features: [this.trail, this.pointer] }),
      zIndex: DEPTH.sketch,
      updateWhileInteracting: true,
    });
    this.paint();
  }

  static radius = 20; // screen pixels; the same for both brushes

  resize(factor) {
    Brush.radius = Math.min(200, Math.max(3, Brush.radius * factor));
    this.radius = Brush.radius;
    this.paint();
  }

  paint() {
    this.trail.setStyle(
      new Style({
        stroke: new Stroke({ color: `${this.colour}66`, width: 2 * this.radius, lineCap: "round", lineJoin: "round" }),
      }),
    );
    this.pointer.setStyle(
      new Style({
        image: new CircleStyle({
          radius: this.radius,
          stroke: new Stroke({ color: this.colour, width: 1.5 }),
          fill: new Fill({ color: "rgba(255,255,255,0.12)" }),
        }),
      }),
    );
  }

  setMap(map) {
    this.getMap()?.removeLayer(this.layer);
    super.setMap(map);
    map?.addLayer(this.layer);
  }

  #down({ originalEvent, coordinate, pixel }) {
    if (originalEvent.button !== 0) return false;
    this.#points = [coordinate, coordinate];
    this.#last = pixel;
    this.trail.setGeometry(new LineString(this.#points));
    return true;
  }

  #drag({ coordinate, pixel }) {
    this.pointer.setGeometry(new Point(coordinate));
    if (Math.hypot(pixel[0] - this.#last[0], pixel[1] - this.#last[1]) < NEAREST) return;
    this.#last = pixel;
    this.#points.push(coordinate);
    this.trail.getGeometry().setCoordinates(this.#points);
  }

  #up({ originalEvent, map }) {
    const polygons = stroke(this.#points.map(toSlide), this.radius * map.getView().getResolution());
    this.trail.setGeometry(undefined);
    this.#points = null;
    this.onStroke(polygons, { cut: this.cut !== originalEvent.altKey }); // Alt turns one brush into the other
    return false;
  }

  #hover({ coordinate }) {
    this.pointer.setGeometry(new Point(coordinate));
  }
}
