// The map that shows a slide. Its coordinates are level-0 pixels with y up (see coordinates.js).

import OlMap from "ol/Map.js";
import View from "ol/View.js";
import DragPan from "ol/interaction/DragPan.js";
import { defaults as defaultInteractions } from "ol/interaction/defaults.js";
import Kinetic from "ol/Kinetic.js";
import Projection from "ol/proj/Projection.js";

import { note } from "../base/notes.js";
import { extentOf } from "./coordinates.js";
import { pyramidLayer } from "./pyramid.js";

const TOOLS = 48; // screen pixels
const CLOSEST = 1 / 16; // level-0 pixels per screen pixel

/** Whether the person asked the system for less motion. */
const CALM = matchMedia("(prefers-reduced-motion: reduce)").matches;
const duration = (ms) => (CALM ? 0 : ms);

/** Order of layers, from the slide upwards. */
export const DEPTH = {
  slide: 0,
  normalized: 1,
  masks: 10,
  tiles: 20,
  points: 30,
  proposals: 40,
  regions: 50,
  sketch: 60,
};

export class Viewer {
  constructor(target, events) {
    this.events = events;
    this.target = target;
    this.slide = null;
    this.map = new OlMap({
      target,
      controls: [],
      layers: [],
      interactions: defaultInteractions({
        altShiftDragRotate: false,
        pinchRotate: false,
        doubleClickZoom: false, // a double click ends a polygon
        shiftDragZoom: false,
        keyboard: false,
        dragPan: false,
        zoomDuration: duration(200),
      }).extend([new DragPan({ kinetic: CALM ? undefined : new Kinetic(-0.005, 0.05, 100) })]),
      maxTilesLoading: 24,
    });
    // Screen readers, and whoever drives the page, are told when pixels are still to come and where the view is.
    this.map.on("loadstart", () => target.setAttribute("aria-busy", "true"));
    this.map.on("loadend", () => target.setAttribute("aria-busy", "false"));
    this.map.once("rendercomplete", () => events.tell("first-picture"));
    events.on("moving", () => this.#tellView());
  }

  #tellView() {
    const [x, y] = this.view.getCenter();
    this.target.dataset.view = JSON.stringify({ x, y: -y, resolution: this.resolution });
  }

  get view() {
    return this.map.getView();
  }

  /** Level-0 pixels per screen pixel. */
  get resolution() {
    return this.view.getResolution();
  }

  /** Shows a slide: `facts` and `pyramid` as the server gives them. */
  show(facts, pyramid) {
    this.slide = facts;
    this.pyramid = pyramid;
    const { width, height } = facts;
    const extent = [0, -height, width, 0];
    this.projection = new Projection({ code: `slide-${facts.id}`, units: "pixels", extent });
    this.map.getLayers().clear();
    let told = false;
    const onError = ({ message }) => {
      if (!told) note(`A part of ${facts.name} is not shown: ${message}`, { error: true });
      told = true;
    };
    this.base = pyramidLayer(facts.id, pyramid, this.projection, {
      onError,
      zIndex: DEPTH.slide,
      className: "slide-layer",
    });
    this.map.addLayer(this.base);
    this.map.setView(
      new View({
        projection: this.projection,
        extent,
        constrainOnlyCenter: true,
        enableRotation: false,
        center: [width / 2, -height / 2],
        resolution: Math.max(width, height) / 800,
        minResolution: CLOSEST,
        maxResolution: Math.max(width, height) / 150,
      }),
    );
    this.fit();
    this.view.on("propertychange", () => this.events.tell("moving", this)); // "change" is not told of jumps
    this.events.tell("moving", this);
  }

  /** The part of the slide that matters: what its file says is scanned, else all. */
  get content() {
    const { bounds, width, height } = this.slide;
    return extentOf(...(bounds ?? [0, 0, width, height]));
  }

  /** What is on screen, as x, y, width and height in level-0 pixels; it may reach beyond the slide. */
  get box() {
    const [left, bottom, right, top] = this.view.calculateExtent(this.map.getSize());
    return [left, -top, right - left, top - bottom];
  }

  /** Brings an extent into view, beside the tools at the left. */
  fit(extent = this.content, { margin = 16 } = {}) {
    this.view.fit(extent, { padding: [margin, margin, margin, margin + TOOLS] });
  }

  /** Microns per level-0 pixel, or null where the slide does not say. */
  get mpp() {
    const { mpp_x: x, mpp_y: y } = this.slide;
    return x && y ? Math.sqrt(x * y) : (x ?? y ?? null);
  }

  /** The magnification on screen: one screen pixel shows 10 / magnification microns, as with objectives. */
  get magnification() {
    return this.mpp ? 10 / (this.resolution * this.mpp) : null;
  }

  magnify(times) {
    this.view.animate({ resolution: 10 / times / this.mpp, duration: duration(150) });
  }

  zoom(steps) {
    this.view.animate({ zoom: this.view.getZoom() + steps, duration: duration(120) });
  }

  pan(right, down) {
    const [width, height] = this.map.getSize();
    const [x, y] = this.view.getCenter();
    const step = this.resolution / 4;
    this.view.animate({ center: [x + right * width * step, y - down * height * step], duration: duration(120) });
  }
}
