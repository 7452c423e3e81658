// The map that shows a slide. Its coordinates are level-0 pixels with y up (see coordinates.js).

import OlMap from "ol/Map.js";
import View from "ol/View.js";
import { defaults as defaultInteractions } from "ol/interaction/defaults.js";
import Projection from "ol/proj/Projection.js";

import { note } from "../base/notes.js";
import { extentOf } from "./coordinates.js";
import { pyramidLayer } from "./pyramid.js";

const CLOSEST = 1 / 16; // level-0 pixels per screen pixel

/** Order of layers, from the slide upwards. */
export const DEPTH = { slide: 0, normalized: 1, masks: 10, tiles: 20, points: 30, proposals: 40, regions: 50, sketch: 60 };

export class Viewer {
  constructor(target, events) {
    this.events = events;
    this.target = target;
    this.slide = null;
    this.map = new OlMap({
      target,
      controls: [],
      layers: [],
      interactions: defaultInteractions({ altShiftDragRotate: false, pinchRotate: false, doubleClickZoom: false, shiftDragZoom: false, keyboard: false }),
      maxTilesLoading: 24,
    });
    this.map.on("moveend", () => this.slide && events.tell("view", this));
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
    const onError = () => {
      if (!told) note(`A part of ${facts.name} could not be read; the terminal says more.`, { error: true });
      told = true;
    };
    this.base = pyramidLayer(facts.id, pyramid, this.projection, { onError, zIndex: DEPTH.slide, className: "slide-layer" });
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
    this.view.on("change", () => this.events.tell("moving", this));
    this.events.tell("moving", this);
  }

  /** The part of the slide that matters: what its file says is scanned, else all. */
  get content() {
    const { bounds, width, height } = this.slide;
    return extentOf(...(bounds ?? [0, 0, width, height]));
  }

  fit(extent = this.content, { closest = CLOSEST, margin = 16 } = {}) {
    this.view.fit(extent, { padding: [margin, margin, margin, margin], minResolution: closest });
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
    this.view.animate({ resolution: 10 / times / this.mpp, duration: 150 });
  }

  zoom(steps) {
    this.view.animate({ zoom: this.view.getZoom() + steps, duration: 120 });
  }

  pan(right, down) {
    const [width, height] = this.map.getSize();
    const [x, y] = this.view.getCenter();
    const step = this.resolution / 4;
    this.view.animate({ center: [x + right * width * step, y - down * height * step], duration: 120 });
  }
}
