// What drawing, editing and deleting do to the regions.

import { note } from "../base/notes.js";
import { areaOf, difference, mended, union } from "./clipping.js";
import { copied, labelOf, newFeature, polygonsOf, relabelled, renamed, withGeometry } from "./geojson.js";

const COPY_SHIFT = 24; // screen pixels

export function regionActions({ viewer, regions, labels, events, saving }) {
  const smallest = () => (2 * viewer.resolution) ** 2; // under four screen pixels it was a slip of the hand
  let label = ""; // of the next region: the last one chosen

  const allowed = () => {
    if (!saving.canWrite) note(saving.blocked);
    return saving.canWrite;
  };

  function one(task) {
    if (regions.one) return regions.one;
    note(`Select one region first: ${task}`);
    return null;
  }

  const change = (key, polygons) => regions.change([key], (feature) => withGeometry(feature, polygons));

  const actions = {
    colour: () => labels.colour(label),

    drawn(polygons) {
      if (!allowed()) return;
      const whole = mended(polygons);
      if (areaOf(whole) < smallest()) {
        note("Too small for a region: it was dropped.");
        return;
      }
      // The outline stays exactly as drawn unless it crosses itself.
      const simple =
        whole.length === 1 &&
        whole[0].length === 1 &&
        Math.abs(areaOf(whole) - areaOf(polygons)) < 1e-3 * areaOf(whole);
      if (!simple) note("The outline crossed itself; it was made into regions without crossings.");
      regions.add(newFeature(simple ? polygons : whole, label, labels.colour(label)));
    },

    cut(polygons) {
      const entry = allowed() && one("the hole is cut from it.");
      if (!entry) return;
      const before = polygonsOf(entry.feature);
      const after = difference(before, mended(polygons));
      if (!after.length) {
        note("Nothing would be left of the region; delete it instead.");
      } else if (Math.abs(areaOf(before) - areaOf(after)) < smallest()) {
        note("That does not lie within the selected region.");
      } else change(entry.key, after);
    },

    painted(polygons, { cut }) {
      if (!allowed()) return;
      if (cut) {
        actions.cut(polygons);
      } else if (regions.one) {
        change(regions.one.key, union(polygonsOf(regions.one.feature), polygons));
      } else {
        regions.add(newFeature(polygons, label, labels.colour(label)));
      }
    },

    edited(key, polygons) {
      if (!allowed()) {
        regions.select(regions.selected);
        return;
      }
      change(key, polygons);
    },

    picked(key, { more }) {
      if (!more) regions.select(key === null ? [] : [key]);
      else if (key !== null) {
        const selected = new Set(regions.selected);
        if (!selected.delete(key)) selected.add(key);
        regions.select(selected);
      }
    },

    copy() {
      if (!regions.selected.size || !allowed()) return;
      const shift = COPY_SHIFT * viewer.resolution;
      regions.add(...regions.chosen.map(({ feature }) => copied(feature, shift)));
    },

    remove() {
      if (regions.selected.size && allowed()) regions.remove(regions.selected);
    },

    /** Labels what is selected; without a selection, what is drawn next. */
    setLabel(name) {
      label = name.trim();
      labels.learn(label);
      events.tell("labels", labels);
      if (regions.selected.size && allowed())
        regions.change(regions.selected, (feature) => relabelled(feature, label, labels.colour(label)));
    },

    nextLabel: () => label,

    setName(name) {
      if (regions.one && allowed()) regions.change([regions.one.key], (feature) => renamed(feature, name.trim()));
    },

    setColour(name, colour) {
      labels.recolour(name, colour);
      events.tell("labels", labels);
      const keys = regions.shapes.filter(({ feature }) => labelOf(feature) === name).map(({ key }) => key);
      if (name && keys.length && allowed()) regions.change(keys, (feature) => relabelled(feature, name, colour));
    },
  };
  return actions;
}
