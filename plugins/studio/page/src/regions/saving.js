// Saves the regions by themselves, and never loses a drawing: it stays on the page while it cannot be saved, and a
// copy is kept in the browser's storage until it is.

import { api } from "../base/api.js";
import { ask, failed, note } from "../base/notes.js";
import { debounced } from "../base/events.js";
import { sameJson } from "./geojson.js";

const DELAY = 700;
const AGAIN = 5000; // after a failure, until the disk has room or the server is back

const LOOK_ONLY = "The studio was opened to look only; open slides with --roi DIR and without --read-only to draw.";

const EMPTY =
  "The file holds no region now. With the method auto a run takes tiles from all of this slide, as without a file; " +
  "with inside or outside it takes none.";

export class Saving {
  #revision = null;
  #dirty = false;
  #busy = null;
  #again = null;
  #replace = false; // whether a file in another format may be moved out of the way

  constructor(regions, events, session) {
    Object.assign(this, { regions, events, session });
    this.later = debounced(() => this.save(), DELAY);
    this.id = null;
    this.blocked = LOOK_ONLY;
    events.on("regions", ({ loaded }) => loaded || this.#changed());
    // Closing the page must not lose the last stroke: ask the browser to wait.
    addEventListener("beforeunload", (event) => {
      this.later.flush();
      if (this.#dirty && this.canWrite) event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => document.hidden && this.later.flush());
  }

  #netKey(id = this.id) {
    return `slideloom-studio ${this.session.roi_folder} ${id}`;
  }

  #tell(state, reason = "") {
    this.state = state;
    this.events.tell("saving", { state, reason });
  }

  /** Whether the slide's regions can be saved; if not, `blocked` says why. */
  get canWrite() {
    return this.blocked === null;
  }

  /** Takes over a slide with its regions as the server gave them. */
  async open(id, { revision, geojson, notes = [], blocked = null }) {
    this.id = id;
    this.blocked = this.session.can_write_regions ? blocked : LOOK_ONLY;
    this.#revision = revision;
    this.#dirty = false;
    this.#replace = false;
    clearTimeout(this.#again);
    this.regions.load(geojson);
    if (geojson.features.length) for (const words of notes) note(words); // an empty file needs no word
    this.#tell(this.canWrite ? "saved" : "readonly", this.blocked ?? "");
    if (!this.canWrite) return;
    const kept = this.#kept(id);
    if (kept && !sameJson(kept.geojson.features, geojson.features)) await this.#restore(id, kept);
  }

  #kept(id) {
    try {
      return JSON.parse(localStorage.getItem(this.#netKey(id)));
    } catch {
      return null;
    }
  }

  async #restore(id, { time, geojson }) {
    const when = new Date(time).toLocaleString();
    const answer = await ask(
      "A drawing was not saved",
      `Regions drawn on this slide until ${when} did not reach the file. Bring them back?`,
      [
        ["Keep the file's", "file"],
        ["Bring them back", "mine", "primary"],
      ],
    );
    if (this.id !== id) return;
    if (answer === "mine") this.regions.load(geojson, { undoable: true });
    if (answer === "file") localStorage.removeItem(this.#netKey(id));
  }

  #changed() {
    this.#dirty = true;
    if (!this.canWrite) {
      this.#tell("readonly", this.blocked);
      return;
    }
    this.#keep();
    this.#tell(this.state === "failed" ? "failed" : "waiting", this.reason);
    this.later();
  }

  #keep() {
    try {
      localStorage.setItem(this.#netKey(), JSON.stringify({ time: Date.now(), geojson: this.regions.toGeoJson() }));
    } catch {
      // The storage is full or switched off: the page itself still holds the drawing.
    }
  }

  /** Saves what is not saved; gives whether the file now holds everything. */
  async save() {
    this.later.cancel();
    clearTimeout(this.#again);
    while (this.#busy) await this.#busy; // of several who wait, the first saves for all
    if (!this.#dirty || !this.canWrite) return !this.#dirty;
    this.#busy = this.#put().finally(() => {
      this.#busy = null;
    });
    return this.#busy;
  }

  async #put() {
    const { id } = this;
    const { entries } = this.regions;
    this.#tell("saving");
    try {
      const file = { revision: this.#revision, geojson: this.regions.toGeoJson() };
      const answer = await api.saveRegions(id, this.#replace ? { ...file, replace: true } : file);
      await this.#saved(id, entries, answer);
      return !this.#dirty;
    } catch (error) {
      if (error.status === 409) return error.body.replaces ? this.#replacing(error) : this.#conflict(error);
      return this.#failed(error);
    }
  }

  async #saved(id, entries, { revision, saved, dropped = [], mended = [], moved = null, notes = [] }) {
    if (this.id !== id) return;
    this.#revision = revision;
    this.reason = "";
    const isEmpty = entries.length === 0;
    for (const words of [...dropped, ...mended, ...(isEmpty ? [EMPTY] : notes)]) note(words);
    if (moved) note(`The earlier file is now ${moved}.`);
    this.#dirty = this.regions.entries !== entries;
    if (this.#dirty) {
      this.later();
      return;
    }
    localStorage.removeItem(this.#netKey(id));
    this.#tell("saved", saved);
    this.events.tell("regions-saved", { id, regions: this.regions.shapes.length });
    if (dropped.length || mended.length) await this.#takeMended(id, saved);
  }

  /** What the server mended or left out is shown as it is in the file. */
  async #takeMended(id, saved) {
    const { entries } = this.regions;
    let file;
    try {
      file = await api.regions(id);
    } catch (error) {
      failed(error);
      return;
    }
    if (this.id !== id || this.regions.entries !== entries) return;
    this.regions.load(file.geojson, { undoable: true });
    this.#revision = file.revision;
    this.#dirty = false;
    this.later.cancel();
    localStorage.removeItem(this.#netKey(id));
    this.#tell("saved", saved);
  }

  /** The regions come from a file in another format, and a folder may hold one file for a slide. */
  async #replacing(error) {
    const { id } = this;
    const answer = await ask("Save as GeoJSON?", `${error.message}.`, [
      ["Not now", false],
      ["Save", true, "primary"],
    ]);
    if (this.id !== id) return false;
    this.#replace = answer === true;
    if (answer) {
      this.later();
      return false;
    }
    this.reason = `they come from ${error.body.replaces}, which would be replaced`;
    this.#tell("failed", this.reason);
    return false;
  }

  #failed(error) {
    this.reason = error.message;
    this.#tell("failed", error.message);
    this.#again = setTimeout(() => this.save(), AGAIN);
    return false;
  }

  async #conflict(error) {
    const { id } = this;
    this.reason = "the file was changed by another program";
    this.#tell("failed", this.reason);
    const answer = await ask(
      "The file changed on disk",
      `${error.message} Which regions should stay? The other ones can be brought back by undo.`,
      [
        ["Take the file's", "file"],
        ["Keep these", "mine", "primary"],
      ],
    );
    if (this.id !== id || answer === null) return false;
    try {
      const file = await api.regions(id);
      this.#revision = file.revision;
      if (answer === "mine") {
        const { members } = this.regions;
        const mine = this.regions.toGeoJson();
        this.regions.load(file.geojson, { undoable: true });
        this.regions.load({ ...members, features: mine.features }, { undoable: true });
        return false; // the debounced save follows
      }
      this.regions.load(file.geojson, { undoable: true });
    } catch (problem) {
      failed(problem);
    }
    return false;
  }

  /** Before another slide: gives true when nothing would be lost. */
  async leave() {
    if (await this.save()) return true;
    if (!this.canWrite) return true;
    const answer = await ask(
      "Not saved",
      `The regions of this slide are not saved: ${this.reason} They stay in this browser and are offered when the slide is opened again.`,
      [
        ["Stay", false, "primary"],
        ["Leave", true],
      ],
    );
    return answer === true;
  }
}
