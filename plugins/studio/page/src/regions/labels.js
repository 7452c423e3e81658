// Labels that were used, and a colour for each.

const KEY = "slideloom-studio-colours";

// Colours that stand out on pink and violet stains and differ for colour-blind eyes.
const PALETTE = [
  "#0a7d4f",
  "#1f6fd6",
  "#c2410c",
  "#7a3fc9",
  "#8a6d00",
  "#0e7490",
  "#be185d",
  "#4d7c0f",
  "#b91c1c",
  "#374151",
];
const UNLABELLED = "#111827";

export class Labels {
  #chosen; // by the person, in this session or an earlier one
  #seen = new Map(); // in files
  #given = new Map(); // by the page

  constructor(labels) {
    this.names = [];
    this.#chosen = new Map(Object.entries(JSON.parse(localStorage.getItem(KEY) ?? "{}")));
    for (const name of labels) this.learn(name);
  }

  /** Takes a label into the list, with the colour that a file gives it, if any. */
  learn(name, colour = null) {
    if (!name) return;
    if (!this.names.includes(name)) this.names = [...this.names, name].sort((a, b) => a.localeCompare(b));
    if (colour && !this.#seen.has(name)) this.#seen.set(name, colour);
    if (!this.#given.has(name)) this.#given.set(name, this.#free(name));
  }

  /** A colour that follows from the name, so that it is the same in the next session, unless another label has it. */
  #free(name) {
    const first = [...name].reduce((sum, letter) => (31 * sum + letter.codePointAt(0)) % 65_521, 7) % PALETTE.length;
    const used = new Set(this.#given.values());
    const order = PALETTE.map((_, at) => PALETTE[(first + at) % PALETTE.length]);
    return order.find((colour) => !used.has(colour)) ?? order[0];
  }

  colour(name) {
    return this.#chosen.get(name) ?? this.#seen.get(name) ?? this.#given.get(name) ?? UNLABELLED;
  }

  /** Gives a label another colour, also in sessions to come. */
  recolour(name, colour) {
    this.#chosen.set(name, colour);
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(this.#chosen)));
  }
}
