// The regions of the open slide, what is selected, and the way back.
//
// A state is a frozen list of {key, feature}; an edit makes a new list in which unchanged entries are the same objects.
// So a step of undo costs one list, and whoever draws compares objects to see what changed. Keys are the page's own:
// ids in files may be missing or double.

import { isShape } from "./geojson.js";

const REMEMBERED = 200;

export class Regions {
  #past = [];
  #future = [];
  #made = 0;

  constructor(events) {
    this.events = events;
    this.entries = [];
    this.selected = new Set();
    this.members = {};
  }

  /** Takes a file's FeatureCollection. With `undoable` the regions before it can be brought back. */
  load({ features, ...members }, { undoable = false } = {}) {
    this.members = members;
    const entries = features.map((feature) => this.#entry(feature));
    if (undoable) {
      this.#become(entries);
      return;
    }
    this.#past = [];
    this.#future = [];
    this.entries = entries;
    this.selected = new Set();
    this.events.tell("regions", { regions: this, loaded: true });
    this.events.tell("selection", this);
  }

  #entry(feature) {
    this.#made += 1;
    return Object.freeze({ key: this.#made, feature });
  }

  get shapes() {
    return this.entries.filter(({ feature }) => isShape(feature));
  }

  get chosen() {
    return this.entries.filter(({ key }) => this.selected.has(key));
  }

  /** The only selected region, or null. */
  get one() {
    return this.selected.size === 1 ? (this.chosen[0] ?? null) : null;
  }

  toGeoJson() {
    return { ...this.members, type: "FeatureCollection", features: this.entries.map(({ feature }) => feature) };
  }

  add(...features) {
    const added = features.map((feature) => this.#entry(feature));
    this.#become([...this.entries, ...added]);
    this.select(added.map(({ key }) => key));
  }

  /** Changes the features of `keys` by `change`, as one step. */
  change(keys, change) {
    const wanted = new Set(keys);
    this.#become(
      this.entries.map((entry) =>
        wanted.has(entry.key) ? Object.freeze({ ...entry, feature: change(entry.feature) }) : entry,
      ),
    );
  }

  remove(keys) {
    const gone = new Set(keys);
    this.#become(this.entries.filter(({ key }) => !gone.has(key)));
  }

  #become(entries) {
    this.#past.push(this.entries);
    if (this.#past.length > REMEMBERED) this.#past.shift();
    this.#future = [];
    this.#show(entries);
  }

  #show(entries) {
    this.entries = entries;
    const kept = new Set(entries.map(({ key }) => key));
    this.events.tell("regions", { regions: this, loaded: false });
    this.select([...this.selected].filter((key) => kept.has(key)));
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  undo() {
    if (!this.canUndo) return;
    this.#future.push(this.entries);
    this.#show(this.#past.pop());
  }

  redo() {
    if (!this.canRedo) return;
    this.#past.push(this.entries);
    this.#show(this.#future.pop());
  }

  select(keys) {
    this.selected = new Set(keys);
    this.events.tell("selection", this);
  }
}
