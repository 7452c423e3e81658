// Level-0 pixels of the slide, y down, and the map's coordinates, y up: x is the same, y is negated.

export const toMap = ([x, y]) => [x, -y];
export const toSlide = ([x, y]) => [x, -y];

/** Rings, polygons or multipolygons of points, each flipped. Arrays of any depth. */
export function flipped(coordinates) {
  return typeof coordinates[0] === "number" ? [coordinates[0], -coordinates[1]] : coordinates.map(flipped);
}

/** The map's extent [left, bottom, right, top] of a box of the slide. */
export const extentOf = (x, y, width, height) => [x, -(y + height), x + width, -y];

/** A length as a person writes it: 500 µm, 2 mm. */
export function lengthText(um) {
  if (um >= 1000) return `${tidy(um / 1000)} mm`;
  return um >= 1 ? `${tidy(um)} µm` : `${tidy(um * 1000)} nm`;
}

/** An area as a person writes it. */
export function areaText(um2) {
  return um2 >= 1e4 ? `${tidy(um2 / 1e6)} mm²` : `${tidy(um2)} µm²`;
}

export const tidy = (number) => String(Number(number.toPrecision(3)));
