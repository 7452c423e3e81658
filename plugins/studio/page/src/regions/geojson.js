// Regions as GeoJSON in QuPath's form. Features of other programs are kept whole: an edit makes a new feature with the
// changed part replaced, and properties and geometries that the page does not know stay as they were.

export const NO_LABEL = "";

export function newFeature(polygons, label, colour) {
  return relabelled(
    { type: "Feature", id: randomId(), geometry: geometryOf(polygons), properties: { objectType: "annotation" } },
    label,
    colour,
  );
}

/** `crypto.randomUUID` exists only on loopback and https; the studio may be served on another address. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-");
}

export function geometryOf(polygons) {
  return polygons.length === 1
    ? { type: "Polygon", coordinates: polygons[0] }
    : { type: "MultiPolygon", coordinates: polygons };
}

/** Whether a feature is drawn and can be edited; points, lines and whatever else a file holds are only kept. */
export function isShape(feature) {
  return ["Polygon", "MultiPolygon"].includes(feature?.geometry?.type) && feature.geometry.coordinates.length > 0;
}

export function polygonsOf({ geometry }) {
  return geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
}

export function withGeometry(feature, polygons) {
  // Members such as QuPath's `plane` stay; `isEllipse` would be untrue of a changed outline.
  const { isEllipse, ...members } = feature.geometry;
  return { ...feature, geometry: { ...members, ...geometryOf(polygons) } };
}

export function labelOf({ properties }) {
  const classification = properties?.classification;
  if (typeof classification === "string") return classification;
  return classification?.name ?? classification?.names?.join(": ") ?? NO_LABEL;
}

export const nameOf = ({ properties }) => String(properties?.name ?? "");

/** The colour in the file as "#rrggbb", or null. */
export function colourOf({ properties }) {
  const rgb = properties?.classification?.color ?? properties?.color;
  return Array.isArray(rgb) && rgb.length >= 3
    ? `#${rgb
        .slice(0, 3)
        .map((value) => value.toString(16).padStart(2, "0"))
        .join("")}`
    : null;
}

const rgbOf = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

export function relabelled(feature, label, colour) {
  const { classification, ...properties } = feature.properties ?? {};
  if (label === NO_LABEL) return { ...feature, properties };
  return { ...feature, properties: { ...properties, classification: { name: label, color: rgbOf(colour) } } };
}

export function renamed(feature, name) {
  const { name: before, ...properties } = feature.properties ?? {};
  return { ...feature, properties: name ? { ...properties, name } : properties };
}

/** A copy with an identity of its own, moved by `shift` level-0 pixels. */
export function copied(feature, shift) {
  const moved = (coordinates) =>
    typeof coordinates[0] === "number" ? [coordinates[0] + shift, coordinates[1] + shift] : coordinates.map(moved);
  return {
    ...feature,
    id: randomId(),
    geometry: { ...feature.geometry, coordinates: moved(feature.geometry.coordinates) },
  };
}

/** Whether two JSON values are the same, in whatever order their members stand. */
export function sameJson(a, b) {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b || Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b && sameJson(a[key], b[key]));
}
