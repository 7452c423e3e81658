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
  #colours = new Map();

  constructor(labels) {
    this.names = [];
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    for (const [name, colour] of Object.entries(kept)) this.#colours.set(name, colour);
    for (const name of labels) this.learn(name);
  }

  learn(name, colour = null) {
    if (!name) return;
    if (!this.names.includes(name)) this.names = [...this.names, name].sort((a, b) => a.localeCompare(b));
    if (colour) this.#colours.set(name, colour);
    if (!this.#colours.has(name)) {
      const used = new Set(this.#colours.values());
      this.#colours.set(name, PALETTE.find((free) => !used.has(free)) ?? PALETTE[this.#colours.size % PALETTE.length]);
    }
  }

  colour(name) {
    return this.#colours.get(name) ?? UNLABELLED;
  }

  /** Gives a label another colour, also in sessions to come. */
  recolour(name, colour) {
    this.#colours.set(name, colour);
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(this.#colours)));
  }
}
