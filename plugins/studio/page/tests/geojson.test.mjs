import assert from "node:assert/strict";
import { test } from "node:test";

import { placeOf } from "../src/pipeline/state.js";
import { copied, labelOf, newFeature, relabelled, renamed, withGeometry } from "../src/regions/geojson.js";
import { roundLength } from "../src/viewer/scale_bar.js";

const RING = [
  [0, 0],
  [10, 0],
  [10, 10],
  [0, 0],
];
const THEIRS = {
  type: "Feature",
  id: "theirs",
  geometry: { type: "Polygon", coordinates: [RING], plane: { z: 3 }, isEllipse: true },
  properties: {
    objectType: "annotation",
    isLocked: true,
    measurements: { Area: 5 },
    classification: { name: "Tumour", color: [1, 2, 3] },
  },
};

test("an edit keeps every member and property that the page does not know", () => {
  const edited = renamed(relabelled(withGeometry(THEIRS, [[RING], [RING]]), "Stroma", "#0a0b0c"), "one");

  assert.deepEqual(edited.geometry, { type: "MultiPolygon", coordinates: [[RING], [RING]], plane: { z: 3 } });
  assert.deepEqual(edited.properties, {
    objectType: "annotation",
    isLocked: true,
    measurements: { Area: 5 },
    classification: { name: "Stroma", color: [10, 11, 12] },
    name: "one",
  });
  assert.equal(edited.id, "theirs");
  assert.equal(labelOf(THEIRS), "Tumour"); // the one before is untouched
});

test("a region without a label has no classification", () => {
  assert.deepEqual(newFeature([[RING]], "", "#000000").properties, { objectType: "annotation" });
  assert.equal(relabelled(THEIRS, "", "#000000").properties.classification, undefined);
});

test("a copy lies beside the original under an id of its own", () => {
  const copy = copied(THEIRS, 5);

  assert.notEqual(copy.id, THEIRS.id);
  assert.deepEqual(copy.geometry.coordinates[0][1], [15, 5]);
});

test("a scale bar has the longest round length that fits", () => {
  assert.deepEqual([160, 99, 20, 1.3].map(roundLength), [100, 50, 20, 1]);
});

test("problems find the field of the option that they name", () => {
  const draft = {
    tiles: { tile_px: 0 },
    roi: {},
    qc: [{ use: "otsu" }, { use: "gaussian-v2" }],
    filters: [],
    normalizer: { use: "macenko" },
  };
  const offers = [
    {
      kind: "qc",
      name: "gaussian-v2",
      options: [{ name: "sigma" }, { name: "threshold" }, { name: "filter_threshold" }],
    },
    { kind: "normalizer", name: "macenko", options: [{ name: "target" }] },
  ];
  const place = (where, text) => placeOf({ where, text }, draft, offers);

  assert.equal(place("qc gaussian-v2", "sigma must be from 0.1 to 50, not -3"), "qc.1.sigma");
  assert.equal(place("qc gaussian-v2", "filter_threshold must be from 0 to 1"), "qc.1.filter_threshold");
  assert.equal(place("normalizer macenko", "needs a target"), "normalizer.target");
  assert.equal(place("tiles", "tile_px must be at least 1, not 0"), "tiles.tile_px");
  assert.equal(place("qc otsu", "needs scikit"), "qc.0");
  assert.equal(place("", "something else"), null);
});
