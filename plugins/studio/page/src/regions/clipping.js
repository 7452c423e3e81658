// Union and difference of regions, and the area under a brush.
//
// Clipper works in whole numbers and so never fails on nearly touching edges, and its offsetting gives the outline of
// a brush stroke. Coordinates go in as 1/32 of a level-0 pixel: far below what can be drawn, and a slide of a million
// pixels stays within exact arithmetic.

import { ClipType, FillRule, PathType } from "clipper2-ts/dist/Core.js";
import { Clipper64, PolyTree64 } from "clipper2-ts/dist/Engine.js";
import { ClipperOffset, EndType, JoinType } from "clipper2-ts/dist/Offset.js";

const SCALE = 32;

const toPath = (ring) => ring.map(([x, y]) => ({ x: Math.round(x * SCALE), y: Math.round(y * SCALE) }));
const toPaths = (polygons) => polygons.flatMap((rings) => rings.map(toPath));

function toRing(path) {
  const ring = path.map(({ x, y }) => [x / SCALE, y / SCALE]);
  ring.push([...ring[0]]);
  return ring;
}

function collect(node, polygons) {
  for (let index = 0; index < node.count; index += 1) {
    const outer = node.child(index);
    const rings = [toRing(outer.poly)];
    for (let inner = 0; inner < outer.count; inner += 1) {
      rings.push(toRing(outer.child(inner).poly));
      collect(outer.child(inner), polygons); // an island in a hole is a polygon of its own
    }
    polygons.push(rings);
  }
  return polygons;
}

function combine(kind, subject, clip) {
  const clipper = new Clipper64();
  clipper.addPaths(toPaths(subject), PathType.Subject);
  if (clip.length) clipper.addPaths(toPaths(clip), PathType.Clip);
  const tree = new PolyTree64();
  clipper.execute(kind, FillRule.EvenOdd, tree);
  return collect(tree, []);
}

/** Polygons are lists of rings, the first of which is the outside, as in GeoJSON's MultiPolygon; so are results. */
export const union = (a, b) => combine(ClipType.Union, a, b);
export const difference = (a, b) => combine(ClipType.Difference, a, b);

/** The polygons without crossings: where a loop crosses itself, what it goes around once stays. */
export const mended = (polygons) => combine(ClipType.Union, polygons, []);

/** The area that a round brush of `radius` covers along `points`. */
export function stroke(points, radius) {
  // An arc may deviate by 1/100 of the radius, which gives 23 corners to a circle.
  const offset = new ClipperOffset(2, (radius * SCALE) / 100);
  offset.addPath(toPath(points), JoinType.Round, EndType.Round);
  const tree = new PolyTree64();
  offset.execute(radius * SCALE, tree);
  return collect(tree, []);
}

/** Area of polygons, holes left out, in the square of their unit. */
export function areaOf(polygons) {
  return polygons.reduce(
    (sum, [outer, ...holes]) => sum + ringArea(outer) - holes.reduce((inner, hole) => inner + ringArea(hole), 0),
    0,
  );
}

function ringArea(ring) {
  const cross = ([x, y], at) => {
    const [nextX, nextY] = ring[(at + 1) % ring.length];
    return x * nextY - nextX * y;
  };
  return Math.abs(ring.reduce((sum, point, at) => sum + cross(point, at), 0)) / 2;
}
