// Regions on the map. The model is what is true; this layer follows it.

import Feature from "ol/Feature.js";
import MultiPolygon from "ol/geom/MultiPolygon.js";
import Polygon from "ol/geom/Polygon.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorSource from "ol/source/Vector.js";
import CircleStyle from "ol/style/Circle.js";
import Fill from "ol/style/Fill.js";
import MultiPoint from "ol/geom/MultiPoint.js";
import Stroke from "ol/style/Stroke.js";
import Style from "ol/style/Style.js";

import { flipped } from "../viewer/coordinates.js";
import { DEPTH } from "../viewer/viewer.js";
import { colourOf, isShape, labelOf } from "./geojson.js";

const NEAREST_CORNERS = 13; // screen pixels between corners on average; closer dots would hide the outline

export function geometryForMap({ geometry }) {
  const Kind = geometry.type === "Polygon" ? Polygon : MultiPolygon;
  return new Kind(flipped(geometry.coordinates));
}

/** Polygons in level-0 pixels of a geometry of the map. */
export function polygonsFromMap(geometry) {
  const coordinates = flipped(geometry.getCoordinates());
  return geometry.getType() === "Polygon" ? [coordinates] : coordinates;
}

export class RegionLayer {
  #outlines = new Map();
  #drawn = new Map(); // key -> {entry, feature of the map}

  constructor(viewer, regions, labels, events) {
    this.regions = regions;
    this.labels = labels;
    this.source = new VectorSource();
    this.layer = new VectorLayer({
      source: this.source,
      style: (feature, resolution) => this.style(feature, resolution),
      zIndex: DEPTH.regions,
      renderOrder: (a, b) => a.getId() - b.getId(), // the newest on top, where a click finds it
      updateWhileAnimating: true,
      updateWhileInteracting: true,
      renderBuffer: 200,
    });
    events.on("slide", () => viewer.map.addLayer(this.layer));
    events.on("regions", () => this.follow());
    events.on("selection", () => this.layer.changed());
    events.on("labels", () => this.layer.changed());
  }

  follow() {
    const now = new Map(this.regions.shapes.map((entry) => [entry.key, entry]));
    for (const [key, { feature }] of this.#drawn) {
      if (now.has(key)) continue;
      this.source.removeFeature(feature);
      this.#drawn.delete(key);
    }
    const fresh = [];
    for (const [key, entry] of now) {
      const drawn = this.#drawn.get(key);
      if (drawn?.entry === entry) continue;
      if (drawn) {
        drawn.feature.setGeometry(geometryForMap(entry.feature));
        drawn.entry = entry;
      } else {
        const feature = new Feature(geometryForMap(entry.feature));
        feature.setId(key);
        this.#drawn.set(key, { entry, feature });
        fresh.push(feature);
      }
    }
    this.source.addFeatures(fresh);
    this.layer.changed();
  }

  /** The map's feature of a region, for interactions that edit it. */
  featureOf(key) {
    return this.#drawn.get(key)?.feature ?? null;
  }

  style(feature, resolution) {
    const key = feature.getId();
    const entry = this.#drawn.get(key)?.entry;
    if (!entry || !isShape(entry.feature)) return null;
    const label = labelOf(entry.feature);
    const colour = label ? this.labels.colour(label) : (colourOf(entry.feature) ?? this.labels.colour(""));
    const selected = this.regions.selected.has(key);
    const styles = this.#outline(colour, selected);
    return selected && this.regions.selected.size === 1
      ? [...styles, this.corners(feature, colour, resolution)]
      : styles;
  }

  /** Made once for a colour: a file can have ten thousand regions. */
  #outline(colour, selected) {
    const name = `${colour} ${selected}`;
    if (!this.#outlines.has(name)) {
      // A white line under the coloured one keeps outlines visible on dark tissue.
      const white = new Stroke({ color: `rgba(255,255,255,${selected ? 0.95 : 0.7})`, width: selected ? 6 : 3.5 });
      const line = new Stroke({ color: colour, width: selected ? 3 : 2 });
      const inside = new Fill({ color: `${colour}${selected ? "30" : "1c"}` });
      this.#outlines.set(name, [new Style({ stroke: white }), new Style({ stroke: line, fill: inside })]);
    }
    return this.#outlines.get(name);
  }

  /** Dots at the corners, where they are far enough apart to be told from one another. */
  corners(feature, colour, resolution) {
    const geometry = feature.getGeometry();
    const points = geometry.getCoordinates().flat(geometry.getType() === "Polygon" ? 1 : 2);
    const length = points
      .slice(1)
      .reduce((sum, [x, y], at) => sum + Math.hypot(x - points[at][0], y - points[at][1]), 0);
    if (length / points.length / resolution < NEAREST_CORNERS) return new Style({});
    return new Style({
      geometry: new MultiPoint(points),
      image: new CircleStyle({
        radius: 3.5,
        fill: new Fill({ color: "#fff" }),
        stroke: new Stroke({ color: colour, width: 1.5 }),
      }),
      zIndex: 1,
    });
  }
}
