import assert from "node:assert/strict";
import { test } from "node:test";

import { areaOf, difference, mended, stroke, union } from "../src/regions/clipping.js";

const box = (x, y, width, height) => [
  [
    [x, y],
    [x + width, y],
    [x + width, y + height],
    [x, y + height],
    [x, y],
  ],
];

test("the union of boxes that overlap by a quarter has seven quarters of their area", () => {
  const joined = union([box(0, 0, 100, 100)], [box(50, 50, 100, 100)]);

  assert.equal(joined.length, 1);
  assert.equal(areaOf(joined), 17_500);
});

test("a hole is an inner ring, and an island in it a polygon of its own", () => {
  const ring = difference([box(0, 0, 100, 100)], [box(20, 20, 60, 60)]);
  const island = union(ring, [box(40, 40, 20, 20)]);

  assert.deepEqual(
    ring.map((rings) => rings.length),
    [2],
  );
  assert.deepEqual(island.map((rings) => rings.length).sort(), [1, 2]);
  assert.equal(areaOf(island), 10_000 - 3600 + 400);
});

test("a cut through a region leaves two", () => {
  const parts = difference([box(0, 0, 100, 100)], [box(40, -10, 20, 120)]);

  assert.equal(parts.length, 2);
  assert.equal(areaOf(parts), 8000);
});

test("rings are closed and keep 1/32 of a pixel", () => {
  const [[ring]] = union([box(0.03125, 0, 10, 10)], []);

  assert.deepEqual(ring[0], ring.at(-1));
  assert.equal(Math.min(...ring.map(([x]) => x)), 0.03125);
});

test("a loop that crosses itself keeps what it goes around once", () => {
  const bow = [
    [
      [
        [0, 0],
        [100, 100],
        [100, 0],
        [0, 100],
        [0, 0],
      ],
    ],
  ];

  const parts = mended(bow[0].map((ring) => [ring]));

  assert.equal(parts.length, 2);
  assert.equal(areaOf(parts), 5000);
});

test("a dab of the brush is a disc, and a stroke a bar with round ends", () => {
  const dab = stroke(
    [
      [0, 0],
      [0, 0],
    ],
    10,
  );
  const bar = stroke(
    [
      [0, 0],
      [100, 0],
    ],
    10,
  );

  assert.ok(Math.abs(areaOf(dab) / (Math.PI * 100) - 1) < 0.02);
  assert.ok(Math.abs(areaOf(bar) / (Math.PI * 100 + 2000) - 1) < 0.01);
});

test("a stroke around a place has a hole", () => {
  const loop = stroke(
    [
      [0, 0],
      [100, 0],
      [100, 100],
      [0, 100],
      [0, 0],
    ],
    10,
  );

  assert.deepEqual(
    loop.map((rings) => rings.length),
    [2],
  );
});
